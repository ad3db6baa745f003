// config.json: what is known, what is refused and by which name; and weights that do not fit it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "checkpoint/decoder.h"
#include "checkpoint/model_config.h"
#include "checkpoint/positions.h"
#include "tests/base/temporary_folder.h"

namespace lathe::checkpoint {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

json llama() {
  return {{"model_type", "llama"},  {"hidden_size", 32},       {"num_attention_heads", 4},
          {"num_hidden_layers", 2}, {"intermediate_size", 64}, {"vocab_size", 10}};
}

ModelConfig read(const json& config) {
  const TemporaryFolder folder;
  folder.write("config.json", config.dump());
  folder.write("model.safetensors", std::string("\2\0\0\0\0\0\0\0{}", 10));
  return read_model_config(Checkpoint::open(folder.path()));
}

std::string message_of(const json& config) {
  try {
    read(config);
  } catch (const Error& error) {
    EXPECT_NE(error.code(), ErrorCode::internal);
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

json with(json config, const char* key, json value) {
  config[key] = std::move(value);
  return config;
}

TEST(Config, DefaultsOfAFamily) {
  const ModelConfig config = read(llama());
  EXPECT_EQ(config.kv_heads, 4);
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_EQ(config.rope.dim, 8);
  EXPECT_FALSE(config.traits.tied);
  EXPECT_THAT(config.windows, ElementsAre(0, 0));
}

TEST(Config, WhatIsNotKnownIsNamed) {
  EXPECT_THAT(message_of(with(llama(), "model_type", "rwkv")), AllOf(HasSubstr("'rwkv'"), HasSubstr(" bloom,")));
  EXPECT_THAT(message_of(json::object()), HasSubstr("no 'model_type'"));
  EXPECT_THAT(message_of(with(with(llama(), "attention_sinks", 4), "no_rope_layers", {1})),
              AllOf(HasSubstr("'attention_sinks' = 4"), HasSubstr("'no_rope_layers' = [1]")));
  EXPECT_THAT(message_of(with(llama(), "hidden_act", "laplace")), HasSubstr("'hidden_act' = \"laplace\""));
  EXPECT_THAT(message_of(with(llama(), "rope_scaling", {{"rope_type", "mrope"}})),
              HasSubstr("'rope_type' = \"mrope\""));
  EXPECT_THAT(message_of(with(llama(), "quantization_config", {{"quant_method", "gptq"}})), HasSubstr("quantised"));
  EXPECT_THAT(message_of(with(llama(), "rope_scaling", {{"rope_type", "linear"}, {"factor", 2}, {"bend", 1}})),
              HasSubstr("'bend' = 1"));
}

TEST(Config, NullAndPrivateFieldsAndThoseOfTrainingDoNotMatter) {
  read(with(with(with(llama(), "attention_sinks", nullptr), "_commit_hash", "abc"), "initializer_range", 0.5));
}

TEST(Config, ValuesMustMakeSense) {
  EXPECT_THAT(message_of(with(llama(), "hidden_size", "big")), HasSubstr("'hidden_size' is \"big\""));
  EXPECT_THAT(message_of(with(llama(), "hidden_size", -32)), HasSubstr("'hidden_size' is -32"));
  EXPECT_THAT(message_of(with(llama(), "hidden_size", 30)), HasSubstr("30 features cannot be divided among 4 heads"));
  EXPECT_THAT(message_of(with(llama(), "num_key_value_heads", 3)), HasSubstr("4 heads cannot share 3"));
  EXPECT_THAT(message_of(with(llama(), "num_hidden_layers", 1000000000)), HasSubstr("from 1 to 4096"));
  EXPECT_THAT(message_of(with(llama(), "rms_norm_eps", 0)), HasSubstr("a number above 0"));
  EXPECT_THAT(message_of(with(llama(), "rope_scaling", {{"type", "longrope"}, {"short_factor", {1, 1}}})),
              HasSubstr("4 positive entries"));
  json missing = llama();
  missing.erase("vocab_size");
  EXPECT_THAT(message_of(missing), HasSubstr("no 'vocab_size'"));
}

TEST(Config, RotationStandsInOneObjectSinceVersion5) {
  const ModelConfig config = read(with(llama(), "rope_parameters", {{"rope_type", "default"}, {"rope_theta", 5e5}}));
  EXPECT_EQ(config.rope.base, 5e5);
  EXPECT_EQ(config.rope.scaling, RopeScaling::none);
}

TEST(Config, FamiliesThatShareAModelTypeAreToldApart) {
  const json first = {{"model_type", "chatglm"},      {"hidden_size", 32},
                      {"num_attention_heads", 4},     {"num_layers", 2},
                      {"position_encoding_2d", true}, {"vocab_size", 150528}};
  const ModelConfig glm = read(first);
  EXPECT_EQ(glm.traits.positions, Positions::rotary_2d);
  EXPECT_EQ(glm.gmask_id, 150001);
  EXPECT_DOUBLE_EQ(glm.residual_scale, 2);
  const json second = {{"model_type", "chatglm"},   {"hidden_size", 32},     {"num_attention_heads", 4},
                       {"num_layers", 2},           {"kv_channels", 8},      {"padded_vocab_size", 64},
                       {"rope_ratio", 500},         {"ffn_hidden_size", 48}, {"multi_query_attention", true},
                       {"multi_query_group_num", 2}};
  const ModelConfig glm2 = read(second);
  EXPECT_EQ(glm2.kv_heads, 2);
  EXPECT_EQ(glm2.rope.dim, 4);
  EXPECT_EQ(glm2.rope.base, 5e6);
  EXPECT_THAT(message_of(with(first, "quantization_bit", 4)), HasSubstr("'quantization_bit' = 4"));
}

TEST(Weights, AllThatDoesNotFitIsToldAtOnce) {
  const TemporaryFolder folder;
  const std::string header = R"({"model.norm.weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},)"
                             R"( "lm_head.weight": {"dtype": "I8", "shape": [10, 32], "data_offsets": [8, 328]}})";
  std::string file(8, '\0');
  file[0] = static_cast<char>(header.size());
  folder.write("model.safetensors", file + header + std::string(328, 'x'));
  folder.write("config.json", llama().dump());
  try {
    build_decoder(Checkpoint::open(folder.path()));
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr("21 of the weights"), HasSubstr("'model.embed_tokens.weight' [10, 32] is missing"),
                      HasSubstr("and 1 more")));
  }
}

TEST(Decoder, OptionsMustFit) {
  const std::filesystem::path data = std::filesystem::path(LATHE_TEST_DATA) / "checkpoints";
  const Checkpoint bloom = Checkpoint::open(data / "bloom");
  DecoderOptions integers;
  integers.compute = DType::i8;
  EXPECT_THROW(build_decoder(bloom, integers), Error);
  DecoderOptions blocks;
  blocks.block_size = 0;
  EXPECT_THROW(build_decoder(bloom, blocks), Error);
}

TEST(Decoder, WeightsStayInTheirFile) {
  const Decoder decoder =
      build_decoder(Checkpoint::open(std::filesystem::path(LATHE_TEST_DATA) / "checkpoints" / "bloom"));
  EXPECT_TRUE(decoder.info.unused_tensors.empty());
  EXPECT_THAT(decoder.info.eos_ids, ElementsAre(2));
  int64_t copied = 0;
  for (const auto& node : decoder.graph->nodes())
    if (const Constant* constant = node->as<Constant>(); constant != nullptr && constant->value.dtype() != DType::f16)
      copied += static_cast<int64_t>(constant->value.bytes().size());
  EXPECT_LE(copied, 64);  // slopes
}

TEST(Positions, CountForMostFamilies) {
  const PromptLayout layout = layout_prompt({}, std::vector<int32_t>{5, 6, 7});
  EXPECT_EQ(layout.prefix_length, 0);
  EXPECT_EQ(layout.position(7), 7);
  EXPECT_EQ(layout.block_position(7), 0);
}

TEST(Positions, ChatGlmFillsItsGap) {
  DecoderInfo info;
  info.block_positions = info.prefix_mask = true;
  info.bos_id = 4;
  info.gmask_id = 3;
  info.mask_id = 2;
  const PromptLayout layout = layout_prompt(info, std::vector<int32_t>{9, 2, 9, 4, 9});
  EXPECT_EQ(layout.prefix_length, 3);
  EXPECT_EQ(layout.position(2), 2);
  EXPECT_EQ(layout.block_position(2), 0);
  EXPECT_EQ(layout.position(3), 1);  // of [MASK]
  EXPECT_EQ(layout.block_position(4), 2);
  EXPECT_EQ(layout.block_position(5), 3);
  EXPECT_EQ(layout_prompt(info, std::vector<int32_t>{2, 9, 3, 4}).position(4), 2);  // [gMASK] wins
  EXPECT_THROW(layout_prompt(info, std::vector<int32_t>{9, 3}), Error);
  EXPECT_THROW(layout_prompt(info, std::vector<int32_t>{9, 4}), Error);
}

TEST(Positions, LongPromptsUseTheSecondTables) {
  DecoderInfo info;
  info.long_context = 2;
  info.max_positions = 100;
  EXPECT_EQ(layout_prompt(info, std::vector<int32_t>{1, 2}).position(1), 1);
  EXPECT_EQ(layout_prompt(info, std::vector<int32_t>{1, 2, 3}).position(1), 101);
}

}  // namespace
}  // namespace lathe::checkpoint
