// What generation_config.json and config.json say of the tokens that texts begin and end with.
#pragma once

#include <cstdint>
#include <vector>

namespace lathe::checkpoint {

class Checkpoint;
struct DecoderInfo;

// What holds for every answer, however its tokens are chosen.
struct GenerationRules {
  std::vector<int32_t> start;             // what the decoder of an encoder-decoder begins with
  std::vector<int32_t> forced;            // what every answer begins with; -1: any token
  int32_t forced_last = -1;               // what an answer ends with that reaches its length; -1: any token
  std::vector<int32_t> suppressed;        // never in an answer
  std::vector<int32_t> suppressed_first;  // not in front, behind what is forced
};

// Beginning, end and padding of texts. generation_config.json wins over config.json.
void read_special_ids(const Checkpoint& checkpoint, DecoderInfo& info);

// Throws Error(invalid_model) for ids that the vocabulary does not have, or where nothing says how a decoder starts.
GenerationRules read_generation_rules(const Checkpoint& checkpoint, int64_t vocabulary);

}  // namespace lathe::checkpoint
