#include "text/bpe.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"
#include "text/byte_level.h"

namespace lathe::text {
namespace {

constexpr std::string_view kMark = "\u2581";  // sentencepiece's blank, which begins words

// Up to this many units a word is searched again after each merge; beyond, a queue orders the merges.
constexpr size_t kFewUnits = 48;

size_t character_length(std::string_view text) {
  size_t length = 0;
  next_code_point(text, length);
  return length;
}

// The first mark in `text` behind another character, from `from` on; npos if there is none.
size_t next_word_start(std::string_view text, size_t from) {
  for (size_t at = text.find(kMark, from); at != std::string_view::npos; at = text.find(kMark, at + kMark.size()))
    if (at > 0 && !text.substr(0, at).ends_with(kMark)) return at;
  return std::string_view::npos;
}

uint32_t to_unit(TokenId id) {
  if (id < 0 || id > INT32_MAX) fail(ErrorCode::invalid_model, "the token id {} is out of range", id);
  return static_cast<uint32_t>(id);
}

std::optional<uint32_t> require_unk(const Vocabulary& vocabulary, const std::optional<std::string>& token) {
  if (!token) return std::nullopt;
  const auto id = vocabulary.id(*token);
  if (!id) fail(ErrorCode::invalid_model, "the unknown token '{}' is not in the vocabulary", *token);
  return to_unit(*id);
}

// A merge that may be done at `position`; stale once one of its two units has changed.
struct Candidate {
  uint32_t rank, position, result;
  bool operator<(const Candidate& other) const {  // std::priority_queue has the greatest on top
    return rank != other.rank ? rank > other.rank : position > other.position;
  }
};

struct Node {
  uint32_t id;
  uint32_t before, behind;  // places of the neighbours
};

}  // namespace

std::vector<Merge> ranked_merges(const Vocabulary& vocabulary,
                                 std::span<const std::pair<std::string, std::string>> merges,
                                 std::string_view continuing_subword_prefix) {
  std::vector<Merge> ranked;
  ranked.reserve(merges.size());
  const auto id_of = [&](std::string_view token) {
    const auto id = vocabulary.id(token);
    if (!id) fail(ErrorCode::invalid_model, "the merges need the token '{}', which is not in the vocabulary", token);
    return to_unit(*id);
  };
  for (const auto& [left, right] : merges) {
    std::string_view tail = right;
    tail.remove_prefix(std::min(tail.size(), continuing_subword_prefix.size()));
    ranked.push_back(
        {id_of(left), id_of(right), id_of(left + std::string(tail)), static_cast<uint32_t>(ranked.size())});
  }
  return ranked;
}

struct Bpe::Scratch {
  WordCache cache;
  std::vector<uint32_t> units;
  std::vector<MergeTable::Found> found;
  std::vector<Node> nodes;
  std::vector<Candidate> queue;
};

// Working memory for one call: taken from the idle ones, or new, and given back.
class Bpe::Lease {
 public:
  explicit Lease(const Bpe& model) : model_(model) {
    {
      const std::lock_guard lock(model.mutex_);
      if (!model.idle_.empty()) {
        scratch_ = std::move(model.idle_.back());
        model.idle_.pop_back();
      }
    }
    if (scratch_ == nullptr) scratch_ = std::make_unique<Scratch>();
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease() {
    const std::lock_guard lock(model_.mutex_);
    if (model_.idle_.size() < kMostIdle) model_.idle_.push_back(std::move(scratch_));
  }
  Scratch& operator*() const { return *scratch_; }

  static constexpr size_t kMostIdle = 64;  // one per thread that encodes at the same time, in all likelihood

 private:
  const Bpe& model_;
  std::unique_ptr<Scratch> scratch_;
};

Bpe::Bpe(Vocabulary vocabulary, std::span<const Merge> merges, BpeOptions options)
    : TokenModel(std::move(vocabulary)),
      options_(std::move(options)),
      merges_(merges),
      unk_(require_unk(this->vocabulary(), options_.unk_token)),
      has_affixes_(!options_.continuing_subword_prefix.empty() || !options_.end_of_word_suffix.empty()) {
  this->vocabulary().for_each([](std::string_view, TokenId id) { to_unit(id); });
  std::vector<ByteTrie::Entry> entries;
  for (const std::string& token : options_.indivisible)
    if (const auto id = this->vocabulary().id(token); id && !token.empty())
      entries.push_back({token, static_cast<size_t>(*id)});
  indivisible_ = ByteTrie(std::move(entries));
  find_units();
  cut_at_marks_ = can_cut_at_marks(merges);
  idle_.reserve(Lease::kMostIdle);  // so that giving memory back does not throw
}

Bpe::~Bpe() = default;

void Bpe::find_units() {
  for (size_t c = 0; c < ascii_units_.size(); ++c)
    ascii_units_[c] = unit_id(std::string(1, static_cast<char>(c)), false, false).value_or(kNoToken);
  for (size_t byte = 0; byte < 256; ++byte) {
    const auto id = vocabulary().id(fmt::format("<0x{:02X}>", byte));
    fallback_bytes_[byte] = id ? to_unit(*id) : kNoToken;
    std::string character;
    append_utf8(character, character_of_byte(static_cast<unsigned char>(byte)));
    for (const bool first : {false, true})
      for (const bool last : {false, true})
        byte_units_[2 * size_t{first} + size_t{last}][byte] = unit_id(character, first, last).value_or(kNoToken);
  }
}

// Whether no token reaches over the start of a marked word, so that such words may be treated one by one.
bool Bpe::can_cut_at_marks(std::span<const Merge> merges) const {
  if (options_.byte_level || options_.ignore_merges || has_affixes_ || !vocabulary().id(kMark)) return false;
  const auto reaches_over = [](std::string_view token) { return next_word_start(token, 0) != std::string_view::npos; };
  return std::none_of(merges.begin(), merges.end(),
                      [&](const Merge& merge) {
                        const auto token = vocabulary().token(merge.result);
                        return !token || reaches_over(*token);
                      }) &&
         std::none_of(options_.indivisible.begin(), options_.indivisible.end(), reaches_over);
}

void Bpe::tokenize(std::string_view word, std::vector<TokenId>& ids) const {
  const Lease scratch(*this);
  if (!word.empty()) tokenize_known(word, *scratch, ids);
}

void Bpe::tokenize_all(const Words& words, std::vector<TokenId>& ids) const {
  const Lease scratch(*this);
  for (const Span& span : words.spans) {
    const std::string_view word = words.word(span);
    size_t begin = 0;
    while (cut_at_marks_) {
      const size_t end = next_word_start(word, begin + 1);
      if (end == std::string_view::npos) break;
      tokenize_known(word.substr(begin, end - begin), *scratch, ids);
      begin = end;
    }
    tokenize_known(word.substr(begin), *scratch, ids);
  }
}

void Bpe::tokenize_known(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const {
  if (word.size() > WordCache::kLongestWord) return tokenize_new(word, scratch, ids);
  if (scratch.cache.find(word, ids)) return;
  const size_t first = ids.size();
  tokenize_new(word, scratch, ids);
  scratch.cache.insert(word, std::span(ids).subspan(first));
}

void Bpe::tokenize_new(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const {
  if (options_.ignore_merges) {
    if (const auto id = whole_word(word)) return ids.push_back(*id);
  }
  scratch.units.clear();
  if (options_.byte_level)
    add_bytes(word, scratch.units);
  else
    add_characters(word, scratch.units);
  if (scratch.units.size() <= kFewUnits)
    merge_few(scratch.units, scratch.found);
  else
    merge_many(scratch);
  ids.insert(ids.end(), scratch.units.begin(), scratch.units.end());
}

std::optional<TokenId> Bpe::whole_word(std::string_view word) const {
  return options_.byte_level ? vocabulary().id(to_byte_characters(word)) : vocabulary().id(word);
}

std::optional<uint32_t> Bpe::unit_id(std::string_view unit, bool first, bool last) const {
  if (!has_affixes_) {
    const auto id = vocabulary().id(unit);
    return id ? std::optional(to_unit(*id)) : std::nullopt;
  }
  const auto id = vocabulary().id(affixed(unit, first, last));
  return id ? std::optional(to_unit(*id)) : std::nullopt;
}

std::string Bpe::affixed(std::string_view unit, bool first, bool last) const {
  std::string token(unit);
  if (!first) token.insert(0, options_.continuing_subword_prefix);
  if (last) token += options_.end_of_word_suffix;
  return token;
}

void Bpe::add_bytes(std::string_view word, std::vector<uint32_t>& units) const {
  bool unknown = false;  // an unknown token is due
  for (size_t i = 0; i < word.size(); ++i) {
    const size_t place = 2 * size_t{i == 0} + size_t{i + 1 == word.size()};
    const uint32_t id = byte_units_[place][static_cast<unsigned char>(word[i])];
    if (id == kNoToken && !unk_) continue;
    if (unknown && (id != kNoToken || !options_.fuse_unk)) units.push_back(*unk_);
    unknown = id == kNoToken;
    if (!unknown) units.push_back(id);
  }
  if (unknown) units.push_back(*unk_);
}

void Bpe::add_characters(std::string_view word, std::vector<uint32_t>& units) const {
  bool unknown = false;  // an unknown token is due
  for (size_t begin = 0, end = 0; begin < word.size(); begin = end) {
    const char lead = word[begin];
    std::optional<uint32_t> id;
    if (indivisible_.may_start_with(lead)) {
      if (const auto match = indivisible_.longest_prefix(word.substr(begin))) {
        id = static_cast<uint32_t>(match->value);
        end = begin + match->length;
      }
    }
    if (!id) {
      end = begin + character_length(word.substr(begin));
      const bool inside = begin > 0 && end < word.size();
      if ((inside || !has_affixes_) && static_cast<unsigned char>(lead) < 0x80) {
        const uint32_t unit = ascii_units_[static_cast<unsigned char>(lead)];
        if (unit != kNoToken) id = unit;
      } else {
        id = unit_id(word.substr(begin, end - begin), begin == 0, end == word.size());
      }
    }
    const auto unit = [&] { return affixed(word.substr(begin, end - begin), begin == 0, end == word.size()); };
    if (!id && options_.byte_fallback && add_fallback_bytes(unit(), units)) continue;
    if (!id && !unk_) continue;
    if (unknown && (id || !options_.fuse_unk)) units.push_back(*unk_);
    unknown = !id;
    if (id) units.push_back(*id);
  }
  if (unknown) units.push_back(*unk_);
}

bool Bpe::add_fallback_bytes(std::string_view unit, std::vector<uint32_t>& units) const {
  const auto token = [&](char byte) { return fallback_bytes_[static_cast<unsigned char>(byte)]; };
  if (std::any_of(unit.begin(), unit.end(), [&](char byte) { return token(byte) == kNoToken; })) return false;
  for (const char byte : unit) units.push_back(token(byte));
  return true;
}

// found[i] is the merge of the units i and i + 1.
void Bpe::merge_few(std::vector<uint32_t>& units, std::vector<MergeTable::Found>& found) const {
  if (units.size() < 2) return;
  found.clear();
  for (size_t i = 0; i + 1 < units.size(); ++i) found.push_back(merges_.find(units[i], units[i + 1]));
  while (!found.empty()) {
    const auto best =
        std::min_element(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.rank < b.rank; });
    if (best->rank == MergeTable::kNone) return;
    const auto at = best - found.begin();
    units[static_cast<size_t>(at)] = best->result;
    units.erase(units.begin() + at + 1);
    found.erase(best);
    const auto place = static_cast<size_t>(at);
    if (place > 0) found[place - 1] = merges_.find(units[place - 1], units[place]);
    if (place < found.size()) found[place] = merges_.find(units[place], units[place + 1]);
  }
}

// As merge_few, in time n log n: a list of the units and a queue of candidates.
void Bpe::merge_many(Scratch& scratch) const {
  std::vector<Node>& nodes = scratch.nodes;
  std::vector<Candidate>& queue = scratch.queue;
  const auto count = static_cast<uint32_t>(scratch.units.size());
  constexpr uint32_t kEnd = UINT32_MAX, kMerged = UINT32_MAX;  // no neighbour; an id that is no token's
  nodes.clear();
  queue.clear();
  for (uint32_t i = 0; i < count; ++i)
    nodes.push_back({scratch.units[i], i == 0 ? kEnd : i - 1, i + 1 == count ? kEnd : i + 1});
  const auto add = [&](uint32_t left) {
    if (left == kEnd || nodes[left].behind == kEnd) return;
    const auto found = merges_.find(nodes[left].id, nodes[nodes[left].behind].id);
    if (found.rank == MergeTable::kNone) return;
    queue.push_back({found.rank, left, found.result});
    std::push_heap(queue.begin(), queue.end());
  };
  for (uint32_t i = 0; i + 1 < count; ++i) add(i);
  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end());
    const Candidate best = queue.back();
    queue.pop_back();
    Node& left = nodes[best.position];
    if (left.id == kMerged || left.behind == kEnd) continue;
    Node& right = nodes[left.behind];
    if (merges_.find(left.id, right.id).result != best.result) continue;
    left.id = best.result;
    right.id = kMerged;
    left.behind = right.behind;
    if (left.behind != kEnd) nodes[left.behind].before = best.position;
    add(left.before);
    add(best.position);
  }
  scratch.units.clear();
  for (uint32_t at = 0; at != kEnd; at = nodes[at].behind) scratch.units.push_back(nodes[at].id);
}

}  // namespace lathe::text
