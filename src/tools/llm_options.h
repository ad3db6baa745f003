// The options that commands for language models share: how a checkpoint folder is opened, and how tokens are chosen.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lathe/llm.h"
#include "tools/console.h"

namespace CLI {  // NOLINT(readability-identifier-naming): as the library spells it
class App;
}

namespace lathe::tools {

struct WeightArgs {
  bool int8 = false, int4 = false;
  int64_t group = 0;
  std::string activations = "auto";

  int bits() const { return int4 ? 4 : int8 ? 8 : 0; }
};

// --int8, --int4, --group; with the width of activations, --activations. `what` begins their descriptions.
void add_rounding_options(CLI::App& app, WeightArgs& args, const std::string& what = "");
void add_weight_options(CLI::App& app, WeightArgs& args, const std::string& what = "");

struct LlmOptions {
  std::string folder;
  std::string dtype = "auto", kv_dtype = "auto";
  WeightArgs weights;
  bool no_prefix_cache = false;
  llm::EngineOptions engine;  // what has no text of its own above
};

// --kv, also as --kv-dtype.
void add_kv_option(CLI::App& app, std::string& type);
// "auto": none. Throws Error(invalid_argument).
std::optional<DType> parse_kv_dtype(const std::string& text);

// DIR, --device, --isa, --threads, --dtype, --kv, the options of weights, --context, --block-size, --chunk,
// --no-prefix-cache.
void add_llm_options(CLI::App& app, LlmOptions& options);

// Shows what is going on while the model is read and compiled.
std::unique_ptr<llm::Engine> open_llm(const LlmOptions& options, Console& console);

struct GenerationOptions {
  bool greedy = false;
  // Without a value, the model's own recommendation holds.
  std::optional<double> temperature, top_p, min_p, typical_p, repetition_penalty;
  std::optional<int64_t> top_k, max_tokens;
  std::optional<int> beams, n;
  std::optional<double> length_penalty;
  std::optional<std::string> early_stopping;
  std::vector<std::string> logit_bias;  // "ID=BIAS"
  llm::Request request;                 // what has no text of its own above

  // The request without its prompt. Throws Error(invalid_argument) for texts that do not parse.
  llm::Request make_request(const llm::Recommendation& recommended) const;
};

// --max-tokens and how tokens are chosen: --greedy, --temperature, --top-k .. --stop, --ignore-eos, --seed.
void add_sampling_options(CLI::App& app, GenerationOptions& options);
// --beams, --length-penalty, --early-stopping.
void add_beam_options(CLI::App& app, GenerationOptions& options);
// --n, --logprobs.
void add_report_options(CLI::App& app, GenerationOptions& options);

// The next token of a request; Ctrl-C ends the wait with Error(cancelled).
std::optional<llm::Token> next_token(llm::Generation& generation);

// "12 tokens in 34.5 ms (347 tokens/s)" for prompt and answers, a line of --stats each.
void note_speed(Console& console, size_t prompt_tokens, const llm::Result& result);

}  // namespace lathe::tools
