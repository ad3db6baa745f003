// What generation_config.json and config.json say of the tokens that texts begin and end with.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

namespace lathe::checkpoint {

class Checkpoint;
struct DecoderInfo;

// What holds for every answer, however its tokens are chosen. Lengths and repetitions count what the decoder is given,
// too: a prompt, or the start of an encoder-decoder's answers.
struct GenerationRules {
  std::vector<int32_t> start;                   // what the decoder of an encoder-decoder begins with
  std::vector<int32_t> forced;                  // what every answer begins with; -1: any token
  int32_t forced_last = -1;                     // what an answer ends with that reaches its length; -1: any token
  std::vector<int32_t> suppressed;              // never in an answer
  std::vector<int32_t> suppressed_first;        // not in front, behind what is forced
  std::vector<std::vector<int32_t>> bad_words;  // of several tokens, which may not stand in this order
  int64_t no_repeat_ngram = 0;  // so many tokens in a row stand there once only; 0: as often as they like
  int64_t min_length = 0, min_new_tokens = 0;  // before which no answer ends
};

// The texts of the two files, either may be empty, and where they are.
struct ConfigTexts {
  std::string_view config, generation_config;
  std::filesystem::path folder;
};
ConfigTexts config_texts(const Checkpoint& checkpoint);

// Beginning, end and padding of texts. generation_config.json wins over config.json.
void read_special_ids(const Checkpoint& checkpoint, DecoderInfo& info);

// Throws Error(invalid_model) for ids that the vocabulary does not have. `start` is empty, and nothing is forced in
// front, where the model has no encoder: then prompts say how an answer begins.
GenerationRules read_generation_rules(const ConfigTexts& texts, int64_t vocabulary);
// Of a model with an encoder; also throws where nothing says how its decoder starts.
GenerationRules read_seq2seq_rules(const ConfigTexts& texts, int64_t vocabulary);

}  // namespace lathe::checkpoint
