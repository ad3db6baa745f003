// How fast a language model is: prompts (`pp` tokens each) and answers (`tg` tokens each, behind such prompts), for one
// or more requests at a time.
#pragma once

#include <vector>

#include "tools/llm_options.h"

namespace CLI {  // NOLINT(readability-identifier-naming): as the library spells it
class App;
}

namespace lathe::tools {

struct LlmBenchOptions {
  int64_t prompt = 512, answer = 128;
  std::vector<int64_t> batches = {1};
  std::string dtype = "auto", kv_dtype = "auto";
  WeightArgs weights;
};

// --pp, --tg, --batch, --dtype, --kv-dtype, and the options of weights.
void add_llm_bench_options(CLI::App& app, LlmBenchOptions& options);

// Prints a table; the result is an array with an object per batch. `llm` names folder and device.
void bench_llm(const LlmOptions& llm, const LlmBenchOptions& options, Console& console);

}  // namespace lathe::tools
