// Tokenizer files of byte-level BPE other than tokenizer.json: GPT-2's pair vocab.json and merges.txt, and tiktoken's
// list of tokens, a line "<base64 of the bytes> <rank>" each.
#pragma once

#include <string_view>

#include "text/tokenizer.h"

namespace lathe::text {

// `pattern` is the regular expression that cuts texts into words.
TokenizerParts parse_vocab_and_merges(std::string_view vocab_json, std::string_view merges_txt,
                                      std::string_view pattern);
TokenizerParts parse_tiktoken(std::string_view lines, std::string_view pattern);

// Whether a file looks like tiktoken's: tokenizer.model may also be sentencepiece's.
bool is_tiktoken(std::string_view file);

}  // namespace lathe::text
