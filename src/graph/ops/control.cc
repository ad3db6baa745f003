// Inference for if, loop and scan: what is true of a value inside a region, said in the terms of the graph outside.
#include <algorithm>
#include <map>

#include "graph/ops/infer_ops.h"
#include "graph/symbols.h"

namespace lathe {
namespace {

// Maps types from inside one region to the outside. Symbols of the region's inputs become the sizes of the operands;
// a size that mentions a symbol which only the region knows becomes a fresh symbol.
class RegionExit {
 public:
  RegionExit(const InferContext& c, const Graph& body) : c_(c) {
    for (const Value* input : body.inputs()) collect_symbols(input->type(), local_);
    for (const auto& node : body.nodes())
      for (std::string& name : symbols_bound_by(*node)) local_.push_back(std::move(name));
  }

  void bind(const Dim& inner, const Dim& outer) {
    if (inner.is_symbol()) outer_.emplace(inner.to_string(), outer);
  }
  void bind(const Type& inner, const Type& outer) {
    if (!inner.ranked || !outer.ranked) return;
    for (size_t i = 0; i < inner.shape.size(); ++i) bind(inner.shape[i], outer.shape[i]);
  }

  Dim operator()(const Dim& dim) const {
    std::vector<std::string> names;
    dim.collect_symbols(names);
    for (const std::string& name : names)
      if (outer_.count(name) == 0 && std::find(local_.begin(), local_.end(), name) != local_.end()) return c_.fresh();
    return dim.substitute([&](std::string_view name) -> std::optional<Dim> {
      const auto it = outer_.find(name);
      return it == outer_.end() ? std::nullopt : std::optional(it->second);
    });
  }
  Type operator()(Type type) const {
    for (Dim& dim : type.shape) dim = (*this)(dim);
    return type;
  }

 private:
  const InferContext& c_;
  std::vector<std::string> local_;
  std::map<std::string, Dim, std::less<>> outer_;
};

// Can a value of type `given` be bound to a region input of type `wanted`? Symbols are bound anew, so only sizes that
// are known on both sides can clash.
bool accepts(const Type& wanted, const Type& given) {
  if (wanted.kind != given.kind || wanted.dtype != given.dtype) return false;
  if (!wanted.ranked || !given.ranked) return true;
  return std::equal(wanted.shape.begin(), wanted.shape.end(), given.shape.begin(), given.shape.end(),
                    [](const Dim& w, const Dim& g) { return !w.is_constant() || !g.is_constant() || w == g; });
}

void expect_accepts(const InferContext& c, const Type& wanted, const Type& given, std::string_view what) {
  if (!accepts(wanted, given)) c.fail("{} of type {} cannot be bound to {}", what, to_string(given), to_string(wanted));
}

void expect_signature(const InferContext& c, const Graph& body, size_t inputs, size_t least_outputs) {
  if (body.inputs().size() != inputs)
    c.fail("the region takes {} inputs, it is given {}", body.inputs().size(), inputs);
  if (body.outputs().size() < least_outputs)
    c.fail("the region gives {} outputs, {} are needed", body.outputs().size(), least_outputs);
}

// Operands from `first` on are the region's inputs from `first_inner` on, the same ones in every iteration.
void bind_captures(const InferContext& c, const Graph& body, size_t first_inner, size_t first, RegionExit& exit) {
  for (size_t i = first; i < c.count(); ++i) {
    const Type& inner = body.inputs()[first_inner + i - first]->type();
    expect_accepts(c, inner, c.operand(i), "a captured value");
    exit.bind(inner, c.operand(i));
  }
}

Type unify(const InferContext& c, Type a, const Type& b) {
  if (a.kind != b.kind || a.dtype != b.dtype) c.fail("the branches give {} and {}", to_string(a), to_string(b));
  if (!a.ranked || !b.ranked || a.shape.size() != b.shape.size()) {
    a.ranked = false;
    a.shape.clear();
  }
  for (size_t i = 0; i < a.shape.size(); ++i)
    if (!(a.shape[i] == b.shape[i])) a.shape[i] = c.fresh();
  return a;
}

// One value that is carried from iteration to iteration: its type before the loop, and inside at the beginning and end.
struct Carried {
  const Type &initial, &entry, &end;

  bool ranked() const { return initial.ranked && entry.ranked && end.ranked; }
  // The iterations hand this size on as they got it.
  bool keeps(size_t axis) const { return entry.shape[axis] == end.shape[axis]; }
};

Carried carried(const InferContext& c, size_t operand, const Value* entry, const Value* end) {
  const Carried value{c.operand(operand), entry->type(), end->type()};
  expect_accepts(c, value.entry, value.initial, "a carried value");
  expect_accepts(c, value.entry, value.end, "the next value of a carried one");
  return value;
}

void bind_kept_sizes(const Carried& value, RegionExit& exit) {
  if (!value.ranked()) return;
  for (size_t i = 0; i < value.entry.shape.size(); ++i)
    if (value.keeps(i)) exit.bind(value.entry.shape[i], value.initial.shape[i]);
}

// The type after the last of any number of iterations, zero included.
Type after_loop(const InferContext& c, const Carried& value, const RegionExit& exit) {
  Type type = value.initial;
  if (!value.ranked()) {
    type.ranked = false;
    type.shape.clear();
    return type;
  }
  for (size_t i = 0; i < type.shape.size(); ++i) {
    if (value.keeps(i) || exit(value.end.shape[i]) == type.shape[i]) continue;
    type.shape[i] = c.fresh();
  }
  return type;
}

// A tensor of one more axis: the slices of all iterations, stacked.
Type stacked(const InferContext& c, const Type& slice, size_t axis, const Dim& length) {
  if (!slice.is_tensor()) c.fail("only tensors can be stacked, not {}", to_string(slice));
  Type type = slice;
  if (!type.ranked) return type;
  if (axis > type.shape.size()) c.fail("slices of type {} cannot be stacked along axis {}", to_string(slice), axis);
  type.shape.insert(type.shape.begin() + static_cast<std::ptrdiff_t>(axis), length);
  return type;
}

}  // namespace

Types infer_op(const If& op, InferContext& c) {
  c.expect_inputs(1, SIZE_MAX);
  c.expect_dtype(0, DType::boolean);
  const Graph &yes = op.then_branch.graph(), &no = op.else_branch.graph();
  expect_signature(c, yes, c.count() - 1, 0);
  expect_signature(c, no, c.count() - 1, 0);
  if (yes.outputs().size() != no.outputs().size())
    c.fail("the branches give {} and {} values", yes.outputs().size(), no.outputs().size());
  RegionExit from_yes(c, yes), from_no(c, no);
  bind_captures(c, yes, 0, 1, from_yes);
  bind_captures(c, no, 0, 1, from_no);
  Types types;
  for (size_t i = 0; i < yes.outputs().size(); ++i)
    types.push_back(unify(c, from_yes(yes.outputs()[i]->type()), from_no(no.outputs()[i]->type())));
  return types;
}

Types infer_op(const Loop& op, InferContext& c) {
  const Graph& body = op.body.graph();
  if (op.num_carried < 0 || op.num_carried > static_cast<int64_t>(c.count()) - 2)
    c.fail("{} carried values do not fit", op.num_carried);
  const auto n = static_cast<size_t>(op.num_carried);
  expect_signature(c, body, c.count(), n + 1);
  if (c.has(0)) c.expect_dtype(0, DType::i64);
  if (c.has(1)) c.expect_dtype(1, DType::boolean);
  expect_accepts(c, body.inputs()[0]->type(), Type::tensor(DType::i64, {}), "the iteration number");
  expect_accepts(c, body.inputs()[1]->type(), Type::tensor(DType::boolean, {}), "the condition");
  if (!body.outputs()[0]->type().is_tensor() || body.outputs()[0]->dtype() != DType::boolean)
    c.fail("the body's first output must be the condition, not {}", to_string(body.outputs()[0]->type()));
  RegionExit exit(c, body);
  bind_captures(c, body, n + 2, n + 2, exit);
  std::vector<Carried> values;
  for (size_t i = 0; i < n; ++i) values.push_back(carried(c, 2 + i, body.inputs()[2 + i], body.outputs()[1 + i]));
  for (const Carried& value : values) bind_kept_sizes(value, exit);
  Types types;
  for (const Carried& value : values) types.push_back(after_loop(c, value, exit));
  for (size_t i = n + 1; i < body.outputs().size(); ++i)
    types.push_back(stacked(c, exit(body.outputs()[i]->type()), 0, c.fresh()));
  return types;
}

namespace {

void check_scan_fields(const Scan& op, const InferContext& c) {
  const auto count = static_cast<int64_t>(c.count());
  if (op.num_states < 0 || op.num_scanned < 1 || op.num_states > count || op.num_scanned > count - op.num_states)
    c.fail("{} states and {} scanned values do not fit", op.num_states, op.num_scanned);
  const Graph& body = op.body.graph();
  expect_signature(c, body, c.count(), static_cast<size_t>(op.num_states));
  const size_t outputs = body.outputs().size() - static_cast<size_t>(op.num_states);
  const auto scanned = static_cast<size_t>(op.num_scanned);
  if (op.input_axes.size() != scanned || op.input_reversed.size() != scanned)
    c.fail("needs an axis and a direction for each of {} scanned values", scanned);
  if (op.output_axes.size() != outputs || op.output_reversed.size() != outputs)
    c.fail("needs an axis and a direction for each of {} stacked outputs", outputs);
}

// Binds the slices of the scanned operands; returns the number of iterations.
Dim bind_slices(const Scan& op, const InferContext& c, RegionExit& exit) {
  std::optional<Dim> length;
  const auto first = static_cast<size_t>(op.num_states);
  for (size_t i = 0; i < op.input_axes.size(); ++i) {
    const Type& inner = op.body.graph().inputs()[first + i]->type();
    Type slice = c.tensor(first + i);
    if (slice.ranked) {
      const size_t axis = c.axis(op.input_axes[i], slice.rank());
      length = length ? c.same(*length, slice.shape[axis], "lengths of the scanned values") : slice.shape[axis];
      slice.shape.erase(slice.shape.begin() + static_cast<std::ptrdiff_t>(axis));
    }
    expect_accepts(c, inner, slice, "a slice");
    exit.bind(inner, slice);
  }
  return length ? *length : c.fresh();
}

}  // namespace

Types infer_op(const Scan& op, InferContext& c) {
  check_scan_fields(op, c);
  const Graph& body = op.body.graph();
  const auto n = static_cast<size_t>(op.num_states), scanned = static_cast<size_t>(op.num_scanned);
  RegionExit exit(c, body);
  bind_captures(c, body, n + scanned, n + scanned, exit);
  const Dim length = bind_slices(op, c, exit);
  std::vector<Carried> values;
  for (size_t i = 0; i < n; ++i) values.push_back(carried(c, i, body.inputs()[i], body.outputs()[i]));
  for (const Carried& value : values) bind_kept_sizes(value, exit);
  Types types;
  for (const Carried& value : values) types.push_back(after_loop(c, value, exit));
  for (size_t i = n; i < body.outputs().size(); ++i) {
    if (op.output_axes[i - n] < 0) c.fail("axis {} is negative", op.output_axes[i - n]);
    types.push_back(stacked(c, exit(body.outputs()[i]->type()), static_cast<size_t>(op.output_axes[i - n]), length));
  }
  return types;
}

}  // namespace lathe
