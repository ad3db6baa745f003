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
                         const std::string& norm_name, int64_t intermediate) const {
  const bool bias = config_.traits.biases.mlp;
  Value* opened = activate(graph(), config_.traits.activation, linear(x, gate, config_.hidden, intermediate, bias));
  Value* inner = map2(graph(), MapOp::mul, opened, linear(x, up, config_.hidden, intermediate, bias));
  if (!norm_name.empty()) inner = norm(inner, norm_name, intermediate);
  return linear(inner, down, intermediate, config_.hidden, bias);
}

Value* Layers::mlp(Value* x, const std::string& layer) const {
  const Names& names = config_.names;
  const std::string gate = layer + std::string(names.gate), up = layer + std::string(names.up),
                    down = layer + std::string(names.down);
  const int64_t intermediate = config_.intermediate;
  const bool bias = config_.traits.biases.mlp;
  if (config_.traits.mlp == MlpKind::gated) {
    const std::string norm = names.mlp_norm.empty() ? std::string() : layer + std::string(names.mlp_norm);
    return gated_mlp(x, gate, up, down, norm, intermediate);
  }
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

Layers::Routes Layers::routing(Value* x, const std::string& layer) const {
  const MixtureOfExperts& moe = config_.moe;
  const std::string router = layer + std::string(config_.names.router);
  Value* scores =
      weights_.product(x, {router, config_.hidden, moe.experts, config_.traits.transposed, MatrixRole::router});
  scores = cast(graph(), scores, DType::f32);
  if (config_.traits.biases.router)
    scores = map2(graph(), MapOp::add, scores, weights_.f32(router + ".bias", {moe.experts}));
  const auto routes = [&](Value* chosen, Value* shares) {
    return Routes{chosen, cast(graph(), scaled(shares, moe.scale), x->dtype())};
  };
  if (moe.nearness > 0) {
    const Routes mixed = mixed_routing(scores);
    return routes(mixed.chosen, mixed.shares);
  }
  scores = moe.sigmoid ? map1(graph(), MapOp::sigmoid, scores) : graph().emit(Softmax{1, false, false}, {scores});
  Value* merits = scores;
  if (moe.corrected) {
    const std::string name = layer + std::string(config_.names.router_correction);
    merits = map2(graph(), MapOp::add, merits, weights_.f32(name, weights_.dims(name, {moe.experts})));
    merits = reshape(graph(), merits, scores->shape());
  }
  if (moe.top_groups < moe.groups) merits = best_groups(merits);
  Node* top = graph().append(TopK{Dim(moe.top_k), 1, true, true}, {merits}, 2, layer + "top_k");
  Value* shares = moe.corrected ? graph().emit(GatherElements{1}, {scores, top->output(1)}) : top->output(0);
  if (moe.renormalise) shares = map2(graph(), MapOp::div, shares, reduce(graph(), ReduceKind::sum, shares, {1}, true));
  return routes(top->output(1), shares);
}

// SparseMixer: an expert that has been picked, or whose score is not near the best one's, drops out of the softmax.
Layers::Routes Layers::mixed_routing(Value* scores) const {
  constexpr double kOut = -1e30;
  const auto number = [&](double value) { return scalar(graph(), value, DType::f32); };
  Value* zeros = broadcast_to(graph(), number(0), scores->shape());
  Value* open = scores;
  std::vector<Value*> chosen, shares;
  for (int64_t pick = 0; pick < config_.moe.top_k; ++pick) {
    Node* top = graph().append(TopK{Dim(1), 1, true, true}, {open}, 2);
    Value *best = top->output(0), *index = top->output(1);
    Value* size = map2(graph(), MapOp::max, map1(graph(), MapOp::abs, scores), best);
    Value* distance = map2(graph(), MapOp::div, map2(graph(), MapOp::sub, best, scores), size);
    Value* far = cast(graph(), map2(graph(), MapOp::gt, distance, number(config_.moe.nearness)), DType::f32);
    Value* near = map2(graph(), MapOp::add, open, scaled(far, kOut));
    chosen.push_back(index);
    shares.push_back(graph().emit(GatherElements{1}, {graph().emit(Softmax{1, false, false}, {near}), index}));
    Value* out = broadcast_to(graph(), number(kOut), index->shape());
    Value* picked = graph().emit(ScatterElements{1, ScatterReduction::none}, {zeros, index, out});
    open = map2(graph(), MapOp::add, open, picked);
  }
  return {concat(graph(), chosen, 1), concat(graph(), shares, 1)};
}

// The scores of the best groups of experts; in the others one below all, as a correction may make scores negative.
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
  constexpr double kOut = 1e30;
  Value* penalty = scaled(map2(graph(), MapOp::sub, in_best, scalar(graph(), 1, DType::f32)), kOut);
  Value* kept = map2(graph(), MapOp::add, grouped, reshape(graph(), penalty, {tokens, moe.groups, 1}));
  return reshape(graph(), kept, scores->shape());
}

// Of x [tokens, 1 or top_k, in], with the matrices that the experts have under `name`: each its own, or a stack of
// them.
Value* Layers::grouped_linear(Value* x, Value* chosen, const std::string& layer, std::string_view name, int64_t in,
                              int64_t out, bool transposed) const {
  const bool stacked = config_.moe.store != ExpertStore::each;
  const std::string prefix = fmt::format("{}{}", layer, config_.names.experts);
  if (stacked) weights_.unstack(prefix + std::string(name), config_.moe.experts);
  std::vector<Matrix> matrices;
  std::vector<Value*> biases;
  for (int64_t i = 0; i < config_.moe.experts; ++i) {
    const std::string matrix =
        stacked ? fmt::format("{}{}.{}", prefix, name, i) : fmt::format("{}{}.{}", prefix, i, name);
    matrices.push_back({matrix, in, out, transposed});
    if (config_.traits.biases.mlp) biases.push_back(reshape(graph(), weights_.vector(matrix + ".bias", out), {1, out}));
  }
  Value* y = weights_.grouped_product(x, chosen, matrices);
  if (biases.empty()) return y;
  return map2(graph(), MapOp::add, y, graph().emit(Gather{0}, {concat(graph(), biases, 0), chosen}));
}

// [tokens, top_k, hidden]
Value* Layers::chosen_experts(Value* x, Value* chosen, const std::string& layer) const {
  const Names& names = config_.names;
  const MixtureOfExperts& moe = config_.moe;
  const bool each = moe.store == ExpertStore::each, swapped = moe.store == ExpertStore::stacked_transposed;
  const bool opens_swapped = each ? config_.traits.transposed : swapped;
  const bool closes_swapped = each ? config_.traits.transposed : moe.store != ExpertStore::stacked;
  const auto open = [&](std::string_view name, int64_t columns) {
    return grouped_linear(x, chosen, layer, name, config_.hidden, columns, opens_swapped);
  };
  Value* inner = nullptr;
  if (names.expert_gate.empty()) {
    inner = opened(open(names.expert_up, 2 * moe.intermediate), moe.intermediate);
  } else {
    Value* gate = activate(graph(), config_.traits.activation, open(names.expert_gate, moe.intermediate));
    inner = map2(graph(), MapOp::mul, gate, open(names.expert_up, moe.intermediate));
  }
  return grouped_linear(inner, chosen, layer, names.expert_down, moe.intermediate, config_.hidden, closes_swapped);
}

// What comes out of a joint matrix, gates before the others or in turn with them, becomes what goes into the next.
Value* Layers::opened(Value* both, int64_t intermediate) const {
  const Activation activation = config_.traits.activation;
  const double limit = config_.moe.swiglu_limit;
  const int64_t axis = both->type().rank() - 1;
  if (limit == 0) {
    Value* gate = activate(graph(), activation, slice_axis(graph(), both, axis, 0, intermediate));
    return map2(graph(), MapOp::mul, gate, slice_axis(graph(), both, axis, intermediate, intermediate));
  }
  Shape one = both->shape(), pair = both->shape();
  one.back() = pair.back() = intermediate;
  pair.push_back(2);
  Value* pairs = reshape(graph(), both, pair);
  const auto part = [&](int64_t index) {
    return reshape(graph(), slice_axis(graph(), pairs, axis + 1, index, 1), one);
  };
  const auto number = [&](double value) { return scalar(graph(), value, both->dtype()); };
  Value* gate = map2(graph(), MapOp::min, part(0), number(limit));
  Value* up = map2(graph(), MapOp::max, map2(graph(), MapOp::min, part(1), number(limit)), number(-limit));
  return map2(graph(), MapOp::mul, activate(graph(), activation, gate), map2(graph(), MapOp::add, up, number(1)));
}

Value* Layers::experts(Value* x, const std::string& layer) const {
  const MixtureOfExperts& moe = config_.moe;
  const Routes routes = routing(x, layer);
  const Dim tokens = x->shape()[0];
  Value* rows = reshape(graph(), x, {tokens, 1, config_.hidden});
  Value* shares = reshape(graph(), routes.shares, {tokens, moe.top_k, 1});
  const auto weighted = [&](Value* of) { return map2(graph(), MapOp::mul, of, shares); };
  Value* y = moe.scaled_inputs ? chosen_experts(weighted(rows), routes.chosen, layer)
                               : weighted(chosen_experts(rows, routes.chosen, layer));
  Value* sum = reduce(graph(), ReduceKind::sum, y, {1}, false);
  return moe.shared_intermediate == 0 ? sum : map2(graph(), MapOp::add, sum, shared_expert(x, layer));
}

// The one that all tokens go through.
Value* Layers::shared_expert(Value* x, const std::string& layer) const {
  const MixtureOfExperts& moe = config_.moe;
  const Names& names = config_.names;
  const bool own = !names.shared_up.empty();
  const auto part = [&](std::string_view name) { return fmt::format("{}{}{}", layer, names.shared, name); };
  const std::string_view gate = own ? names.shared_open : names.expert_gate;
  const std::string up = part(own ? names.shared_up : names.expert_up),
                    down = part(own ? names.shared_down : names.expert_down);
  Value* y = gate.empty() ? stacked_mlp(x, up, down, moe.shared_intermediate)
                          : gated_mlp(x, part(gate), up, down, {}, moe.shared_intermediate);
  if (moe.shared_gate) {
    const std::string name = layer + std::string(names.shared_gate);
    Value* share = weights_.product(x, {name, config_.hidden, 1, config_.traits.transposed, MatrixRole::router});
    y = map2(graph(), MapOp::mul, y, map1(graph(), MapOp::sigmoid, share));
  }
  return y;
}

}  // namespace lathe::checkpoint
