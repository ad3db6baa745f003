#include "checkpoint/layers.h"

#include "graph/build.h"

namespace lathe::checkpoint {

Value* Layers::linear(Value* x, const std::string& name, int64_t in, int64_t out, bool bias) const {
  Value* y = weights_.product(x, {name, in, out, config_.traits.transposed});
  return bias ? map2(graph(), MapOp::add, y, weights_.vector(name + ".bias", out)) : y;
}

std::pair<Value*, Value*> Layers::norm_parameters(const std::string& name, int64_t size) const {
  const Traits& traits = config_.traits;
  const bool old_names = weights_.contains(name + ".gamma");
  Value* scale = traits.norm_scale ? weights_.f32(name + (old_names ? ".gamma" : ".weight"), {size}) : nullptr;
  if (traits.unit_offset) scale = map2(graph(), MapOp::add, scale, scalar(graph(), 1, DType::f32));
  Value* bias = traits.norm_bias ? weights_.f32(name + (old_names ? ".beta" : ".bias"), {size}) : nullptr;
  return {scale, bias};
}

Value* Layers::norm(Value* x, const std::string& name, int64_t size) const {
  const auto [scale, bias] = norm_parameters(name, size);
  return graph().emit(Norm{config_.traits.norm, x->type().rank() - 1, config_.epsilon, 1, {}}, {x, scale, bias}, name);
}

Value* Layers::norm_each(Value* x, const std::string& name, int64_t heads, int64_t size) const {
  Value* scale = cast(graph(), weights_.f32(name + ".weight", {heads, size}), x->dtype());
  Norm norm{config_.traits.norm, x->type().rank() - 1, config_.epsilon, 1, {}};
  return map2(graph(), MapOp::mul, graph().emit(norm, {x}, name), scale);
}

Value* Layers::scaled(Value* x, double factor) const {
  return factor == 1 ? x : map2(graph(), MapOp::mul, x, scalar(graph(), factor, x->dtype()));
}

Value* Layers::gated_mlp(Value* x, const std::string& gate, const std::string& up, const std::string& down,
                         int64_t intermediate) const {
  const bool bias = config_.traits.biases.mlp;
  Value* opened = map1(graph(), config_.traits.activation, linear(x, gate, config_.hidden, intermediate, bias));
  Value* inner = map2(graph(), MapOp::mul, opened, linear(x, up, config_.hidden, intermediate, bias));
  return linear(inner, down, intermediate, config_.hidden, bias);
}

Value* Layers::mlp(Value* x, const std::string& layer) const {
  const Names& names = config_.names;
  const std::string gate = layer + std::string(names.gate), up = layer + std::string(names.up),
                    down = layer + std::string(names.down);
  const int64_t intermediate = config_.intermediate;
  const bool bias = config_.traits.biases.mlp;
  if (config_.traits.mlp == MlpKind::gated) return gated_mlp(x, gate, up, down, intermediate);
  if (config_.traits.mlp == MlpKind::plain) {
    Value* inner = map1(graph(), config_.traits.activation, linear(x, up, config_.hidden, intermediate, bias));
    return linear(inner, down, intermediate, config_.hidden, bias);
  }
  Value* both = linear(x, up, config_.hidden, 2 * intermediate, bias);
  Value* opened = map1(graph(), config_.traits.activation, slice_axis(graph(), both, 1, 0, intermediate));
  Value* inner = map2(graph(), MapOp::mul, opened, slice_axis(graph(), both, 1, intermediate, intermediate));
  return linear(inner, down, intermediate, config_.hidden, bias);
}

// How much each expert counts for each token, [tokens, experts]: 0 for those that were not chosen.
Value* Layers::routing(Value* x, const std::string& layer) const {
  const MixtureOfExperts& moe = config_.moe;
  const std::string router = layer + std::string(config_.names.router);
  Value* scores =
      weights_.product(x, {router, config_.hidden, moe.experts, config_.traits.transposed, MatrixRole::router});
  Value* shares = graph().emit(Softmax{1, false, false}, {cast(graph(), scores, DType::f32)});
  Node* top = graph().append(TopK{Dim(moe.top_k), 1, true, true}, {shares}, 2, layer + "top_k");
  Value* chosen = top->output(0);
  if (moe.renormalise) chosen = map2(graph(), MapOp::div, chosen, reduce(graph(), ReduceKind::sum, chosen, {1}, true));
  Value* none = broadcast_to(graph(), scalar(graph(), 0, DType::f32), shares->shape());
  Value* spread = graph().emit(ScatterElements{1, ScatterReduction::none}, {none, top->output(1), chosen});
  return cast(graph(), spread, x->dtype());
}

// Every expert runs on every token, and counts for nothing where it was not chosen: experts / top_k times the work that
// is needed, until there is a product over groups of rows.
Value* Layers::experts(Value* x, const std::string& layer) const {
  const MixtureOfExperts& moe = config_.moe;
  const Names& names = config_.names;
  Value* weights = routing(x, layer);
  Value* sum = nullptr;
  for (int64_t expert = 0; expert < moe.experts; ++expert) {
    const std::string prefix = layer + std::string(names.experts) + std::to_string(expert) + ".";
    Value* y = gated_mlp(x, prefix + std::string(names.expert_gate), prefix + std::string(names.expert_up),
                         prefix + std::string(names.expert_down), moe.intermediate);
    y = map2(graph(), MapOp::mul, y, slice_axis(graph(), weights, 1, expert, 1));
    sum = sum == nullptr ? y : map2(graph(), MapOp::add, sum, y);
  }
  if (moe.shared_intermediate == 0) return sum;
  const std::string shared = layer + std::string(names.shared);
  Value* y = gated_mlp(x, shared + std::string(names.expert_gate), shared + std::string(names.expert_up),
                       shared + std::string(names.expert_down), moe.shared_intermediate);
  Value* gate = weights_.product(
      x, {layer + std::string(names.shared_gate), config_.hidden, 1, config_.traits.transposed, MatrixRole::router});
  return map2(graph(), MapOp::add, sum, map2(graph(), MapOp::mul, y, map1(graph(), MapOp::sigmoid, gate)));
}

}  // namespace lathe::checkpoint
