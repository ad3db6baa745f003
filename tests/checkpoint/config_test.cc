// config.json: what is known, what is refused and by which name; and weights that do not fit it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "checkpoint/decoder.h"
#include "checkpoint/model_config.h"
#include "checkpoint/positions.h"
#include "checkpoint/weights.h"
#include "tests/base/temporary_folder.h"
#include "tests/data_path.h"

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
  EXPECT_THAT(message_of(with(llama(), "rope_scaling", {{"rope_type", "spiral"}})),
              HasSubstr("'rope_type' = \"spiral\""));
  EXPECT_THAT(message_of(with(llama(), "rope_scaling", {{"rope_type", "linear"}, {"factor", 2}, {"bend", 1}})),
              HasSubstr("'bend' = 1"));
}

TEST(Config, WhatIsNoJsonIsToldByTheLine) {
  const TemporaryFolder folder;
  folder.write("model.safetensors", std::string("\2\0\0\0\0\0\0\0{}", 10));
  const auto message = [&](std::string_view text) -> std::string {
    folder.write("config.json", text);
    try {
      read_model_config(Checkpoint::open(folder.path()));
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing was thrown";
  };
  EXPECT_THAT(message("{\n\"model_type\": \"llama\",\n\"hidden_size\": }"), HasSubstr("beyond line 3"));
  EXPECT_THAT(message(""), HasSubstr("beyond line 1"));
  EXPECT_THAT(message("[1]"), HasSubstr("not a JSON object"));
}

// As Transformers saves the part of a model that also sees: what equals the defaults of its class is left out.
TEST(Config, TheTextOfALargerModelCounts) {
  const json text = {{"model_type", "gemma3_text"}, {"hidden_size", 32}, {"num_hidden_layers", 1}};
  const json whole = {{"model_type", "gemma3"}, {"text_config", text}, {"vision_config", {{"hidden_size", 8}}}};
  const ModelConfig config = read(whole);
  EXPECT_EQ(config.family, "gemma3_text");
  EXPECT_EQ(config.heads, 8);
  EXPECT_EQ(config.vocab, 262208);
  EXPECT_TRUE(config.traits.tied);
  EXPECT_FALSE(read(with(whole, "tie_word_embeddings", false)).traits.tied);
  EXPECT_THAT(message_of(with(whole, "text_config", {{"model_type", "rwkv"}})), HasSubstr("'rwkv'"));
  EXPECT_THAT(message_of(with(whole, "text_config", with(text, "frobnicate", 1))), HasSubstr("'frobnicate' = 1"));
}

TEST(Config, ActivationsHaveTheNamesOfTransformers) {
  constexpr std::pair<const char*, Activation> kCases[] = {
      {"quick_gelu", Activation::gelu_sigmoid}, {"relu2", Activation::relu_squared},
      {"gelu_10", Activation::gelu_clipped},    {"gelu_fast", Activation::gelu_tanh},
      {"linear", Activation::identity},         {"relu6", Activation::relu6}};
  for (const auto& [name, activation] : kCases)
    EXPECT_EQ(read(with(llama(), "hidden_act", name)).traits.activation, activation);
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

TEST(Config, AGivenAttentionFactorWinsOverTheOthers) {
  json yarn = {{"rope_type", "yarn"}, {"factor", 4}, {"original_max_position_embeddings", 8}, {"mscale", 0.8}};
  yarn["mscale_all_dim"] = 0.4;
  EXPECT_NEAR(read(with(llama(), "rope_scaling", yarn)).rope.magnitude, 1.0526, 1e-4);
  yarn["attention_factor"] = 1.5;
  EXPECT_EQ(read(with(llama(), "rope_scaling", yarn)).rope.magnitude, 1.5);
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
  const ModelConfig each = read(with(second, "multi_query_attention", false));
  EXPECT_EQ(each.kv_heads, 4);
  EXPECT_EQ(each.traits.packing, QkvPacking::per_head);
  EXPECT_THAT(message_of(with(first, "quantization_bit", 4)), HasSubstr("'quantization_bit' = 4"));
}

// As transformers 4.57 writes all that it knows of a model.
TEST(Config, FieldsOfAFullDumpDoNotMatter) {
  const char* dump = R"({"diversity_penalty": 0.0, "early_stopping": false, "encoder_no_repeat_ngram_size": 0,
      "is_decoder": false, "length_penalty": 1.0, "no_repeat_ngram_size": 0, "num_beam_groups": 1,
      "num_return_sequences": 1, "output_scores": false, "pruned_heads": {}, "remove_invalid_values": false,
      "return_dict_in_generate": false, "tf_legacy_loss": false, "tie_encoder_decoder": false, "typical_p": 1.0,
      "bad_words_ids": [[1]], "decoder_start_token_id": 1, "exponential_decay_length_penalty": [1, 2.0],
      "cross_attention_hidden_size": 32, "rope_interleaved": false, "attn_bias": false})";
  json config = llama();
  config.update(json::parse(dump));
  read(config);
  EXPECT_THAT(message_of(with(config, "pruned_heads", {{"0", {1}}})), HasSubstr("'pruned_heads'"));
  EXPECT_THAT(message_of(with(config, "rope_interleaved", true)), HasSubstr("'rope_interleaved' = true"));
  EXPECT_THAT(message_of(with(config, "is_encoder_decoder", true)), HasSubstr("'is_encoder_decoder' = true"));
}

TEST(Config, AnArchitectureStandsForAMissingModelType) {
  const json config = {{"hidden_size", 128}, {"num_attention_heads", 16}, {"num_hidden_layers", 2}, {"vocab_size", 10}};
  constexpr std::pair<const char*, const char*> kCases[] = {
      {"LlamaForCausalLM", "llama"},       {"LlamaModel", "llama"},
      {"MistralForCausalLM", "mistral"},   {"Qwen2ForCausalLM", "qwen2"},
      {"BaiChuanForCausalLM", "baichuan"}, {"InternLM2ForCausalLM", "internlm2"},
      {"StableLmForCausalLM", "stablelm"}, {"RWForCausalLM", "falcon"}};
  for (const auto& [architecture, family] : kCases)
    EXPECT_EQ(read(with(config, "architectures", {architecture})).family, family);
  EXPECT_THAT(message_of(with(config, "architectures", {"RwkvForCausalLM"})), HasSubstr("architecture 'Rwkv'"));
}

TEST(Config, WhatIsNotMentionedIsAsInTheClassOfTheFamily) {
  struct Case {
    const char* model_type;
    int64_t kv_heads, head_dim;
    double epsilon, rope_base;
  };
  constexpr Case kCases[] = {
      {"llama", 16, 4, 1e-6, 1e4},        {"mistral", 8, 4, 1e-6, 1e4},    {"mixtral", 8, 4, 1e-5, 1e6},
      {"qwen3", 16, 128, 1e-6, 1e4},      {"qwen2_moe", 16, 4, 1e-6, 1e4}, {"qwen3_moe", 4, 4, 1e-6, 1e4},
      {"phi3", 16, 4, 1e-5, 1e4},         {"gemma", 16, 256, 1e-6, 1e4},   {"gemma2", 4, 256, 1e-6, 1e4},
      {"gemma3_text", 4, 256, 1e-6, 1e6}, {"glm", 2, 128, 1.5625e-7, 1e4}, {"glm4", 2, 128, 1.5625e-7, 1e4},
      {"cohere", 16, 4, 1e-5, 1e4},       {"olmo2", 16, 4, 1e-5, 1e4},     {"starcoder2", 2, 4, 1e-5, 1e4}};
  for (const Case& expected : kCases) {
    SCOPED_TRACE(expected.model_type);
    json fields = with(with(llama(), "model_type", expected.model_type), "num_attention_heads", 16);
    const ModelConfig config = read(with(fields, "hidden_size", 64));
    EXPECT_EQ(config.kv_heads, expected.kv_heads);
    EXPECT_EQ(config.head_dim, expected.head_dim);
    EXPECT_EQ(config.epsilon, expected.epsilon);
    EXPECT_EQ(config.rope.base, expected.rope_base);
  }
  EXPECT_TRUE(read(with(llama(), "model_type", "glm")).traits.biases.qkv);
  const json gemma = with(llama(), "model_type", "gemma2");
  EXPECT_EQ(read(gemma).attention_softcap, 50);
  EXPECT_EQ(read(with(gemma, "attn_logit_softcapping", nullptr)).attention_softcap, 0);
  EXPECT_EQ(read(gemma).logit_softcap, 30);
  EXPECT_EQ(read(with(with(gemma, "hidden_act", "relu"), "hidden_activation", "gelu")).traits.activation,
            Activation::gelu_erf);
  EXPECT_EQ(read(with(gemma, "hidden_act", "gelu")).traits.activation, Activation::gelu_tanh);
}

TEST(Config, ExpertsHaveTwoSpellings) {
  const json qwen = with(with(llama(), "model_type", "qwen3_moe"), "num_key_value_heads", 4);
  EXPECT_EQ(read(qwen).moe.experts, 128);
  EXPECT_EQ(read(qwen).moe.top_k, 8);
  EXPECT_EQ(read(qwen).moe.intermediate, 768);
  EXPECT_EQ(read(with(qwen, "num_local_experts", 16)).moe.experts, 16);
  EXPECT_THAT(read(with(with(qwen, "num_experts", 0), "num_experts_per_tok", 8)).moe.layers, ElementsAre(false, false));
  const json mixtral = with(with(llama(), "model_type", "mixtral"), "num_key_value_heads", 4);
  EXPECT_EQ(read(with(mixtral, "num_experts", 4)).moe.experts, 4);
  EXPECT_THAT(message_of(with(mixtral, "num_experts", 0)), HasSubstr("from 1 to"));
}

TEST(Config, GroupsOfExpertsMustMakeSense) {
  const json deepseek = with(with(with(llama(), "model_type", "deepseek_v3"), "n_routed_experts", 8), "n_group", 4);
  const MixtureOfExperts moe = read(deepseek).moe;
  EXPECT_EQ(moe.shared_intermediate, 2048);
  EXPECT_EQ(moe.scale, 2.5);
  EXPECT_EQ(read(with(deepseek, "n_shared_experts", 0)).moe.shared_intermediate, 0);
  EXPECT_EQ(read(with(deepseek, "n_shared_experts", nullptr)).moe.shared_intermediate, 0);
  EXPECT_THAT(message_of(with(deepseek, "n_shared_experts", -1)), HasSubstr("'n_shared_experts' is -1"));
  EXPECT_THAT(message_of(with(deepseek, "n_group", 3)), HasSubstr("'n_group' = 3"));
  EXPECT_THAT(message_of(with(with(deepseek, "n_group", 8), "topk_group", 4)), HasSubstr("'n_group' = 8"));
}

TEST(Config, GptNeoHasTwoSpellings) {
  const json neo = {
      {"model_type", "gpt_neo"}, {"hidden_size", 32}, {"vocab_size", 10}, {"attention_layers", {"global", "local"}}};
  for (const auto& [layers, heads] :
       {std::pair("num_layers", "num_heads"), std::pair("num_hidden_layers", "num_attention_heads")}) {
    const ModelConfig config = read(with(with(neo, layers, 2), heads, 4));
    EXPECT_EQ(config.heads, 4);
    EXPECT_THAT(config.windows, ElementsAre(0, 256));
  }
}

TEST(Config, WindowsByFamily) {
  const json base = with(with(llama(), "num_key_value_heads", 4), "use_sliding_window", true);
  const auto windows = [&](const char* type, json more) {
    json config = with(base, "model_type", type);
    if (std::string_view(type) == "mistral") config.erase("use_sliding_window");
    config.update(more);
    return read(config).windows;
  };
  EXPECT_THAT(windows("qwen2", {{"sliding_window", 8}}), ElementsAre(0, 0));  // from layer 28 on
  EXPECT_THAT(windows("qwen3", {{"max_window_layers", 1}}), ElementsAre(0, 4096));
  EXPECT_THAT(windows("qwen3", {{"max_window_layers", 1}, {"sliding_window", nullptr}}), ElementsAre(0, 0));
  for (const char* type : {"qwen2_moe", "qwen3_moe"}) {
    EXPECT_THAT(windows(type, {{"sliding_window", 8}, {"max_window_layers", 1}}), ElementsAre(8, 8));
    EXPECT_THAT(windows(type, {{"sliding_window", 8}, {"use_sliding_window", false}}), ElementsAre(0, 0));
  }
  EXPECT_THAT(windows("mistral", json::object()), ElementsAre(4096, 4096));
  EXPECT_THAT(windows("mistral", {{"sliding_window", nullptr}}), ElementsAre(0, 0));
}

TEST(Config, DynamicScalingStartsWhereThePositionsEnd) {
  const json scaling = {{"rope_type", "dynamic"}, {"factor", 2}, {"original_max_position_embeddings", 16}};
  const Rope rope = read(with(with(llama(), "max_position_embeddings", 64), "rope_scaling", scaling)).rope;
  EXPECT_EQ(rope.original_positions, 64);
  Rope plain = rope;
  plain.scaling = RopeScaling::none;
  EXPECT_EQ(inverse_frequencies(rope, false), inverse_frequencies(plain, false));
  const std::vector<float> exponents = dynamic_exponents(rope);
  EXPECT_EQ(exponents.front(), 0);
  EXPECT_FLOAT_EQ(exponents.back(), -1);  // the slowest pair turns as much slower as the sequence has become longer
  const json internlm = {{"base", 5e5}, {"type", "dynamic"}};
  const Rope old = read(with(with(llama(), "model_type", "internlm"), "rotary", internlm)).rope;
  EXPECT_EQ(old.base, 5e5);
  EXPECT_EQ(old.scaling, RopeScaling::dynamic);
}

TEST(Config, FieldsThatMayHaveOneValueOnly) {
  struct Case {
    const char *model_type, *key;
    json known, other;
  };
  const Case cases[] = {{"phi3", "full_attn_mod", 1, 2},
                        {"phi3", "interpolate_factor", 1, 2},
                        {"phi3", "lm_head_bias", false, true},
                        {"phi3", "mlp_bias", false, true},
                        {"opt", "learned_embeddings", true, false},
                        {"opt", "scale_embeddings", false, true},
                        {"llama", "attn_bias", false, true},
                        {"internlm", "rotary", {{"type", "origin"}}, {{"type", "xpos"}}}};
  for (const Case& one : cases) {
    SCOPED_TRACE(one.key);
    json config = with(llama(), "model_type", one.model_type);
    if (std::string_view(one.model_type) == "opt") config.erase("intermediate_size");
    read(with(config, one.key, one.known));
    EXPECT_THAT(message_of(with(config, one.key, one.other)), HasSubstr("does not know how to compute with"));
  }
}

TEST(Config, SlicesOfBloomAreRefused) {
  const json bloom = {{"model_type", "bloom"}, {"hidden_size", 32}, {"n_layer", 2},
                      {"n_head", 4},           {"vocab_size", 10},  {"slow_but_exact", true}};
  EXPECT_EQ(read(with(bloom, "pretraining_tp", 1)).heads, 4);
  EXPECT_THAT(message_of(with(bloom, "pretraining_tp", 2)), HasSubstr("'slow_but_exact'"));
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

// ChatGLM2's output matrix stands behind the root of the other tensors, which a file may leave out.
TEST(Weights, ANameMayHaveSpellings) {
  const TemporaryFolder folder;
  const std::string header = R"({"output_layer.weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}})";
  std::string file(8, '\0');
  file[0] = static_cast<char>(header.size());
  folder.write("model.safetensors", file + header + std::string(8, 'x'));
  folder.write("config.json", llama().dump());
  const Checkpoint checkpoint = Checkpoint::open(folder.path());
  Graph graph;
  const Weights weights(graph, checkpoint, DType::f32, {}, {});
  EXPECT_EQ(weights.found_name("transformer.output_layer|output_layer"), "output_layer");
  EXPECT_EQ(weights.found_name("lm_head|head"), "lm_head");
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
  EXPECT_EQ(layout.position(7, 8), 7);
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
  EXPECT_EQ(layout.position(2, 5), 2);
  EXPECT_EQ(layout.block_position(2), 0);
  EXPECT_EQ(layout.position(3, 5), 1);  // of [MASK]
  EXPECT_EQ(layout.block_position(4), 2);
  EXPECT_EQ(layout.block_position(5), 3);
  EXPECT_EQ(layout_prompt(info, std::vector<int32_t>{2, 9, 3, 4}).position(4, 5), 2);  // [gMASK] wins
  EXPECT_THROW(layout_prompt(info, std::vector<int32_t>{9, 3}), Error);
  EXPECT_THROW(layout_prompt(info, std::vector<int32_t>{9, 4}), Error);
}

TEST(Positions, OfDynamicScalingHangOnTheLengthSoFar) {
  DecoderInfo info;
  info.dynamic_context = 3;
  const PromptLayout within = layout_prompt(info, std::vector<int32_t>{1, 2});
  EXPECT_EQ(within.position(4, 5), 4);
  EXPECT_EQ(within.block_position(0), 0);
  EXPECT_EQ(within.block_position(2), 0);
  EXPECT_EQ(within.block_position(3), 1);
  EXPECT_EQ(within.block_position(4), 2);
  const PromptLayout beyond = layout_prompt(info, std::vector<int32_t>{1, 2, 3, 4, 5});
  EXPECT_EQ(beyond.block_position(0), 2);  // all of a prompt comes at once
  EXPECT_EQ(beyond.block_position(4), 2);
  EXPECT_EQ(beyond.block_position(5), 3);
}

TEST(Positions, LongSequencesUseTheSecondTables) {
  DecoderInfo info;
  info.long_context = 2;
  info.max_positions = 100;
  const PromptLayout layout = layout_prompt(info, std::vector<int32_t>{1, 2});
  EXPECT_EQ(layout.position(1, 2), 1);
  EXPECT_EQ(layout.position(1, 3), 101);
}

}  // namespace
}  // namespace lathe::checkpoint
