#include "text/stream_decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "tests/data_path.h"
#include "text/tokenizer.h"

namespace lathe::text {
namespace {

using ::testing::ElementsAre;

const std::filesystem::path kData = std::filesystem::path(LATHE_TEST_DATA) / "tokenizers";

std::vector<std::string> stream(StreamDecoder& decoder, const std::vector<TokenId>& ids) {
  std::vector<std::string> pieces;
  for (const TokenId id : ids) pieces.push_back(decoder.push(id));
  pieces.push_back(decoder.finish());
  return pieces;
}

TEST(StreamDecoder, HoldsBackHalfACharacterUntilTheEnd) {
  const auto tokenizer = Tokenizer::load(kData / "gpt2-bytelevel");
  EncodeOptions plain;
  plain.add_special_tokens = false;
  const std::vector<TokenId> smile = tokenizer->encode("😀", plain).ids;
  ASSERT_GT(smile.size(), 1u);
  StreamDecoder decoder(*tokenizer);
  EXPECT_EQ(decoder.push(smile[0]), "");
  EXPECT_EQ(decoder.finish(), "\uFFFD");
  EXPECT_EQ(stream(decoder, smile).back(), "") << "finish() begins a new text";
}

TEST(StreamDecoder, SpecialTokensAreLeftOutOrShown) {
  const auto tokenizer = Tokenizer::load(kData / "llama-sp");
  const std::vector<TokenId> ids = tokenizer->encode("a a").ids;
  StreamDecoder skipping(*tokenizer), showing(*tokenizer, /*skip_special_tokens=*/false);
  EXPECT_THAT(stream(skipping, ids), ElementsAre("", "a", " a", ""));
  EXPECT_THAT(stream(showing, ids), ElementsAre("<s>", " a", " a", ""));
}

// For any ids: the pieces are the text, whatever the first token loses, and none ends inside a character.
TEST(StreamDecoder, PiecesAddUpToTheText) {
  std::mt19937 random(5);
  for (const char* folder : {"llama3", "bloom", "t5-unigram", "chatglm2-6b", "chatglm-6b"}) {
    const auto tokenizer = Tokenizer::load(kData / folder);
    for (int round = 0; round < 100; ++round) {
      std::vector<TokenId> ids;
      for (size_t i = random() % 30; i-- > 0;) ids.push_back(static_cast<TokenId>(random() % tokenizer->vocab_size()));
      StreamDecoder decoder(*tokenizer);
      const auto pieces = stream(decoder, ids);
      std::string text;
      for (size_t i = 0; i < pieces.size(); ++i) {
        text += pieces[i];
        EXPECT_FALSE(i + 1 < pieces.size() && pieces[i].ends_with("\uFFFD"));
      }
      EXPECT_EQ(text, tokenizer->decode(ids)) << folder;
    }
  }
}

}  // namespace
}  // namespace lathe::text
