// Which file of a folder is read, what the settings beside it change, and what errors say.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "tests/base/temporary_folder.h"
#include "text/rank_files.h"
#include "text/split_lexers.h"
#include "text/tokenizer.h"
#include "text/tokenizer_files.h"

namespace lathe::text {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kVocab = R"({"a": 0, "b": 1, "ab": 2, "Ġ": 3, "Ġab": 4, "<s>": 5, "</s>": 6})";
constexpr const char* kMerges = "#version: 0.2\na b\nĠ ab\n";

json byte_level_document() {
  return {{"model", {{"type", "BPE"}, {"vocab", json::parse(kVocab)}, {"merges", {"a b", {"Ġ", "ab"}}}}},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
          {"decoder", {{"type", "ByteLevel"}}}};
}

std::string error_of_loading(const std::filesystem::path& path) {
  try {
    Tokenizer::load(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "none";
}

TEST(TokenizerLoad, VocabularyAndMerges) {
  const TemporaryFolder folder;
  folder.write("vocab.json", kVocab);
  EXPECT_THAT(error_of_loading(folder.path()), HasSubstr("merges.txt"));
  folder.write("merges.txt", kMerges);
  EXPECT_THAT(Tokenizer::load(folder.path())->encode("ab ab a").ids, ElementsAre(2, 4, 3, 0));
  EXPECT_EQ(Tokenizer::load(folder.path())->decode(std::vector<TokenId>{2, 4}), "ab ab");
  folder.write("tokenizer_config.json", R"({"tokenizer_class": "RobertaTokenizer", "eos_token": "<end>"})");
  EXPECT_THAT(Tokenizer::load(folder.path())->encode_pair("a<end>", "b").ids, ElementsAre(5, 0, 7, 6, 6, 1, 6));
  folder.write("merges.txt", "ab\n");
  EXPECT_THAT(error_of_loading(folder.path()), HasSubstr("merges.txt"));
}

TEST(TokenizerLoad, TiktokenFiles) {
  const TemporaryFolder folder;
  const char* lines = "YQ== 0\nYg== 1\nYWI= 2\nIA== 3\nIGFi 4\n6Q== 5\n";  // a, b, ab, blank, " ab", \xE9
  folder.write("qwen.tiktoken", lines);
  const auto qwen = Tokenizer::load(folder.path());
  EXPECT_THAT(qwen->encode("ab ab<|im_end|>").ids, ElementsAre(2, 4, 8));
  EXPECT_EQ(qwen->decode(std::vector<TokenId>{5, 2}), "\uFFFDab");
  folder.write("tokenizer.model", lines);
  folder.write("tokenizer_config.json", R"({"added_tokens_decoder": {"9": {"content": "<|user|>", "special": true}}})");
  EXPECT_THAT(Tokenizer::load(folder.path())->encode("ab<|user|>").ids, ElementsAre(2, 9));
  folder.write("tokenizer_config.json", R"({"tokenizer_class": "ChatGLM4Tokenizer", "added_tokens_decoder": {
      "8": {"content": "<|endoftext|>"}, "9": {"content": "[gMASK]"}, "10": {"content": "<sop>"}}})");
  EXPECT_THAT(Tokenizer::load(folder.path())->encode_pair("ab", "a").ids, ElementsAre(9, 10, 2, 0, 8));
  folder.write("tokenizer_config.json", R"({"tokenizer_class": "ChatGLM4Tokenizer"})");
  EXPECT_THAT(error_of_loading(folder.path()), HasSubstr("GLM-4 needs"));
  EXPECT_THROW(parse_tiktoken("YQ== 0\nnonsense\n", kGpt2Pattern), Error);
  EXPECT_FALSE(is_tiktoken("\n\x0E\n\x05<unk>"));
}

TEST(TokenizerLoad, SettingsSayWhatStandsAroundTexts) {
  const TemporaryFolder folder;
  folder.write("tokenizer.json", byte_level_document().dump());
  EXPECT_THAT(Tokenizer::load(folder.path())->encode("a").ids, ElementsAre(0));
  json settings = {{"tokenizer_class", "LlamaTokenizerFast"}, {"add_bos_token", true}, {"add_eos_token", true}};
  folder.write("tokenizer_config.json", settings.dump());
  EXPECT_THAT(Tokenizer::load(folder.path())->encode_pair("a", "b").ids, ElementsAre(5, 0, 6, 5, 1, 6));
  settings["bos_token"] = "<start>";
  folder.write("tokenizer_config.json", settings.dump());
  EXPECT_THAT(error_of_loading(folder.path()), AllOf(HasSubstr("tokenizer_config.json"), HasSubstr("<start>")));
  settings["tokenizer_class"] = "Qwen2Tokenizer";  // which ignores them
  folder.write("tokenizer_config.json", settings.dump());
  EXPECT_THAT(Tokenizer::load(folder.path())->encode("a").ids, ElementsAre(0));
}

TEST(TokenizerLoad, SettingsSayWhetherDecodingCleansUp) {
  const TemporaryFolder folder;
  json document = byte_level_document();
  document["model"]["vocab"]["Ġ."] = 7;
  folder.write("tokenizer.json", document.dump());
  const std::vector<TokenId> ids = {0, 7};
  EXPECT_EQ(Tokenizer::load(folder.path())->decode(ids), "a .");
  folder.write("tokenizer_config.json", R"({"clean_up_tokenization_spaces": true})");
  EXPECT_EQ(Tokenizer::load(folder.path())->decode(ids), "a.");
  folder.write("tokenizer_config.json", R"({"clean_up_tokenization_spaces": 1})");
  EXPECT_THAT(error_of_loading(folder.path()), HasSubstr("clean_up_tokenization_spaces"));
}

// A part of a tokenizer.json that is wrong, and what the error must name.
struct BadPart {
  const char* pointer;
  const char* value;
  const char* named;
};

class BadTokenizerJson : public testing::TestWithParam<BadPart> {};
INSTANTIATE_TEST_SUITE_P(
    Parts, BadTokenizerJson,
    testing::Values(
        BadPart{"/model/merges/0", R"("a b c")", "'a b c'"}, BadPart{"/model/merges/0", R"("a x")", "'x'"},
        BadPart{"/model/merges/0", "3", "merge"}, BadPart{"/model/merges", "{}", "'merges'"},
        BadPart{"/model", R"({"type": "Unigram", "vocab": [["a"]]})", "score"},
        BadPart{"/model", R"({"type": "Unigram", "vocab": [["a", 0]], "unk_id": 1})", "unknown token"},
        BadPart{"/normalizer", R"({"type": "Precompiled", "precompiled_charsmap": "?"})", "base64"},
        BadPart{"/normalizer", R"({"type": "Sequence"})", "'normalizers'"},
        BadPart{"/normalizer", R"({"type": "Replace", "content": ""})", "'pattern'"},
        BadPart{"/pre_tokenizer", R"({"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"})", "'('"},
        BadPart{"/pre_tokenizer", R"({"type": "Split", "pattern": {"Regex": "a"}, "behavior": "Odd"})", "'Odd'"},
        BadPart{"/pre_tokenizer", R"({"type": "Metaspace", "replacement": "ab"})", "replacement"},
        BadPart{"/pre_tokenizer", R"({"type": "Metaspace", "prepend_scheme": "x"})", "'x'"},
        BadPart{"/decoder", R"({"type": "Strip", "content": ""})", "decoder"},
        BadPart{"/post_processor", R"({"type": "Sequence", "processors": [{"type": "Sequence"}]})", "Sequence"},
        BadPart{"/post_processor", R"({"type": "RobertaProcessing", "cls": ["a", 0]})", "'sep'"}));

TEST_P(BadTokenizerJson, IsAnErrorThatNamesThePart) {
  json document = byte_level_document();
  document[json::json_pointer(GetParam().pointer)] = json::parse(GetParam().value);
  try {
    parse_tokenizer_json(document.dump());
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_NE(error.code(), ErrorCode::internal);
    EXPECT_THAT(error.what(), HasSubstr(GetParam().named));
  }
}

TEST(TokenizerLoad, ScriptsAndLengthsCutWords) {
  const auto pieces = [](const json& stage, const std::string& text) {
    const json model = {{"type", "WordLevel"}, {"unk_token", "?"}, {"vocab", {{"?", 0}}}};
    const TemporaryFolder folder;
    folder.write("tokenizer.json", json{{"model", model}, {"pre_tokenizer", stage}}.dump());
    return Tokenizer::load(folder / "tokenizer.json")->encode(text).ids.size();
  };
  const json scripts = {{"type", "UnicodeScripts"}};
  EXPECT_EQ(pieces(scripts, " one two дом カー漢字 2+2"), 4);  // blanks belong to what stands before them
  EXPECT_EQ(pieces(scripts, "   "), 0);
  EXPECT_EQ(pieces({{"type", "FixedLength"}, {"length", 2}}, "aé\nbc"), 3);
  EXPECT_THROW(pieces({{"type", "FixedLength"}, {"length", 0}}, "a"), Error);
}

TEST(TokenizerLoad, DeepNestingIsAnError) {
  json document = byte_level_document();
  json stage = {{"type", "NFC"}};
  for (int i = 0; i < 100; ++i) stage = {{"type", "Sequence"}, {"normalizers", json::array({stage})}};
  document["normalizer"] = stage;
  EXPECT_THROW(parse_tokenizer_json(document.dump()), Error);
}

TEST(TokenizerLoad, ByteLevelMayFeedOtherModelsThanBpe) {
  json document = byte_level_document();
  document["model"] = {{"type", "WordLevel"}, {"vocab", {{"Ġé", 0}, {"Ã©", 1}}}, {"unk_token", "?"}};
  const Tokenizer tokenizer(parse_tokenizer_json(document.dump()));
  EXPECT_THAT(tokenizer.encode("é x").ids, ElementsAre(1));
}

}  // namespace
}  // namespace lathe::text
