#include "text/tokenizer_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"

namespace lathe::text {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A complete tokenizer.json, small enough to be bent by each test.
json valid_document() {
  return json::parse(R"({
    "added_tokens": [{"id": 3, "content": "[MASK]", "single_word": false, "lstrip": false, "rstrip": false,
                      "normalized": false, "special": true}],
    "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
                   "lowercase": true},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
              "max_input_chars_per_word": 100, "vocab": {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "[MASK]": 3, "a": 4}},
    "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
    "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true}
  })");
}

std::string error_of(const json& document, ErrorCode code) {
  try {
    parse_tokenizer_json(document.dump());
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error for " << document.dump();
  return "";
}

TEST(TokenizerFiles, ReadsAllComponents) {
  const Tokenizer tokenizer(parse_tokenizer_json(valid_document().dump()));
  EXPECT_THAT(tokenizer.encode("A [MASK]").ids, ElementsAre(1, 4, 3, 2));
}

TEST(TokenizerFiles, EverythingButTheModelMayBeAbsent) {
  json document = valid_document();
  for (const char* key : {"normalizer", "pre_tokenizer", "post_processor", "decoder", "added_tokens"})
    document[key] = nullptr;
  const Tokenizer tokenizer(parse_tokenizer_json(document.dump()));
  EXPECT_THAT(tokenizer.encode("a").ids, ElementsAre(4));
  EXPECT_THAT(tokenizer.encode("A").ids, ElementsAre(0));
  EXPECT_EQ(tokenizer.decode(std::vector<TokenId>{4, 4}), "a a");
  document.erase("model");
  EXPECT_THAT(error_of(document, ErrorCode::invalid_model), HasSubstr("model"));
}

TEST(TokenizerFiles, OldFilesLeaveOutTheModelsType) {
  json document = valid_document();
  document["model"].erase("type");
  EXPECT_THAT(Tokenizer(parse_tokenizer_json(document.dump())).encode("a").ids, ElementsAre(1, 4, 2));
}

TEST(TokenizerFiles, UnknownComponentsAreNamed) {
  for (const char* component : {"normalizer", "pre_tokenizer", "model", "post_processor", "decoder"}) {
    json document = valid_document();
    document[component]["type"] = "Marvellous";
    EXPECT_THAT(error_of(document, ErrorCode::unsupported),
                testing::AllOf(HasSubstr(component), HasSubstr("Marvellous")));
  }
}

TEST(TokenizerFiles, EveryFieldOfTheWrongTypeIsAnError) {
  const json document = valid_document().flatten();
  for (const auto& [path, value] : document.items()) {
    if (value.is_null()) continue;  // strip_accents
    json damaged = valid_document();
    damaged[json::json_pointer(path)] = json::array({1.5});
    try {
      parse_tokenizer_json(damaged.dump());
      // The first halves of BertProcessing's pairs are names that only people read.
      EXPECT_TRUE(path == "/post_processor/sep/0" || path == "/post_processor/cls/0") << path;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_model) << path;
    }
  }
}

TEST(TokenizerFiles, ImproperIdsAreErrors) {
  for (const json& id : {json(-1), json(1.5), json("4"), json(UINT64_MAX), json::array()}) {
    json document = valid_document();
    document["model"]["vocab"]["a"] = id;
    error_of(document, ErrorCode::invalid_model);
  }
}

TEST(TokenizerFiles, TemplatesOfSpecialTokensAndSequences) {
  json document = valid_document();
  document["post_processor"] = json::parse(R"({"type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "start", "type_id": 3}}, {"Sequence": {"id": "A", "type_id": 1}}],
    "pair": [{"Sequence": {"id": "B", "type_id": 5}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "special_tokens": {"start": {"id": "start", "ids": [7, 8], "tokens": ["x", "y"]}}})");
  const Tokenizer tokenizer(parse_tokenizer_json(document.dump()));
  EXPECT_THAT(tokenizer.encode("a").ids, ElementsAre(7, 8, 4));
  EXPECT_THAT(tokenizer.encode("a").type_ids, ElementsAre(3, 3, 1));
  EXPECT_THAT(tokenizer.encode_pair("a", "x").ids, ElementsAre(0, 4));
  EXPECT_THAT(tokenizer.encode_pair("a", "x").type_ids, ElementsAre(5, 0));

  json unknown_sequence = document, unknown_token = document, no_second = document;
  unknown_sequence["post_processor"]["pair"][0]["Sequence"]["id"] = "C";
  error_of(unknown_sequence, ErrorCode::invalid_model);
  unknown_token["post_processor"]["single"][0]["SpecialToken"]["id"] = "end";
  error_of(unknown_token, ErrorCode::invalid_model);
  no_second["post_processor"]["single"][1]["Sequence"]["id"] = "B";
  error_of(no_second, ErrorCode::invalid_model);
}

TEST(TokenizerFiles, WhatIsNoJsonObjectIsAnError) {
  for (const char* text : {"", "[]", "1", "{", "{\"model\": \"\xFF\"}", "null"})
    EXPECT_THROW(parse_tokenizer_json(text), Error) << text;
}

}  // namespace
}  // namespace lathe::text
