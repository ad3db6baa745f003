// Reads tokenizer files: Hugging Face's tokenizer.json, and BERT's vocab.txt, one token a line; rank_files.h and
// sentencepiece_families.h read the others. Which file of a folder counts, and what the settings beside it change, is
// decided in Tokenizer::load. `truncation` and `padding` of tokenizer.json are defaults for training set-ups and
// ignored: the caller says them (EncodeOptions).
#pragma once

#include <string_view>

#include "text/bert_text.h"
#include "text/tokenizer.h"

namespace lathe::text {

TokenizerParts parse_tokenizer_json(std::string_view json);

// Throws Error(invalid_model) when [UNK], [CLS] or [SEP] is not among the tokens.
TokenizerParts parse_vocab_txt(std::string_view lines, const BertNormalizerOptions& options);

}  // namespace lathe::text
