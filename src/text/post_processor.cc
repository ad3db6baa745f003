#include "text/post_processor.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace lathe::text {
namespace {

void truncate(std::vector<TokenId>& ids, size_t length) { ids.resize(std::min(ids.size(), length)); }

// Both may keep half; what the shorter one does not need is the other's. Of two equal texts the second keeps the odd
// one.
void truncate_pair(std::vector<TokenId>& first, std::vector<TokenId>& second, size_t budget) {
  std::vector<TokenId>& shorter = first.size() <= second.size() ? first : second;
  std::vector<TokenId>& longer = first.size() <= second.size() ? second : first;
  truncate(shorter, budget / 2);
  truncate(longer, budget - shorter.size());
}

}  // namespace

PostProcessor::PostProcessor()
    : PostProcessor({{Piece::Kind::first, 0}}, {{Piece::Kind::first, 0}, {Piece::Kind::second, 1}}) {}

PostProcessor::PostProcessor(std::vector<Piece> single, std::vector<Piece> pair)
    : single_(std::move(single)), pair_(std::move(pair)) {
  const auto is_second = [](const Piece& piece) { return piece.kind == Piece::Kind::second; };
  if (std::any_of(single_.begin(), single_.end(), is_second))
    fail(ErrorCode::invalid_model, "the template for single texts names a second text");
}

PostProcessor PostProcessor::bert(TokenId cls, TokenId sep) {
  using Kind = Piece::Kind;
  const std::vector<Piece> single = {{Kind::special, 0, {cls}}, {Kind::first, 0}, {Kind::special, 0, {sep}}};
  std::vector<Piece> pair = single;
  pair.push_back({Kind::second, 1});
  pair.push_back({Kind::special, 1, {sep}});
  return {single, pair};
}

PostProcessor PostProcessor::roberta(TokenId cls, TokenId sep) {
  using Kind = Piece::Kind;
  const std::vector<Piece> single = {{Kind::special, 0, {cls}}, {Kind::first, 0}, {Kind::special, 0, {sep}}};
  std::vector<Piece> pair = single;
  pair.push_back({Kind::special, 0, {sep}});
  pair.push_back({Kind::second, 0});
  pair.push_back({Kind::special, 0, {sep}});
  return {single, pair};
}

PostProcessor PostProcessor::around_each(const std::vector<TokenId>& before, const std::vector<TokenId>& after) {
  using Kind = Piece::Kind;
  const std::vector<Piece> single = {{Kind::special, 0, before}, {Kind::first, 0}, {Kind::special, 0, after}};
  std::vector<Piece> pair = single;
  pair.insert(pair.end(), {{Kind::special, 1, before}, {Kind::second, 1}, {Kind::special, 1, after}});
  return {single, pair};
}

Encoding PostProcessor::assemble(std::vector<TokenId> first, std::optional<std::vector<TokenId>> second,
                                 bool add_special_tokens, size_t max_length) const {
  const std::vector<Piece>& pieces = second ? pair_ : single_;
  if (max_length > 0) {
    size_t special = 0;
    for (const Piece& piece : pieces)
      if (add_special_tokens) special += piece.ids.size();
    if (special > max_length)
      fail(ErrorCode::invalid_argument, "a length limit of {} leaves no room for {} special tokens", max_length,
           special);
    if (second)
      truncate_pair(first, *second, max_length - special);
    else
      truncate(first, max_length - special);
  }
  Encoding encoding;
  for (const Piece& piece : pieces) {
    if (piece.kind == Piece::Kind::special && !add_special_tokens) continue;
    const std::vector<TokenId>& ids = piece.kind == Piece::Kind::first    ? first
                                      : piece.kind == Piece::Kind::second ? *second
                                                                          : piece.ids;
    encoding.ids.insert(encoding.ids.end(), ids.begin(), ids.end());
    encoding.type_ids.resize(encoding.ids.size(), piece.type_id);
  }
  return encoding;
}

}  // namespace lathe::text
