#include "tools/llm_options.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <charconv>

#include "base/error.h"
#include "tools/interrupt.h"
#include "tools/model_options.h"
#include "tools/progress.h"
#include "tools/units.h"

namespace lathe::tools {
namespace {

// Also as PyTorch calls them.
std::optional<DType> parse_wide(const std::string& text) {
  if (text == "fp32" || text == "f32" || text == "float32" || text == "float") return DType::f32;
  if (text == "fp16" || text == "f16" || text == "float16" || text == "half") return DType::f16;
  if (text == "bf16" || text == "bfloat16") return DType::bf16;
  return std::nullopt;
}

std::optional<DType> parse_dtype(const std::string& text) {
  const std::optional<DType> type = parse_wide(text);
  if (type || text == "auto") return type;
  throw Error(ErrorCode::invalid_argument, fmt::format("--dtype '{}' is unknown", text))
      .remedy("Known: auto, fp32, fp16, bf16");
}

template <class T>
bool parse_number(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

std::pair<int32_t, float> parse_bias(const std::string& text) {
  const size_t equals = text.find('=');
  std::pair<int32_t, float> bias;
  if (equals == std::string::npos || !parse_number(std::string_view(text).substr(0, equals), bias.first) ||
      !parse_number(std::string_view(text).substr(equals + 1), bias.second))
    fail(ErrorCode::invalid_argument, "'{}' is no bias; write ID=BIAS, as in 42=-1.5", text);
  return bias;
}

llm::BeamOptions::Stop parse_stop(const std::string& text) {
  if (text == "heuristic") return llm::BeamOptions::Stop::heuristic;
  if (text == "first") return llm::BeamOptions::Stop::first;
  if (text == "never") return llm::BeamOptions::Stop::never;
  throw Error(ErrorCode::invalid_argument, fmt::format("--early-stopping '{}' is unknown", text))
      .remedy("Known: heuristic, first, never");
}

// `Value` is T or an optional one.
template <class Value, class T>
CLI::Option* add_number(CLI::App& app, const std::string& name, Value& value, T low, T high, const std::string& text) {
  return app.add_option(name, value, text)->type_name("N")->check(CLI::Range(low, high).description(""));
}

void add_size(CLI::App& app, const std::string& name, int64_t& bytes, const std::string& text) {
  app.add_option(name, bytes, text)
      ->type_name("8GiB|500MB..")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/true).description(""));
}

constexpr int64_t kMany = 1'000'000'000;

std::optional<bool> parse_activations(const std::string& text) {
  if (text == "auto") return std::nullopt;
  if (text == "int8") return true;
  if (text == "float") return false;
  throw Error(ErrorCode::invalid_argument, fmt::format("--activations '{}' is unknown", text))
      .remedy("Known: auto, int8, float");
}

}  // namespace

std::optional<DType> parse_kv_dtype(const std::string& text) {
  if (text == "int8") return DType::i8;
  if (text == "fp8") return DType::f8e4m3;
  const std::optional<DType> type = parse_wide(text);
  if (type || text == "auto") return type;
  throw Error(ErrorCode::invalid_argument, fmt::format("--kv '{}' is unknown", text))
      .remedy("Known: auto, fp32, fp16, bf16, int8, fp8");
}

void add_kv_option(CLI::App& app, std::string& type) {
  app.add_option("--kv,--kv-dtype", type, "Type of a language model's cached keys and values (default: auto)")
      ->type_name("auto|fp32|fp16|bf16|int8|fp8");
}

void add_rounding_options(CLI::App& app, WeightArgs& args, const std::string& what) {
  auto* int8 = app.add_flag("--int8", args.int8, what + "Round weights to 8 bits, with a scale for each row");
  app.add_flag("--int4", args.int4, what + "Round weights to 4 bits, with a scale for each --group of a row")
      ->excludes(int8);
  add_number(app, "--group", args.group, int64_t{1}, kMany,
             what + "Columns that share a scale (default: 128 of 4 bits, all of 8)");
}

void add_weight_options(CLI::App& app, WeightArgs& args, const std::string& what) {
  add_rounding_options(app, args, what);
  app.add_option("--activations", args.activations,
                 what + "What rounded weights are multiplied with (default auto: int8 with --int8 and --int4)")
      ->type_name("auto|int8|float");
}

void add_llm_options(CLI::App& app, LlmOptions& options) {
  app.add_option("DIR", options.folder, "Folder with config.json, weights and tokenizer; or an ONNX decoder")
      ->required();
  app.add_option("--tokenizer", options.engine.tokenizer, "Tokenizer, a file or folder (default: beside the model)")
      ->type_name("PATH");
  add_device_option(app, "--device", options.engine.device, "Where to run");
  app.add_option("--isa", options.engine.isa, "Instruction set of the CPU kernels (default: the machine's best)")
      ->type_name("generic|avx2|avx512");
  add_number(app, "--threads", options.engine.threads, 1, 1024, "Threads (default: one per physical core)");
  app.add_option("--dtype", options.dtype, "Type that the model is computed in (default: auto)")
      ->type_name("auto|fp32|fp16|bf16");
  add_kv_option(app, options.kv_dtype);
  add_weight_options(app, options.weights);
  add_number(app, "--context", options.engine.context, int64_t{1}, kMany,
             "Tokens of prompt and answer together (default: what the model was made for)");
  add_number(app, "--block-size", options.engine.block_size, int64_t{1}, int64_t{4096},
             "Tokens of a block of the cache (default 16)");
  add_number(app, "--blocks", options.engine.blocks, int64_t{1}, kMany, "Blocks of the cache (default: as needed)");
  add_number(app, "--chunk", options.engine.step_tokens, int64_t{1}, kMany,
             "Tokens that one step computes at most (default 512)");
  add_size(app, "--gpu-memory", options.engine.gpu_memory,
           "What the model may take of a GPU's memory; layers that do not fit stream from the host (default: all)");
  add_size(app, "--swap-memory", options.engine.swap_memory,
           "Host memory for requests that wait while the cache is full (default: they are computed again)");
  app.add_flag("--deterministic", options.engine.deterministic,
               "The same bits whatever else is served and however prompts are cut; slower");
  app.add_flag("--no-prefix-cache", options.no_prefix_cache, "Compute prompts that begin alike each time");
}

std::unique_ptr<llm::Engine> open_llm(const LlmOptions& options, Console& console) {
  Progress progress(console);
  progress.show("opening " + options.folder);
  llm::EngineOptions engine = options.engine;
  engine.dtype = parse_dtype(options.dtype);
  engine.kv_dtype = parse_kv_dtype(options.kv_dtype);
  if (options.weights.group > 0 && options.weights.bits() == 0)
    throw Error(ErrorCode::invalid_argument, "--group says how weights are rounded, which nothing asks for")
        .remedy("Add --int4 or --int8");
  engine.weight_bits = options.weights.bits();
  engine.weight_group = options.weights.group;
  engine.round_activations = parse_activations(options.weights.activations);
  engine.prefix_cache = !options.no_prefix_cache;
  engine.kernel_cache = kernel_cache_folder().string();
  auto opened = llm::Engine::open(options.folder, engine);
  progress.clear();
  if (!opened->facts().note.empty()) console.note("{}", opened->facts().note);
  return opened;
}

void add_sampling_options(CLI::App& app, GenerationOptions& options) {
  llm::SamplingOptions& sampling = options.request.sampling;
  add_number(app, "--max-tokens", options.max_tokens, int64_t{1}, kMany,
             "Tokens of an answer (default: the model's own, else 256)");
  app.add_flag("--greedy", options.greedy, "Always the likeliest token");
  add_number(app, "--min-tokens", options.request.min_tokens, int64_t{0}, kMany,
             "Tokens of an answer before it may end (default: as generation_config.json says)");
  add_number(app, "--no-repeat-ngram", options.request.no_repeat_ngram, int64_t{0}, kMany,
             "No N tokens stand in a row twice (default: as generation_config.json says)");
  add_number(app, "--temperature", options.temperature, 0.0, 100.0,
             "Flattens what is likely; 0: greedy (default: the model's own, else 1)");
  add_number(app, "--top-k", options.top_k, int64_t{0}, kMany,
             "Only the N likeliest tokens; 0: all (default: the model's own, else 0)");
  add_number(app, "--top-p", options.top_p, 0.0, 1.0,
             "Only the likeliest that together reach N (default: the model's own, else 1)");
  add_number(app, "--min-p", options.min_p, 0.0, 1.0,
             "Only those with N times the likeliest's probability (default: the model's own, else 0)");
  add_number(app, "--typical", options.typical_p, 0.0, 1.0,
             "Only the most typical that together reach N (default: the model's own, else 1)");
  add_number(app, "--repetition-penalty", options.repetition_penalty, 0.001, 1000.0,
             "Divides the scores of tokens that were there before (default: the model's own, else 1)");
  add_number(app, "--presence-penalty", sampling.presence_penalty, -100.0, 100.0,
             "Taken from the scores of tokens in the answer (default 0)");
  add_number(app, "--frequency-penalty", sampling.frequency_penalty, -100.0, 100.0,
             "The same for each time that they are in it (default 0)");
  app.add_option("--logit-bias", options.logit_bias, "Added to the score of a token; repeatable")
      ->type_name("ID=BIAS")
      ->allow_extra_args(false);
  app.add_option("--seed", sampling.seed, "The same seed draws the same (default 0)")->type_name("N");
  app.add_option("--stop", options.request.stop, "Text that ends the answer and is no part of it; repeatable")
      ->type_name("TEXT")
      ->allow_extra_args(false);
  app.add_flag("--ignore-eos", options.request.ignore_eos, "Go on where the model would end");
}

void add_beam_options(CLI::App& app, GenerationOptions& options) {
  add_number(app, "--beams", options.beams, 1, 4096,
             "Beam search with N beams; 1: none (default: as generation_config.json says, else 1)");
  add_number(app, "--length-penalty", options.length_penalty, -100.0, 100.0,
             "Of beams: scores are divided by length^N (default: the model's own, else 1)");
  app.add_option("--early-stopping", options.early_stopping,
                 "Of beams: when nothing better is likely, at the first N finished, or never early (default: the "
                 "model's own, else heuristic)")
      ->type_name("heuristic|first|never");
}

void add_report_options(CLI::App& app, GenerationOptions& options) {
  add_number(app, "--n", options.n, 1, 4096, "Answers to each prompt (default: the model's own, else 1)");
  add_number(app, "--logprobs", options.request.sampling.logprobs, 0, 1000, "Report the N likeliest of each place");
}

llm::Request GenerationOptions::make_request(const llm::Recommendation& recommended) const {
  llm::Request made = request;
  // Who says how to draw wants to draw, also from a model that would rather not; and no beams, which do not.
  const bool says_how = temperature || top_k || top_p || min_p || typical_p;
  made.beam = recommended.beam;
  made.beam.beams = beams.value_or(greedy || says_how ? 1 : recommended.beam.beams);
  made.beam.length_penalty = length_penalty.value_or(recommended.beam.length_penalty);
  if (early_stopping) made.beam.stop = parse_stop(*early_stopping);
  const bool searches = made.beam.beams > 1;
  const llm::SamplingOptions& sampling = recommended.sampling;
  const bool draws = says_how || (n.value_or(1) > 1 && !searches);
  const double usual = sampling.temperature > 0 || !draws ? sampling.temperature : 1;
  made.sampling.temperature = greedy ? 0 : temperature.value_or(usual);
  made.sampling.top_k = top_k.value_or(sampling.top_k);
  made.sampling.top_p = top_p.value_or(sampling.top_p);
  made.sampling.min_p = min_p.value_or(sampling.min_p);
  made.sampling.typical_p = typical_p.value_or(sampling.typical_p);
  made.sampling.repetition_penalty = repetition_penalty.value_or(sampling.repetition_penalty);
  for (const std::string& bias : logit_bias) made.sampling.logit_bias.push_back(parse_bias(bias));
  // Without beams and draws there is one answer.
  const int usual_n = searches                        ? std::min(recommended.n, made.beam.beams)
                      : made.sampling.temperature > 0 ? recommended.n
                                                      : 1;
  made.n = n.value_or(usual_n);
  made.max_tokens = max_tokens ? *max_tokens : recommended.max_tokens.value_or(made.max_tokens);
  return made;
}

std::optional<llm::Token> next_token(llm::Generation& generation) {
  while (!generation.ready(std::chrono::milliseconds(50))) check_interrupted();
  check_interrupted();
  return generation.next();
}

void note_speed(Console& console, size_t prompt_tokens, const llm::Result& result) {
  size_t answers = 0;
  for (const llm::Choice& choice : result.choices) answers += choice.tokens.size();
  const llm::Timing& timing = result.timing;
  const auto line = [&](const char* what, double tokens, double milliseconds) {
    console.note("{:<8}{:>7} tokens  {:>10}{}", what, tokens, format_time(milliseconds),
                 milliseconds > 0 ? fmt::format("  {} tokens/s", format_number(tokens / milliseconds * 1000)) : "");
  };
  line("prefill", static_cast<double>(prompt_tokens) - static_cast<double>(timing.cached_tokens), timing.prefill_ms);
  // The first token comes with the prefill.
  line("decode", static_cast<double>(answers) - static_cast<double>(result.choices.size()), timing.decode_ms);
}

}  // namespace lathe::tools
