// sentencepiece's rules on models of a few pieces, written here, and what is wrong with damaged files.
#include "text/sentencepiece.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <protozero/pbf_writer.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "text/sentencepiece_families.h"
#include "text/tokenizer.h"

namespace lathe::text {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Model = SentencePieceModel;
using Type = Model::Type;

Model small_model(Model::Algorithm algorithm) {
  Model model;
  model.algorithm = algorithm;
  model.pieces = {{"<unk>", 0, Type::unknown},
                  {"<s>", 0, Type::control},
                  {"</s>", 0, Type::control},
                  {"▁", -1},
                  {"a", -2},
                  {"b", -2},
                  {"ab", -3},
                  {"▁ab", -4}};
  return model;
}

std::vector<TokenId> encode(const Model& model, std::string_view text) {
  return Tokenizer(sentencepiece_parts(model)).encode(text).ids;
}

std::string decode(const Model& model, const std::vector<TokenId>& ids) {
  return Tokenizer(sentencepiece_parts(model)).decode(ids);
}

std::string serialize(const Model& model) {
  std::string file;
  protozero::pbf_writer writer(file);
  for (const Model::Piece& piece : model.pieces) {
    protozero::pbf_writer entry(writer, 1);
    entry.add_string(1, piece.token);
    entry.add_float(2, piece.score);
    entry.add_enum(3, static_cast<int32_t>(piece.type));
  }
  {
    protozero::pbf_writer trainer(writer, 2);
    trainer.add_enum(3, static_cast<int32_t>(model.algorithm));
    trainer.add_bool(35, model.byte_fallback);
  }
  protozero::pbf_writer normalizer(writer, 3);
  normalizer.add_string(2, model.charsmap);
  normalizer.add_bool(3, model.add_dummy_prefix);
  normalizer.add_bool(4, model.remove_extra_whitespaces);
  return file;
}

std::span<const std::byte> bytes_of(const std::string& file) { return std::as_bytes(std::span(file)); }

TEST(SentencePiece, BothAlgorithms) {
  for (const auto algorithm : {Model::Algorithm::bpe, Model::Algorithm::unigram}) {
    const Model model = small_model(algorithm);
    EXPECT_THAT(encode(model, "ab"), ElementsAre(7));
    EXPECT_THAT(encode(model, "  ab   b "), ElementsAre(7, 3, 5));
    EXPECT_THAT(encode(model, "axyb"), ElementsAre(3, 4, 0, 5));
    EXPECT_THAT(encode(model, "<s>"), ElementsAre(3, 0));  // control pieces are not looked for
    EXPECT_THAT(encode(model, " "), ElementsAre());
  }
}

TEST(SentencePiece, WhitespaceMayBeKept) {
  Model model = small_model(Model::Algorithm::bpe);
  model.remove_extra_whitespaces = false;
  EXPECT_THAT(encode(model, " a "), ElementsAre(3, 3, 4, 3));
  model.add_dummy_prefix = false;
  EXPECT_THAT(encode(model, "a"), ElementsAre(4));
  model.add_dummy_prefix = model.whitespace_is_suffix = true;
  EXPECT_THAT(encode(model, "a"), ElementsAre(4, 3));
}

TEST(SentencePiece, UserDefinedPiecesStayWhole) {
  for (const auto algorithm : {Model::Algorithm::bpe, Model::Algorithm::unigram}) {
    Model model = small_model(algorithm);
    model.pieces.push_back({"bb", 0, Type::user_defined});
    EXPECT_THAT(encode(model, "abb"), ElementsAre(3, 4, 8));
  }
}

TEST(SentencePiece, DecodingTakesTheFirstBlankAndPutsBytesTogether) {
  Model model = small_model(Model::Algorithm::bpe);
  model.byte_fallback = true;
  model.pieces.insert(model.pieces.end(), {{"<0xC3>", 0, Type::byte}, {"<0xA9>", 0, Type::byte}});
  EXPECT_THAT(encode(model, "é"), ElementsAre(3, 8, 9));
  EXPECT_EQ(decode(model, {1, 7, 7, 2}), "ab ab");
  EXPECT_EQ(decode(model, {3, 8, 9, 8, 4}), "é\uFFFDa");
  EXPECT_EQ(decode(model, {3, 3, 4}), "a");
  EXPECT_EQ(decode(model, {4, 0}), "a \u2047 ");
  model.remove_extra_whitespaces = false;
  EXPECT_EQ(decode(model, {3, 3, 4}), " a");
}

TEST(SentencePiece, FilesAreRead) {
  const std::string file = serialize(small_model(Model::Algorithm::bpe));
  const Model model = parse_sentencepiece(bytes_of(file));
  EXPECT_EQ(model.pieces.size(), 8u);
  EXPECT_EQ(model.pieces[7].token, "▁ab");
  EXPECT_EQ(model.pieces[7].score, -4.0f);
  EXPECT_EQ(model.pieces[0].type, Type::unknown);
  EXPECT_EQ(model.algorithm, Model::Algorithm::bpe);
  EXPECT_THAT(encode(model, "ab"), ElementsAre(7));
}

std::string error_of(const std::string& file, ErrorCode code) {
  try {
    sentencepiece_parts(parse_sentencepiece(bytes_of(file)));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  return "none";
}

TEST(SentencePiece, DamagedFilesAreErrors) {
  Model model = small_model(Model::Algorithm::bpe);
  const std::string file = serialize(model);
  EXPECT_THAT(error_of("", ErrorCode::invalid_model), HasSubstr("no pieces"));
  EXPECT_THAT(error_of("{\"a\": 1}", ErrorCode::invalid_model), HasSubstr("malformed"));
  EXPECT_THAT(error_of(file.substr(0, file.size() - 1), ErrorCode::invalid_model), HasSubstr("malformed"));
  model.pieces.push_back({"ab", 0});
  EXPECT_THAT(error_of(serialize(model), ErrorCode::invalid_model), HasSubstr("'ab' is there twice"));
  model.pieces.back() = {"\xFF", 0};
  EXPECT_THAT(error_of(serialize(model), ErrorCode::invalid_model), HasSubstr("UTF-8"));
  model.pieces.back() = {"x", std::numeric_limits<float>::quiet_NaN()};
  EXPECT_THAT(error_of(serialize(model), ErrorCode::invalid_model), HasSubstr("'x'"));
  model.pieces.back() = {"x", 0, static_cast<Type>(9)};
  EXPECT_THAT(error_of(serialize(model), ErrorCode::invalid_model), HasSubstr("type 9"));
  model.pieces.back() = {"x", 0, Type::unused};
  EXPECT_THAT(error_of(serialize(model), ErrorCode::unsupported), HasSubstr("unused"));
  model.pieces.pop_back();
  model.algorithm = static_cast<Model::Algorithm>(3);
  EXPECT_THAT(error_of(serialize(model), ErrorCode::unsupported), HasSubstr("type 3"));
  model = small_model(Model::Algorithm::unigram);
  model.charsmap = "abc";
  EXPECT_THAT(error_of(serialize(model), ErrorCode::invalid_model), HasSubstr("character map"));
}

Tokenizer family(const Model& model, const std::string& file_name, const nlohmann::json& settings) {
  const auto as_read = nlohmann::json::parse(settings.dump());  // numbers are unsigned then
  return Tokenizer(parse_sentencepiece_family(bytes_of(serialize(model)), file_name, as_read));
}

TEST(SentencePieceFamilies, LlamaPutsItsStartBeforeTexts) {
  Model model = small_model(Model::Algorithm::bpe);
  model.remove_extra_whitespaces = false;
  const auto ids = [&](const nlohmann::json& settings, std::string_view text) {
    return family(model, "tokenizer.model", settings).encode(text).ids;
  };
  EXPECT_THAT(ids({}, "ab"), ElementsAre(1, 7));
  EXPECT_THAT(ids({{"add_bos_token", false}, {"add_eos_token", true}}, "ab"), ElementsAre(7, 2));
  EXPECT_THAT(ids({}, "</s>ab"), ElementsAre(1, 2, 7));
  EXPECT_THAT(ids({{"legacy", false}}, "</s>ab"), ElementsAre(1, 2, 6));
  EXPECT_THAT(ids({{"legacy", false}}, "ab"), ElementsAre(1, 7));
  EXPECT_EQ(family(model, "tokenizer.model", {}).decode(std::vector<TokenId>{1, 7}, false), "<s> ab");
}

TEST(SentencePieceFamilies, T5AndXlmRoberta) {
  const Model model = small_model(Model::Algorithm::unigram);
  const Tokenizer t5 = family(model, "spiece.model", {{"extra_ids", 2}});
  EXPECT_THAT(t5.encode("ab<extra_id_0>").ids, ElementsAre(7, 9, 2));
  const Tokenizer xlm = family(model, "sentencepiece.bpe.model", {});
  EXPECT_THAT(xlm.encode("ab x").ids, ElementsAre(0, 8, 4, 3, 2));
  EXPECT_THAT(xlm.encode("ab <mask>").ids, ElementsAre(0, 8, 9, 2));
  EXPECT_THROW(family(model, "spiece.model", {{"tokenizer_class", "XLNetTokenizer"}}), Error);
}

TEST(SentencePieceFamilies, DebertaHasBertsSpecialTokens) {
  Model model = small_model(Model::Algorithm::unigram);
  EXPECT_THROW(family(model, "spm.model", {}), Error);
  model.pieces[0] = {"[UNK]", 0, Type::unknown};
  model.pieces[1] = {"[CLS]", 0, Type::control};
  model.pieces[2] = {"[SEP]", 0, Type::control};
  const Tokenizer deberta = family(model, "spm.model", {{"do_lower_case", false}, {"vocab_type", "spm"}});
  EXPECT_THAT(deberta.encode("ab x").ids, ElementsAre(1, 7, 3, 0, 2));
  EXPECT_THAT(deberta.encode("ab[MASK]").ids, ElementsAre(1, 7, 8, 2));
  EXPECT_EQ(deberta.decode(std::vector<TokenId>{1, 7, 2}, true), "ab");
  EXPECT_THROW(family(model, "spm.model", {{"do_lower_case", true}}), Error);
  EXPECT_THROW(family(model, "spm.model", {{"tokenizer_class", "XLNetTokenizer"}}), Error);
}

TEST(SentencePieceFamilies, ChatGlm) {
  Model model = small_model(Model::Algorithm::bpe);
  const nlohmann::json settings = {{"tokenizer_class", "ChatGLMTokenizer"}, {"num_image_tokens", 100}};
  const Tokenizer second = family(model, "tokenizer.model", settings);
  EXPECT_THAT(second.encode("ab").ids, ElementsAre(9, 11, 7));
  EXPECT_THAT(second.encode_pair("ab", "ab").ids, ElementsAre(9, 11, 7, 7, 2));
  EXPECT_EQ(second.encode("<|user|>ab").ids[2], second.token_to_id("<|user|>"));
  EXPECT_THROW(family(model, "ice_text.model", settings), Error);  // without [gMASK]
  for (const char* token : {"[gMASK]", "<sop>", "<eop>", "<n>", "<|tab|>", "<|blank_2|>", "<|blank_80|>"})
    model.pieces.push_back({token, 0, Type::user_defined});
  const Tokenizer first = family(model, "ice_text.model", settings);
  EXPECT_THAT(first.encode("ab\n  \tb").ids, ElementsAre(107, 111, 113, 112, 105, 108, 109));
  EXPECT_THAT(first.encode("b" + std::string(82, ' ')).ids, ElementsAre(103, 105, 114, 113, 108, 109));
  EXPECT_EQ(first.decode(std::vector<TokenId>{107, 111, 112, 114}), "ab\n\t" + std::string(80, ' '));
}

}  // namespace
}  // namespace lathe::text
