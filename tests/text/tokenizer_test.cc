// Whole tokenizers against the answers of Hugging Face's `tokenizers`: cases.json of each folder in tests/data/text,
// and the bundled models' expected.json.
#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "tests/base/temporary_folder.h"
#include "tests/data_path.h"

namespace lathe::text {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::filesystem::path kData = std::filesystem::path(LATHE_TEST_DATA) / "text";
const std::filesystem::path kModels = std::filesystem::path(LATHE_TEST_DATA) / ".." / ".." / "models" / "reviews-bert";

nlohmann::json read_json(const std::filesystem::path& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file);
}

void expect_cases(const Tokenizer& tokenizer, const std::filesystem::path& folder) {
  EncodeOptions plain;
  plain.add_special_tokens = false;
  const auto cases = read_json(folder / "cases.json").at("cases");
  ASSERT_GT(cases.size(), 50u);
  for (const auto& item : cases) {
    const auto text = item.at("text").get<std::string>();
    const auto ids = item.at("ids").get<std::vector<TokenId>>();
    EXPECT_EQ(tokenizer.encode(text).ids, ids) << text;
    EXPECT_EQ(tokenizer.encode(text, plain).ids, item.at("ids_no_special").get<std::vector<TokenId>>()) << text;
    EXPECT_EQ(tokenizer.decode(ids, false), item.at("decoded").get<std::string>());
    EXPECT_EQ(tokenizer.decode(ids, true), item.at("decoded_skip_special").get<std::string>());
  }
}

class BertTokenizer : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Folders, BertTokenizer, testing::Values("bert-cased", "bert-uncased"));

TEST_P(BertTokenizer, MatchesHuggingFaceFromTokenizerJson) {
  expect_cases(*Tokenizer::load(kData / GetParam()), kData / GetParam());
}

TEST_P(BertTokenizer, MatchesHuggingFaceFromVocabTxt) {
  // tokenizer_config.json beside it says whether to lower.
  expect_cases(*Tokenizer::load(kData / GetParam() / "vocab.txt"), kData / GetParam());
}

TEST_P(BertTokenizer, KnowsItsSpecialTokens) {
  for (const char* file : {"tokenizer.json", "vocab.txt"}) {
    const auto tokenizer = Tokenizer::load(kData / GetParam() / file);
    const SpecialTokens& special = tokenizer->special_tokens();
    EXPECT_EQ(special.pad, 0);
    EXPECT_EQ(special.unk, 1);
    EXPECT_EQ(special.cls, 2);
    EXPECT_EQ(special.sep, 3);
    EXPECT_EQ(special.mask, 4);
    EXPECT_EQ(special.bos, std::nullopt);
    EXPECT_EQ(tokenizer->token_to_id("[MASK]"), 4);
    EXPECT_EQ(tokenizer->id_to_token(4), "[MASK]");
    EXPECT_EQ(tokenizer->token_to_id("no such token"), std::nullopt);
    EXPECT_EQ(tokenizer->id_to_token(-1), std::nullopt);
    EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{-1, 1 << 30}), "");
  }
}

TEST(Tokenizer, MatchesTheBundledModels) {
  const auto expected = read_json(kModels / "expected.json");
  for (const char* model : {"sentiment", "fill-mask"}) {
    const auto tokenizer = Tokenizer::load(kModels / model);
    EXPECT_EQ(tokenizer->vocab_size(), 5000u);
    ASSERT_FALSE(expected.at(model).empty());
    for (const auto& item : expected.at(model)) {
      const auto encoding = tokenizer->encode(item.at("text").get<std::string>());
      EXPECT_EQ(encoding.ids, item.at("ids").get<std::vector<TokenId>>()) << item.at("text");
      EXPECT_EQ(encoding.type_ids, std::vector<int64_t>(encoding.ids.size(), 0));
    }
  }
}

// Goldens for what the case files lack: pairs and the flags of added tokens. Ids are the same from tokenizers 0.20 to
// 0.23; `decoded` is 0.20's, which gives an added token back as it was added, where 0.23 gives its normalised form.
TEST(Tokenizer, PairsAndAddedTokenFlagsMatchHuggingFace) {
  const auto golden = read_json(kData / "added-tokens" / "cases.json");
  const auto tokenizer = Tokenizer::load(kData / "added-tokens");
  ASSERT_FALSE(golden.at("pairs").empty());
  for (const auto& item : golden.at("pairs")) {
    EncodeOptions options;
    options.max_length = item.at("max_length").get<size_t>();
    const auto encoding =
        tokenizer->encode_pair(item.at("first").get<std::string>(), item.at("second").get<std::string>(), options);
    EXPECT_EQ(encoding.ids, item.at("ids").get<std::vector<TokenId>>()) << item.dump();
    EXPECT_EQ(encoding.type_ids, item.at("type_ids").get<std::vector<int64_t>>()) << item.dump();
  }
  ASSERT_FALSE(golden.at("cases").empty());
  for (const auto& item : golden.at("cases")) {
    const auto ids = item.at("ids").get<std::vector<TokenId>>();
    EXPECT_EQ(tokenizer->encode(item.at("text").get<std::string>()).ids, ids) << item.dump();
    EXPECT_EQ(tokenizer->decode(ids), item.at("decoded").get<std::string>());
  }
  EXPECT_EQ(tokenizer->vocab_size(), golden.at("vocab_size").get<size_t>());
}

TEST(Tokenizer, MalformedTextIsReadAsReplacementCharacters) {
  const auto tokenizer = Tokenizer::load(kData / "bert-uncased");
  EXPECT_EQ(tokenizer
                ->encode("a\xFF"
                         "b\xE4\xBD")
                .ids,
            tokenizer->encode("ab").ids);
}

TEST(Tokenizer, SpecialTokensInPlainRangesAreText) {
  const auto tokenizer = Tokenizer::load(kData / "bert-cased");
  const TokenId sep = *tokenizer->special_tokens().sep;
  EncodeOptions options;
  options.add_special_tokens = false;
  EXPECT_THAT(tokenizer->encode("[SEP][SEP]", options).ids, ElementsAre(sep, sep));
  const std::vector<ByteRange> plain = {{0, 5}};
  options.plain = plain;
  const std::vector<TokenId> ids = tokenizer->encode("[SEP][SEP]", options).ids;
  EXPECT_EQ(ids.back(), sep);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), sep), 1);
  EXPECT_GT(ids.size(), 2u);
}

TEST(Tokenizer, LowerCasingOfABareVocabulary) {
  const TemporaryFolder folder;
  folder.write("vocab.txt", "[PAD]\r\n[UNK]\n[CLS]\n[SEP]\nabc\nABC");
  const auto ids = [&](const LoadOptions& options) {
    return Tokenizer::load(folder.path(), options)->encode("ABC").ids;
  };
  EXPECT_THAT(ids({}), ElementsAre(2, 4, 3));
  EXPECT_THAT(ids({false}), ElementsAre(2, 5, 3));
  folder.write("tokenizer_config.json", R"({"do_lower_case": false})");
  EXPECT_THAT(ids({}), ElementsAre(2, 5, 3));
  EXPECT_THAT(ids({true}), ElementsAre(2, 4, 3));
}

TEST(Tokenizer, LowerCasingOfATokenizerJsonCannotBeChosen) {
  EXPECT_THROW(Tokenizer::load(kData / "bert-uncased", {false}), Error);
  EXPECT_NO_THROW(Tokenizer::load(kData / "bert-uncased" / "vocab.txt", {false}));
}

TEST(Tokenizer, RolesComeFromTheSettings) {
  const TemporaryFolder folder;
  folder.write("vocab.txt", "[UNK]\n[CLS]\n[SEP]\nhole\nfill\n");
  folder.write("tokenizer_config.json", R"({"mask_token": {"content": "hole"}, "cls_token": null})");
  folder.write("special_tokens_map.json", R"({"pad_token": "fill", "mask_token": "fill"})");
  const SpecialTokens special = Tokenizer::load(folder.path())->special_tokens();
  EXPECT_EQ(special.mask, 3);
  EXPECT_EQ(special.pad, 4);
  EXPECT_EQ(special.cls, 1);
}

TEST(Tokenizer, ErrorsNameTheFile) {
  const TemporaryFolder folder;
  const auto error_of_loading = [](const std::filesystem::path& path) -> std::string {
    try {
      Tokenizer::load(path);
    } catch (const Error& error) {
      return error.what();
    }
    return "none";
  };
  EXPECT_THAT(error_of_loading(folder.path()), HasSubstr("none of tokenizer.json, vocab.txt, tokenizer.model"));
  EXPECT_THAT(error_of_loading(folder / "tokenizer.json"), HasSubstr((folder / "tokenizer.json").string()));
  folder.write("vocab.txt", "a\nb\n");
  EXPECT_THAT(error_of_loading(folder.path()), HasSubstr((folder / "vocab.txt").string()));
  folder.write("tokenizer.json", "{");
  EXPECT_THAT(error_of_loading(folder.path()), HasSubstr((folder / "tokenizer.json").string()));
}

}  // namespace
}  // namespace lathe::text
