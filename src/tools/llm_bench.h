// How fast a language model is: prompts (`pp` tokens each) and answers (`tg` tokens each, behind such prompts), for one
// or more requests at a time; and for many requests that take each other's places, beside as many in batches that begin
// and end together.
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
  int64_t requests = 0;  // 0: only batches
  std::string dtype = "auto", kv_dtype = "auto";
  WeightArgs weights;
  bool profile = false;
  bool asked = false;  // for prompts or answers of some length: then a file is a decoder, not just a graph
};

// --pp, --tg, --batch, --requests, --dtype, --kv, and the options of weights.
void add_llm_bench_options(CLI::App& app, LlmBenchOptions& options);

// Prints a table; the result is an array with an object per batch. `llm` names folder and device.
void bench_llm(const LlmOptions& llm, const LlmBenchOptions& options, Console& console);

}  // namespace lathe::tools
