// Tokenizers whose file is a sentencepiece model and whose further rules are code in Hugging Face's `transformers`:
// which tokens stand around texts, which are recognised in them, how ids are shifted. The class that
// tokenizer_config.json names decides, else the file's name.
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

#include "text/tokenizer.h"

namespace lathe::text {

// `settings` is tokenizer_config.json, or an empty object. Throws Error(invalid_model), and Error(unsupported) for a
// class whose rules are not known.
TokenizerParts parse_sentencepiece_family(std::span<const std::byte> file, const std::string& file_name,
                                          const nlohmann::json& settings);

}  // namespace lathe::text
