#include "tools/llm_inspect.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "checkpoint/decoder.h"
#include "checkpoint/encoder.h"
#include "checkpoint/seq2seq.h"
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
  double source = 0;   // and of one state of an encoder
  double step = 0;     // bytes that a step works in
  double free = 0;     // bytes of the device
};

// Scales, zeros and orders of rounded weights.
bool is_parameter_of_rounding(const Node& constant) {
  const auto users = constant.output()->users();
  return std::any_of(users.begin(), users.end(), [&](const Node* user) {
    if (const auto* grouped = user->as<GroupedMatMul>()) {
      const auto inputs = user->inputs();
      const auto at = std::find(inputs.begin(), inputs.end(), constant.output()) - inputs.begin();
      return (static_cast<size_t>(at) - kGroupedOperands) % operands_of_group(*grouped) != 0;
    }
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

// What one sequence with `tokens` new ones works in, activations and scratch memory, which share room.
double step_bytes(const CompiledModel& model, DeviceContext& device, int64_t tokens) {
  SymbolBindings symbols;
  for (const auto& [name, value] : {std::pair{"tokens", tokens},
                                    {"sequences", int64_t{1}},
                                    {"rows", int64_t{1}},
                                    {"table_blocks", tokens},
                                    {"blocks", tokens},
                                    {"source_tokens", int64_t{1}},
                                    {"source_table_blocks", int64_t{1}},
                                    {"source_blocks", int64_t{1}}})
    symbols.bind(name, value);
  std::vector<std::vector<int64_t>> dims;
  for (const Value* input : model.graph->inputs()) dims.push_back(symbols.evaluate(input->type().shape));
  std::vector<TensorRef> inputs;
  for (size_t i = 0; i < dims.size(); ++i)
    inputs.push_back({nullptr, model.graph->inputs()[i]->dtype(), dims[i], true, nullptr});
  const Wiring wiring(*model.graph, model.program);
  const auto prepared = prepare(wiring, {.inputs = inputs, .counted = {}}, {}, device);
  return static_cast<double>(prepared->placement->arena_bytes);
}

double source_bytes(const checkpoint::DecoderInfo& info) {
  const int64_t columns = CacheRows{info.cache, info.source.head_dim, info.block_size}.columns();
  return static_cast<double>(storage_bytes(info.cache, 2 * info.layers * info.source.heads * columns));
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

// The decoder, and what it needs with the encoder that there may be. A matrix that both hold is one in the file, but
// each has it in its own engine.
checkpoint::Decoder read_decoder(const checkpoint::Checkpoint& folder, const llm::EngineOptions& engine, Needs& needs) {
  checkpoint::DecoderOptions options = llm::decoder_options(engine, folder);
  options.weights.sizes_only = true;
  checkpoint::Decoder decoder;
  if (checkpoint::is_seq2seq(folder)) {
    checkpoint::Seq2Seq model = checkpoint::build_seq2seq(folder, options);
    count_weights(*model.encoder.graph, needs);
    decoder = std::move(model.decoder);
    needs.source = source_bytes(decoder.info);
  } else {
    decoder = checkpoint::build_decoder(folder, options);
  }
  count_weights(*decoder.graph, needs);
  needs.token = token_bytes(decoder.info);
  return decoder;
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
  Needs needs;
  checkpoint::Decoder decoder = read_decoder(checkpoint::Checkpoint::open(folder), engine, needs);
  const checkpoint::DecoderInfo info = decoder.info;
  const CompiledModel model = compile(std::move(decoder.graph), options.compile_options());
  const auto device = model.backend->make_context({.threads = options.thread_count()});
  needs.step = step_bytes(model, *device, llm::EngineOptions{}.step_tokens);
  needs.free = static_cast<double>(device->free_bytes());
  const double source = needs.source * static_cast<double>(info.source.max_length);
  const double context = needs.token * static_cast<double>(info.max_positions) + source;
  const bool fits = needs.weights + context + needs.step <= needs.free;

  Table table({{""}, {"", Table::Align::right}, {""}});
  table.add_row(
      {"weights", format_bytes(needs.weights), format_count(static_cast<double>(needs.parameters)) + " parameters"});
  table.add_row({"keys, values", format_bytes(needs.token), fmt::format("a token, in {}", to_string(info.cache))});
  table.add_row({"", format_bytes(context), fmt::format("a context of {} tokens", info.max_positions)});
  if (source > 0)
    table.add_row({"", format_bytes(source), fmt::format("of it, for a source of {} states", info.source.max_length)});
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
                  {"source_context", info.source.max_length},
                  {"parameters", needs.parameters},
                  {"weight_bytes", needs.weights},
                  {"kv_dtype", to_string(info.cache)},
                  {"kv_bytes_per_token", needs.token},
                  {"kv_bytes_per_source_state", needs.source},
                  {"step_bytes", needs.step},
                  {"free_bytes", needs.free},
                  {"fits", fits},
                  {"unused_tensors", info.unused_tensors}});
}

}  // namespace lathe::tools
