#include "tools/llm_inspect.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "checkpoint/decoder.h"
#include "checkpoint/encoder.h"
#include "graph/bindings.h"
#include "graph/paged_cache.h"
#include "lathe/llm.h"
#include "llm/onnx_files.h"
#include "llm/open.h"
#include "runtime/prepared.h"
#include "tools/llm_options.h"
#include "tools/table.h"
#include "tools/units.h"

namespace lathe::tools {
namespace {

struct Needs {
  int64_t parameters = 0;
  double weights = 0;  // bytes, as they are in the graph
  double token = 0;    // bytes of one token's keys and values
  double step = 0;     // bytes that a step works in
  double free = 0;     // bytes of the device
};

// Scales, zeros and orders of rounded weights.
bool is_parameter_of_rounding(const Node& constant) {
  const auto users = constant.output()->users();
  return std::any_of(users.begin(), users.end(), [&](const Node* user) {
    return (user->is<MatMulNBits>() && user->input(1) != constant.output()) ||
           (user->is<Gather>() && user->input(1) == constant.output());
  });
}

void count_weights(const Graph& graph, Needs& needs) {
  for (const auto& node : graph.nodes())
    if (const auto* constant = std::get_if<Constant>(&node->op())) {
      const Tensor& value = constant->value;
      needs.weights += static_cast<double>(storage_bytes(value.dtype(), value.elements()));
      if (!is_parameter_of_rounding(*node)) needs.parameters += value.elements();
    }
}

// What one sequence with `tokens` new ones works in, activations and scratch memory.
double step_bytes(const CompiledModel& model, DeviceContext& device, int64_t tokens) {
  SymbolBindings symbols;
  for (const auto& [name, value] : {std::pair{"tokens", tokens},
                                    {"sequences", int64_t{1}},
                                    {"rows", int64_t{1}},
                                    {"table_blocks", tokens},
                                    {"blocks", tokens}})
    symbols.bind(name, value);
  std::vector<std::vector<int64_t>> dims;
  for (const Value* input : model.graph->inputs()) dims.push_back(symbols.evaluate(input->type().shape));
  std::vector<TensorRef> inputs;
  for (size_t i = 0; i < dims.size(); ++i)
    inputs.push_back({nullptr, model.graph->inputs()[i]->dtype(), dims[i], true, nullptr});
  const Wiring wiring(*model.graph, model.program);
  const auto prepared = prepare(wiring, {.inputs = inputs, .counted = {}}, {}, device);
  return static_cast<double>(prepared->activation_bytes + prepared->largest_workspace);
}

double token_bytes(const checkpoint::DecoderInfo& info) {
  int64_t columns = 0;
  for (const int64_t features : {info.head_dim, info.value_dim})
    columns += CacheRows{info.cache, features, info.block_size}.columns();
  return static_cast<double>(storage_bytes(info.cache, info.layers * info.kv_heads * columns));
}

// "lm_head.bias, h.0.rotary.inv_freq, .. (12 altogether)"
std::string list_some(const std::vector<std::string>& names) {
  constexpr size_t kShown = 3;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i) text += (i == 0 ? "" : ", ") + names[i];
  return names.size() <= kShown ? text : fmt::format("{}, .. ({} altogether)", text, names.size());
}

}  // namespace

bool is_checkpoint(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(std::filesystem::path(path) / "config.json", error) &&
         !checkpoint::is_encoder(checkpoint::Checkpoint::open(path));
}

bool is_language_model(const std::string& path) {
  std::error_code error;
  return is_checkpoint(path) || (std::filesystem::is_directory(path, error) && llm::find_onnx_files(path));
}

void inspect_llm(const std::string& folder, const ModelOptions& options, const WeightArgs& weights,
                 const std::string& kv_dtype, Console& console) {
  llm::EngineOptions engine;
  engine.device = options.device;
  engine.kv_dtype = parse_kv_dtype(kv_dtype);
  engine.weight_bits = weights.bits();
  engine.weight_group = weights.group;
  checkpoint::DecoderOptions decoder_options = llm::decoder_options(engine);
  decoder_options.weights.sizes_only = true;
  checkpoint::Decoder decoder = checkpoint::build_decoder(checkpoint::Checkpoint::open(folder), decoder_options);
  const checkpoint::DecoderInfo info = decoder.info;
  Needs needs;
  count_weights(*decoder.graph, needs);
  needs.token = token_bytes(info);
  const CompiledModel model = compile(std::move(decoder.graph), options.compile_options());
  const auto device = model.backend->make_context({.threads = options.thread_count()});
  needs.step = step_bytes(model, *device, llm::EngineOptions{}.step_tokens);
  needs.free = static_cast<double>(device->free_bytes());
  const double context = needs.token * static_cast<double>(info.max_positions);
  const bool fits = needs.weights + context + needs.step <= needs.free;

  Table table({{""}, {"", Table::Align::right}, {""}});
  table.add_row(
      {"weights", format_bytes(needs.weights), format_count(static_cast<double>(needs.parameters)) + " parameters"});
  table.add_row({"keys, values", format_bytes(needs.token), fmt::format("a token, in {}", to_string(info.cache))});
  table.add_row({"", format_bytes(context), fmt::format("a context of {} tokens", info.max_positions)});
  table.add_row({"a step", format_bytes(needs.step), fmt::format("of {} tokens", llm::EngineOptions{}.step_tokens)});
  table.add_row({"free", format_bytes(needs.free), fits ? "one context fits" : "one context does not fit"});
  console.print("{}  {}, {} layers, {} tokens\n{}", console.paint(Colour::bold, folder), info.family, info.layers,
                info.vocab, table.render(console));
  if (!info.unused_tensors.empty()) console.print("unused tensors: {}\n", list_some(info.unused_tensors));
  console.result({{"model", folder},
                  {"family", info.family},
                  {"layers", info.layers},
                  {"vocabulary", info.vocab},
                  {"context", info.max_positions},
                  {"parameters", needs.parameters},
                  {"weight_bytes", needs.weights},
                  {"kv_dtype", to_string(info.cache)},
                  {"kv_bytes_per_token", needs.token},
                  {"step_bytes", needs.step},
                  {"free_bytes", needs.free},
                  {"fits", fits},
                  {"unused_tensors", info.unused_tensors}});
}

}  // namespace lathe::tools
