// The unigram model: of all ways to cut a word into tokens, the one with the greatest sum of scores (Viterbi). Source:
// Kudo, "Subword Regularization" (2018); in ties and in unknown characters as the implementation that the file is from.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/byte_trie.h"
#include "text/pipeline.h"

namespace lathe::text {

struct UnigramOptions {
  std::optional<TokenId> unk_id;  // none: a word with an unknown character is an Error(invalid_argument)
  double unk_score = 0;           // of each unknown character
  bool byte_fallback = false;     // unknown characters become tokens "<0xNN>" if the vocabulary has those
  bool single_precision = false;  // sums are floats, as sentencepiece's
};

class Unigram final : public TokenModel {
 public:
  struct Piece {
    std::string token;
    TokenId id;
    double score;
    bool searched = true;  // false: words never contain it
    // sentencepiece's user-defined symbols are worth more the longer they are: score * bytes - kUserDefinedCost.
    bool user_defined = false;
  };
  static constexpr double kUserDefinedCost = 0.1;
  static constexpr double kUnkPenalty = 10;  // how much worse than the worst token an unknown character is

  Unigram(Vocabulary vocabulary, std::vector<Piece> pieces, UnigramOptions options);

  void tokenize(std::string_view word, std::vector<TokenId>& ids) const override;

 private:
  // The best way to some place in the word.
  struct Arrival {
    double score = 0;
    size_t from = 0;
    TokenId id = -1;
    bool reached = false;
  };

  std::vector<Arrival> best_arrivals(std::string_view word) const;
  void append_unknown(std::string_view text, std::vector<TokenId>& ids) const;

  std::vector<Piece> pieces_;
  ByteTrie trie_;  // values are indices into pieces_
  UnigramOptions options_;
};

}  // namespace lathe::text
