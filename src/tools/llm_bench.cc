#include "tools/llm_bench.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <random>

#include "base/error.h"
#include "tools/interrupt.h"
#include "tools/llm_profile.h"
#include "tools/progress.h"
#include "tools/table.h"
#include "tools/units.h"

namespace lathe::tools {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

// Random prompts, the same ones whenever they are asked for. They share blocks with others of their salt only.
std::vector<llm::Request> make_requests(const llm::Engine& engine, int64_t batch, int64_t prompt, int64_t answer,
                                        const std::string& salt) {
  std::mt19937 random;
  const llm::ModelFacts& facts = engine.facts();
  const int64_t vocabulary = facts.source_context > 0 ? facts.source_vocabulary : facts.vocabulary;
  std::uniform_int_distribution<int32_t> id(0, static_cast<int32_t>(vocabulary) - 1);
  std::vector<llm::Request> requests(static_cast<size_t>(batch));
  for (llm::Request& request : requests) {
    if (facts.mel_bins > 0)
      request.features.resize(static_cast<size_t>(facts.mel_bins * facts.frames));  // silence
    else
      for (int64_t i = 0; i < prompt; ++i) request.prompt.push_back(id(random));
    const auto end = std::min(facts.prompt_end.size(), request.prompt.size());
    std::copy_n(facts.prompt_end.end() - static_cast<std::ptrdiff_t>(end), end,
                request.prompt.end() - static_cast<std::ptrdiff_t>(end));
    request.max_tokens = answer;
    request.cache_salt = salt;
    request.sampling.temperature = 0;
    request.ignore_eos = true;
  }
  return requests;
}

struct Run {
  Clock::time_point begun, end;
  std::vector<std::vector<Clock::time_point>> tokens;  // of each request
};

Run run_all(llm::Engine& engine, std::vector<llm::Request> requests) {
  Run run;
  run.tokens.resize(requests.size());
  run.begun = Clock::now();
  std::vector<llm::Generation> generations;
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].on_token = [&times = run.tokens[i]](const llm::Token&) { times.push_back(Clock::now()); };
    generations.push_back(engine.submit(std::move(requests[i])));
  }
  for (llm::Generation& generation : generations) {
    while (next_token(generation)) continue;
    generation.wait();
  }
  run.end = Clock::now();
  return run;
}

// Tokens a second while all requests are past their first token.
double decode_speed(const Run& run) {
  Clock::time_point all_begun = run.begun;
  for (const auto& times : run.tokens) all_begun = std::max(all_begun, times.front());
  int64_t counted = 0;
  for (const auto& times : run.tokens)
    counted += std::count_if(times.begin(), times.end(), [&](Clock::time_point time) { return time > all_begun; });
  return static_cast<double>(counted) / seconds_between(all_begun, run.end);
}

struct Speeds {
  double prompt = 0, answer = 0;  // tokens a second
  double host_us = 0;             // of a step while answers grow, beside the model
};

// What is measured comes after a run that prepares sizes and touches memory. Answers find their prompts in the cache.
Speeds measure_batch(llm::Engine& engine, const LlmBenchOptions& options, int64_t batch) {
  const auto requests = [&](int64_t answer, const std::string& salt) {
    return make_requests(engine, batch, options.prompt, answer, salt);
  };
  run_all(engine, requests(2, fmt::format("warm {}", batch)));
  const std::string salt = std::to_string(batch);
  const Run prefill = run_all(engine, requests(1, salt));
  const llm::StepTimes before = engine.step_times();
  Speeds speeds;
  speeds.answer = decode_speed(run_all(engine, requests(options.answer, salt)));
  const llm::StepTimes after = engine.step_times();
  speeds.prompt = static_cast<double>(batch * options.prompt) / seconds_between(prefill.begun, prefill.end);
  speeds.host_us = (after.host_ms - before.host_ms) * 1000 / static_cast<double>(after.steps - before.steps);
  return speeds;
}

// All requests at once, as many served at a time as the engine serves; beside that what the same shapes take in batches
// of as many, prompts first, then answers side by side to the end.
nlohmann::json measure_requests(llm::Engine& engine, const LlmBenchOptions& options, int64_t batch, const Speeds& alone,
                                Console& console) {
  const auto count = static_cast<double>(options.requests);
  const double batches = count * static_cast<double>(options.prompt) / alone.prompt +
                         count * static_cast<double>(options.answer) / alone.answer;
  const Run run =
      run_all(engine, make_requests(engine, options.requests, options.prompt, options.answer, "one after the other"));
  const double seconds = seconds_between(run.begun, run.end), tokens = count * static_cast<double>(options.answer);
  console.print("{} requests, {} at a time: {} answer tokens/s; in whole batches {} ({} %)\n", options.requests, batch,
                format_number(tokens / seconds), format_number(tokens / batches),
                format_number(100 * batches / seconds));
  return {{"requests", options.requests},
          {"at_a_time", batch},
          {"seconds", seconds},
          {"seconds_in_batches", batches},
          {"answer_tokens_per_second", tokens / seconds}};
}

// A prompt, then an answer behind it.
nlohmann::json profile(llm::Engine& engine, const LlmBenchOptions& options, Console& console) {
  LlmProfile profile(engine);
  const auto run = [&](int64_t answer) {
    run_all(engine, make_requests(engine, 1, options.prompt, answer, "profile"));
  };
  run(1);
  nlohmann::json of_prompt = profile.take("prompt", 1, console);
  run(options.answer);
  return {{"prompt", std::move(of_prompt)},
          {"token", profile.take("token of an answer", static_cast<double>(options.answer), console)}};
}

}  // namespace

void add_llm_bench_options(CLI::App& app, LlmBenchOptions& options) {
  const auto add = [&](const char* name, int64_t& value, const char* text) {
    app.add_option(name, value, text)
        ->type_name("N")
        ->check(CLI::Range(int64_t{2}, int64_t{1} << 30).description(""))
        ->each([&options](const std::string&) { options.asked = true; });
  };
  add("--pp", options.prompt, "Of a language model: tokens of a prompt (default 512)");
  add("--tg", options.answer, "Of a language model: tokens of an answer (default 128)");
  app.add_option("--batch", options.batches, "Of a language model: requests at a time (default 1)")
      ->type_name("1,8,64..")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{1}, int64_t{4096}).description(""));
  app.add_option("--dtype", options.dtype, "Of a checkpoint: type that it is computed in (default auto)")
      ->type_name("auto|fp32|fp16|bf16");
  add("--requests", options.requests,
      "Of a checkpoint: also so many requests at once, of which the largest batch is served at a time");
  add_kv_option(app, options.kv_dtype);
  add_weight_options(app, options.weights, "Of a checkpoint: ");
}

void bench_llm(const LlmOptions& llm, const LlmBenchOptions& options, Console& console) {
  using Align = Table::Align;
  LlmOptions open = llm;
  open.dtype = options.dtype;
  open.kv_dtype = options.kv_dtype;
  open.weights = options.weights;
  open.engine.context = options.prompt + options.answer;
  open.engine.max_sequences = *std::max_element(options.batches.begin(), options.batches.end());
  const auto engine = open_llm(open, console);
  Progress progress(console);
  Table table({{"batch", Align::right},
               {"prompt tokens/s", Align::right},
               {"answer tokens/s", Align::right},
               {"us/step of the host", Align::right}});
  nlohmann::json results = nlohmann::json::array();
  Speeds of_largest;
  for (const int64_t batch : options.batches) {
    progress.show(fmt::format("{} at a time", batch));
    const Speeds speeds = measure_batch(*engine, options, batch);
    if (batch == open.engine.max_sequences) of_largest = speeds;
    table.add_row({std::to_string(batch), format_number(speeds.prompt), format_number(speeds.answer),
                   format_number(speeds.host_us)});
    results.push_back({{"batch", batch},
                       {"prompt_tokens", options.prompt},
                       {"answer_tokens", options.answer},
                       {"prompt_tokens_per_second", speeds.prompt},
                       {"answer_tokens_per_second", speeds.answer},
                       {"host_us_per_step", speeds.host_us}});
  }
  progress.clear();
  console.print("{}", table.render(console));
  nlohmann::json document = {{"model", llm.folder}, {"device", llm.engine.device}, {"results", results}};
  if (options.profile) document["layers"] = profile(*engine, options, console);
  if (options.requests > 0)
    document["requests"] = measure_requests(*engine, options, open.engine.max_sequences, of_largest, console);
  console.result(document);
}

}  // namespace lathe::tools
