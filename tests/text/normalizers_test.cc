#include "text/normalizers.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "text/base64.h"
#include "text/charsmap.h"

namespace lathe::text {
namespace {

using Form = NormalizationForm;

TEST(UnicodeNormalizer, TheFourForms) {
  const std::string text = "xe\u0301 é ﬁ 한 ½";
  EXPECT_EQ(UnicodeNormalizer(Form::nfc).normalize(text), "xé é ﬁ 한 ½");
  EXPECT_EQ(UnicodeNormalizer(Form::nfd).normalize(text), "xe\u0301 e\u0301 ﬁ \u1112\u1161\u11AB ½");
  EXPECT_EQ(UnicodeNormalizer(Form::nfkc).normalize(text), "xé é fi 한 1⁄2");
  EXPECT_EQ(UnicodeNormalizer(Form::nfkd).normalize(text), "xe\u0301 e\u0301 fi \u1112\u1161\u11AB 1⁄2");
  EXPECT_EQ(UnicodeNormalizer(Form::nfc).normalize(""), "");
  EXPECT_EQ(UnicodeNormalizer(Form::nfc).normalize("\u0301a\u0301"), "\u0301á");
}

TEST(Normalizers, SmallOnes) {
  EXPECT_EQ(Lowercase().normalize("AÉİ"), "aéi\u0307");
  EXPECT_EQ(StripAccents().normalize("é e\u0301"), "é e");
  EXPECT_EQ(StripAccents().normalize("a\u0D57b\u20DDc"), "abc");  // spacing and enclosing marks, too
  EXPECT_EQ(Prepend("▁").normalize("a"), "▁a");
  EXPECT_EQ(Prepend("▁").normalize(""), "");
  EXPECT_EQ(Nmt().normalize(std::string("a\x01\tb\u200Bc\0", 9)), std::string("a b c\0", 6));
  EXPECT_EQ(StripSpaces(true, false).normalize(" \u3000a "), "a ");
  EXPECT_EQ(StripSpaces(false, true).normalize(" a \n"), " a");
  EXPECT_EQ(StripSpaces(true, true).normalize(" \n"), "");
  EXPECT_EQ(StripSpaces(false, false).normalize(" "), " ");
}

TEST(Normalizers, ReplaceAndSequences) {
  EXPECT_EQ(Replace(Pattern::literal(" "), "▁").normalize("a  b"), "a▁▁b");
  EXPECT_EQ(Replace(Pattern::literal(""), "x").normalize("ab"), "xaxbx");
  EXPECT_EQ(Replace(Pattern::regex(R"(\s+)"), "").normalize("a \n b"), "ab");
  std::vector<std::unique_ptr<Normalizer>> stages;
  stages.push_back(std::make_unique<Prepend>("A"));
  stages.push_back(std::make_unique<Lowercase>());
  EXPECT_EQ(NormalizerSequence(std::move(stages)).normalize("B"), "ab");
}

// A map of two strings, "a" to "xy" and "ab" to "z", built by hand: the double array is described in charsmap.cc.
std::string small_charsmap() {
  const auto unit = [](uint32_t label, uint32_t offset, bool leaf) {
    return label | offset << 10 | (leaf ? 0x100u : 0u);
  };
  std::vector<uint32_t> units(512, 0);
  units[0] = unit(0, 1, false);         // children at 1 ^ byte
  const uint32_t a = 1 ^ 'a';           // node "a", its children at 256 ^ a ^ ... below
  units[a] = unit('a', a ^ 256, true);  // children at 256 ^ byte
  units[256] = 0x80000000u;             // leaf of "a": replacement at 0
  const uint32_t ab = 256 ^ 'b';
  units[ab] = unit('b', ab ^ 400, true);
  units[400] = 0x80000000u | 3;  // leaf of "ab": replacement at 3
  const auto bytes = static_cast<uint32_t>(units.size() * sizeof(uint32_t));
  std::string blob(reinterpret_cast<const char*>(&bytes), sizeof bytes);
  blob.append(reinterpret_cast<const char*>(units.data()), bytes);
  return blob + std::string("xy\0z\0", 5);
}

TEST(Charsmap, FindsTheShortestAndTheLongestPrefix) {
  const Charsmap map(small_charsmap());
  ASSERT_TRUE(map.shortest_prefix("abc"));
  EXPECT_EQ(map.shortest_prefix("abc")->replacement, "xy");
  EXPECT_EQ(map.longest_prefix("abc")->replacement, "z");
  EXPECT_EQ(map.longest_prefix("abc")->length, 2u);
  EXPECT_FALSE(map.longest_prefix("b"));
  EXPECT_FALSE(map.longest_prefix(""));
  EXPECT_FALSE(Charsmap("").longest_prefix("a"));
}

TEST(Charsmap, HuggingFaceReplacesWholeGraphemes) {
  const PrecompiledNormalizer normalizer(small_charsmap());
  EXPECT_EQ(normalizer.normalize("abca\u0301"), "xybcxy");
}

TEST(Charsmap, DamagedOnesAreErrors) {
  const std::string blob = small_charsmap();
  for (const size_t size : {1u, 4u, 100u}) EXPECT_THROW(Charsmap(blob.substr(0, size)), Error);
  EXPECT_THROW(Charsmap(blob + "\xFF"), Error);
}

TEST(Base64, DecodesOrRefuses) {
  EXPECT_EQ(decode_base64("aGVsbG8="), "hello");
  EXPECT_EQ(decode_base64("aGVsbG8"), "hello");
  EXPECT_EQ(decode_base64(""), "");
  EXPECT_EQ(decode_base64("a"), std::nullopt);
  EXPECT_EQ(decode_base64("a-b_"), std::nullopt);
}

}  // namespace
}  // namespace lathe::text
