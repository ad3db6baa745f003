// The parts that every model is made of, as nodes of its graph: linear layers, norms, MLPs, experts. Activations are
// [tokens, features]; names are those of the checkpoint without ".weight" and ".bias".
#pragma once

#include <string>
#include <utility>

#include "checkpoint/model_config.h"
#include "checkpoint/weights.h"

namespace lathe::checkpoint {

class Layers {
 public:
  Layers(Weights& weights, const ModelConfig& config) : weights_(weights), config_(config) {}

  Graph& graph() const { return weights_.graph(); }
  // x times the transpose of the matrix [out, in] (or times [in, out], where the family stores that), plus the bias.
  Value* linear(Value* x, const std::string& name, int64_t in, int64_t out, bool bias) const;
  // Over the last axis, of `size` features.
  Value* norm(Value* x, const std::string& name, int64_t size) const { return norm(x, name, size, config_.epsilon); }
  Value* norm(Value* x, const std::string& name, int64_t size, double epsilon) const;
  // A parameter of layers, whole by its name.
  Value* f32(const std::string& name, std::vector<int64_t> dims) const { return weights_.f32(name, std::move(dims)); }
  // Scale and bias of a norm, f32, or null. Files that were once TensorFlow's call them gamma and beta.
  std::pair<Value*, Value*> norm_parameters(const std::string& name, int64_t size) const;
  // Of x [tokens, heads, size]: each head has a scale of its own, a row of one matrix or a vector by its number.
  Value* norm_each(Value* x, const std::string& name, int64_t heads, int64_t size) const;
  // `layer` is the prefix of the names of a layer.
  Value* mlp(Value* x, const std::string& layer) const;
  Value* experts(Value* x, const std::string& layer) const;
  Value* scaled(Value* x, double factor) const;

 private:
  // `norm` of what goes into the last matrix; empty: none.
  Value* gated_mlp(Value* x, const std::string& gate, const std::string& up, const std::string& down,
                   const std::string& norm, int64_t intermediate) const;
  Value* stacked_mlp(Value* x, const std::string& joint, const std::string& down, int64_t intermediate) const;
  // The experts of each token and how much each counts, [tokens, top_k] both.
  struct Routes {
    Value *chosen, *shares;
  };
  Routes routing(Value* x, const std::string& layer) const;
  Routes mixed_routing(Value* scores) const;
  Value* xielu(Value* x, const std::string& layer) const;
  Value* best_groups(Value* scores) const;
  Value* grouped_linear(Value* x, Value* chosen, const std::string& layer, std::string_view name, int64_t in,
                        int64_t out, bool transposed) const;
  Value* chosen_experts(Value* x, Value* chosen, const std::string& layer) const;
  Value* shared_expert(Value* x, const std::string& layer) const;
  Value* opened(Value* both, int64_t intermediate) const;

  Weights& weights_;
  const ModelConfig& config_;
};

}  // namespace lathe::checkpoint
