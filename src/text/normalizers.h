// The normalizers of tokenizer.json that are small; BertNormalizer is in bert_text.h, Precompiled in charsmap.h.
// Results are those of Hugging Face's `tokenizers`.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/pattern.h"
#include "text/pipeline.h"
#include "text/unicode.h"

namespace lathe::text {

class NormalizerSequence final : public Normalizer {
 public:
  explicit NormalizerSequence(std::vector<std::unique_ptr<Normalizer>> stages) : stages_(std::move(stages)) {}
  std::string normalize(std::string_view text) const override;

 private:
  std::vector<std::unique_ptr<Normalizer>> stages_;
};

// NFC, NFD, NFKC, NFKD.
class UnicodeNormalizer final : public Normalizer {
 public:
  explicit UnicodeNormalizer(NormalizationForm form) : form_(form) {}
  std::string normalize(std::string_view text) const override { return normalize_unicode(text, form_); }

 private:
  NormalizationForm form_;
};

class Lowercase final : public Normalizer {
 public:
  std::string normalize(std::string_view text) const override;
};

// Takes white space away at the ends.
class StripSpaces final : public Normalizer {
 public:
  StripSpaces(bool left, bool right) : left_(left), right_(right) {}
  std::string normalize(std::string_view text) const override;

 private:
  bool left_, right_;
};

// Takes non-spacing marks away; decomposes nothing.
class StripAccents final : public Normalizer {
 public:
  std::string normalize(std::string_view text) const override;
};

// Puts something before every text that is not empty.
class Prepend final : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  std::string normalize(std::string_view text) const override {
    return text.empty() ? std::string() : prefix_ + std::string(text);
  }

 private:
  std::string prefix_;
};

class Replace final : public Normalizer {
 public:
  Replace(Pattern pattern, std::string content) : pattern_(std::move(pattern)), content_(std::move(content)) {}
  std::string normalize(std::string_view text) const override { return pattern_.replace_all(text, content_); }

 private:
  Pattern pattern_;
  std::string content_;
};

// What neural translation does first: control characters go, unusual spaces become blanks.
class Nmt final : public Normalizer {
 public:
  std::string normalize(std::string_view text) const override;
};

}  // namespace lathe::text
