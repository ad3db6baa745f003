// Checkpoints that others have quantised: tiny models whose integers are packed here as the formats define it, against
// the same models with the weights multiplied out. And weights that are rounded while they are loaded.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "base/error.h"
#include "base/small_float.h"
#include "checkpoint/weight_rows.h"
#include "graph/verifier.h"
#include "graph/weight_rounding.h"
#include "tests/base/temporary_folder.h"
#include "tests/checkpoint/decoder_runner.h"
#include "tests/checkpoint/safetensors_writer.h"

namespace lathe::checkpoint {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

constexpr int64_t kHidden = 64, kIntermediate = 96, kVocab = 24, kGroup = 16;
const Ids kPrompt = {3, 17, 5, 11, 23, 8};

json llama_config() {
  return {{"model_type", "llama"},       {"hidden_size", kHidden},   {"intermediate_size", kIntermediate},
          {"num_hidden_layers", 1},      {"num_attention_heads", 2}, {"num_key_value_heads", 1},
          {"vocab_size", kVocab},        {"rms_norm_eps", 1e-6},     {"max_position_embeddings", 64},
          {"tie_word_embeddings", false}};
}

// The integers of one matrix [n, k], and what they stand for.
struct Levels {
  int64_t n, k, groups;
  std::vector<uint32_t> q, zeros;  // [n, k], [n, groups]
  std::vector<float> scales;       // [n, groups]; floats that f16 holds
  std::vector<int32_t> group;      // of each column

  uint32_t& level(int64_t row, int64_t column) { return q[static_cast<size_t>(row * k + column)]; }
  uint32_t zero(int64_t row, int64_t g) const { return zeros[static_cast<size_t>(row * groups + g)]; }
  float scale(int64_t row, int64_t g) const { return scales[static_cast<size_t>(row * groups + g)]; }

  Tensor wide() {
    Tensor w(DType::f32, {n, k});
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < k; ++j) {
        const int64_t g = group[static_cast<size_t>(j)];
        const double difference = static_cast<double>(level(i, j)) - static_cast<double>(zero(i, g));
        w.write_double(i * k + j, difference * static_cast<double>(scale(i, g)));
      }
    return w;
  }
  Tensor scales_by(bool rows_first) const {
    Tensor t(DType::f16, rows_first ? std::vector{n, groups} : std::vector{groups, n});
    for (int64_t i = 0; i < n; ++i)
      for (int64_t g = 0; g < groups; ++g)
        t.write_double(rows_first ? i * groups + g : g * n + i, static_cast<double>(scale(i, g)));
    return t;
  }
};

struct Format {
  const char* name;
  json config;
  int bits = 4;
  int64_t group = kGroup;  // 0: whole rows
  bool symmetric = false, shuffled = false;
  std::function<void(const std::string&, Levels&, Tensors&)> pack;
};

void PrintTo(const Format& format, std::ostream* out) { *out << format.name; }

Levels made_up(int64_t n, int64_t k, const Format& format, std::mt19937& random) {
  const int64_t block = format.group == 0 ? k : format.group;
  Levels levels{n, k, (k + block - 1) / block, {}, {}, {}, {}};
  const uint32_t range = 1U << format.bits;
  for (int64_t i = 0; i < n * k; ++i) levels.q.push_back(random() % range);
  for (int64_t i = 0; i < n * levels.groups; ++i) {
    levels.zeros.push_back(format.symmetric ? range / 2 : random() % range);
    const float unit = format.bits == 8 ? 1.0F / 1024 : 1.0F / 64;
    levels.scales.push_back(static_cast<float>(Half(unit * static_cast<float>(1 + random() % 100) / 64)));
  }
  for (int64_t j = 0; j < k; ++j) levels.group.push_back(static_cast<int32_t>(j / block));
  if (format.shuffled) std::shuffle(levels.group.begin(), levels.group.end(), random);
  return levels;
}

// Words of 32 bits, with levels at places of each. What does not fit goes on in the word `next` words later.
class Words {
 public:
  explicit Words(std::vector<int64_t> dims) : tensor_(DType::i32, std::move(dims)) {}
  void put(int64_t word, int64_t shift, uint32_t level, int64_t next = 1) {
    const auto words = tensor_.mutable_as<int32_t>();
    for (; level != 0; level >>= 1, ++shift)
      words[static_cast<size_t>(word + shift / 32 * next)] |= static_cast<int32_t>((level & 1) << shift % 32);
  }
  Tensor take() { return std::move(tensor_); }

 private:
  Tensor tensor_;
};

int64_t words_of(int64_t levels, int bits) { return (levels + 32 / bits - 1) / (32 / bits); }

// qweight[k / p][n], from the lowest bits up; qzeros[g][n / p] of zero - less.
void pack_gptq(const std::string& name, Levels& l, Tensors& out, int bits, uint32_t less, bool ordered) {
  const int64_t row_words = l.n * bits / 32;
  const uint32_t mask = (1U << bits) - 1;
  Words q({(l.k * bits + 31) / 32, l.n}), z({l.groups, row_words});
  for (int64_t i = 0; i < l.n; ++i) {
    for (int64_t j = 0; j < l.k; ++j) q.put(j * bits / 32 * l.n + i, j * bits % 32, l.level(i, j), l.n);
    for (int64_t g = 0; g < l.groups; ++g)
      z.put(g * row_words + i * bits / 32, i * bits % 32, (l.zero(i, g) - less) & mask);
  }
  out[name + ".qweight"] = q.take();
  out[name + ".qzeros"] = z.take();
  out[name + ".scales"] = l.scales_by(false);
  if (ordered) out[name + ".g_idx"] = Tensor::of<int32_t>({l.k}, std::span<const int32_t>(l.group));
}

void pack_awq(const std::string& name, Levels& l, Tensors& out) {
  constexpr int64_t kOrder[] = {0, 2, 4, 6, 1, 3, 5, 7};  // the column in each place of a word
  Words q({l.k, l.n / 8}), z({l.groups, l.n / 8});
  for (int64_t word = 0; word < l.n / 8; ++word)
    for (int64_t place = 0; place < 8; ++place) {
      const int64_t row = word * 8 + kOrder[place];
      for (int64_t j = 0; j < l.k; ++j) q.put(j * (l.n / 8) + word, 4 * place, l.level(row, j));
      for (int64_t g = 0; g < l.groups; ++g) z.put(g * (l.n / 8) + word, 4 * place, l.zero(row, g));
    }
  out[name + ".qweight"] = q.take();
  out[name + ".qzeros"] = z.take();
  out[name + ".scales"] = l.scales_by(false);
}

enum class Zeros { none, packed, bytes };

void pack_compressed(const std::string& name, Levels& l, Tensors& out, int bits, Zeros zeros, bool ordered = false) {
  const int64_t per = 32 / bits;
  Words q({l.n, words_of(l.k, bits)}), z({words_of(l.n, bits), l.groups});
  Tensor z_bytes(DType::i8, {l.n, l.groups});
  for (int64_t i = 0; i < l.n; ++i) {
    for (int64_t j = 0; j < l.k; ++j) q.put(i * words_of(l.k, bits) + j / per, j % per * bits, l.level(i, j));
    for (int64_t g = 0; g < l.groups; ++g) {
      z.put(i / per * l.groups + g, i % per * bits, l.zero(i, g));
      z_bytes.write_int(i * l.groups + g, static_cast<int64_t>(l.zero(i, g)) - (1 << (bits - 1)));
    }
  }
  out[name + ".weight_packed"] = q.take();
  out[name + ".weight_scale"] = l.scales_by(true);
  out[name + ".weight_shape"] = Tensor::of<int64_t>({2}, {l.n, l.k});
  if (zeros == Zeros::packed) out[name + ".weight_zero_point"] = z.take();
  if (zeros == Zeros::bytes) out[name + ".weight_zero_point"] = z_bytes;
  if (ordered) out[name + ".weight_g_idx"] = Tensor::of<int32_t>({l.k}, std::span<const int32_t>(l.group));
}

// AWQ's "gemv". Zeros and scales of a row are padded with what must not be read.
void pack_awq_rows(const std::string& name, Levels& l, Tensors& out) {
  constexpr int64_t kPadded = 16;
  Words z({l.n, kPadded / 8});
  Tensor scales(DType::f16, {l.n, kPadded});
  for (int64_t i = 0; i < scales.elements(); ++i) {
    const int64_t row = i / kPadded, g = i % kPadded;
    z.put(i / 8, 4 * (i % 8), g < l.groups ? l.zero(row, g) : 5);
    scales.write_double(i, g < l.groups ? static_cast<double>(l.scale(row, g)) : 9);
  }
  Tensors packed;
  pack_compressed(name, l, packed, 4, Zeros::none);
  out[name + ".qweight"] = packed[name + ".weight_packed"];
  out[name + ".qzeros"] = z.take();
  out[name + ".scales"] = scales;
}

void pack_bytes(const std::string& name, Levels& l, Tensors& out) {
  Tensor q(DType::i8, {l.n, l.k});
  for (int64_t i = 0; i < q.elements(); ++i) q.write_int(i, static_cast<int64_t>(l.q[static_cast<size_t>(i)]) - 128);
  out[name + ".weight"] = q;
  out[name + ".weight_scale"] = l.scales_by(true);
}

json gptq_config(int bits, int64_t group) {
  return {{"quant_method", "gptq"}, {"bits", bits}, {"group_size", group}, {"desc_act", true}, {"sym", false}};
}

json compressed_config(int bits, const std::string& format = "pack-quantized") {
  const json weights = {{"num_bits", bits}, {"type", "int"}, {"group_size", kGroup}, {"strategy", "group"}};
  return {{"quant_method", "compressed-tensors"},
          {"format", format},
          {"config_groups", {{"group_0", {{"targets", {"Linear"}}, {"weights", weights}}}}},
          {"ignore", {"lm_head"}}};
}

std::vector<Format> formats() {
  json v2 = gptq_config(4, kGroup);
  v2["checkpoint_format"] = "gptq_v2";
  const auto gptq = [](int bits, uint32_t less, bool ordered) {
    return [=](const std::string& name, Levels& l, Tensors& out) { pack_gptq(name, l, out, bits, less, ordered); };
  };
  const auto compressed = [](int bits, Zeros zeros, bool ordered = false) {
    return
        [=](const std::string& name, Levels& l, Tensors& out) { pack_compressed(name, l, out, bits, zeros, ordered); };
  };
  const auto awq = [](const char* version) -> json {
    return {{"quant_method", "awq"}, {"bits", 4}, {"group_size", kGroup}, {"version", version}};
  };
  return {{"Gptq", gptq_config(4, kGroup), 4, kGroup, false, false, gptq(4, 1, true)},
          {"GptqSymmetric", gptq_config(4, kGroup), 4, kGroup, true, false, gptq(4, 1, false)},
          {"GptqEightBits", gptq_config(8, kGroup), 8, kGroup, false, false, gptq(8, 1, true)},
          {"GptqThreeBits", gptq_config(3, kGroup), 3, kGroup, false, false, gptq(3, 1, true)},
          {"GptqTwoBits", gptq_config(2, kGroup), 2, kGroup, false, true, gptq(2, 1, true)},
          {"GptqWholeRows", gptq_config(4, -1), 4, 0, false, false, gptq(4, 1, true)},
          {"GptqActOrder", gptq_config(4, kGroup), 4, kGroup, false, true, gptq(4, 1, true)},
          {"GptqV2", v2, 4, kGroup, false, false, gptq(4, 0, true)},
          {"Awq", awq("GEMM"), 4, kGroup, false, false, pack_awq},
          {"AwqRows", awq("GEMV"), 4, kGroup, false, false, pack_awq_rows},
          {"Packed", compressed_config(4), 4, kGroup, true, false, compressed(4, Zeros::none)},
          {"PackedZeros", compressed_config(4), 4, kGroup, false, false, compressed(4, Zeros::packed)},
          {"PackedZeroBytes", compressed_config(4), 4, kGroup, false, false, compressed(4, Zeros::bytes)},
          {"PackedOrdered", compressed_config(4), 4, kGroup, true, true, compressed(4, Zeros::none, true)},
          {"PackedRowsOfBytes", compressed_config(8), 8, 0, true, false, compressed(8, Zeros::none)},
          {"Bytes", compressed_config(8, "int-quantized"), 8, 0, true, false, pack_bytes}};
}

// A folder with the model in some format, and what each of its matrices stands for.
class Folder {
 public:
  using Write = std::function<Tensor(const std::string& name, int64_t n, int64_t k, Tensors& out)>;

  // `write` adds a matrix to the first tensors and returns it multiplied out.
  Folder(const json& quantization, const Write& write) {
    Tensors narrow;
    std::mt19937 random(5);
    std::normal_distribution<float> normal(0, 0.5F);
    const auto plain = [&](const std::string& name, std::vector<int64_t> dims) {
      Tensor tensor(DType::f32, std::move(dims));
      for (float& x : tensor.mutable_as<float>()) x = normal(random);
      narrow[name] = wide_[name] = tensor;
    };
    plain("model.embed_tokens.weight", {kVocab, kHidden});
    plain("lm_head.weight", {kVocab, kHidden});
    plain("model.norm.weight", {kHidden});
    const std::string layer = "model.layers.0.";
    plain(layer + "input_layernorm.weight", {kHidden});
    plain(layer + "post_attention_layernorm.weight", {kHidden});
    const std::tuple<const char*, int64_t, int64_t> matrices[] = {
        {"self_attn.q_proj", kHidden, kHidden},     {"self_attn.k_proj", kHidden / 2, kHidden},
        {"self_attn.v_proj", kHidden / 2, kHidden}, {"self_attn.o_proj", kHidden, kHidden},
        {"mlp.gate_proj", kIntermediate, kHidden},  {"mlp.up_proj", kIntermediate, kHidden},
        {"mlp.down_proj", kHidden, kIntermediate}};
    for (const auto& [name, n, k] : matrices) wide_[layer + name + ".weight"] = write(layer + name, n, k, narrow);
    json config = llama_config();
    if (!quantization.is_null()) config["quantization_config"] = quantization;
    narrow_folder_.write("config.json", config.dump());
    narrow_folder_.write("model.safetensors", safetensors(narrow));
    wide_folder_.write("config.json", llama_config().dump());
    wide_folder_.write("model.safetensors", safetensors(wide_));
  }

  // Logits of a prompt from what was quantised, and from what it stands for.
  std::vector<float> narrow_logits() const { return logits(narrow_folder_); }
  std::vector<float> wide_logits() const { return logits(wide_folder_); }
  const TemporaryFolder& narrow() const { return narrow_folder_; }
  const TemporaryFolder& wide() const { return wide_folder_; }
  const Tensors& wide_tensors() const { return wide_; }

 private:
  static std::vector<float> logits(const TemporaryFolder& folder) {
    DecoderOptions options;
    options.weights.threads = 2;
    Decoder decoder = build_decoder(Checkpoint::open(folder.path()), options);
    verify(*decoder.graph);
    EXPECT_TRUE(decoder.info.unused_tensors.empty());
    const Tensor result = DecoderRunner(std::move(decoder), 1).step({{0, kPrompt, {}}}, false);
    return {result.as<float>().begin(), result.as<float>().end()};
  }

  TemporaryFolder narrow_folder_, wide_folder_;
  Tensors wide_;
};

class QuantisedCheckpoint : public ::testing::TestWithParam<Format> {
 protected:
  static Folder::Write writer(const Format& format) {
    return [&format, random = std::make_shared<std::mt19937>(7)](const std::string& name, int64_t n, int64_t k,
                                                                 Tensors& out) {
      Levels levels = made_up(n, k, format, *random);
      format.pack(name, levels, out);
      return levels.wide();
    };
  }
};

void expect_same(const std::vector<float>& actual, const std::vector<float>& expected, double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  float largest = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    EXPECT_NEAR(actual[i], expected[i], tolerance) << i;
    largest = std::max(largest, std::fabs(expected[i]));
  }
  EXPECT_GT(largest, 0.5F);  // or there is nothing to see
}

TEST_P(QuantisedCheckpoint, IsWhatItsIntegersStandFor) {
  const Folder folder(GetParam().config, writer(GetParam()));
  expect_same(folder.narrow_logits(), folder.wide_logits(), 1e-4);
}

TEST_P(QuantisedCheckpoint, StaysNarrow) {
  const Folder folder(GetParam().config, writer(GetParam()));
  DecoderOptions sizes;
  sizes.weights.sizes_only = true;
  const Decoder decoder = build_decoder(Checkpoint::open(folder.narrow().path()));
  const Decoder counted = build_decoder(Checkpoint::open(folder.narrow().path()), sizes);
  std::vector<const Node*> nodes[2];
  for (const Decoder* d : {&decoder, &counted})
    for (const auto& node : d->graph->nodes())
      if (node->is<MatMulNBits>()) nodes[d == &counted].push_back(node.get());
  ASSERT_EQ(nodes[0].size(), 7u);
  ASSERT_EQ(nodes[1].size(), 7u);
  for (size_t i = 0; i < 7; ++i) {
    EXPECT_EQ(bit_width(nodes[0][i]->input(1)->dtype()), std::max(GetParam().bits, 4));
    EXPECT_FALSE(nodes[0][i]->as<MatMulNBits>()->round_rows);
    EXPECT_EQ(nodes[0][i]->input(3) == nullptr, GetParam().symmetric);
    for (size_t operand = 1; operand < 4; ++operand) {
      ASSERT_EQ(nodes[0][i]->input(operand) == nullptr, nodes[1][i]->input(operand) == nullptr);
      if (nodes[0][i]->input(operand) != nullptr) {
        EXPECT_EQ(nodes[0][i]->input(operand)->type(), nodes[1][i]->input(operand)->type());
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, QuantisedCheckpoint, ::testing::ValuesIn(formats()),
                         [](const auto& test) { return test.param.name; });

// --- fp8: widened to 16 bits while it is read. ---

struct Blocks {
  const char* name;
  int64_t rows, columns;  // that share a scale; 0: all
  std::vector<int64_t> (*dims)(int64_t n, int64_t k);
  const char* suffix;
};
void PrintTo(const Blocks& blocks, std::ostream* out) { *out << blocks.name; }

class Fp8Checkpoint : public ::testing::TestWithParam<Blocks> {};

TEST_P(Fp8Checkpoint, IsTheProductOfBytesAndScales) {
  const Blocks blocks = GetParam();
  std::mt19937 random(11);
  const auto write = [&](const std::string& name, int64_t n, int64_t k, Tensors& out) {
    Tensor q(DType::f8e4m3, {n, k}), scales(DType::f32, blocks.dims(n, k)), wide(DType::f32, {n, k});
    for (int64_t i = 0; i < scales.elements(); ++i)
      scales.write_double(i, 0.01 * static_cast<double>(1 + random() % 50) / 50);
    const int64_t rows = blocks.rows == 0 ? n : blocks.rows, columns = blocks.columns == 0 ? k : blocks.columns;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < k; ++j) {
        uint8_t byte = static_cast<uint8_t>(random());
        if ((byte & 0x7f) == 0x7f) byte = 0;  // NaN
        q.mutable_bytes()[static_cast<size_t>(i * k + j)] = static_cast<std::byte>(byte);
        const double scale = scales.read_double(i / rows * ((k + columns - 1) / columns) + j / columns);
        wide.write_double(i * k + j, static_cast<double>(small_float_to_float(DType::f8e4m3, byte)) * scale);
      }
    out[name + ".weight"] = q;
    out[name + blocks.suffix] = scales;
    return wide;
  };
  const json config = {{"quant_method", "fp8"}, {"weight_block_size", {12, 20}}};
  const Folder folder(config, write);
  const std::vector<float> wide = folder.wide_logits();
  const float largest = *std::max_element(wide.begin(), wide.end());
  expect_same(folder.narrow_logits(), wide, 0.005 * static_cast<double>(largest));
}

INSTANTIATE_TEST_SUITE_P(Scales, Fp8Checkpoint,
                         ::testing::Values(Blocks{"One", 0, 0, [](int64_t, int64_t) { return std::vector<int64_t>{}; },
                                                  ".weight_scale"},
                                           Blocks{"Rows", 1, 0,
                                                  [](int64_t n, int64_t) {
                                                    return std::vector<int64_t>{n, 1};
                                                  },
                                                  ".weight_scale"},
                                           Blocks{"Squares", 12, 20,
                                                  [](int64_t n, int64_t k) {
                                                    return std::vector{(n + 11) / 12, (k + 19) / 20};
                                                  },
                                                  ".weight_scale_inv"}),
                         [](const auto& test) { return test.param.name; });

// --- Faults. ---

std::string message_of(const TemporaryFolder& folder, const DecoderOptions& options = {}) {
  try {
    build_decoder(Checkpoint::open(folder.path()), options);
  } catch (const Error& error) {
    EXPECT_NE(error.code(), ErrorCode::internal);
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

std::string refusal(const json& quantization) {
  const TemporaryFolder folder;
  json config = llama_config();
  config["quantization_config"] = quantization;
  folder.write("config.json", config.dump());
  folder.write("model.safetensors", safetensors({{"model.norm.weight", Tensor(DType::f32, {kHidden})}}));
  return message_of(folder);
}

TEST(QuantisedConfig, WhatIsNotReadIsNamedWithARemedy) {
  EXPECT_THAT(refusal({{"quant_method", "bitsandbytes"}, {"load_in_4bit", true}}), HasSubstr("bitsandbytes"));
  EXPECT_THAT(refusal({{"load_in_8bit", true}}), HasSubstr("bitsandbytes"));
  EXPECT_THAT(refusal({{"quant_method", "hqq"}}), HasSubstr("'hqq', which Lathe does not know. Use the checkpoint"));
  EXPECT_THAT(refusal(gptq_config(5, 128)), HasSubstr("GPTQ rounded to 5 bits"));
  json marlin = gptq_config(4, 128);
  marlin["checkpoint_format"] = "marlin";
  EXPECT_THAT(refusal(marlin), HasSubstr("'marlin'"));
  EXPECT_THAT(refusal({{"quant_method", "awq"}, {"bits", 4}, {"version", "marlin"}}), HasSubstr("'marlin'"));
  EXPECT_THAT(refusal(compressed_config(4, "marlin-24")), HasSubstr("'marlin-24'"));
  EXPECT_THAT(refusal({{"quant_method", "compressed-tensors"}}), HasSubstr("no 'config_groups'"));
  json strange = compressed_config(4);
  strange["config_groups"]["group_0"]["weights"] = 4;
  EXPECT_THAT(refusal(strange), HasSubstr("'weights' of quantization_config is no object"));
  strange["config_groups"]["group_0"]["weights"] = {{"type", "float"}, {"num_bits", 4}};
  EXPECT_THAT(refusal(strange), HasSubstr("other than 8 bits"));
  EXPECT_THAT(refusal({{"quant_method", "fp8"}, {"weight_block_size", {128}}}), HasSubstr("weight_block_size"));
  EXPECT_THAT(refusal({{"quant_method", "fp8"}, {"weight_block_size", {128, INT64_MAX}}}),
              HasSubstr("weight_block_size"));
  EXPECT_THAT(refusal(gptq_config(4, INT64_MAX)), HasSubstr("weights that config.json asks for do not fit"));
  json wrapped = gptq_config(4, 128);
  wrapped["bits"] = (int64_t{1} << 32) + 4;
  EXPECT_THAT(refusal(wrapped), HasSubstr("'bits'"));
  EXPECT_THAT(refusal("gptq"), HasSubstr("no object"));
}

TEST(QuantisedConfig, MayBeAFileOfItsOwn) {
  const Format format = formats().front();
  std::mt19937 random(3);
  const Folder folder(nullptr, [&](const std::string& name, int64_t n, int64_t k, Tensors& out) {
    Levels levels = made_up(n, k, format, random);
    format.pack(name, levels, out);
    return levels.wide();
  });
  EXPECT_THAT(message_of(folder.narrow()), HasSubstr("no config that says how it was quantised"));
  folder.narrow().write("quantize_config.json", R"({"bits": 4, "group_size": 16, "desc_act": false})");
  expect_same(folder.narrow_logits(), folder.wide_logits(), 1e-4);
}

// A GPTQ model some of whose tensors are damaged.
std::string damage(const std::function<void(Tensors&)>& change) {
  const Format format = formats().front();
  std::mt19937 random(3);
  const Folder folder(format.config, [&](const std::string& name, int64_t n, int64_t k, Tensors& out) {
    Levels levels = made_up(n, k, format, random);
    format.pack(name, levels, out);
    if (name.ends_with("down_proj")) change(out);
    return levels.wide();
  });
  return message_of(folder.narrow());
}

TEST(QuantisedWeights, DamageIsNamed) {
  const std::string down = "model.layers.0.mlp.down_proj";
  EXPECT_THAT(damage([&](Tensors& t) { t.erase(down + ".qzeros"); }), HasSubstr("'" + down + ".qzeros' is missing"));
  EXPECT_THAT(damage([&](Tensors& t) { t.erase(down + ".scales"); }), HasSubstr(".scales' is missing"));
  EXPECT_THAT(damage([&](Tensors& t) {
                t[down + ".qweight"] = Tensor(DType::i32, {7, 64});
              }),
              HasSubstr("is i32 [7, 64], but must be i32 [12, 64]"));
  EXPECT_THAT(damage([&](Tensors& t) {
                t[down + ".scales"] = Tensor(DType::i32, {6, 64});
              }),
              HasSubstr("holds i32, not floats"));
  EXPECT_THAT(damage([&](Tensors& t) {
                t[down + ".scales"] = Tensor(DType::f16, {4, 64});
              }),
              HasSubstr("none of the group sizes"));
  EXPECT_THAT(damage([&](Tensors& t) { t[down + ".g_idx"].mutable_as<int32_t>()[0] = 99; }),
              HasSubstr("does not give each of 6 groups 16 columns"));
  EXPECT_THAT(damage([&](Tensors& t) {
                t.erase(down + ".qzeros");
                t.erase("model.norm.weight");
              }),
              HasSubstr("2 of the weights"));
}

TEST(QuantisedWeights, AreNotRoundedAgain) {
  const Format format = formats().front();
  std::mt19937 random(3);
  const Folder folder(format.config, [&](const std::string& name, int64_t n, int64_t k, Tensors& out) {
    Levels levels = made_up(n, k, format, random);
    format.pack(name, levels, out);
    return levels.wide();
  });
  DecoderOptions options;
  options.weights.bits = 8;
  EXPECT_THAT(message_of(folder.narrow(), options), HasSubstr("have been rounded before"));
}

// --- Rounding while loading. ---

const Tensor* constant(const Value* value) {
  const Constant* op = value == nullptr || value->producer() == nullptr ? nullptr : value->producer()->as<Constant>();
  return op == nullptr ? nullptr : &op->value;
}

std::map<std::string, const Node*> products_of(const Decoder& decoder) {
  std::map<std::string, const Node*> products;
  for (const auto& node : decoder.graph->nodes())
    if (node->is<MatMulNBits>() || node->is<MatMul>()) products[node->name()] = node.get();
  return products;
}

TEST(RoundedWeights, AreThoseOfTheRounder) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0, 0.5F);
  const Folder folder(nullptr, [&](const std::string& name, int64_t n, int64_t k, Tensors& out) {
    Tensor tensor(DType::f32, {n, k});
    for (float& x : tensor.mutable_as<float>()) x = normal(random);
    return out[name + ".weight"] = tensor;
  });
  DecoderOptions options;
  options.weights.bits = 4;
  options.weights.group = 16;
  options.weights.round_activations = true;
  options.weights.threads = 2;
  const Decoder decoder = build_decoder(Checkpoint::open(folder.wide().path()), options);
  EXPECT_TRUE(decoder.info.unused_tensors.empty());
  size_t checked = 0;
  for (const auto& [name, node] : products_of(decoder)) {
    ASSERT_TRUE(node->is<MatMulNBits>()) << name;
    EXPECT_TRUE(node->as<MatMulNBits>()->round_rows);
    const Tensor& wide = folder.wide_tensors().at(name + ".weight");
    const bool head = name == "lm_head";
    WeightRounder rounder(wide.dims()[0], wide.dims()[1], {head ? 8 : 4, head ? kHidden : 16, DType::f16});
    ThreadTeam team(1);
    rounder.add_rows(wide, team);
    const RoundedWeight expected = std::move(rounder).finish();
    EXPECT_EQ(*constant(node->input(1)), expected.q) << name;
    EXPECT_EQ(*constant(node->input(2)), expected.scales) << name;
    EXPECT_EQ(node->input(3), nullptr);
    ++checked;
  }
  EXPECT_EQ(checked, 8u);
}

TEST(WeightRows, MayBeStoredTheOtherWayRound) {
  const TemporaryFolder folder;
  Tensor stored(DType::f32, {3, 5});
  for (int64_t i = 0; i < 15; ++i) stored.write_double(i, static_cast<double>(i));
  folder.write("config.json", "{}");
  folder.write("model.safetensors", safetensors({{"w.weight", stored}}));
  const Checkpoint checkpoint = Checkpoint::open(folder.path());
  const WeightRows rows(checkpoint, {}, "w", 5, 3, /*transposed=*/true);
  const Tensor some = rows.read(1, 4);
  EXPECT_EQ(some, Tensor::of<float>({3, 3}, {1, 6, 11, 2, 7, 12, 3, 8, 13}));
  rows.release(4);
  rows.release(5);
  EXPECT_EQ(rows.read(1, 4), some);  // pages come back
  EXPECT_THROW(WeightRows(checkpoint, {}, "w", 3, 5, true), Error);
}

}  // namespace
}  // namespace lathe::checkpoint
