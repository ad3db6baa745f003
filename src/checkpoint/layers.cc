#include "checkpoint/layers.h"

#include <fmt/core.h>

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

Value* Layers::norm(Value* x, const std::string& name, int64_t size, double epsilon) const {
  const auto [scale, bias] = norm_parameters(name, size);
  return graph().emit(Norm{config_.traits.norm, x->type().rank() - 1, epsilon, 1, {}}, {x, scale, bias}, name);
}

Value* Layers::norm_each(Value* x, const std::string& name, int64_t heads, int64_t size) const {
  Value* scale = nullptr;
  const auto of_head = [&](int64_t head) { return fmt::format("{}.norms.{}.weight", name, head); };
  if (weights_.contains(of_head(0))) {
    std::vector<Value*> rows;
    for (int64_t head = 0; head < heads; ++head)
      rows.push_back(reshape(graph(), weights_.f32(of_head(head), {size}), {1, size}));
    scale = concat(graph(), rows, 0);
  } else {
    scale = weights_.f32(name + ".weight", {heads, size});
  }
  scale = cast(graph(), scale, x->dtype());
  Norm norm{config_.traits.norm, x->type().rank() - 1, config_.epsilon, 1, {}};
  return map2(graph(), MapOp::mul, graph().emit(norm, {x}, name), scale);
}

Value* Layers::scaled(Value* x, double factor) const {
  return factor == 1 ? x : map2(graph(), MapOp::mul, x, scalar(graph(), factor, x->dtype()));
}

Value* Layers::gated_mlp(Value* x, const std::string& gate, const std::string& up, const std::string& down,
                         int64_t intermediate) const {
  const bool bias = config_.traits.biases.mlp;
  Value* opened = activate(graph(), config_.traits.activation, linear(x, gate, config_.hidden, intermediate, bias));
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
    Value* wide = linear(x, up, config_.hidden, intermediate, bias);
    const bool learned = config_.traits.activation == Activation::xielu && !names.xielu.empty();
    Value* inner = learned ? xielu(wide, layer) : activate(graph(), config_.traits.activation, wide);
    return linear(inner, down, intermediate, config_.hidden, bias);
  }
  return stacked_mlp(x, up, down, intermediate);
}

// The gate's rows of the joint matrix stand above the others.
Value* Layers::stacked_mlp(Value* x, const std::string& joint, const std::string& down, int64_t intermediate) const {
  const bool bias = config_.traits.biases.mlp;
  Value* both = linear(x, joint, config_.hidden, 2 * intermediate, bias);
  return linear(opened(both, intermediate), down, intermediate, config_.hidden, bias);
}

// a x^2 + b x above 0, c (exp(x) - 1 - x) + b x below, with a = softplus(alpha_p), c = b + softplus(alpha_n).
Value* Layers::xielu(Value* x, const std::string& layer) const {
  const auto parameter = [&](std::string_view name) {
    const std::string whole = fmt::format("{}{}.{}", layer, config_.names.xielu, name);
    return reshape(graph(), cast(graph(), weights_.f32(whole, weights_.dims(whole, {1})), x->dtype()), {1});
  };
  const auto add = [&](Value* a, Value* b) { return map2(graph(), MapOp::add, a, b); };
  const auto times = [&](Value* a, Value* b) { return map2(graph(), MapOp::mul, a, b); };
  Value* beta = parameter("beta");
  Value* above = map1(graph(), MapOp::relu, x);
  Value* below = map2(graph(), MapOp::min, x, scalar(graph(), 0, x->dtype()));
  Value* curve = map2(graph(), MapOp::sub, map1(graph(), MapOp::expm1, below), below);
  Value* growth = times(map1(graph(), MapOp::softplus, parameter("alpha_p")), times(above, above));
  Value* decay = times(add(beta, map1(graph(), MapOp::softplus, parameter("alpha_n"))), curve);
  return add(add(growth, decay), times(beta, x));
}

// How much each expert counts for each token, [tokens, experts]: 0 for those that were not chosen.
Value* Layers::routing(Value* x, const std::string& layer) const {
  const MixtureOfExperts& moe = config_.moe;
  const std::string router = layer + std::string(config_.names.router);
  Value* scores =
      weights_.product(x, {router, config_.hidden, moe.experts, config_.traits.transposed, MatrixRole::router});
  scores = cast(graph(), scores, DType::f32);
  if (config_.traits.biases.router)
    scores = map2(graph(), MapOp::add, scores, weights_.f32(router + ".bias", {moe.experts}));
  if (moe.nearness > 0) return cast(graph(), mixed_routing(scores), x->dtype());
  scores = moe.sigmoid ? map1(graph(), MapOp::sigmoid, scores) : graph().emit(Softmax{1, false, false}, {scores});
  Value* merits = scores;
  if (moe.corrected) {
    const std::string name = layer + std::string(config_.names.router_correction);
    merits = map2(graph(), MapOp::add, merits, weights_.f32(name, weights_.dims(name, {moe.experts})));
    merits = reshape(graph(), merits, scores->shape());
  }
  if (moe.top_groups < moe.groups) merits = best_groups(merits);
  Node* top = graph().append(TopK{Dim(moe.top_k), 1, true, true}, {merits}, 2, layer + "top_k");
  Value* chosen = moe.corrected ? graph().emit(GatherElements{1}, {scores, top->output(1)}) : top->output(0);
  if (moe.renormalise) chosen = map2(graph(), MapOp::div, chosen, reduce(graph(), ReduceKind::sum, chosen, {1}, true));
  Value* none = broadcast_to(graph(), scalar(graph(), 0, DType::f32), scores->shape());
  Value* spread = graph().emit(ScatterElements{1, ScatterReduction::none}, {none, top->output(1), chosen});
  return cast(graph(), scaled(spread, moe.scale), x->dtype());
}

// SparseMixer: an expert that has been picked, or whose score is not near the best one's, drops out of the softmax.
Value* Layers::mixed_routing(Value* scores) const {
  constexpr double kOut = -1e30;
  const auto number = [&](double value) { return scalar(graph(), value, DType::f32); };
  Value* zeros = broadcast_to(graph(), number(0), scores->shape());
  Value *open = scores, *sum = zeros;
  for (int64_t pick = 0; pick < config_.moe.top_k; ++pick) {
    Node* top = graph().append(TopK{Dim(1), 1, true, true}, {open}, 2);
    Value *best = top->output(0), *index = top->output(1);
    Value* size = map2(graph(), MapOp::max, map1(graph(), MapOp::abs, scores), best);
    Value* distance = map2(graph(), MapOp::div, map2(graph(), MapOp::sub, best, scores), size);
    Value* far = cast(graph(), map2(graph(), MapOp::gt, distance, number(config_.moe.nearness)), DType::f32);
    Value* near = map2(graph(), MapOp::add, open, scaled(far, kOut));
    Value* share = graph().emit(GatherElements{1}, {graph().emit(Softmax{1, false, false}, {near}), index});
    const auto scattered = [&](Value* value) {
      return graph().emit(ScatterElements{1, ScatterReduction::none}, {zeros, index, value});
    };
    sum = map2(graph(), MapOp::add, sum, scattered(share));
    open = map2(graph(), MapOp::add, open, scattered(broadcast_to(graph(), number(kOut), index->shape())));
  }
  return sum;
}

// The scores of the best groups of experts; 0 in the others.
Value* Layers::best_groups(Value* scores) const {
  const MixtureOfExperts& moe = config_.moe;
  const Dim tokens = scores->shape()[0];
  Value* grouped = reshape(graph(), scores, {tokens, moe.groups, moe.experts / moe.groups});
  Node* leaders = graph().append(TopK{Dim(moe.group_leaders), 2, true, true}, {grouped}, 2);
  Value* merits = reduce(graph(), ReduceKind::sum, leaders->output(0), {2}, false);
  Node* best = graph().append(TopK{Dim(moe.top_groups), 1, true, true}, {merits}, 2);
  const auto filled = [&](double value, const Shape& shape) {
    return broadcast_to(graph(), scalar(graph(), value, DType::f32), shape);
  };
  Value* in_best = graph().emit(ScatterElements{1, ScatterReduction::none},
                                {filled(0, merits->shape()), best->output(1), filled(1, best->output(1)->shape())});
  Value* kept = map2(graph(), MapOp::mul, grouped, reshape(graph(), in_best, {tokens, moe.groups, 1}));
  return reshape(graph(), kept, scores->shape());
}

Value* Layers::expert(Value* x, const std::string& layer, int64_t expert) const {
  if (config_.moe.store != ExpertStore::each) return stacked_expert(x, layer, expert);
  const Names& names = config_.names;
  const std::string prefix = fmt::format("{}{}{}.", layer, names.experts, expert);
  return gated_mlp(x, prefix + std::string(names.expert_gate), prefix + std::string(names.expert_up),
                   prefix + std::string(names.expert_down), config_.moe.intermediate);
}

Value* Layers::stacked_expert(Value* x, const std::string& layer, int64_t expert) const {
  const Names& names = config_.names;
  const MixtureOfExperts& moe = config_.moe;
  const bool transposed = moe.store == ExpertStore::stacked_transposed;
  const auto product = [&](Value* of, std::string_view name, int64_t in, int64_t out, bool is_transposed) {
    const std::string stack = fmt::format("{}{}{}", layer, names.experts, name);
    weights_.unstack(stack, moe.experts);
    const std::string matrix = fmt::format("{}.{}", stack, expert);
    Value* y = weights_.product(of, {matrix, in, out, is_transposed});
    return config_.traits.biases.mlp ? map2(graph(), MapOp::add, y, weights_.vector(matrix + ".bias", out)) : y;
  };
  Value* inner = nullptr;
  if (names.expert_gate.empty()) {
    inner = opened(product(x, names.expert_up, config_.hidden, 2 * moe.intermediate, transposed), moe.intermediate);
  } else {
    Value* gate = product(x, names.expert_gate, config_.hidden, moe.intermediate, transposed);
    Value* up = product(x, names.expert_up, config_.hidden, moe.intermediate, transposed);
    inner = map2(graph(), MapOp::mul, activate(graph(), config_.traits.activation, gate), up);
  }
  return product(inner, names.expert_down, moe.intermediate, config_.hidden, moe.store != ExpertStore::stacked);
}

// What comes out of a joint matrix, gates before the others or in turn with them, becomes what goes into the next.
Value* Layers::opened(Value* both, int64_t intermediate) const {
  const Activation activation = config_.traits.activation;
  const double limit = config_.moe.swiglu_limit;
  if (limit == 0) {
    Value* gate = activate(graph(), activation, slice_axis(graph(), both, 1, 0, intermediate));
    return map2(graph(), MapOp::mul, gate, slice_axis(graph(), both, 1, intermediate, intermediate));
  }
  const Dim tokens = both->shape()[0];
  Value* pairs = reshape(graph(), both, {tokens, intermediate, 2});
  const auto part = [&](int64_t index) {
    return reshape(graph(), slice_axis(graph(), pairs, 2, index, 1), {tokens, intermediate});
  };
  const auto number = [&](double value) { return scalar(graph(), value, both->dtype()); };
  Value* gate = map2(graph(), MapOp::min, part(0), number(limit));
  Value* up = map2(graph(), MapOp::max, map2(graph(), MapOp::min, part(1), number(limit)), number(-limit));
  return map2(graph(), MapOp::mul, activate(graph(), activation, gate), map2(graph(), MapOp::add, up, number(1)));
}

// Every expert runs on every token, and counts for nothing where it was not chosen: experts / top_k times the work that
// is needed, until there is a product over groups of rows.
Value* Layers::experts(Value* x, const std::string& layer) const {
  const MixtureOfExperts& moe = config_.moe;
  const Names& names = config_.names;
  Value* weights = routing(x, layer);
  Value* sum = nullptr;
  for (int64_t i = 0; i < moe.experts; ++i) {
    Value* weight = slice_axis(graph(), weights, 1, i, 1);
    Value* y = moe.scaled_inputs ? expert(map2(graph(), MapOp::mul, x, weight), layer, i)
                                 : map2(graph(), MapOp::mul, expert(x, layer, i), weight);
    sum = sum == nullptr ? y : map2(graph(), MapOp::add, sum, y);
  }
  if (moe.shared_intermediate == 0) return sum;
  const bool own = !names.shared_up.empty();
  const auto part = [&](std::string_view name) { return fmt::format("{}{}{}", layer, names.shared, name); };
  const std::string_view gate = own ? names.shared_open : names.expert_gate;
  const std::string up = part(own ? names.shared_up : names.expert_up),
                    down = part(own ? names.shared_down : names.expert_down);
  Value* y = gate.empty() ? stacked_mlp(x, up, down, moe.shared_intermediate)
                          : gated_mlp(x, part(gate), up, down, moe.shared_intermediate);
  if (moe.shared_gate) {
    const std::string name = layer + std::string(names.shared_gate);
    Value* share = weights_.product(x, {name, config_.hidden, 1, config_.traits.transposed, MatrixRole::router});
    y = map2(graph(), MapOp::mul, y, map1(graph(), MapOp::sigmoid, share));
  }
  return map2(graph(), MapOp::add, sum, y);
}

}  // namespace lathe::checkpoint
