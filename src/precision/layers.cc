#include "precision/layers.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/glob.h"
#include "passes/rewrite.h"

namespace lathe::precision {
namespace {

using passes::producer_as;

constexpr int64_t kLeastTable = 1024;  // elements of weights below which storing them narrower is not worth a cast

std::vector<size_t> first_operands(size_t count) {
  std::vector<size_t> operands(count);
  std::iota(operands.begin(), operands.end(), size_t{0});
  return operands;
}

bool is_big_constant(const Value* value) {
  const Tensor* tensor = passes::constant_tensor(value);
  if (tensor == nullptr) return false;
  return tensor->elements() >= kLeastTable;
}

// A number that hides positions must stay as large as it is: what is computed from integers and constants alone.
bool is_mask(const Node& map) {
  return std::none_of(map.inputs().begin(), map.inputs().end(), [](const Value* input) {
    return is_float(input->dtype()) && producer_as<Constant>(input) == nullptr;
  });
}

// It computes (and so has a result), and every value that the type would change is f32 but for weights that are stored
// in 16 bits, and of known rank.
bool computes_in_f32(const Node& node) {
  const auto is_plain_f32 = [](const Value* value) {
    return value->type().is_tensor() && value->type().ranked && value->dtype() == DType::f32;
  };
  const std::vector<size_t> operands = computed_operands(node);
  return !operands.empty() && is_plain_f32(node.output()) &&
         std::all_of(operands.begin(), operands.end(),
                     [&](size_t i) { return is_plain_f32(node.input(i)) || is_half_constant(node.input(i)); });
}

class LadderMaker {
 public:
  LadderMaker(const PrecisionSupport& support, const PrecisionOptions& options)
      : support_(support), options_(options) {}

  std::vector<LayerType> ladder(const Node& node) const {
    std::vector<LayerType> rungs;
    if (!computes_in_f32(node)) return rungs;
    const bool halves = can_be_half(node);
    for (const DType type : options_.types)
      if (is_byte_type(type) && can_be_bytes(node, type)) rungs.push_back({type, halves ? half_result() : DType::f32});
    if (halves)
      for (const DType type : options_.types)
        if (bit_width(type) == 16) rungs.push_back({type, support_.narrow_activations ? type : DType::f32});
    if (!rungs.empty()) rungs.push_back({});
    return rungs;
  }

 private:
  DType half_result() const {
    const auto half =
        std::find_if(options_.types.begin(), options_.types.end(), [](DType type) { return bit_width(type) == 16; });
    return half != options_.types.end() && support_.narrow_activations ? *half : DType::f32;
  }

  bool can_be_bytes(const Node& node, DType type) const {
    if (!has_constant_weights(node)) return false;
    if (node.is<Conv>()) return type == DType::i8 && support_.quantized_convolutions && node.as<Conv>()->pad_value == 0;
    return node.input(0)->shape().size() >= 2 && (type != DType::f8e4m3 || is_float8_size(node.input(1)->shape()));
  }

  bool is_float8_size(const Shape& weights) const {
    return std::all_of(weights.begin(), weights.end(),
                       [&](const Dim& dim) { return dim.value() % support_.float8_multiple == 0; });
  }

  bool can_be_half(const Node& node) const {
    if (!support_.narrow_activations) {
      if (!node.is<MatMul>() && !node.is<Conv>() && !node.is<Embedding>()) return false;
      return is_big_constant(node.input(1)) && !is_half_constant(node.input(1));
    }
    if (const Map* map = node.as<Map>(); map != nullptr && is_mask(node)) return false;
    if (node.is<Gather>()) return is_big_constant(node.input(0));
    return true;
  }

  const PrecisionSupport& support_;
  const PrecisionOptions& options_;
};

// Applies the rules that match: the last one wins.
void apply_rules(const Node& node, const PrecisionOptions& options, Layer& layer, std::vector<bool>& used) {
  const std::vector<LayerType> ladder = layer.ladder;
  for (size_t r = 0; r < options.rules.size(); ++r) {
    const LayerRule& rule = options.rules[r];
    if (!glob_matches(rule.pattern, node.name()) && !glob_matches(rule.pattern, node.output()->name())) continue;
    used[r] = true;
    const auto rung =
        std::find_if(ladder.begin(), ladder.end(), [&](const LayerType& type) { return type.compute == rule.type; });
    if (rung != ladder.end()) layer.ladder = {*rung};
  }
}

}  // namespace

bool is_byte_type(DType type) { return type == DType::i8 || type == DType::f8e4m3; }

bool has_constant_weights(const Node& node) {
  const Tensor* weights = nullptr;
  if (const MatMul* op = node.as<MatMul>(); op != nullptr && !op->trans_a) {
    weights = passes::constant_tensor(node.input(1));
    if (weights != nullptr && weights->rank() != 2) return false;
  } else if (node.is<Conv>()) {
    weights = passes::constant_tensor(node.input(1));
  }
  return weights != nullptr && (weights->dtype() == DType::f32 || is_half(weights->dtype()));
}

bool is_half_constant(const Value* value) {
  const Tensor* tensor = value != nullptr ? passes::constant_tensor(value) : nullptr;
  return tensor != nullptr && is_half(tensor->dtype());
}

bool has_one_range(const Node& node, DType type, const PrecisionSupport& support, bool static_activations) {
  if (node.is<Conv>() || (static_activations && type == DType::i8)) return true;
  return support.narrow_activations && producer_as<MatMul>(node.input(0)) != nullptr;
}

std::vector<size_t> computed_operands(const Node& node) {
  if (node.is<MatMul>() || node.is<Conv>() || node.is<ConvTranspose>()) return {0, 1};
  if (node.is<Attention>()) return {0, 1, 2};
  if (node.is<Softmax>() || node.is<Pool>() || node.is<Reduce>() || node.is<Rotary>() || node.is<GroupNorm>() ||
      node.is<Gather>())
    return {0};
  if (const Resize* resize = node.as<Resize>(); resize != nullptr) return {0};
  if (const Norm* norm = node.as<Norm>()) return first_operands(static_cast<size_t>(norm->num_x));
  if (const Embedding* embedding = node.as<Embedding>()) {
    std::vector<size_t> tables;
    for (int64_t i = 0; i < embedding->num_tables; ++i) tables.push_back(static_cast<size_t>(2 * i + 1));
    return tables;
  }
  if (node.is<Map>() && node.output()->dtype() == DType::f32) {
    std::vector<size_t> floats;
    for (size_t i = 0; i < node.inputs().size(); ++i)
      if (node.input(i)->dtype() == DType::f32) floats.push_back(i);
    return floats;
  }
  return {};
}

std::vector<size_t> moved_operands(const Node& node) {
  if (node.is<Reshape>() || node.is<Transpose>() || node.is<Slice>() || node.is<ReverseSequence>() ||
      node.is<Gather>() || node.is<GatherElements>() || node.is<GatherNd>())
    return {0};
  if (node.is<Concat>()) return first_operands(node.inputs().size());
  if (node.is<Pad>()) return node.input(1) != nullptr ? std::vector<size_t>{0, 1} : std::vector<size_t>{0};
  return {};
}

std::vector<Layer> find_layers(const Graph& graph, const PrecisionSupport& support, const PrecisionOptions& options) {
  const LadderMaker maker(support, options);
  std::vector<Layer> layers;
  std::vector<bool> used(options.rules.size(), false);
  size_t place = 0;
  for (const auto& node : graph.nodes()) {
    Layer layer{place++, maker.ladder(*node)};
    if (layer.ladder.empty()) continue;
    apply_rules(*node, options, layer, used);
    layers.push_back(std::move(layer));
  }
  for (size_t r = 0; r < used.size(); ++r)
    if (!used[r])
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("no layer that could be narrower matches '{}'", options.rules[r].pattern))
          .remedy("`lathe inspect --layers` lists names; '*' stands for anything");
  return layers;
}

}  // namespace lathe::precision
