// Tokenizers of language models against the answers of Hugging Face's `tokenizers`, of sentencepiece and of ChatGLM's
// own code: cases.json of each folder in tests/data/tokenizers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "tests/data_path.h"
#include "text/sentencepiece.h"
#include "text/stream_decoder.h"
#include "text/tokenizer.h"

namespace lathe::text {
namespace {

using nlohmann::json;
using Ids = std::vector<TokenId>;

const std::filesystem::path kData = std::filesystem::path(LATHE_TEST_DATA) / "tokenizers";

json read_cases(const std::string& folder) {
  std::ifstream file(kData / folder / "cases.json");
  return json::parse(file);
}

Ids encode_plain(const Tokenizer& tokenizer, const std::string& text) {
  EncodeOptions options;
  options.add_special_tokens = false;
  return tokenizer.encode(text, options).ids;
}

void expect_cases(const Tokenizer& tokenizer, const json& cases) {
  ASSERT_GT(cases.size(), 50u);
  for (const json& item : cases) {
    const auto text = item.at("text").get<std::string>();
    const Ids ids = item.at("ids");
    EXPECT_EQ(tokenizer.encode(text).ids, ids) << text;
    EXPECT_EQ(encode_plain(tokenizer, text), item.at("ids_no_special").get<Ids>()) << text;
    EXPECT_EQ(tokenizer.decode(ids, false), item.at("decoded").get<std::string>());
    EXPECT_EQ(tokenizer.decode(ids, true), item.at("decoded_skip_special").get<std::string>());
  }
}

void expect_streams(const Tokenizer& tokenizer, const json& streams) {
  ASSERT_FALSE(streams.empty());
  for (const json& item : streams) {
    StreamDecoder decoder(tokenizer);
    std::vector<std::string> pieces;
    for (const TokenId id : item.at("ids").get<Ids>()) pieces.push_back(decoder.push(id));
    EXPECT_EQ(pieces, item.at("pieces").get<std::vector<std::string>>());
    EXPECT_EQ(decoder.finish(), item.at("rest").get<std::string>());
  }
}

struct GoldenCase {
  const char* folder;
  const char* file;  // empty: what the folder has
};

class GoldenTokenizer : public testing::TestWithParam<GoldenCase> {};
INSTANTIATE_TEST_SUITE_P(Files, GoldenTokenizer,
                         testing::Values(GoldenCase{"bloom", ""}, GoldenCase{"chatglm-6b", ""},
                                         GoldenCase{"chatglm2-6b", ""}, GoldenCase{"gpt2-bytelevel", ""},
                                         GoldenCase{"gpt2-bytelevel", "vocab.json"}, GoldenCase{"llama-sp", ""},
                                         GoldenCase{"llama-sp", "tokenizer.model"}, GoldenCase{"llama3", ""},
                                         GoldenCase{"qwen2", ""}, GoldenCase{"t5-unigram", ""}),
                         [](const auto& param_info) {
                           std::string name = std::string(param_info.param.folder) + "_" + param_info.param.file;
                           for (char& c : name)
                             if (c == '-' || c == '.') c = '_';
                           return name;
                         });

TEST_P(GoldenTokenizer, GivesTheReferencesIdsAndTexts) {
  const auto tokenizer = Tokenizer::load(kData / GetParam().folder / GetParam().file);
  const json document = read_cases(GetParam().folder);
  expect_cases(*tokenizer, document.at("cases"));
  expect_streams(*tokenizer, document.at("streaming"));
}

class GoldenSentencePiece : public testing::TestWithParam<GoldenCase> {};
INSTANTIATE_TEST_SUITE_P(Files, GoldenSentencePiece,
                         testing::Values(GoldenCase{"llama-sp", "tokenizer.model"},
                                         GoldenCase{"t5-unigram", "spiece.model"}),
                         [](const auto& param_info) { return std::string(param_info.param.folder).substr(0, 2); });

TEST_P(GoldenSentencePiece, GivesSentencePiecesIdsAndTexts) {
  const auto file = MappedFile::open(kData / GetParam().folder / GetParam().file);
  const Tokenizer tokenizer(sentencepiece_parts(parse_sentencepiece(file->bytes())));
  const json document = read_cases(GetParam().folder);
  for (const json& item : document.at("sentencepiece")) {
    const auto text = item.at("text").get<std::string>();
    EXPECT_EQ(tokenizer.encode(text).ids, item.at("ids").get<Ids>()) << text;
    EXPECT_EQ(tokenizer.decode(item.at("ids").get<Ids>()), item.at("decoded").get<std::string>());
  }
}

}  // namespace
}  // namespace lathe::text
