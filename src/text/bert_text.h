// BERT's treatment of raw text: cleaning, spaces around Chinese characters, accents, case, and the split into words at
// white space and punctuation. Source: google-research/bert, tokenization.py; in doubt Hugging Face's behaviour
// decides.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "text/pipeline.h"

namespace lathe::text {

struct BertNormalizerOptions {
  bool clean_text = true;            // drop control characters, make every white space a blank
  bool handle_chinese_chars = true;  // each Chinese character becomes a word
  bool lowercase = true;
  std::optional<bool> strip_accents;  // unset: as lowercase
};

class BertNormalizer final : public Normalizer {
 public:
  explicit BertNormalizer(const BertNormalizerOptions& options) : options_(options) {}
  std::string normalize(std::string_view text) const override;

 private:
  BertNormalizerOptions options_;
};

class BertPreTokenizer final : public Cutter {
 public:
  void cut(std::string_view text, Pieces& pieces) const override;
};

}  // namespace lathe::text
