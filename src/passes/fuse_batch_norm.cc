// A scale and shift per channel behind a convolution goes into its weights and a bias. Any spelling: the map is proven
// to be affine in the convolution's result with constant coefficients, and these are computed by running it in f64.
#include "graph/reference/evaluator.h"
#include "passes/expr.h"
#include "passes/passes.h"
#include "passes/rewrite.h"
#include "passes/view.h"

namespace lathe::passes {
namespace {

// Rebuilds an expression in f64 with one value `x` replaced by a number, and proves on the way that it is affine in x.
class Affine {
 public:
  explicit Affine(Value* x) : x_(x) {}

  // The degree (0 or 1) of an expression in x; nullopt if it is not affine with constant coefficients.
  std::optional<int> degree(const Expr& e, int depth = 0) const {
    if (e.is_opaque() && e.value() == x_) return 1;
    if (e.is_opaque()) return constant_tensor(e.value()) != nullptr ? std::optional(0) : std::nullopt;
    if (depth > 32 || !is_float(e.dtype())) return std::nullopt;
    if (e.op() == MapOp::constant) return 0;
    if (arity(e.op()) == 0) return std::nullopt;
    int degrees[3] = {};
    for (int a = 0; a < arity(e.op()); ++a) {
      const auto d = degree(e.arg(a), depth + 1);
      if (!d) return std::nullopt;
      degrees[a] = *d;
    }
    switch (e.op()) {
      case MapOp::add:
      case MapOp::sub: return std::max(degrees[0], degrees[1]);
      case MapOp::mul: return degrees[0] + degrees[1] <= 1 ? std::optional(degrees[0] + degrees[1]) : std::nullopt;
      case MapOp::div: return degrees[1] == 0 ? std::optional(degrees[0]) : std::nullopt;
      case MapOp::neg:
      case MapOp::cast: return degrees[0];
      default: return degrees[0] + degrees[1] + degrees[2] == 0 ? std::optional(0) : std::nullopt;
    }
  }

  // The expression's values where x is `number` everywhere.
  Tensor at(const Expr& e, double number) const {
    Map map;
    std::vector<RefValue> operands;
    map.program.finish(build(e, number, map.program, operands));
    if (operands.empty()) map.shape = Shape{};
    std::vector<const RefValue*> pointers;
    for (const RefValue& v : operands) pointers.push_back(&v);
    SymbolBindings none;
    return std::get<Tensor>(evaluate_op(map, pointers, 1, none).front());
  }

 private:
  int build(const Expr& e, double number, MapProgram& program, std::vector<RefValue>& operands) const {
    if (e.is_opaque() && e.value() == x_) return program.constant(number, DType::f64);
    if (e.is_opaque()) {
      operands.emplace_back(*constant_tensor(e.value()));
      return program.cast(program.input(static_cast<int>(operands.size()) - 1, e.dtype()), DType::f64);
    }
    if (e.op() == MapOp::constant) return program.constant(*e.number(), DType::f64);
    int args[2] = {};
    for (int a = 0; a < arity(e.op()); ++a) args[a] = build(e.arg(a), number, program, operands);
    if (e.op() == MapOp::cast) return args[0];
    return arity(e.op()) == 1 ? program.unary(e.op(), args[0]) : program.binary(e.op(), args[0], args[1]);
  }

  Value* x_;
};

// One number per channel from a tensor that broadcasts to [N, C, spatial..] and varies with the channel only.
std::optional<std::vector<double>> per_channel(const Tensor& t, size_t rank, int64_t channels) {
  const int64_t channel_axis = t.rank() - static_cast<int64_t>(rank) + 1;
  for (int64_t i = 0; i < t.rank(); ++i)
    if (i != channel_axis && t.dims()[static_cast<size_t>(i)] != 1) return std::nullopt;
  if (t.elements() != 1 && t.elements() != channels) return std::nullopt;
  std::vector<double> numbers(static_cast<size_t>(channels));
  for (size_t i = 0; i < numbers.size(); ++i)
    numbers[i] = t.read_double(t.elements() == 1 ? 0 : static_cast<int64_t>(i));
  return numbers;
}

Tensor tensor_of(const std::vector<double>& numbers, DType dtype, std::vector<int64_t> dims) {
  Tensor t(dtype, std::move(dims));
  for (size_t i = 0; i < numbers.size(); ++i) t.write_double(static_cast<int64_t>(i), numbers[i]);
  return t;
}

// The bias that an epilogue adds; null if there is none, nullopt if the epilogue does anything else.
std::optional<const Tensor*> constant_bias(const Node& conv) {
  const MapProgram& epilogue = conv.as<Conv>()->epilogue;
  if (epilogue.empty()) return nullptr;
  const auto& code = epilogue.code();
  const bool adds =
      code.size() == 3 && code[2].op == MapOp::add && code[0].op == MapOp::input && code[1].op == MapOp::input;
  if (!adds || conv.inputs().size() != 3 || constant_tensor(conv.input(2)) == nullptr) return std::nullopt;
  return constant_tensor(conv.input(2));
}

// The convolution that the map's operands lead to, through maps that nobody else reads.
Value* convolution_of(const Node& map, int depth = 0) {
  for (Value* v : map.inputs()) {
    if (only_user(v) != &map || depth > 4) continue;
    if (const Conv* conv = producer_as<Conv>(v);
        conv != nullptr && !conv->channels_last && constant_bias(*v->producer()))
      return v;
    if (producer_as<Map>(v) == nullptr) continue;
    if (Value* inner = convolution_of(*v->producer(), depth + 1)) return inner;
  }
  return nullptr;
}

bool fuse(Graph& graph, Node& node) {
  if (!node.is<Map>() || node.as<Map>()->shape) return false;
  Value* x = convolution_of(node);
  if (x == nullptr || !(x->type() == node.output()->type())) return false;
  Node& conv = *x->producer();
  Value* weights = conv.input(1);
  if (constant_tensor(weights) == nullptr || !is_float(weights->dtype())) return false;
  const Affine affine(x);
  const Expr root(node.output());
  if (affine.degree(root) != 1) return false;
  const size_t rank = weights->shape().size();
  const int64_t channels = weights->shape()[0].value();
  const Tensor at_0 = affine.at(root, 0), at_1 = affine.at(root, 1);
  auto shift = per_channel(at_0, rank, channels), sum = per_channel(at_1, rank, channels);
  const Tensor* old_bias = *constant_bias(conv);
  const auto bias =
      old_bias != nullptr ? per_channel(*old_bias, rank, channels) : std::vector<double>(static_cast<size_t>(channels));
  if (!shift || !sum || !bias) return false;
  std::vector<double> scale = *sum;
  for (size_t i = 0; i < scale.size(); ++i) {
    scale[i] -= (*shift)[i];
    (*shift)[i] += scale[i] * (*bias)[i];
  }
  if (std::all_of(scale.begin(), scale.end(), [](double s) { return s == 1; })) return false;  // only a bias
  const DType dtype = weights->dtype();
  std::vector<int64_t> column(rank, 1);
  column[0] = channels;
  Value* scales = insert(graph, &node, Constant{tensor_of(scale, dtype, column)}, {});
  Value* scaled = insert(graph, &node, Map{binary_program(MapOp::mul, dtype), std::nullopt}, {weights, scales});
  Conv bare = *conv.as<Conv>();
  bare.epilogue = MapProgram();
  Value* y = insert(graph, &node, std::move(bare), {conv.input(0), scaled});
  Value* shifts = insert(
      graph, &node, Constant{tensor_of(*shift, dtype, std::vector<int64_t>(column.begin(), column.end() - 1))}, {});
  replace(graph, &node, node.output(), Map{binary_program(MapOp::add, dtype), std::nullopt}, {y, shifts});
  return true;
}

}  // namespace

int fuse_batch_norm(Graph& graph) { return rewrite_nodes(graph, fuse); }

}  // namespace lathe::passes
