#include "precision/layers.h"

#include <algorithm>
#include <numeric>
#include <span>

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
  explicit LadderMaker(const PrecisionSupport& support) : support_(support) {}

  std::vector<LayerType> ladder(const Node& node, std::span<const DType> types) const {
    std::vector<LayerType> rungs;
    if (!computes_in_f32(node)) return rungs;
    const DType beside_bytes = half_result(node, types);
    for (const DType type : types)
      if (is_byte_type(type) && can_be_bytes(node, type)) rungs.push_back({type, beside_bytes});
    for (const DType type : types)
      if (is_half(type) && can_be_half(node, type))
        rungs.push_back({type, support_.narrow_activations ? type : DType::f32});
    if (!rungs.empty()) rungs.push_back({});
    return rungs;
  }

 private:
  DType half_result(const Node& node, std::span<const DType> types) const {
    const auto half =
        std::find_if(types.begin(), types.end(), [&](DType type) { return is_half(type) && can_be_half(node, type); });
    return half != types.end() && support_.narrow_activations ? *half : DType::f32;
  }

  bool can_be_bytes(const Node& node, DType type) const {
    if (!has_constant_weights(node)) return false;
    if (const Conv* conv = node.as<Conv>())
      return type == DType::i8 && support_.quantized_convolutions && conv->pad_value == 0 && !is_depthwise(node);
    return node.input(0)->shape().size() >= 2 && (type != DType::f8e4m3 || is_float8_size(node.input(1)->shape()));
  }

  // One channel for each group: a few products for each number that is read, which are no faster in bytes.
  static bool is_depthwise(const Node& node) {
    return node.as<Conv>()->groups > 1 && node.input(1)->shape()[1] == Dim(1);
  }

  bool is_float8_size(const Shape& weights) const {
    return std::all_of(weights.begin(), weights.end(),
                       [&](const Dim& dim) { return dim.value() % support_.float8_multiple == 0; });
  }

  bool can_be_half(const Node& node, DType type) const {
    if (!support_.narrow_activations) {
      if (!node.is<MatMul>() && !node.is<Conv>() && !node.is<Embedding>()) return false;
      if (!is_big_constant(node.input(1))) return false;
      // Weights that are f16 already gain nothing but the products that some processors have for bf16.
      return !is_half_constant(node.input(1)) ||
             (node.is<MatMul>() && node.input(1)->dtype() == DType::f16 && type == DType::bf16);
    }
    if (const Map* map = node.as<Map>(); map != nullptr && is_mask(node)) return false;
    if (node.is<Gather>()) return is_big_constant(node.input(0));
    return true;
  }

  const PrecisionSupport& support_;
};

// What became of the rules.
struct RuleUse {
  bool matched = false, obeyed = false;
};

// The ladder under the rule that matches last: the rung that it names alone, where the layer can have it.
std::vector<LayerType> ruled_ladder(const LadderMaker& maker, const Node& node, const PrecisionOptions& options,
                                    std::vector<RuleUse>& uses) {
  const std::vector<DType> asked = asked_types(options);
  std::vector<LayerType> ladder = maker.ladder(node, options.types);
  for (size_t r = 0; r < options.rules.size(); ++r) {
    const LayerRule& rule = options.rules[r];
    if (!glob_matches(rule.pattern, node.name()) && !glob_matches(rule.pattern, node.output()->name())) continue;
    std::vector<DType> types = rule.type == DType::f32 ? asked : options.types;
    types.push_back(rule.type);
    const std::vector<LayerType> all = maker.ladder(node, types);
    uses[r].matched |= !all.empty();
    const auto rung =
        std::find_if(all.begin(), all.end(), [&](const LayerType& type) { return type.compute == rule.type; });
    if (rung == all.end()) continue;
    uses[r].obeyed = true;
    ladder = {*rung};
  }
  return ladder;
}

}  // namespace

std::vector<DType> asked_types(const PrecisionOptions& options) {
  std::vector<DType> types = options.types;
  for (const LayerRule& rule : options.rules)
    if (rule.type != DType::f32 && std::find(types.begin(), types.end(), rule.type) == types.end())
      types.push_back(rule.type);
  return types;
}

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
  const LadderMaker maker(support);
  std::vector<Layer> layers;
  std::vector<RuleUse> uses(options.rules.size());
  size_t place = 0;
  for (const auto& node : graph.nodes()) {
    Layer layer{place++, ruled_ladder(maker, *node, options, uses)};
    if (!layer.ladder.empty()) layers.push_back(std::move(layer));
  }
  for (size_t r = 0; r < uses.size(); ++r) {
    if (uses[r].obeyed) continue;
    const LayerRule& rule = options.rules[r];
    throw Error(ErrorCode::invalid_argument,
                uses[r].matched
                    ? fmt::format("no layer that matches '{}' can be {}", rule.pattern, type_name(rule.type))
                    : fmt::format("no layer that could be narrower matches '{}'", rule.pattern))
        .remedy("`lathe inspect --layers` lists names; '*' stands for anything");
  }
  return layers;
}

}  // namespace lathe::precision
