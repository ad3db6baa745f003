#include "text/bert_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/utf8.h"
#include "tests/data_path.h"

namespace lathe::text {
namespace {

using ::testing::ElementsAre;

std::string encode(char32_t c) {
  std::string text;
  append_utf8(text, c);
  return text;
}

std::vector<std::string> split(std::string_view text) {
  Words words;
  words.assign(text, true);
  BertPreTokenizer().split(words);
  std::vector<std::string> out;
  for (const Span& span : words.spans) out.emplace_back(words.word(span));
  return out;
}

BertNormalizer only(bool BertNormalizerOptions::*flag) {
  BertNormalizerOptions options{false, false, false, false};
  options.*flag = true;
  if (flag == &BertNormalizerOptions::lowercase) options.strip_accents = false;
  return BertNormalizer(options);
}

// character_classes.txt says how Hugging Face treats each code point: see the head of that file.
struct Reference {
  std::map<char32_t, std::string> cleaned, kind, without_accents, lower;
};

std::string rest_as_utf8(std::istringstream& line) {
  std::string out;
  for (std::string word; line >> word && word != "-";)
    append_utf8(out, static_cast<char32_t>(std::stoul(word, nullptr, 16)));
  return out;
}

Reference read_reference() {
  Reference reference;
  std::ifstream file(LATHE_TEST_DATA "/text/character_classes.txt");
  for (std::string text; std::getline(file, text);) {
    std::istringstream line(text);
    std::string topic, kind;
    uint32_t first = 0, last = 0;
    line >> topic >> std::hex >> first;
    if (topic == "accents") reference.without_accents[first] = rest_as_utf8(line);
    if (topic == "lower") reference.lower[first] = rest_as_utf8(line);
    if (topic != "class") continue;
    line >> last >> kind;
    const bool cleaning = kind == "removed" || kind == "blank";
    for (char32_t c = first; c <= last; ++c) (cleaning ? reference.cleaned : reference.kind)[c] = kind;
  }
  return reference;
}

bool is_hangul_syllable(char32_t c) { return c >= 0xAC00 && c <= 0xD7A3; }

template <class Expect>
void for_each_character(const Expect& expect) {
  for (char32_t c = 0; c <= 0x10FFFF && !testing::Test::HasFailure(); ++c)
    if (c < 0xD800 || c > 0xDFFF) expect(c);
}

TEST(BertText, CleansAndSplitsEveryCharacterAsHuggingFace) {
  const Reference reference = read_reference();
  ASSERT_GT(reference.kind.size(), 500u);
  const BertNormalizer clean = only(&BertNormalizerOptions::clean_text);
  for_each_character([&](char32_t c) {
    const auto cleaned = reference.cleaned.find(c);
    const std::string expected = cleaned == reference.cleaned.end() ? encode(c) : cleaned->second == "blank" ? " " : "";
    EXPECT_EQ(clean.normalize(encode(c)), expected) << std::hex << static_cast<uint32_t>(c);

    const auto kind = reference.kind.find(c);
    const std::vector<std::string> words = split("x" + encode(c) + "y");
    if (kind == reference.kind.end())
      EXPECT_EQ(words.size(), 1u) << std::hex << static_cast<uint32_t>(c);
    else
      EXPECT_EQ(words.size(), kind->second == "punctuation" ? 3u : 2u) << std::hex << static_cast<uint32_t>(c);
  });
}

TEST(BertText, StripsAccentsAndLowersEveryCharacterAsHuggingFace) {
  const Reference reference = read_reference();
  ASSERT_GT(reference.lower.size(), 1000u);
  BertNormalizerOptions options{false, false, false, true};
  const BertNormalizer strip(options);
  const BertNormalizer lower = only(&BertNormalizerOptions::lowercase);
  for_each_character([&](char32_t c) {
    const auto stripped = reference.without_accents.find(c);
    if (!is_hangul_syllable(c)) {
      EXPECT_EQ(strip.normalize(encode(c)), stripped == reference.without_accents.end() ? encode(c) : stripped->second)
          << std::hex << static_cast<uint32_t>(c);
    }
    const auto lowered = reference.lower.find(c);
    EXPECT_EQ(lower.normalize(encode(c)), lowered == reference.lower.end() ? encode(c) : lowered->second)
        << std::hex << static_cast<uint32_t>(c);
  });
}

TEST(BertText, HangulDecomposesIntoLetters) {
  BertNormalizerOptions options{false, false, false, true};
  EXPECT_EQ(BertNormalizer(options).normalize("한"), "\u1112\u1161\u11AB");
}

TEST(BertText, ChineseCharactersStandAlone) {
  const BertNormalizer normalizer = only(&BertNormalizerOptions::handle_chinese_chars);
  EXPECT_EQ(normalizer.normalize("a你好b"), "a 你  好 b");
  EXPECT_EQ(normalizer.normalize("\u4DBF\u4DC0\u9FFF\uA000"), " \u4DBF \u4DC0 \u9FFF \uA000");
  EXPECT_EQ(normalizer.normalize("\U0002B820\U0002B920"), "\U0002B820 \U0002B920 ");
  EXPECT_EQ(normalizer.normalize("ひカ한"), "ひカ한");
}

TEST(BertText, AccentsFollowCaseUnlessToldOtherwise) {
  BertNormalizerOptions options;
  EXPECT_EQ(BertNormalizer(options).normalize("Ünïcödé\t\x01"), "unicode ");
  options.strip_accents = false;
  EXPECT_EQ(BertNormalizer(options).normalize("Ünïcödé"), "ünïcödé");
  options.lowercase = false;
  options.strip_accents.reset();
  EXPECT_EQ(BertNormalizer(options).normalize("Ünïcödé"), "Ünïcödé");
  options.strip_accents = true;
  EXPECT_EQ(BertNormalizer(options).normalize("Ünïcödé"), "Unicode");
}

TEST(BertText, SplitsAtSpaceAndAroundPunctuation) {
  EXPECT_THAT(split(""), ElementsAre());
  EXPECT_THAT(split(" \u3000\n"), ElementsAre());
  EXPECT_THAT(split(" don't  stop!!"), ElementsAre("don", "'", "t", "stop", "!", "!"));
  EXPECT_THAT(split("你，好"), ElementsAre("你", "，", "好"));
}

}  // namespace
}  // namespace lathe::text
