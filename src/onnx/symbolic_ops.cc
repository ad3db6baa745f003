#include "onnx/symbolic_ops.h"

#include <algorithm>
#include <numeric>

#include "onnx/importers/context.h"

namespace lathe::onnx {
namespace {

using Result = std::optional<SymbolicTensor>;
using Sizes = std::vector<int64_t>;

bool is_size_type(DType t) { return t == DType::i64 || t == DType::i32 || t == DType::f32 || t == DType::f64; }

// Row-major strides with 0 for axes that broadcast, aligned at the last axis of `result`.
Sizes broadcast_strides(const Sizes& dims, const Sizes& result) {
  Sizes strides(result.size(), 0);
  int64_t stride = 1;
  for (size_t i = 0; i < dims.size(); ++i) {
    const size_t axis = dims.size() - 1 - i;
    if (dims[axis] != 1) strides[result.size() - 1 - i] = stride;
    stride *= dims[axis];
  }
  return strides;
}

std::optional<Sizes> broadcast_dims(const Sizes& a, const Sizes& b) {
  Sizes result(std::max(a.size(), b.size()), 1);
  for (size_t i = 0; i < result.size(); ++i) {
    const int64_t x = i < a.size() ? a[a.size() - 1 - i] : 1, y = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (x != y && x != 1 && y != 1) return std::nullopt;
    result[result.size() - 1 - i] = x == 1 ? y : x;
  }
  return element_count(result) <= SymbolicTensor::kMaxElements ? std::optional(result) : std::nullopt;
}

// Element of a strided view for each row-major position of `dims`.
template <class Visit>
void visit_strided(const Sizes& dims, const Sizes& strides, int64_t start, Visit&& visit) {
  const int64_t count = element_count(dims);
  Sizes index(dims.size(), 0);
  int64_t at = start;
  for (int64_t i = 0; i < count; ++i) {
    visit(at);
    for (size_t axis = dims.size(); axis-- > 0;) {
      at += strides[axis];
      if (++index[axis] < dims[axis]) break;
      at -= strides[axis] * dims[axis];
      index[axis] = 0;
    }
  }
}

SymbolicTensor strided(const SymbolicTensor& x, Sizes dims, const Sizes& strides, int64_t start = 0) {
  SymbolicTensor y{x.dtype, std::move(dims), {}};
  visit_strided(y.dims, strides, start, [&](int64_t at) { y.elements.push_back(x.elements[static_cast<size_t>(at)]); });
  return y;
}

Result expanded(const SymbolicTensor& x, const Sizes& dims) {
  const auto result = broadcast_dims(x.dims, dims);
  if (!result) return std::nullopt;
  return strided(x, *result, broadcast_strides(x.dims, *result));
}

template <class F>
Result elementwise(const SymbolicTensor& a, const SymbolicTensor& b, DType type, F&& f) {
  const auto dims = broadcast_dims(a.dims, b.dims);
  if (!dims) return std::nullopt;
  const auto x = expanded(a, *dims), y = expanded(b, *dims);
  SymbolicTensor result{type, *dims, {}};
  for (size_t i = 0; i < x->elements.size(); ++i) {
    std::optional<Element> e = f(x->elements[i], y->elements[i]);
    if (!e) return std::nullopt;
    result.elements.push_back(std::move(*e));
  }
  return result;
}

template <std::optional<Element> (*F)(const Element&, const Element&, DType)>
Result arithmetic(Context& ctx) {
  Result sum;
  for (size_t i = 0; i < ctx.num_inputs(); ++i) {
    const SymbolicTensor* x = ctx.symbolic(i);
    if (x == nullptr || !is_size_type(x->dtype)) return std::nullopt;
    sum = sum ? elementwise(*sum, *x, x->dtype, [&](const Element& a, const Element& b) { return F(a, b, x->dtype); })
              : Result(*x);
    if (!sum) return std::nullopt;
  }
  return sum;
}

Result modulo_op(Context& ctx) { return ctx.attr_bool("fmod", false) ? std::nullopt : arithmetic<modulo>(ctx); }

// 0 or 1 where a comparison of the operands is decided; `swap` turns less into greater, `negate` into greater-or-equal.
template <std::optional<bool> (*F)(const Element&, const Element&), bool kSwap, bool kNegate>
Result comparison(Context& ctx) {
  const SymbolicTensor *a = ctx.symbolic(0), *b = ctx.symbolic(1);
  if (a == nullptr || b == nullptr) return std::nullopt;
  return elementwise(*a, *b, DType::boolean, [](const Element& x, const Element& y) -> std::optional<Element> {
    const auto decided = kSwap ? F(y, x) : F(x, y);
    if (!decided) return std::nullopt;
    return Element(Dim(*decided != kNegate ? 1 : 0));
  });
}

template <int64_t (*F)(int64_t, int64_t)>
Result logic(Context& ctx) {
  const SymbolicTensor* a = ctx.symbolic(0);
  const SymbolicTensor* b = ctx.num_inputs() > 1 ? ctx.symbolic(1) : a;
  if (a == nullptr || b == nullptr) return std::nullopt;
  return elementwise(*a, *b, DType::boolean, [](const Element& x, const Element& y) -> std::optional<Element> {
    const auto p = x.integer(), q = y.integer();
    if (!p || !q) return std::nullopt;
    return Element(Dim(F(*p, *q)));
  });
}
int64_t logical_and(int64_t a, int64_t b) { return a & b; }
int64_t logical_or(int64_t a, int64_t b) { return a | b; }
int64_t logical_xor(int64_t a, int64_t b) { return a ^ b; }
int64_t logical_not(int64_t a, int64_t) { return 1 - a; }

template <class F>
Result each(const SymbolicTensor* x, DType type, F&& f) {
  if (x == nullptr) return std::nullopt;
  return elementwise(*x, *x, type, [&](const Element& e, const Element&) { return f(e); });
}

Result negate_op(Context& ctx) {
  const SymbolicTensor* x = ctx.symbolic(0);
  if (x == nullptr || !is_size_type(x->dtype)) return std::nullopt;
  return each(x, x->dtype, [&](const Element& e) { return multiply(e, Element(Dim(-1)), x->dtype); });
}

Result abs_op(Context& ctx) {
  const SymbolicTensor* x = ctx.symbolic(0);
  if (x == nullptr || !is_size_type(x->dtype)) return std::nullopt;
  return each(x, x->dtype, [&](const Element& e) -> std::optional<Element> {
    if (e.is_nonnegative()) return e;
    const auto negated = multiply(e, Element(Dim(-1)), x->dtype);
    return negated && negated->is_nonnegative() ? negated : std::nullopt;
  });
}

Result floor_op(Context& ctx) {
  const SymbolicTensor* x = ctx.symbolic(0);
  return each(x, x == nullptr ? DType::f32 : x->dtype, [](const Element& e) { return floor(e); });
}

Result ceil_op(Context& ctx) {
  const SymbolicTensor* x = ctx.symbolic(0);
  return each(x, x == nullptr ? DType::f32 : x->dtype, [](const Element& e) { return ceil(e); });
}

Result sqrt_op(Context& ctx) {
  const SymbolicTensor* x = ctx.symbolic(0);
  if (x == nullptr || !is_size_type(x->dtype)) return std::nullopt;
  return each(x, x->dtype, [&](const Element& e) { return square_root(e, x->dtype); });
}

Result reciprocal_op(Context& ctx) {
  const SymbolicTensor* x = ctx.symbolic(0);
  if (x == nullptr || !is_size_type(x->dtype)) return std::nullopt;
  return each(x, x->dtype, [&](const Element& e) { return divide(Element(Dim(1)), e, x->dtype); });
}

Result cast_op(Context& ctx) {
  const SymbolicTensor* x = ctx.symbolic(0);
  const DType to = ctx.attr_dtype("to", DType::f32);
  return each(x, to, [&](const Element& e) { return cast(e, x->dtype, to); });
}

Result where_op(Context& ctx) {
  const SymbolicTensor *condition = ctx.symbolic(0), *a = ctx.symbolic(1), *b = ctx.symbolic(2);
  if (condition == nullptr || a == nullptr || b == nullptr) return std::nullopt;
  auto dims = broadcast_dims(a->dims, b->dims);
  if (dims) dims = broadcast_dims(*dims, condition->dims);
  if (!dims) return std::nullopt;
  const auto x = expanded(*a, *dims), y = expanded(*b, *dims), c = expanded(*condition, *dims);
  SymbolicTensor result{a->dtype, *dims, {}};
  for (size_t i = 0; i < c->elements.size(); ++i) {
    const auto choice = c->elements[i].integer();
    if (!choice && equal(x->elements[i], y->elements[i]) != true) return std::nullopt;
    result.elements.push_back(choice.value_or(1) != 0 ? x->elements[i] : y->elements[i]);
  }
  return result;
}

Result shape_op(Context& ctx) {
  const Type& type = ctx.type(0);
  if (!type.is_tensor() || !type.ranked) return std::nullopt;
  const int64_t rank = type.rank();
  const auto bound = [&](std::string_view name, int64_t fallback) {
    const int64_t value = ctx.attr_int(name, fallback);
    return std::clamp<int64_t>(value < 0 ? value + rank : value, 0, rank);
  };
  const int64_t start = bound("start", 0), end = std::max(start, bound("end", rank));
  return SymbolicTensor::vector(Shape(type.shape.begin() + start, type.shape.begin() + end));
}

Result size_op(Context& ctx) {
  const Type& type = ctx.type(0);
  if (!type.is_tensor() || !type.ranked) return std::nullopt;
  return SymbolicTensor{DType::i64, {}, {Element::size(product(type.shape))}};
}

Result with_dims(const SymbolicTensor& x, Sizes dims) {
  if (element_count(dims) != x.size()) return std::nullopt;
  return SymbolicTensor{x.dtype, std::move(dims), x.elements};
}

Result unsqueeze_op(Context& ctx) {
  const SymbolicTensor* x = ctx.symbolic(0);
  if (x == nullptr) return std::nullopt;
  const auto axes = ctx.opset() < 13 ? ctx.attr_ints("axes") : ctx.known_integers(1).value_or(Sizes());
  const int64_t rank = static_cast<int64_t>(x->dims.size() + axes.size());
  Sizes dims = x->dims;
  for (const int64_t axis : ctx.resolve_axes(axes, rank)) dims.insert(dims.begin() + axis, 1);
  return with_dims(*x, std::move(dims));
}

Result squeeze_op(Context& ctx) {
  const SymbolicTensor* x = ctx.symbolic(0);
  if (x == nullptr) return std::nullopt;
  Sizes axes = ctx.attr_ints("axes"), dims;
  const bool all = ctx.opset() < 13 ? axes.empty() : !ctx.has_input(1);
  if (!all && ctx.opset() >= 13) axes = ctx.integers(1);
  axes = ctx.resolve_axes(axes, static_cast<int64_t>(x->dims.size()));
  for (size_t i = 0; i < x->dims.size(); ++i) {
    const bool drop = all ? x->dims[i] == 1 : std::binary_search(axes.begin(), axes.end(), static_cast<int64_t>(i));
    if (!drop) dims.push_back(x->dims[i]);
  }
  return with_dims(*x, std::move(dims));
}

Result reshape_op(Context& ctx) {
  const SymbolicTensor *x = ctx.symbolic(0), *target = ctx.symbolic(1);
  const auto sizes = target == nullptr ? std::nullopt : target->to_integers();
  if (x == nullptr || !sizes) return std::nullopt;
  Sizes dims = *sizes;
  int64_t known = 1;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] == 0 && !ctx.attr_bool("allowzero", false) && i < x->dims.size()) dims[i] = x->dims[i];
    if (dims[i] >= 0 && __builtin_mul_overflow(known, dims[i], &known)) return std::nullopt;
  }
  for (int64_t& d : dims)
    if (d == -1) d = known == 0 ? 0 : x->size() / known;
  return std::any_of(dims.begin(), dims.end(), [](int64_t d) { return d < 0; }) ? std::nullopt
                                                                                : with_dims(*x, std::move(dims));
}

Result flatten_op(Context& ctx) {
  const SymbolicTensor* x = ctx.symbolic(0);
  if (x == nullptr || x->dims.size() > 1) return std::nullopt;
  return with_dims(*x, {1, x->size()});
}

Result transpose_op(Context& ctx) {
  const SymbolicTensor* x = ctx.symbolic(0);
  if (x == nullptr) return std::nullopt;
  Sizes perm = ctx.attr_ints("perm");
  if (perm.empty())
    for (size_t i = x->dims.size(); i-- > 0;) perm.push_back(static_cast<int64_t>(i));
  if (perm.size() != x->dims.size()) return std::nullopt;
  const Sizes strides = broadcast_strides(x->dims, x->dims);
  Sizes dims, steps;
  for (const int64_t axis : perm) {
    if (axis < 0 || axis >= static_cast<int64_t>(x->dims.size())) return std::nullopt;
    dims.push_back(x->dims[static_cast<size_t>(axis)]);
    steps.push_back(strides[static_cast<size_t>(axis)]);
  }
  return strided(*x, dims, steps);
}

Result concat_op(Context& ctx) {
  std::vector<const SymbolicTensor*> parts;
  for (size_t i = 0; i < ctx.num_inputs(); ++i) {
    const SymbolicTensor* x = ctx.symbolic(i);
    if (x == nullptr || x->dims.size() != 1 || x->dtype != ctx.dtype(0)) return std::nullopt;
    parts.push_back(x);
  }
  if (parts.empty()) return std::nullopt;
  ctx.resolve_axis(ctx.required_int("axis"), 1);
  SymbolicTensor result{parts[0]->dtype, {0}, {}};
  for (const SymbolicTensor* x : parts)
    result.elements.insert(result.elements.end(), x->elements.begin(), x->elements.end());
  result.dims[0] = result.size();
  return result.size() <= SymbolicTensor::kMaxElements ? Result(result) : std::nullopt;
}

Result gather_op(Context& ctx) {
  const SymbolicTensor *x = ctx.symbolic(0), *where = ctx.symbolic(1);
  const auto indices = where == nullptr ? std::nullopt : where->to_integers();
  if (x == nullptr || !indices || x->dims.size() != 1) return std::nullopt;
  ctx.resolve_axis(ctx.attr_int("axis", 0), 1);
  SymbolicTensor result{x->dtype, where->dims, {}};
  for (const int64_t index : *indices) {
    const int64_t at = index < 0 ? index + x->size() : index;
    if (at < 0 || at >= x->size())
      fail(ErrorCode::invalid_model, "index {} is out of range for {} elements", index, x->size());
    result.elements.push_back(x->elements[static_cast<size_t>(at)]);
  }
  return result;
}

// Bounds as opset 10 and later give them, or the attributes of opset 1.
Result slice_op(Context& ctx) {
  const SymbolicTensor* x = ctx.symbolic(0);
  if (x == nullptr) return std::nullopt;
  const auto operand = [&](size_t i, std::string_view name) -> std::optional<Sizes> {
    if (ctx.opset() < 10) return ctx.attr_ints(name);
    if (!ctx.has_input(i)) return Sizes();
    const SymbolicTensor* s = ctx.symbolic(i);
    return s == nullptr ? std::nullopt : s->to_integers();
  };
  const auto starts = operand(1, "starts"), ends = operand(2, "ends");
  auto axes = operand(3, "axes");
  auto steps = ctx.opset() < 10 ? Sizes() : operand(4, "");
  if (!starts || !ends || !axes || !steps || starts->size() != ends->size()) return std::nullopt;
  if (axes->empty()) {
    axes->resize(starts->size());
    std::iota(axes->begin(), axes->end(), 0);
  }
  if (steps->empty()) steps->assign(starts->size(), 1);
  if (axes->size() != starts->size() || steps->size() != starts->size()) return std::nullopt;
  Sizes dims = x->dims, strides = broadcast_strides(x->dims, x->dims);
  int64_t offset = 0;
  for (size_t i = 0; i < starts->size(); ++i) {
    const auto axis = static_cast<size_t>(ctx.resolve_axis((*axes)[i], static_cast<int64_t>(x->dims.size())));
    const int64_t size = x->dims[axis], step = (*steps)[i];
    if (step == 0 || step == INT64_MIN) ctx.invalid("a slice has step 0");
    const auto clamped = [&](int64_t v) {
      return std::clamp<int64_t>(v < 0 ? v + size : v, step < 0 ? -1 : 0, step < 0 ? size - 1 : size);
    };
    const int64_t start = clamped((*starts)[i]), end = clamped((*ends)[i]);
    dims[axis] = std::max<int64_t>(0, step > 0 ? (end - start + step - 1) / step : (start - end - step - 1) / -step);
    offset += start * strides[axis];
    strides[axis] *= step;
  }
  return strided(*x, dims, strides, offset);
}

Result constant_of_shape_op(Context& ctx) {
  const SymbolicTensor* sizes = ctx.symbolic(0);
  const auto dims = sizes == nullptr ? std::nullopt : sizes->to_integers();
  if (!dims ||
      std::any_of(dims->begin(), dims->end(), [](int64_t d) { return d < 0 || d > SymbolicTensor::kMaxElements; }))
    return std::nullopt;
  if (element_count(*dims) > SymbolicTensor::kMaxElements) return std::nullopt;
  const auto value = SymbolicTensor::from(ctx.has_attr("value") ? ctx.attr_tensor("value") : Tensor::scalar(0.0F));
  if (!value || value->size() != 1 || is_float(value->dtype)) return std::nullopt;
  SymbolicTensor result{value->dtype, *dims, {}};
  result.elements.assign(static_cast<size_t>(element_count(*dims)), value->elements[0]);
  return result;
}

Result range_op(Context& ctx) {
  const SymbolicTensor *start = ctx.symbolic(0), *limit = ctx.symbolic(1), *step = ctx.symbolic(2);
  if (start == nullptr || limit == nullptr || step == nullptr || is_float(start->dtype)) return std::nullopt;
  if (start->size() != 1 || limit->size() != 1 || step->size() != 1) return std::nullopt;
  const auto delta = step->elements[0].integer();
  const Dim *from = start->elements[0].dim(), *to = limit->elements[0].dim();
  if (!delta || *delta == 0) return std::nullopt;
  const Dim count = *delta > 0 ? ceil_div(*to - *from, Dim(*delta)) : ceil_div(*from - *to, Dim(-*delta));
  if (!count.is_constant() || count.value() > SymbolicTensor::kMaxElements) return std::nullopt;
  SymbolicTensor result{start->dtype, {std::max<int64_t>(0, count.value())}, {}};
  for (int64_t i = 0; i < count.value(); ++i) result.elements.emplace_back(*from + Dim(i * *delta));
  return result;
}

template <std::optional<Element> (*F)(const Element&, const Element&, DType)>
Result reduce_op(Context& ctx) {
  const SymbolicTensor* x = ctx.symbolic(0);
  if (x == nullptr || x->dims.size() != 1 || !is_size_type(x->dtype) || x->elements.empty()) return std::nullopt;
  if (ctx.num_inputs() > 1 && ctx.has_input(1)) {
    const auto axes = ctx.known_integers(1);
    if (!axes || (axes->empty() && ctx.attr_bool("noop_with_empty_axes", false))) return std::nullopt;
  } else if (ctx.attr_bool("noop_with_empty_axes", false)) {
    return std::nullopt;
  }
  std::optional<Element> total = x->elements[0];
  for (size_t i = 1; i < x->elements.size() && total; ++i) total = F(*total, x->elements[i], x->dtype);
  if (!total) return std::nullopt;
  return SymbolicTensor{x->dtype, ctx.attr_bool("keepdims", true) ? Sizes{1} : Sizes(), {*total}};
}

Result expand_op(Context& ctx) {
  const SymbolicTensor *x = ctx.symbolic(0), *target = ctx.symbolic(1);
  const auto dims = target == nullptr ? std::nullopt : target->to_integers();
  if (x == nullptr || !dims ||
      std::any_of(dims->begin(), dims->end(), [](int64_t d) { return d < 0 || d > SymbolicTensor::kMaxElements; }))
    return std::nullopt;
  return expanded(*x, *dims);
}

Result tile_op(Context& ctx) {
  const SymbolicTensor *x = ctx.symbolic(0), *repeats = ctx.symbolic(1);
  const auto times = repeats == nullptr ? std::nullopt : repeats->to_integers();
  if (x == nullptr || !times || x->dims.size() != 1 || times->size() != 1) return std::nullopt;
  if ((*times)[0] < 0 || (*times)[0] > SymbolicTensor::kMaxElements) return std::nullopt;
  if ((*times)[0] * x->size() > SymbolicTensor::kMaxElements) return std::nullopt;
  SymbolicTensor result{x->dtype, {(*times)[0] * x->size()}, {}};
  for (int64_t i = 0; i < (*times)[0]; ++i)
    result.elements.insert(result.elements.end(), x->elements.begin(), x->elements.end());
  return result;
}

struct Row {
  std::string_view op;
  Result (*evaluate)(Context&);
};

constexpr Row kRows[] = {
    {"Abs", abs_op},
    {"Add", arithmetic<add>},
    {"And", logic<logical_and>},
    {"Cast", cast_op},
    {"Ceil", ceil_op},
    {"Concat", concat_op},
    {"ConstantOfShape", constant_of_shape_op},
    {"Div", arithmetic<divide>},
    {"Equal", comparison<equal, false, false>},
    {"Expand", expand_op},
    {"Flatten", flatten_op},
    {"Floor", floor_op},
    {"Gather", gather_op},
    {"Greater", comparison<less, true, false>},
    {"GreaterOrEqual", comparison<less, false, true>},
    {"Less", comparison<less, false, false>},
    {"LessOrEqual", comparison<less, true, true>},
    {"Max", arithmetic<maximum>},
    {"Min", arithmetic<minimum>},
    {"Mod", modulo_op},
    {"Mul", arithmetic<multiply>},
    {"Neg", negate_op},
    {"Not", logic<logical_not>},
    {"Or", logic<logical_or>},
    {"Range", range_op},
    {"Reciprocal", reciprocal_op},
    {"ReduceMax", reduce_op<maximum>},
    {"ReduceMin", reduce_op<minimum>},
    {"ReduceProd", reduce_op<multiply>},
    {"ReduceSum", reduce_op<add>},
    {"Reshape", reshape_op},
    {"Shape", shape_op},
    {"Size", size_op},
    {"Slice", slice_op},
    {"Sqrt", sqrt_op},
    {"Squeeze", squeeze_op},
    {"Sub", arithmetic<subtract>},
    {"Tile", tile_op},
    {"Transpose", transpose_op},
    {"Unsqueeze", unsqueeze_op},
    {"Where", where_op},
    {"Xor", logic<logical_xor>},
};

// A Split is the one with several results.
std::vector<SymbolicTensor> split(Context& ctx) {
  const SymbolicTensor* x = ctx.symbolic(0);
  if (x == nullptr || x->dims.size() != 1) return {};
  std::vector<int64_t> sizes = ctx.attr_ints("split");
  if (ctx.has_input(1)) sizes = ctx.known_integers(1).value_or(Sizes());
  const auto parts = static_cast<int64_t>(ctx.num_outputs());
  if (sizes.empty()) {
    const int64_t even = (x->size() + parts - 1) / parts;
    for (int64_t i = 0; i < parts; ++i) sizes.push_back(std::clamp<int64_t>(x->size() - i * even, 0, even));
  }
  if (std::accumulate(sizes.begin(), sizes.end(), int64_t{0}) != x->size() || sizes.size() != ctx.num_outputs() ||
      std::any_of(sizes.begin(), sizes.end(), [](int64_t s) { return s < 0; }))
    return {};
  std::vector<SymbolicTensor> results;
  auto at = x->elements.begin();
  for (const int64_t size : sizes) {
    results.push_back({x->dtype, {size}, {at, at + size}});
    at += size;
  }
  return results;
}

}  // namespace

std::vector<SymbolicTensor> evaluate_symbolically(Context& context) {
  if (!context.is_standard_domain()) return {};
  // Before opset 7 other attributes steer these ops; what they compute is folded, or read when the model runs.
  if (context.opset() < 7 && context.op_type() != "Shape" && context.op_type() != "Size") return {};
  if (context.op_type() == "Split") return split(context);
  const auto row = std::lower_bound(std::begin(kRows), std::end(kRows), context.op_type(),
                                    [](const Row& r, std::string_view op) { return r.op < op; });
  if (row == std::end(kRows) || row->op != context.op_type()) return {};
  Result result = row->evaluate(context);
  return result ? std::vector<SymbolicTensor>{std::move(*result)} : std::vector<SymbolicTensor>();
}

}  // namespace lathe::onnx
