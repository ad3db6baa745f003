// LayerNorm and RMSNorm from their elementwise spelling. The heart is d * (mean(d^2) + epsilon)^(-1/2), found as a
// product, so that square roots, reciprocals, powers and divisions in any order are the same thing; d is x - mean(x),
// or x itself. Scale and bias are taken up one by one from the maps that follow.
#include "passes/expr.h"
#include "passes/map_writer.h"
#include "passes/passes.h"
#include "passes/rewrite.h"
#include "passes/view.h"

namespace lathe::passes {
namespace {

// The axis from which on a mean with kept axes reduces; nullopt if it is no such mean.
std::optional<int64_t> mean_axis(const Value* value) {
  const Reduce* reduce = producer_as<Reduce>(value);
  if (reduce == nullptr || reduce->kind != ReduceKind::mean || reduce->axes.empty() || !reduce->keep_dims)
    return std::nullopt;
  const Value* x = value->producer()->input(0);
  if (!x->type().ranked) return std::nullopt;
  const auto rank = static_cast<int64_t>(x->shape().size());
  for (size_t i = 0; i < reduce->axes.size(); ++i)
    if (reduce->axes[i] != rank - static_cast<int64_t>(reduce->axes.size() - i)) return std::nullopt;
  return reduce->axes.front();
}

struct Variance {
  Expr deviation;  // the d of mean(d^2)
  double epsilon = 0;
  int64_t axis = 0;
};

// mean(d^2) + epsilon.
std::optional<Variance> match_variance(const Expr& e) {
  Variance result;
  Expr mean = e.without_casts();
  if (mean.op() == MapOp::add) {
    for (int side = 0; side < 2; ++side)
      if (const auto c = mean.arg(side).number()) {
        result.epsilon = *c;
        mean = mean.arg(1 - side).without_casts();
        break;
      }
  }
  if (!mean.is_opaque()) return std::nullopt;
  const auto axis = mean_axis(mean.value());
  if (!axis) return std::nullopt;
  const Expr square = Expr(mean.value()->producer()->input(0)).without_casts();
  if (square.op() != MapOp::mul && square.op() != MapOp::pow) return std::nullopt;
  const bool squares = square.op() == MapOp::mul ? square.arg(0) == square.arg(1) : square.arg(1).number() == 2.0;
  if (!squares) return std::nullopt;
  result.deviation = square.arg(0).without_casts();
  result.axis = *axis;
  return result;
}

struct Core {
  NormKind kind = NormKind::layer;
  Expr x;
};

// d = x - mean(x) over the same axes, or anything.
Core match_core(const Expr& d, int64_t axis) {
  if (d.op() == MapOp::sub) {
    const Expr mean = d.arg(1).without_casts();
    if (mean.is_opaque() && mean_axis(mean.value()) == axis) {
      const Expr x = Expr(mean.value()->producer()->input(0));
      if (x.without_casts() == d.arg(0).without_casts()) return {NormKind::layer, d.arg(0)};
    }
  }
  return {NormKind::rms, d};
}

// A value of the given type and shape that holds `e`, looking through casts; casts it where only another type is there.
Value* value_of(Graph& graph, Node* position, Expr e, DType dtype, const Shape& shape) {
  Value* found = nullptr;
  for (;; e = e.arg(0)) {
    Value* v = e.value();
    if (v != nullptr && v->shape() == shape) {
      if (v->dtype() == dtype) return v;
      found = v;
    }
    if (e == e.without_casts()) break;
  }
  return found == nullptr ? nullptr
                          : insert(graph, position, Map{cast_program(found->dtype(), dtype), std::nullopt}, {found});
}

// A scale or bias has the size of the normalised axes only, but for leading axes of size 1.
bool is_parameter(const Value* v, size_t rank, DType dtype) {
  if (v == nullptr || !v->type().ranked || v->shape().empty() || (v->dtype() != dtype && v->dtype() != DType::f32))
    return false;
  const size_t extra = v->shape().size() - std::min(v->shape().size(), rank);
  return std::all_of(v->shape().begin(), v->shape().begin() + static_cast<std::ptrdiff_t>(extra),
                     [](const Dim& d) { return d == Dim(1); });
}

Value* without_leading_ones(Graph& graph, Node* position, Value* v, size_t rank) {
  if (v->shape().size() <= rank) return v;
  return reshaped(graph, position, v, Shape(v->shape().end() - static_cast<std::ptrdiff_t>(rank), v->shape().end()));
}

bool fuse_core(Graph& graph, Node& node) {
  const Expr root(node.output());
  const Shape& shape = node.output()->shape();
  for (const Factor& inverse : product_of(root).factors) {
    if (inverse.exponent != -0.5) continue;
    const auto variance = match_variance(inverse.base);
    if (!variance) continue;
    const Expr d = variance->deviation;
    const Product product = product_of(root, std::span(&d, 1));
    if (product.factors.size() < 2 || product.factors.size() > 3 || product.coefficient != 1) continue;
    const auto times = [&](const Expr& e) {
      for (const Factor& f : product.factors)
        if (f.base == e) return f.exponent;
      return 0.0;
    };
    if (times(d) != 1 || times(inverse.base) != -0.5) continue;
    Value* scale = nullptr;
    for (const Factor& f : product.factors)
      if (!(f.base == d) && !(f.base == inverse.base)) scale = f.exponent == 1 ? f.base.value() : nullptr;
    const DType dtype = node.output()->dtype();
    const size_t rank = shape.size() - static_cast<size_t>(variance->axis);
    if (product.factors.size() == 3 && !is_parameter(scale, rank, dtype)) continue;
    const Core core = match_core(d, variance->axis);
    Value* x = value_of(graph, &node, core.x, dtype, shape);
    if (x == nullptr) continue;
    std::vector<Value*> inputs = {x};
    if (scale != nullptr) inputs.push_back(without_leading_ones(graph, &node, scale, rank));
    replace(graph, &node, node.output(), Norm{core.kind, variance->axis, variance->epsilon, 1, {}}, std::move(inputs));
    return true;
  }
  return false;
}

struct Parameters {
  Value* normed = nullptr;
  Value* scale = nullptr;
  Value* bias = nullptr;
};

Value* as_norm(const Expr& e) {
  const Expr inner = e.without_casts();
  Value* v = inner.is_opaque() ? inner.value() : nullptr;
  return producer_as<Norm>(v) != nullptr && v->index() == 0 && only_user(v) != nullptr ? v : nullptr;
}

// norm * scale, norm + bias or norm * scale + bias, with casts between.
std::optional<Parameters> match_parameters(const Expr& root) {
  if (root.op() != MapOp::mul && root.op() != MapOp::add) return std::nullopt;
  for (int side = 0; side < 2; ++side) {
    Value* other = root.arg(1 - side).value();
    if (other == nullptr) continue;
    if (Value* normed = as_norm(root.arg(side)))
      return root.op() == MapOp::mul ? Parameters{normed, other, nullptr} : Parameters{normed, nullptr, other};
    const Expr inner = root.arg(side).without_casts();
    if (root.op() != MapOp::add || inner.op() != MapOp::mul) continue;
    const auto scaled = match_parameters(inner);
    if (scaled) return Parameters{scaled->normed, scaled->scale, other};
  }
  return std::nullopt;
}

bool absorb(Graph& graph, Node& node) {
  const auto found = match_parameters(Expr(node.output()).without_casts());
  if (!found || !(found->normed->shape() == node.output()->shape())) return false;
  const Node& producer = *found->normed->producer();
  const Norm& norm = *producer.as<Norm>();
  const auto x = static_cast<size_t>(norm.num_x);
  const bool has_scale = producer.input(x) != nullptr, has_bias = producer.input(x + 1) != nullptr;
  if (producer.outputs().size() > 1 || has_bias || (found->scale != nullptr && has_scale)) return false;
  const DType dtype = node.output()->dtype();
  if (dtype != found->normed->dtype() && x != 1) return false;
  const size_t rank = node.output()->shape().size() - static_cast<size_t>(norm.axis);
  for (const Value* parameter : {found->scale, found->bias})
    if (parameter != nullptr && !is_parameter(parameter, rank, dtype)) return false;
  std::vector<Value*> inputs(producer.inputs().begin(), producer.inputs().end());
  if (dtype != found->normed->dtype())
    inputs[0] = value_of(graph, &node, Expr(inputs[0]), dtype, node.output()->shape());
  if (inputs[0] == nullptr) return false;
  inputs.resize(found->bias != nullptr ? x + 2 : x + 1, nullptr);
  if (found->scale != nullptr) inputs[x] = without_leading_ones(graph, &node, found->scale, rank);
  if (found->bias != nullptr) inputs[x + 1] = without_leading_ones(graph, &node, found->bias, rank);
  replace(graph, &node, node.output(), norm, std::move(inputs));
  return true;
}

bool fuse(Graph& graph, Node& node) {
  const Map* map = node.as<Map>();
  if (map == nullptr || !is_float(node.output()->dtype()) || !node.output()->type().ranked) return false;
  return fuse_core(graph, node) || absorb(graph, node);
}

}  // namespace

int fuse_norm(Graph& graph) { return rewrite_nodes(graph, fuse); }

}  // namespace lathe::passes
