// The pre-tokenizers of tokenizer.json that are small; the regular expressions that most models use have lexers of
// their own (split_lexers.h). Results are those of Hugging Face's `tokenizers`.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/pattern.h"
#include "text/pipeline.h"

namespace lathe::text {

class PreTokenizerSequence final : public PreTokenizer {
 public:
  explicit PreTokenizerSequence(std::vector<std::unique_ptr<PreTokenizer>> stages) : stages_(std::move(stages)) {}
  void split(Words& words) const override {
    for (const auto& stage : stages_) stage->split(words);
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> stages_;
};

// What becomes of the stretches that a pattern finds.
enum class SplitBehavior {
  removed,               // they go
  isolated,              // each is a piece
  contiguous,            // neighbouring ones are a piece
  merged_with_previous,  // each belongs to what stands before it
  merged_with_next       // each belongs to what stands behind it
};

class Split final : public Cutter {
 public:
  // `invert`: what the pattern does not find counts as found, and the other way round.
  Split(Pattern pattern, SplitBehavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}
  void cut(std::string_view word, Pieces& pieces) const override;

 private:
  Pattern pattern_;
  SplitBehavior behavior_;
  bool invert_;
};

// Cuts around the characters of some class.
class SplitCharacters final : public Cutter {
 public:
  using Class = bool (*)(char32_t);
  SplitCharacters(Class is_member, SplitBehavior behavior) : is_member_(is_member), behavior_(behavior) {}
  void cut(std::string_view word, Pieces& pieces) const override;

 private:
  Class is_member_;
  SplitBehavior behavior_;
};

// Words, and runs of what is neither word nor white space: \w+|[^\w\s]+.
class SplitWords final : public Cutter {
 public:
  void cut(std::string_view word, Pieces& pieces) const override;
};

// Puts a blank before each word that does not begin with one.
class AddPrefixSpace final : public PreTokenizer {
 public:
  void split(Words& words) const override;
};

// sentencepiece's way: blanks become a mark, each mark begins a word.
class Metaspace final : public PreTokenizer {
 public:
  // Before which words a mark is put that do not begin with one.
  enum class Prefix { always, first, never };

  Metaspace(std::string mark, Prefix prefix, bool split) : mark_(std::move(mark)), prefix_(prefix), split_(split) {}
  void split(Words& words) const override;

 private:
  std::string mark_;
  Prefix prefix_;
  bool split_;
};

}  // namespace lathe::text
