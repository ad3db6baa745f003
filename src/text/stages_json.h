// Makes the stages of a tokenizer from their descriptions in tokenizer.json. Which types are known is decided here and
// in tokenizer_json.cc; an unknown one is an Error(unsupported) that names it, a malformed one an Error(invalid_model).
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "text/pipeline.h"

namespace lathe::text {

std::unique_ptr<Normalizer> make_normalizer(const nlohmann::json& config);
std::unique_ptr<Decoder> make_decoder(const nlohmann::json& config);

// What becomes of ByteLevel at the end of a pre-tokenizer: the model may do without the detour over characters.
struct PreTokenizerStages {
  std::unique_ptr<PreTokenizer> pre_tokenizer;  // null: words stay whole
  bool ends_in_bytes = false;                   // `pre_tokenizer` lacks ByteCharacters as its last stage
};
PreTokenizerStages make_pre_tokenizer(const nlohmann::json& config);

}  // namespace lathe::text
