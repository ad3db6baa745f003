// lathe generate: how does a language model go on?
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <charconv>
#include <cstring>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/npz.h"
#include "llm/recommendation.h"
#include "tools/command.h"
#include "tools/interrupt.h"
#include "tools/llm_options.h"

namespace lathe::tools {
namespace {

using nlohmann::json;

std::vector<int32_t> parse_ids(const std::string& text) {
  std::vector<int32_t> ids;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (true) {
    const auto [next, error] = std::from_chars(at, end, ids.emplace_back());
    if (error != std::errc() || (next != end && *next != ','))
      fail(ErrorCode::invalid_argument, "'{}' is no list of token ids; write them as 5,7,9", text);
    if (next == end) return ids;
    at = next + 1;
  }
}

std::string standard_input() {
  std::string text{std::istreambuf_iterator<char>(std::cin), {}};
  check_interrupted();
  return text;
}

// What an encoder hears: the only array of an .npz file, or the one that is called input_features.
std::vector<float> read_features(const std::string& path) {
  const NpzReader file(path);
  const bool named = file.contains("input_features");
  if (!named && file.names().size() != 1)
    throw Error(ErrorCode::not_found, "none of its arrays is called input_features").in_file(path);
  const NpyArray array = file.read(named ? "input_features" : file.names().front());
  if (array.dtype != DType::f32)
    throw Error(ErrorCode::invalid_argument, fmt::format("features are f32, not {}", to_string(array.dtype)))
        .in_file(path);
  std::vector<float> features(array.bytes.size() / sizeof(float));
  std::memcpy(features.data(), array.bytes.data(), array.bytes.size());
  return features;
}

json to_json(const llm::Choice& choice) {
  json logprobs = json::array();
  for (const llm::Token& token : choice.tokens) {
    json top = json::array();
    for (const llm::TokenLogprob& other : token.top) top.push_back({{"id", other.id}, {"logprob", other.logprob}});
    logprobs.push_back({{"id", token.id}, {"logprob", token.logprob}, {"top", top}});
  }
  return {{"ids", choice.ids()},
          {"text", choice.text},
          {"finish_reason", llm::to_string(choice.finish)},
          {"score", choice.score},
          {"logprobs", logprobs}};
}

// The first answer's fields, and all answers where there are several.
json to_json(const std::vector<int32_t>& prompt, const llm::Result& result) {
  json document = to_json(result.choices.front());
  document["prompt_ids"] = prompt;
  document["timing"] = {{"queued_ms", result.timing.queued_ms},
                        {"prefill_ms", result.timing.prefill_ms},
                        {"decode_ms", result.timing.decode_ms},
                        {"cached_tokens", result.timing.cached_tokens}};
  if (result.choices.size() > 1)
    for (const llm::Choice& choice : result.choices) document["choices"].push_back(to_json(choice));
  return document;
}

class GenerateCommand : public Command {
 public:
  CommandInfo info() const override {
    return {"generate",
            "Text",
            "Continue texts with a language model",
            "The folder is a checkpoint as trainers leave it: config.json, safetensors or pytorch_model.bin, and the "
            "tokenizer's files; or it holds a decoder in ONNX, which may be given as a file, too. Several prompts run "
            "side by side. Without a prompt, all of standard input is one. With an encoder-decoder (T5, BART, Marian, "
            "Whisper) the prompt is what the encoder reads.",
            {{"generate models/poem-bloom $'《春望》杜甫\\n' --greedy", "a poem"},
             {"generate models/couplet-chatglm 明月松間照 --beams 4 --n 2", "the two best answers of a beam search"},
             {"generate models/poem-bloom --prompt-ids 1,267,358 --max-tokens 8 --json", "token ids in and out"},
             {"generate whisper-tiny --features speech.npz --start-ids 50258,50259,50359,50363", "what was said"}}};
  }

  void add_options(CLI::App& app) override {
    add_llm_options(app, llm_);
    app.add_option("PROMPT", prompts_, "Texts to continue; none: standard input");
    app.add_option("--prompt-ids", prompt_ids_, "A prompt as token ids; repeatable")
        ->type_name("ID,ID,..")
        ->allow_extra_args(false);
    app.add_option("--features", features_, "What an encoder hears, f32 [mel bins, frames]; repeatable")
        ->type_name("FILE.npz")
        ->allow_extra_args(false);
    app.add_option("--start-ids", start_ids_,
                   "What the decoder of an encoder-decoder begins with, instead of what generation_config.json says")
        ->type_name("ID,ID,..");
    add_sampling_options(app, generation_);
    add_beam_options(app, generation_);
    add_report_options(app, generation_);
    app.add_option(
           "--dump-logits", dump_logits_,
           "Write the logits behind each token of the prompt, f32 [tokens, vocabulary], as `logits`; those of "
           "further prompts as logits_1, logits_2, .. Of an encoder-decoder: behind each token that its decoder "
           "is given, the start and the answer")
        ->type_name("FILE.npz");
    app.add_flag("--stats", stats_, "Say how fast prompt and answer were");
  }

  int run(Console& console) override {
    std::vector<llm::Request> requests;
    for (const std::string& ids : prompt_ids_) requests.emplace_back().prompt = parse_ids(ids);
    for (const std::string& path : features_) requests.emplace_back().features = read_features(path);
    std::vector<std::string> texts = prompts_;
    if (texts.empty() && requests.empty()) texts.push_back(standard_input());
    const llm::Recommendation recommended = llm::recommendation_of(llm_.folder);
    llm::Request common = generation_.make_request(recommended);
    llm_.engine.max_sequences =
        static_cast<int64_t>(texts.size() + requests.size()) * std::max(common.n, common.beam.beams);
    const auto engine = open_llm(llm_, console);
    for (const std::string& text : texts) requests.emplace_back().prompt = engine->encode(text);
    for (const std::string& setting : recommended.ignored)
      console.note("generation_config.json asks for {}, which Lathe does not do", setting);
    answers_each_ = common.n;
    if (console.json()) common.sampling.logprobs = std::max(0, common.sampling.logprobs);
    if (!start_ids_.empty()) common.answer_start = parse_ids(start_ids_);
    for (llm::Request& request : requests) {
      llm::Request whole = common;
      whole.prompt = std::move(request.prompt);
      whole.features = std::move(request.features);
      request = std::move(whole);
    }
    generate(*engine, std::move(requests), console);
    return kExitOk;
  }

 private:
  void generate(llm::Engine& engine, std::vector<llm::Request> requests, Console& console) {
    // Opened first: a path that cannot be written should not cost the answers.
    std::optional<NpzWriter> file;
    if (!dump_logits_.empty()) file.emplace(dump_logits_);
    std::vector<std::vector<float>> logits(requests.size());
    std::vector<std::vector<int32_t>> prompts;
    std::vector<llm::Generation> generations;
    for (size_t i = 0; i < requests.size(); ++i) {
      if (file)
        requests[i].on_prompt_logits = [&kept = logits[i]](int64_t, std::span<const float> row) {
          kept.insert(kept.end(), row.begin(), row.end());
        };
      prompts.push_back(requests[i].prompt);
      generations.push_back(submit(engine, std::move(requests[i]), requests.size() > 1 ? i + 1 : 0));
    }
    json results = json::array();
    for (size_t i = 0; i < prompts.size(); ++i) {
      const llm::Result& result = show(generations[i], engine, prompts.size() == 1, console);
      results.push_back(to_json(prompts[i], result));
      if (stats_) note_speed(console, prompts[i].size(), result);
    }
    if (file) write_logits(*file, logits, engine.facts().vocabulary);
    console.result(prompts.size() == 1 ? results.front() : results);
  }

  // Of several prompts, what is wrong is said with the number of the prompt.
  static llm::Generation submit(llm::Engine& engine, llm::Request request, size_t number) try {
    return engine.submit(std::move(request));
  } catch (const Error& error) {
    if (number == 0) throw;
    throw Error(error.code(), fmt::format("prompt {}: {}", number, error.message())).remedy(error.remedy_text());
  }

  // A single answer shows while it grows; others one behind the other, each with a heading.
  const llm::Result& show(llm::Generation& generation, const llm::Engine& engine, bool alone, Console& console) {
    const bool streams = alone && answers_each_ == 1;
    const auto shown = [&](const llm::Token& token) {
      return engine.has_text() ? token.text : fmt::format("{} ", token.id);
    };
    while (const auto token = next_token(generation)) {
      if (!streams) continue;
      console.print("{}", shown(*token));
      console.flush();
    }
    const llm::Result& result = generation.wait();
    for (size_t c = 0; c < result.choices.size() && !streams; ++c) {
      console.print("{}\n", console.paint(Colour::bold, fmt::format("[{}]", ++answers_)));
      for (const llm::Token& token : result.choices[c].tokens) console.print("{}", shown(token));
      console.print("\n");
    }
    if (streams && !result.choices.front().text.ends_with('\n')) console.print("\n");
    return result;
  }

  static void write_logits(NpzWriter& file, const std::vector<std::vector<float>>& logits, int64_t vocabulary) {
    for (size_t i = 0; i < logits.size(); ++i) {
      const std::vector<int64_t> dims = {static_cast<int64_t>(logits[i].size()) / vocabulary, vocabulary};
      file.add(i == 0 ? "logits" : fmt::format("logits_{}", i),
               NpyView(DType::f32, dims, std::as_bytes(std::span(logits[i]))));
    }
    file.commit();
  }

  LlmOptions llm_;
  GenerationOptions generation_;
  std::vector<std::string> prompts_, prompt_ids_, features_;
  std::string start_ids_, dump_logits_;
  bool stats_ = false;
  int answers_each_ = 1, answers_ = 0;
};

}  // namespace

std::unique_ptr<Command> make_generate_command() { return std::make_unique<GenerateCommand>(); }

}  // namespace lathe::tools
