// From a checkpoint folder to an engine.
#include "llm/open.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "llm/engine.h"
#include "llm/graph_model.h"
#include "runtime/engine.h"
#include "runtime/session.h"

namespace lathe::llm {
namespace {

bool on_host(const EngineOptions& options) { return !cuda_ordinal(options.device); }

GraphModelOptions model_options(const EngineOptions& options) {
  lathe::EngineOptions engine;
  engine.device = options.device;
  engine.isa = options.isa;
  engine.kernel_cache = options.kernel_cache;
  GraphModelOptions model;
  model.compile = to_compile_options(engine);
  model.compile.uniform_rows = options.deterministic;
  model.session.threads = options.threads;
  model.device_budget = static_cast<size_t>(on_host(options) ? 0 : options.gpu_memory);
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

}  // namespace

checkpoint::DecoderOptions decoder_options(const EngineOptions& options) {
  const DType wide = on_host(options) ? DType::f32 : DType::f16;
  checkpoint::DecoderOptions decoder;
  decoder.compute = options.dtype.value_or(wide);
  decoder.cache = options.kv_dtype.value_or(on_host(options) ? DType::f32 : decoder.compute);
  decoder.block_size = options.block_size;
  decoder.max_positions = options.context;
  const auto is_wide = [](DType type) { return type == DType::f32 || is_half(type); };
  if (!is_wide(decoder.compute))
    fail(ErrorCode::unsupported, "language models are computed in f32, f16 or bf16, not in {}",
         to_string(decoder.compute));
  if (!is_wide(decoder.cache) && decoder.cache != DType::i8 && decoder.cache != DType::f8e4m3)
    fail(ErrorCode::unsupported, "keys and values are kept in f32, f16, bf16, i8 or f8e4m3, not in {}",
         to_string(decoder.cache));
  return decoder;
}

std::unique_ptr<Engine> Engine::open(const std::string& folder, const EngineOptions& options) {
  const auto checkpoint = checkpoint::Checkpoint::open(folder);
  checkpoint::Decoder decoder = checkpoint::build_decoder(checkpoint, decoder_options(options));
  EngineParts parts;
  parts.recommended = recommended_sampling(checkpoint.generation_config());
  parts.text = ModelText::load(folder, decoder.info);
  if (parts.text != nullptr) parts.decoders = [text = parts.text.get()] { return text->decoder(); };
  auto model = std::make_unique<GraphModel>(std::move(decoder), model_options(options));
  parts.scheduler = {.blocks = model->facts().blocks,
                     .block_size = model->facts().block_size,
                     .step_tokens = options.step_tokens,
                     .max_sequences = options.max_sequences,
                     .prefix_cache = options.prefix_cache,
                     .sampling_threads = options.threads > 0 ? options.threads : default_thread_count()};
  parts.model = std::move(model);
  return std::make_unique<Engine>(std::make_unique<Impl>(std::move(parts)));
}

}  // namespace lathe::llm
