// From a checkpoint folder, or the files of an ONNX decoder, to an engine.
#include "llm/open.h"

#include <filesystem>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/encoder.h"
#include "checkpoint/seq2seq.h"
#include "llm/engine.h"
#include "llm/graph_model.h"
#include "llm/onnx_files.h"
#include "llm/page_decoder.h"
#include "llm/past_model.h"
#include "llm/recommendation.h"
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
  model.swap_memory = static_cast<size_t>(options.swap_memory);
  model.blocks = options.blocks;
  model.sequences = options.max_sequences;
  model.may_shorten = options.context == 0;
  return model;
}

SchedulerOptions scheduler_options(const StepModel& model, const EngineOptions& options) {
  const ModelFacts& facts = model.facts();
  return {.blocks = facts.blocks,
          .source_blocks = facts.source_blocks,
          .saved_blocks = model.saved_blocks(),
          .block_size = facts.block_size,
          .step_tokens = options.step_tokens,
          .max_sequences = options.max_sequences,
          .prefix_cache = options.prefix_cache,
          .sampling_threads = options.threads > 0 ? options.threads : default_thread_count()};
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

std::unique_ptr<Engine> finish(EngineParts parts) {
  if (parts.text != nullptr) parts.decoders = [text = parts.text.get()] { return text->decoder(); };
  return std::make_unique<Engine>(std::make_unique<Engine::Impl>(std::move(parts)));
}

std::unique_ptr<Engine> open_checkpoint(const std::string& folder, const EngineOptions& options) {
  const auto checkpoint = checkpoint::Checkpoint::open(folder);
  if (checkpoint::is_encoder(checkpoint))
    throw Error(ErrorCode::unsupported, fmt::format("{}: an encoder, which writes no text", folder))
        .remedy("`lathe run`, `classify` and `fill-mask` take its folder");
  checkpoint::DecoderInfo info;
  auto model = open_model(checkpoint, options, info);
  EngineParts parts;
  parts.recommended =
      read_recommendation(checkpoint.config(), checkpoint.generation_config(), checkpoint::is_seq2seq(checkpoint));
  parts.text = ModelText::load(folder, info, options.tokenizer);
  parts.scheduler = scheduler_options(*model, options);
  parts.model = std::move(model);
  return finish(std::move(parts));
}

// The tokenizer beside an ONNX decoder, and which tokens end texts where nothing else says so.
std::unique_ptr<ModelText> read_text(const OnnxFiles& files, const EngineOptions& options,
                                     checkpoint::DecoderInfo& info) {
  auto text = ModelText::load(files.folder, info, options.tokenizer);
  if (text != nullptr && info.eos_ids.empty() && text->eos()) info.eos_ids = {*text->eos()};
  return text;
}

// A decoder that keeps its keys and values itself.
std::unique_ptr<PastModel> open_past(const OnnxFiles& files, const checkpoint::ConfigTexts& texts,
                                     const checkpoint::DecoderInfo& info, const EngineOptions& options) {
  if (options.kv_dtype)
    throw Error(ErrorCode::unsupported, "the decoder keeps its keys and values itself, in the types of its file")
        .remedy("Leave their type out");
  if (options.gpu_memory > 0)
    throw Error(ErrorCode::unsupported, "the decoder keeps its keys and values itself, and is on the GPU as a whole")
        .remedy("Leave the budget out, or open the checkpoint that it was exported from");
  std::optional<checkpoint::SourceEncoder> encoder;
  if (!files.encoder.empty()) encoder = import_onnx_encoder(files, read_onnx_source(files.folder));
  auto model =
      std::make_unique<PastModel>(import_onnx_decoder(files), info, model_options(options), std::move(encoder));
  const int64_t vocabulary = model->facts().vocabulary;
  model->use_rules(files.encoder.empty() ? read_generation_rules(texts, vocabulary)
                                         : read_seq2seq_rules(texts, vocabulary));
  return model;
}

std::unique_ptr<Engine> open_onnx(const OnnxFiles& files, const EngineOptions& options) try {
  constexpr int64_t kUsualContext = 2048;  // where nothing says how long sequences may become
  if (options.dtype)
    throw Error(ErrorCode::unsupported, "an ONNX decoder computes in the types of its file")
        .remedy("Leave the type out, or open the checkpoint that it was exported from");
  if (options.weight_bits != 0)
    throw Error(ErrorCode::unsupported, "the weights of an ONNX decoder are not rounded while it is opened")
        .remedy("Open the checkpoint that it was exported from, or round the file with `lathe quantize`");
  const std::string config = read_config(files.folder), generation_config = read_generation_config(files.folder);
  const checkpoint::ConfigTexts texts{config, generation_config, files.folder};
  checkpoint::DecoderInfo info = read_onnx_info(files.folder);
  if (options.context > 0) info.max_positions = options.context;
  if (info.max_positions <= 0) info.max_positions = kUsualContext;
  EngineParts parts;
  parts.recommended = read_recommendation(config, generation_config, !files.encoder.empty());
  std::optional<checkpoint::Decoder> decoder;
  if (files.encoder.empty()) decoder = page_decoder(files, info, {options.block_size, options.kv_dtype});
  if (decoder) {
    parts.text = read_text(files, options, decoder->info);
    decoder->info.rules = read_generation_rules(texts, decoder->info.vocab);
    parts.model = std::make_unique<GraphModel>(std::move(*decoder), model_options(options));
    parts.scheduler = scheduler_options(*parts.model, options);
    return finish(std::move(parts));
  }
  auto model = open_past(files, texts, info, options);
  checkpoint::DecoderInfo known = model->info();
  parts.text = read_text(files, options, known);
  model->use_eos(known.eos_ids);
  parts.scheduler = scheduler_options(*model, options);
  if (model->wants_whole_prompts()) parts.scheduler.step_tokens = model->facts().context * options.max_sequences;
  parts.model = std::move(model);
  return finish(std::move(parts));
} catch (Error& error) {
  throw error.file().empty() ? error.in_file(files.first.string()) : error;
}

// Parts of checkpoints are no models by themselves, nor are files of other programs.
void refuse_parts(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return;
  if (path.extension() == ".gguf")
    throw Error(ErrorCode::unsupported, fmt::format("{}: GGUF files are not read", path.string()))
        .remedy("Give the folder of the checkpoint that it was made from, with --int4 or --int8");
  for (const std::string_view part : {".safetensors", ".bin", ".json", ".model"})
    if (path.extension() == part)
      throw Error(ErrorCode::invalid_argument, fmt::format("{} is one file of a checkpoint", path.string()))
          .remedy("Give the folder that it is in");
}

}  // namespace

checkpoint::DecoderOptions decoder_options(const EngineOptions& options, const checkpoint::Checkpoint& checkpoint) {
  checkpoint::DecoderOptions decoder;
  decoder.compute = options.dtype.value_or(on_host(options) ? DType::f32 : checkpoint::suitable_half(checkpoint));
  decoder.cache = options.kv_dtype.value_or(on_host(options) ? DType::f32 : decoder.compute);
  decoder.block_size = options.block_size;
  decoder.max_positions = options.context;
  decoder.weights.bits = options.weight_bits;
  decoder.weights.group = options.weight_group;
  decoder.weights.round_activations = options.round_activations.value_or(options.weight_bits != 0);
  decoder.weights.threads = options.threads > 0 ? options.threads : default_thread_count();
  const auto is_wide = [](DType type) { return type == DType::f32 || is_half(type); };
  if (!is_wide(decoder.compute))
    fail(ErrorCode::unsupported, "language models are computed in f32, f16 or bf16, not in {}",
         to_string(decoder.compute));
  if (!is_wide(decoder.cache) && decoder.cache != DType::i8 && decoder.cache != DType::f8e4m3)
    fail(ErrorCode::unsupported, "keys and values are kept in f32, f16, bf16, i8 or f8e4m3, not in {}",
         to_string(decoder.cache));
  return decoder;
}

Recommendation recommendation_of(const std::filesystem::path& model) {
  refuse_parts(model);
  if (const auto files = find_onnx_files(model))
    return read_recommendation(read_config(files->folder), read_generation_config(files->folder),
                               !files->encoder.empty());
  const auto checkpoint = checkpoint::Checkpoint::open(model);
  return read_recommendation(checkpoint.config(), checkpoint.generation_config(), checkpoint::is_seq2seq(checkpoint));
}

std::unique_ptr<Engine> Engine::open(const std::string& path, const EngineOptions& options) {
  refuse_parts(path);
  if (const auto files = find_onnx_files(path)) return open_onnx(*files, options);
  return open_checkpoint(path, options);
}

}  // namespace lathe::llm
