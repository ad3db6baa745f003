// Hand-written lexers for the regular expressions that most models cut texts with: an order of magnitude faster than a
// regular expression engine, with the same results. split_lexer() decides which expressions have one.
#pragma once

#include <memory>
#include <string_view>

#include "text/pipeline.h"

namespace lathe::text {

// GPT-2's expression, which ByteLevel brings along.
extern const std::string_view kGpt2Pattern;
// Qwen2's, and tiktoken's cl100k_base, which Llama 3 and GLM-4 use too.
extern const std::string_view kQwen2Pattern;
extern const std::string_view kCl100kPattern;
// tiktoken's o200k_base, of GPT-4o and gpt-oss.
extern const std::string_view kO200kPattern;

// A lexer that cuts as Split(regex(pattern), isolated) does; null where there is none.
std::unique_ptr<PreTokenizer> split_lexer(std::string_view pattern);
// Whether each place in a text belongs to a match of that pattern, so that it does not matter what becomes of the rest.
bool matches_everything(std::string_view pattern);

}  // namespace lathe::text
