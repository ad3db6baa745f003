#include "text/bpe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "text/byte_level.h"

namespace lathe::text {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Pairs = std::vector<std::pair<std::string, std::string>>;

// Ids are places in the list.
Vocabulary vocabulary_of(const std::vector<std::string>& tokens) {
  Vocabulary vocabulary;
  for (size_t i = 0; i < tokens.size(); ++i) vocabulary.add(tokens[i], static_cast<TokenId>(i));
  return vocabulary;
}

Bpe make(const std::vector<std::string>& tokens, const Pairs& merges, BpeOptions options = {}) {
  Vocabulary vocabulary = vocabulary_of(tokens);
  const auto ranked = ranked_merges(vocabulary, merges, options.continuing_subword_prefix);
  return Bpe(std::move(vocabulary), ranked, std::move(options));
}

std::vector<TokenId> ids_of(const TokenModel& model, std::string_view word) {
  std::vector<TokenId> ids;
  model.tokenize(word, ids);
  return ids;
}

TEST(Bpe, TheLowestRankGoesFirstAndThenTheLeftmostPlace) {
  const Bpe model = make({"a", "b", "c", "bc", "ab", "aa"}, {{"b", "c"}, {"a", "b"}, {"a", "a"}});
  EXPECT_THAT(ids_of(model, "abc"), ElementsAre(0, 3));
  EXPECT_THAT(ids_of(model, "ab"), ElementsAre(4));
  EXPECT_THAT(ids_of(model, "aaa"), ElementsAre(5, 0));
  EXPECT_THAT(ids_of(model, ""), ElementsAre());
}

// The definition, word by word: find the best pair, merge it, start again.
std::vector<TokenId> merge_naively(std::string_view word, const Pairs& merges, const Vocabulary& vocabulary) {
  std::vector<std::string> parts;
  for (const char c : word) parts.emplace_back(1, c);
  for (bool merged = true; merged;) {
    merged = false;
    for (size_t rank = 0; rank < merges.size() && !merged; ++rank)
      for (size_t i = 0; i + 1 < parts.size() && !merged; ++i)
        if (parts[i] == merges[rank].first && parts[i + 1] == merges[rank].second) {
          parts[i] += parts[i + 1];
          parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(i) + 1);
          merged = true;
        }
  }
  std::vector<TokenId> ids;
  for (const std::string& part : parts) ids.push_back(*vocabulary.id(part));
  return ids;
}

TEST(Bpe, ShortAndLongWordsFollowTheDefinition) {
  std::mt19937 random(7);
  const auto below = [&](size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random); };
  for (int round = 0; round < 30; ++round) {
    std::vector<std::string> tokens = {"a", "b", "c"};
    Pairs merges;
    while (merges.size() < 25) {
      const std::string left = tokens[below(tokens.size())], right = tokens[below(tokens.size())];
      if (std::find(merges.begin(), merges.end(), std::pair(left, right)) != merges.end()) continue;
      merges.emplace_back(left, right);
      if (std::find(tokens.begin(), tokens.end(), left + right) == tokens.end()) tokens.push_back(left + right);
    }
    const Bpe model = make(tokens, merges);
    for (const size_t length : {1u, 2u, 7u, 47u, 48u, 49u, 200u}) {
      std::string word;
      while (word.size() < length) word += static_cast<char>('a' + below(3));
      const auto expected = merge_naively(word, merges, model.vocabulary());
      EXPECT_EQ(ids_of(model, word), expected) << word;
      EXPECT_EQ(ids_of(model, word), expected) << "the second time, " << word;
    }
  }
}

TEST(Bpe, UnknownCharacters) {
  const std::vector<std::string> tokens = {"<unk>", "a"};
  EXPECT_THAT(ids_of(make(tokens, {}), "xaé"), ElementsAre(1));
  BpeOptions options;
  options.unk_token = "<unk>";
  EXPECT_THAT(ids_of(make(tokens, {}, options), "xyaé你"), ElementsAre(0, 0, 1, 0, 0));
  options.fuse_unk = true;
  EXPECT_THAT(ids_of(make(tokens, {}, options), "xyaé你"), ElementsAre(0, 1, 0));
}

TEST(Bpe, UnknownCharactersFallBackToTheirBytesWhereAllAreThere) {
  BpeOptions options;
  options.unk_token = "<unk>";
  options.byte_fallback = true;
  const Bpe model = make({"<unk>", "a", "<0xC3>", "<0xA9>"}, {}, options);
  EXPECT_THAT(ids_of(model, "aéa"), ElementsAre(1, 2, 3, 1));
  EXPECT_THAT(ids_of(model, "aèa"), ElementsAre(1, 0, 1));
  options.continuing_subword_prefix = "#";  // is part of what falls back
  const Bpe prefixed = make({"<unk>", "a", "<0xC3>", "<0xA9>", "<0x23>"}, {}, options);
  EXPECT_THAT(ids_of(prefixed, "éé"), ElementsAre(2, 3, 4, 2, 3));
}

TEST(Bpe, AffixesMarkPlacesInTheWord) {
  BpeOptions options;
  options.continuing_subword_prefix = "##";
  options.end_of_word_suffix = "</w>";
  const Bpe model = make({"a", "##b", "##b</w>", "ab</w>", "a</w>"}, {{"a", "##b</w>"}}, options);
  EXPECT_THAT(ids_of(model, "ab"), ElementsAre(3));
  EXPECT_THAT(ids_of(model, "abb"), ElementsAre(0, 1, 2));
  EXPECT_THAT(ids_of(model, "a"), ElementsAre(4));
}

TEST(Bpe, IgnoringMergesPrefersWholeWords) {
  BpeOptions options;
  EXPECT_THAT(ids_of(make({"a", "b", "ab"}, {}, options), "ab"), ElementsAre(0, 1));
  options.ignore_merges = true;
  EXPECT_THAT(ids_of(make({"a", "b", "ab"}, {}, options), "ab"), ElementsAre(2));
  EXPECT_THAT(ids_of(make({"a", "b", "ab"}, {}, options), "aba"), ElementsAre(0, 1, 0));
}

TEST(Bpe, ByteLevelWordsAreRawBytes) {
  BpeOptions options;
  options.byte_level = true;
  const std::string e1 = to_byte_characters("\xC3"), e2 = to_byte_characters("\xA9"), blank = to_byte_characters(" ");
  const Bpe model = make({blank, e1, e2, e1 + e2}, {{e1, e2}}, options);
  EXPECT_THAT(ids_of(model, " é"), ElementsAre(0, 3));
  EXPECT_THAT(ids_of(model, "x"), ElementsAre());
}

TEST(Bpe, IndivisibleTokensAreFoundBeforeCharacters) {
  BpeOptions options;
  options.indivisible = {"ab", "abc"};
  const Bpe model = make({"a", "b", "c", "ab", "abc", "bc"}, {{"b", "c"}}, options);
  EXPECT_THAT(ids_of(model, "abcabbc"), ElementsAre(4, 3, 5));
}

TEST(Bpe, CuttingAtMarksChangesNothing) {
  const std::string mark = "\u2581";
  const Bpe model = make({mark, "a", "b", mark + "a", mark + mark, "ab", mark + "ab"},
                         {{mark, "a"}, {mark, mark}, {"a", "b"}, {mark, "ab"}});
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    std::string text;
    for (int i = 0; i < 20; ++i) text += std::vector<std::string>{mark, "a", "b"}[random() % 3];
    Words words;
    words.assign(text, true);
    std::vector<TokenId> ids;
    model.tokenize_all(words, ids);
    EXPECT_EQ(ids, ids_of(model, text)) << text;
  }
}

TEST(Bpe, MergesFollowFromTokensAndTheirOrder) {
  Vocabulary vocabulary = vocabulary_of({"a", "b", "你", "ab", "aba", "ab你", "xy"});
  const auto merges = merges_by_concatenation(vocabulary, [](TokenId id) -> std::optional<uint32_t> {
    return id == 4 ? std::nullopt : std::optional(static_cast<uint32_t>(id));
  });
  const Bpe model(std::move(vocabulary), merges, {});
  EXPECT_EQ(merges.size(), 2u);  // a b, ab 你; "aba" takes part in none, the parts of "xy" are no tokens
  EXPECT_THAT(ids_of(model, "aba"), ElementsAre(3, 0));
  EXPECT_THAT(ids_of(model, "ab你"), ElementsAre(5));
}

TEST(Bpe, SeveralThreadsMayShareAModel) {
  const Bpe model = make({"a", "b", "ab"}, {{"a", "b"}});
  std::vector<std::thread> threads;
  std::vector<std::vector<TokenId>> results(4);
  for (auto& result : results)
    threads.emplace_back([&model, &result] {
      for (int i = 0; i < 500; ++i) result = ids_of(model, i % 2 == 0 ? "ab" : "ba");
    });
  for (std::thread& thread : threads) thread.join();
  for (const auto& result : results) EXPECT_THAT(result, ElementsAre(1, 0));
}

template <class Make>
std::string error_of(const Make& make_model) {
  try {
    make_model();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_model);
    return error.what();
  }
  return "none";
}

TEST(Bpe, BadVocabulariesAreErrors) {
  EXPECT_THAT(error_of([] { make({"a", "b"}, {{"a", "b"}}); }), HasSubstr("'ab'"));
  BpeOptions options;
  options.unk_token = "<unk>";
  EXPECT_THAT(error_of([&] { make({"a"}, {}, options); }), HasSubstr("'<unk>'"));
  Vocabulary vocabulary;
  vocabulary.add("a", TokenId{1} << 31);
  EXPECT_THAT(error_of([&] { Bpe(std::move(vocabulary), {}, {}); }), HasSubstr("out of range"));
}

}  // namespace
}  // namespace lathe::text
