#include "llm/recommendation.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

namespace lathe::llm {
namespace {

using nlohmann::json;

class Settings {
 public:
  explicit Settings(std::string_view text) : object_(json::parse(text, nullptr, false)) {
    if (!object_.is_object()) object_ = json::object();
  }

  template <class T>
  void read(const char* name, T& value) const {
    if (const auto found = object_.find(name); found != object_.end() && found->is_number()) value = *found;
  }
  std::optional<int64_t> integer(const char* name) const {
    const auto found = object_.find(name);
    return found != object_.end() && found->is_number_integer() ? std::optional<int64_t>(*found) : std::nullopt;
  }
  bool has(const char* name) const { return object_.contains(name); }
  bool is_true(const char* name) const { return has(name) && object_[name] == true; }
  // Neither absent, nor null, nor a value that changes nothing.
  bool changes(const char* name, const json& neutral) const {
    if (!has(name)) return false;
    const json& value = object_[name];
    return !value.is_null() && value != neutral && value != false && !(value.is_structured() && value.empty());
  }
  std::string text(const char* name) const { return fmt::format("{} {}", name, object_[name].dump()); }

  // true: at the first finished; "never"; else by the heuristic.
  BeamOptions::Stop stop() const {
    if (is_true("early_stopping")) return BeamOptions::Stop::first;
    return has("early_stopping") && object_["early_stopping"] == "never" ? BeamOptions::Stop::never
                                                                         : BeamOptions::Stop::heuristic;
  }

 private:
  json object_;
};

void read_sampling(const Settings& settings, SamplingOptions& options) {
  settings.read("temperature", options.temperature);
  settings.read("top_k", options.top_k);
  settings.read("top_p", options.top_p);
  settings.read("min_p", options.min_p);
  settings.read("typical_p", options.typical_p);
}

void read_beams(const Settings& settings, BeamOptions& options) {
  settings.read("num_beams", options.beams);
  settings.read("length_penalty", options.length_penalty);
  options.stop = settings.stop();
}

// max_length counts the prompt, too, so that of a decoder, often its context, says little about answers; of an
// encoder-decoder it counts the token that begins them. 20 is what Transformers writes where nobody has said anything.
std::optional<int64_t> read_max_tokens(const Settings& settings, bool has_encoder) {
  constexpr int64_t kUnsaid = 20;
  const auto said = settings.integer("max_new_tokens");
  if (said && *said > 0) return said;
  const auto length = settings.integer("max_length");
  if (!has_encoder || !length || *length < 2 || *length == kUnsaid) return std::nullopt;
  return *length - 1;
}

// What changes answers elsewhere and has no counterpart here.
std::vector<std::string> unknown_settings(const Settings& settings, bool samples) {
  const std::pair<const char*, json> always[] = {{"constraints", nullptr},
                                                 {"diversity_penalty", 0},
                                                 {"dola_layers", nullptr},
                                                 {"encoder_no_repeat_ngram_size", 0},
                                                 {"encoder_repetition_penalty", 1},
                                                 {"exponential_decay_length_penalty", nullptr},
                                                 {"force_words_ids", nullptr},
                                                 {"guidance_scale", 1},
                                                 {"num_beam_groups", 1},
                                                 {"penalty_alpha", 0},
                                                 {"sequence_bias", nullptr},
                                                 {"stop_strings", nullptr},
                                                 {"watermarking_config", nullptr}};
  const std::pair<const char*, json> of_sampling[] = {{"epsilon_cutoff", 0}, {"eta_cutoff", 0}, {"top_h", nullptr}};
  std::vector<std::string> result;
  const auto add = [&](const auto& settings_and_neutral) {
    for (const auto& [name, neutral] : settings_and_neutral)
      if (settings.changes(name, neutral)) result.push_back(settings.text(name));
  };
  add(always);
  if (samples) add(of_sampling);
  return result;
}

}  // namespace

Recommendation read_recommendation(std::string_view config, std::string_view generation_config, bool has_encoder) {
  const Settings settings(generation_config.empty() ? config : generation_config);
  Recommendation result;
  settings.read("repetition_penalty", result.sampling.repetition_penalty);
  settings.read("num_return_sequences", result.n);
  result.max_tokens = read_max_tokens(settings, has_encoder);
  const bool says_sampling = settings.is_true("do_sample");
  BeamOptions beam;
  read_beams(settings, beam);
  if (beam.beams > 1 && !says_sampling) result.beam = beam;
  const bool searches = result.beam.beams > 1;
  const bool samples = !searches && (settings.has("do_sample") ? says_sampling : !has_encoder);
  if (samples) read_sampling(settings, result.sampling);
  if (!samples) result.sampling.temperature = 0;
  // Of the likeliest answer there is one.
  result.n = searches ? std::min(result.n, result.beam.beams) : samples ? result.n : 1;
  result.n = std::max(result.n, 1);
  result.ignored = unknown_settings(settings, samples);
  if (beam.beams > 1 && says_sampling) result.ignored.push_back(settings.text("num_beams") + " with do_sample");
  return result;
}

}  // namespace lathe::llm
