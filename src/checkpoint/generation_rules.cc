#include "checkpoint/generation_rules.h"

#include <algorithm>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/decoder.h"
#include "checkpoint/fields.h"

namespace lathe::checkpoint {
namespace {

// Calls visit(fields, file) for the files that there are, the one that wins last.
template <class Visit>
void for_each_file(const ConfigTexts& texts, const Visit& visit) {
  for (const auto& [text, file] :
       {std::pair(texts.config, "config.json"), std::pair(texts.generation_config, "generation_config.json")}) {
    if (text.empty()) continue;
    const std::string path = (texts.folder / file).string();
    const nlohmann::json document = Fields::parse(text, path);
    visit(Fields(document, path));
  }
}

std::vector<int32_t> narrow(const std::vector<int64_t>& ids) { return {ids.begin(), ids.end()}; }

void replace(std::vector<int32_t>& ids, const Fields& fields, std::string_view keys) {
  if (fields.has(keys)) ids = narrow(fields.integers(keys));
}

// [[1, 50259], [2, null]]: the token with index 1 of what the decoder writes, its start included, and so on.
void read_forced_pairs(const Fields& fields, std::vector<int32_t>& forced) {
  constexpr std::string_view kKey = "forced_decoder_ids";
  const nlohmann::json* pairs = fields.any(kKey);
  if (pairs == nullptr) return;
  if (!pairs->is_array()) fields.refuse(kKey);
  forced.clear();
  for (const nlohmann::json& pair : *pairs) {
    constexpr int64_t kMostForced = 64;
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_number_integer()) fields.refuse(kKey);
    const auto index = pair[0].get<int64_t>();
    if (index < 1 || index > kMostForced || !(pair[1].is_number_integer() || pair[1].is_null())) fields.refuse(kKey);
    if (static_cast<size_t>(index) > forced.size()) forced.resize(static_cast<size_t>(index), -1);
    if (!pair[1].is_null()) forced[static_cast<size_t>(index) - 1] = pair[1].get<int32_t>();
  }
}

void read_bad_words(const Fields& fields, std::vector<std::vector<int32_t>>& bad_words) {
  constexpr std::string_view kKey = "bad_words_ids";
  const nlohmann::json* words = fields.any(kKey);
  if (words == nullptr) return;
  if (!words->is_array()) fields.refuse(kKey);
  bad_words.clear();
  for (const nlohmann::json& word : *words) {
    const auto is_id = [](const nlohmann::json& id) { return id.is_number_integer(); };
    if (!word.is_array() || word.empty() || !std::all_of(word.begin(), word.end(), is_id)) fields.refuse(kKey);
    bad_words.push_back(word.get<std::vector<int32_t>>());
  }
}

void read_lengths(const Fields& fields, GenerationRules& rules) {
  const auto read = [&](std::string_view key, int64_t& value) {
    value = fields.optional_integer(key).value_or(value);
    if (value < 0) fields.refuse(key);
  };
  read("no_repeat_ngram_size", rules.no_repeat_ngram);
  read("min_length", rules.min_length);
  read("min_new_tokens", rules.min_new_tokens);
}

// Words of one token are never in an answer; one that ends texts is no word.
void sort_out_bad_words(GenerationRules& rules, const std::vector<int32_t>& eos) {
  std::erase_if(rules.bad_words, [&](const std::vector<int32_t>& word) {
    if (word.size() > 1) return false;
    if (std::find(eos.begin(), eos.end(), word[0]) == eos.end()) rules.suppressed.push_back(word[0]);
    return true;
  });
}

void check_ids(const std::vector<int32_t>& ids, int64_t vocabulary, int32_t least) {
  for (const int32_t id : ids)
    if (id < least || id >= vocabulary)
      fail(ErrorCode::invalid_model, "token {} is to be forced or suppressed, but ids are below {}", id, vocabulary);
}

GenerationRules read_rules(const ConfigTexts& texts, int64_t vocabulary) {
  GenerationRules rules;
  std::vector<int32_t> begin, last, eos;
  for_each_file(texts, [&](const Fields& fields) {
    replace(begin, fields, "bos_token_id");
    replace(eos, fields, "eos_token_id");
    replace(rules.start, fields, "decoder_start_token_id");
    replace(rules.forced, fields, "forced_bos_token_id");
    read_forced_pairs(fields, rules.forced);
    replace(last, fields, "forced_eos_token_id");
    replace(rules.suppressed, fields, "suppress_tokens");
    replace(rules.suppressed_first, fields, "begin_suppress_tokens");
    read_bad_words(fields, rules.bad_words);
    read_lengths(fields, rules);
  });
  if (rules.start.empty()) rules.start = begin;
  if (!rules.start.empty()) rules.start.resize(1);
  if (!last.empty()) rules.forced_last = last.front();
  sort_out_bad_words(rules, eos);
  check_ids(rules.start, vocabulary, 0);
  check_ids(rules.forced, vocabulary, -1);
  check_ids(last, vocabulary, 0);
  check_ids(rules.suppressed, vocabulary, 0);
  check_ids(rules.suppressed_first, vocabulary, 0);
  for (const std::vector<int32_t>& word : rules.bad_words) check_ids(word, vocabulary, 0);
  return rules;
}

}  // namespace

ConfigTexts config_texts(const Checkpoint& checkpoint) {
  return {checkpoint.config(), checkpoint.generation_config(), checkpoint.folder()};
}

void read_special_ids(const Checkpoint& checkpoint, DecoderInfo& info) {
  for_each_file(config_texts(checkpoint), [&](const Fields& fields) {
    const auto id = [&](std::string_view key, int32_t otherwise) {
      const auto ids = fields.integers(key);
      return ids.empty() ? otherwise : static_cast<int32_t>(ids.front());
    };
    info.bos_id = id("bos_token_id", info.bos_id);
    info.pad_id = id("pad_token_id", info.pad_id);
    const auto eos = fields.integers("eos_token_id");
    if (!eos.empty()) info.eos_ids = narrow(eos);
  });
}

GenerationRules read_generation_rules(const ConfigTexts& texts, int64_t vocabulary) {
  GenerationRules rules = read_rules(texts, vocabulary);
  rules.start.clear();
  rules.forced.clear();
  return rules;
}

GenerationRules read_seq2seq_rules(const ConfigTexts& texts, int64_t vocabulary) {
  GenerationRules rules = read_rules(texts, vocabulary);
  if (rules.start.empty())
    fail(ErrorCode::invalid_model, "config.json has no 'decoder_start_token_id', which its decoder begins with");
  return rules;
}

}  // namespace lathe::checkpoint
