// From a checkpoint folder to an engine.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/decoder.h"
#include "checkpoint/seq2seq.h"
#include "llm/engine.h"
#include "llm/graph_model.h"
#include "runtime/engine.h"

namespace lathe::llm {
namespace {

bool on_host(const EngineOptions& options) { return !cuda_ordinal(options.device); }

checkpoint::DecoderOptions decoder_options(const EngineOptions& options, const checkpoint::Checkpoint& checkpoint) {
  const DType wide = on_host(options) ? DType::f32 : checkpoint::suitable_half(checkpoint);
  checkpoint::DecoderOptions decoder;
  decoder.compute = options.dtype.value_or(wide);
  decoder.cache = options.kv_dtype.value_or(on_host(options) ? DType::f32 : decoder.compute);
  decoder.block_size = options.block_size;
  decoder.max_positions = options.context;
  for (const DType type : {decoder.compute, decoder.cache})
    if (type != DType::f32 && !is_half(type))
      fail(ErrorCode::unsupported, "language models are computed in f32, f16 or bf16, not in {}", to_string(type));
  return decoder;
}

GraphModelOptions model_options(const EngineOptions& options) {
  lathe::EngineOptions engine;
  engine.device = options.device;
  engine.isa = options.isa;
  engine.kernel_cache = options.kernel_cache;
  GraphModelOptions model;
  model.compile = to_compile_options(engine);
  model.session.threads = options.threads;
  model.blocks = options.blocks;
  model.sequences = options.max_sequences;
  model.may_shorten = options.context == 0;
  return model;
}

SamplingOptions recommended_sampling(std::string_view generation_config) {
  SamplingOptions options;
  const auto config = nlohmann::json::parse(generation_config, nullptr, false);
  if (!config.is_object() || !config.contains("do_sample") || config["do_sample"] != true) return options;
  const auto read = [&](const char* name, auto& value) {
    if (config.contains(name) && config[name].is_number()) value = config[name];
  };
  read("temperature", options.temperature);
  read("top_k", options.top_k);
  read("top_p", options.top_p);
  read("min_p", options.min_p);
  read("typical_p", options.typical_p);
  read("repetition_penalty", options.repetition_penalty);
  return options;
}

std::unique_ptr<GraphModel> open_model(const checkpoint::Checkpoint& checkpoint, const EngineOptions& options,
                                       checkpoint::DecoderInfo& info) {
  const checkpoint::DecoderOptions how = decoder_options(options, checkpoint);
  if (checkpoint::is_seq2seq(checkpoint)) {
    checkpoint::Seq2Seq model = checkpoint::build_seq2seq(checkpoint, how);
    info = model.decoder.info;
    return std::make_unique<GraphModel>(std::move(model), model_options(options));
  }
  checkpoint::Decoder decoder = checkpoint::build_decoder(checkpoint, how);
  info = decoder.info;
  return std::make_unique<GraphModel>(std::move(decoder), model_options(options));
}

}  // namespace

std::unique_ptr<Engine> Engine::open(const std::string& folder, const EngineOptions& options) {
  const auto checkpoint = checkpoint::Checkpoint::open(folder);
  checkpoint::DecoderInfo info;
  auto model = open_model(checkpoint, options, info);
  EngineParts parts;
  parts.recommended = recommended_sampling(checkpoint.generation_config());
  parts.text = ModelText::load(folder, info);
  if (parts.text != nullptr) parts.decoders = [text = parts.text.get()] { return text->decoder(); };
  parts.scheduler = {.blocks = model->facts().blocks,
                     .source_blocks = model->facts().source_blocks,
                     .block_size = model->facts().block_size,
                     .step_tokens = options.step_tokens,
                     .max_sequences = options.max_sequences,
                     .prefix_cache = options.prefix_cache};
  parts.model = std::move(model);
  return std::make_unique<Engine>(std::make_unique<Impl>(std::move(parts)));
}

}  // namespace lathe::llm
