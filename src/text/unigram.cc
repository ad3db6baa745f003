#include "text/unigram.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"

namespace lathe::text {

Unigram::Unigram(Vocabulary vocabulary, std::vector<Piece> pieces, UnigramOptions options)
    : TokenModel(std::move(vocabulary)), pieces_(std::move(pieces)), options_(options) {
  std::vector<ByteTrie::Entry> entries;
  for (size_t i = 0; i < pieces_.size(); ++i)
    if (pieces_[i].searched && !pieces_[i].token.empty()) entries.push_back({pieces_[i].token, i});
  trie_ = ByteTrie(std::move(entries));
}

std::vector<Unigram::Arrival> Unigram::best_arrivals(std::string_view word) const {
  std::vector<Arrival> best(word.size() + 1);
  const auto offer = [&](size_t from, size_t to, double score, TokenId id) {
    if (options_.single_precision) score = static_cast<float>(score);
    double sum = best[from].score + score;
    if (options_.single_precision) sum = static_cast<float>(sum);
    Arrival& arrival = best[to];
    if (!arrival.reached || sum > arrival.score) arrival = {sum, from, id, true};
  };
  for (size_t begin = 0, end = 0; begin < word.size(); begin = end) {
    next_code_point(word, end);
    bool character_known = false;
    trie_.for_each_prefix(word.substr(begin), [&](const ByteTrie::Match& match) {
      const Piece& piece = pieces_[match.value];
      const auto bytes = static_cast<double>(match.length);
      const double score =
          piece.user_defined ? static_cast<float>(bytes * piece.score) - kUserDefinedCost : piece.score;
      offer(begin, begin + match.length, score, piece.id);
      character_known |= match.length == end - begin;
    });
    if (!character_known) offer(begin, end, options_.unk_score, options_.unk_id.value_or(-1));
  }
  return best;
}

void Unigram::tokenize(std::string_view word, std::vector<TokenId>& ids) const {
  if (word.empty()) return;
  const std::vector<Arrival> best = best_arrivals(word);
  const TokenId unknown = options_.unk_id.value_or(-1);
  std::vector<Span> steps;  // neighbouring unknown characters are one step
  std::vector<TokenId> step_ids;
  for (size_t end = word.size(); end > 0; end = best[end].from) {
    const Arrival& arrival = best[end];
    if (arrival.id == unknown && !step_ids.empty() && step_ids.back() == unknown) {
      steps.back().begin = arrival.from;
    } else {
      steps.push_back({arrival.from, end});
      step_ids.push_back(arrival.id);
    }
  }
  for (size_t i = steps.size(); i-- > 0;) {
    if (step_ids[i] == unknown)
      append_unknown(word.substr(steps[i].begin, steps[i].end - steps[i].begin), ids);
    else
      ids.push_back(step_ids[i]);
  }
}

void Unigram::append_unknown(std::string_view text, std::vector<TokenId>& ids) const {
  if (options_.byte_fallback) {
    const size_t first = ids.size();
    for (const char byte : text)
      if (const auto id = vocabulary().id(fmt::format("<0x{:02X}>", static_cast<unsigned char>(byte))))
        ids.push_back(*id);
    if (ids.size() - first == text.size()) return;
    ids.resize(first);
  }
  if (!options_.unk_id)
    fail(ErrorCode::invalid_argument, "the characters '{}' are unknown and the tokenizer has no unknown token", text);
  ids.push_back(*options_.unk_id);
}

}  // namespace lathe::text
