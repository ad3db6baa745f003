// Families against Transformers: tiny models whose weights both sides make from the names of the tensors, so that only
// configurations, shapes and results are stored (tests/data/checkpoints/families.json, written by make_families.py).
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "checkpoint/encoder.h"
#include "checkpoint/quantised_folder.h"
#include "checkpoint/seq2seq.h"
#include "graph/reference/evaluator.h"
#include "graph/verifier.h"
#include "tests/base/temporary_folder.h"
#include "tests/checkpoint/decoder_runner.h"
#include "tests/checkpoint/golden.h"
#include "tests/data_path.h"

namespace lathe::checkpoint {
namespace {

using nlohmann::json;

// A case that is like another has its configuration and tensors but for what is stored.
void resolve(json& cases, const std::string& name) {
  json& model = cases[name];
  if (!model.contains("like")) return;
  const std::string other = model["like"];
  model.erase("like");
  resolve(cases, other);
  for (const char* part : {"config", "tensors"}) {
    json whole = cases[other][part];
    whole.merge_patch(model[part]);
    model[part] = std::move(whole);
  }
}

const json& stored() {
  static const json document = [] {
    json all = json::parse(std::ifstream(std::filesystem::path(LATHE_TEST_DATA) / "checkpoints" / "families.json"));
    for (const char* kind : {"cases", "encoders"})
      for (const auto& entry : all[kind].items()) resolve(all[kind], entry.key());
    return all;
  }();
  return document;
}

// Mirrors fill() of make_families.py.
std::vector<float> numbers_of(const std::string& name, const std::vector<int64_t>& dims) {
  uint64_t seed = 14695981039346656037u;
  for (const char c : name) seed = (seed ^ static_cast<uint8_t>(c)) * 1099511628211u;
  int64_t count = 1;
  for (const int64_t dim : dims) count *= dim;
  const double offset = name.ends_with("weight") ? 1 : 0;
  std::vector<float> values;
  for (int64_t i = 1; i <= count; ++i) {
    uint64_t x = seed + static_cast<uint64_t>(i) * 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    x ^= x >> 31;
    const double u = static_cast<double>(x >> 40) / (1 << 24) - 0.5;
    values.push_back(
        static_cast<float>(dims.size() > 1 ? u * 5.5 / std::sqrt(static_cast<double>(dims.back())) : 0.6 * u + offset));
  }
  return values;
}

class SafetensorsText {
 public:
  void add(const std::string& name, const std::vector<int64_t>& dims) {
    add(name, "F32", dims, numbers_of(name, dims));
  }
  template <class T>
  void add(const std::string& name, const char* dtype, const std::vector<int64_t>& dims, const std::vector<T>& values) {
    const size_t begin = data_.size();
    data_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
    header_[name] = {{"dtype", dtype}, {"shape", dims}, {"data_offsets", {begin, data_.size()}}};
  }
  std::string text() const {
    const std::string header = header_.dump();
    std::string length(8, '\0');
    const uint64_t size = header.size();
    std::memcpy(length.data(), &size, sizeof(size));
    return length + header + data_;
  }

 private:
  json header_ = json::object();
  std::string data_;
};

constexpr int kExperts = 4;  // that a name with a star stands for

std::string weights_of(const json& model) {
  SafetensorsText file;
  for (const auto& [prefix, rows] : model["tensors"].items())
    for (const auto& [name, row] : rows.items()) {
      const auto dims = row[0].get<std::vector<int64_t>>();
      std::vector<int64_t> layers(model["layers"].get<size_t>());
      for (size_t i = 0; i < layers.size(); ++i) layers[i] = static_cast<int64_t>(i);
      if (row.size() > 1) layers = row[1].get<std::vector<int64_t>>();
      if (prefix.empty()) file.add(name, dims);
      const size_t star = name.find('*');
      for (const int64_t layer : layers) {
        const std::string whole = prefix + std::to_string(layer) + "." + name;
        for (int expert = 0; !prefix.empty() && expert < (star == std::string::npos ? 1 : kExperts); ++expert)
          file.add(star == std::string::npos ? whole
                                             : std::string(whole).replace(whole.find('*'), 1, std::to_string(expert)),
                   dims);
      }
    }
  return file.text();
}

class Families : public ::testing::TestWithParam<std::string> {};

TEST_P(Families, ComputeAsTransformersDoes) {
  const json& model = stored()["cases"][GetParam()];
  const TemporaryFolder folder;
  folder.write("config.json", model["config"].dump());
  folder.write("model.safetensors", weights_of(model));
  DecoderOptions options;
  options.max_positions = model.value("context", int64_t{0});
  Decoder decoder = build_decoder(Checkpoint::open(folder.path()), options);
  verify(*decoder.graph);
  EXPECT_EQ(decoder.info.unused_tensors, std::vector<std::string>{});
  DecoderRunner runner(std::move(decoder), 1);
  const auto expected = model["greedy"].get<Ids>();
  const auto generated = runner.generate({stored()["prompt"].get<Ids>()}, expected.size());
  EXPECT_EQ(generated.ids[0], expected);
  const auto logits = model["logits"].get<std::vector<float>>();
  expect_near(std::span(generated.logits[0]).first(logits.size()), logits, GetParam());
  if (!model.contains("last")) return;
  const auto last = model["last"].get<std::vector<float>>();
  expect_near(std::span(generated.logits[0]).last(last.size()), last, GetParam() + ", last");
}

TEST(TextSides, StandUnderSeveralNames) {
  const json& model = stored()["cases"]["arcee"];
  const auto logits = model["logits"].get<std::vector<float>>();
  for (const std::string root : {"language_model.model.", "model.language_model.", "model.text_model."}) {
    SafetensorsText file;
    const auto add = [&](const std::string& name, const std::vector<int64_t>& dims) {
      const bool below = name.starts_with("model.");
      file.add(below ? root + name.substr(6) : name, "F32", dims, numbers_of(name, dims));
    };
    for (const auto& [prefix, rows] : model["tensors"].items())
      for (const auto& [name, row] : rows.items())
        for (int64_t layer = 0; layer < (prefix.empty() ? 1 : model["layers"].get<int64_t>()); ++layer)
          add(prefix.empty() ? name : prefix + std::to_string(layer) + "." + name, row[0]);
    const TemporaryFolder folder;
    folder.write("config.json", json{{"model_type", "sees"}, {"text_config", model["config"]}}.dump());
    folder.write("model.safetensors", file.text());
    DecoderRunner runner(build_decoder(Checkpoint::open(folder.path())), 1);
    const auto generated = runner.generate({stored()["prompt"].get<Ids>()}, 1);
    expect_near(std::span(generated.logits[0]).first(logits.size()), logits, root);
  }
}

// The row of the prompt's third token in the first output of an encoder; all of it where that is of the text.
std::vector<float> third_row(const Graph& graph, size_t padding = 0) {
  const Ids prompt = stored()["prompt"].get<Ids>();
  Tensor ids(DType::i64, {1, static_cast<int64_t>(prompt.size() + padding)}), mask(DType::i64, ids.dims()),
      types = mask;
  for (Tensor* tensor : {&ids, &mask, &types})
    for (int64_t& x : tensor->mutable_as<int64_t>()) x = 0;
  for (size_t i = 0; i < prompt.size(); ++i) {
    ids.mutable_as<int64_t>()[i] = prompt[i];
    mask.mutable_as<int64_t>()[i] = 1;
  }
  std::vector<RefValue> inputs;
  for (const Value* input : graph.inputs())
    inputs.push_back(input->name() == "input_ids" ? ids : (input->name() == "attention_mask" ? mask : types));
  const Tensor y = std::get<Tensor>(evaluate(graph, inputs).at(0));
  if (y.rank() == 2) return {y.as<float>().begin(), y.as<float>().end()};
  const auto row = y.as<float>().subspan(static_cast<size_t>(2 * y.dims()[2]), static_cast<size_t>(y.dims()[2]));
  return {row.begin(), row.end()};
}

TEST(EncoderFamilies, ComputeAsTransformersDoes) {
  for (const auto& [name, model] : stored()["encoders"].items()) {
    const TemporaryFolder folder;
    folder.write("config.json", model["config"].dump());
    folder.write("model.safetensors", weights_of(model));
    const Encoder encoder = build_encoder(Checkpoint::open(folder.path()));
    verify(*encoder.graph);
    EXPECT_EQ(encoder.info.unused_tensors, std::vector<std::string>{}) << name;
    const auto expected = model["logits"].get<std::vector<float>>();
    for (const size_t padding : {0, 3}) {
      std::vector<float> row = third_row(*encoder.graph, padding);
      if (encoder.info.task == EncoderTask::answer_spans) row.resize(row.size() - padding);
      expect_near(std::span<const float>(row), expected, name + ", padded by " + std::to_string(padding));
    }
  }
}

TEST(Seq2SeqFamilies, EncodeAsTransformersDoes) {
  for (const auto& [name, model] : stored()["seq2seq"].items()) {
    const TemporaryFolder folder;
    folder.write("config.json", model["config"].dump());
    folder.write("model.safetensors", weights_of(model));
    const Seq2Seq sides = build_seq2seq(Checkpoint::open(folder.path()), {});
    verify(*sides.encoder.graph);
    verify(*sides.decoder.graph);
    EXPECT_EQ(sides.decoder.info.unused_tensors, std::vector<std::string>{}) << name;
    const auto expected = model["states"].get<std::vector<float>>();
    const std::vector<float> row = third_row(*sides.encoder.graph);
    expect_near(std::span<const float>(row), expected, name);
  }
}

TEST(RoundedWeights, RoutersStayWide) {
  const json& model = stored()["cases"]["qwen2-moe"];
  const TemporaryFolder folder;
  folder.write("config.json", model["config"].dump());
  folder.write("model.safetensors", weights_of(model));
  DecoderOptions options;
  options.weights.bits = 8;
  const Decoder decoder = build_decoder(Checkpoint::open(folder.path()), options);
  size_t routers = 0, experts = 0;
  for (const auto& node : decoder.graph->nodes()) {
    if (const auto* grouped = node->as<GroupedMatMul>()) {
      EXPECT_GT(grouped->block, 0) << node->name();
      experts += (node->inputs().size() - kGroupedOperands) / operands_of_group(*grouped);
    }
    if (!node->is<MatMulNBits>() && !node->is<MatMul>()) continue;
    const std::string& name = node->name();
    const bool router = name.ends_with("mlp.gate") || name.ends_with("shared_expert_gate");
    EXPECT_EQ(node->is<MatMul>(), router) << name;
    routers += router;
  }
  EXPECT_EQ(routers, 4u);   // two layers with experts, two gates each
  EXPECT_EQ(experts, 24u);  // four of three matrices each
}

// Of these, each matrix is a layer of its own for other readers, too; of stacks it is not.
TEST(MatricesToRound, AreThoseOfExpertsThatAreNotStacked) {
  const auto open = [](const TemporaryFolder& folder, const char* name) {
    const json& model = stored()["cases"][name];
    folder.write("config.json", model["config"].dump());
    folder.write("model.safetensors", weights_of(model));
    return Checkpoint::open(folder.path());
  };
  const TemporaryFolder folder, stacked;
  std::set<std::string> names;
  for (const RoundedMatrix& matrix : plan_rounding(open(folder, "qwen2-moe"), {.bits = 8}).matrices)
    if (matrix.name.find(".experts.") != std::string::npos) names.insert(matrix.name);
  EXPECT_EQ(names.size(), 24u);
  EXPECT_EQ(names.count("model.layers.0.mlp.experts.3.down_proj"), 1u);
  const RoundingPlan plan = plan_rounding(open(stacked, "gpt-oss"), {.bits = 8});
  EXPECT_EQ(plan.matrices.size(), 12u);  // of attention in three layers
  ASSERT_EQ(plan.stacks.size(), 6u);
  EXPECT_EQ(plan.stacks.front(), "model.layers.0.mlp.experts.gate_up_proj");
  EXPECT_EQ(plan.stacks.back(), "model.layers.2.mlp.experts.down_proj");
  EXPECT_TRUE(plan.transposed.empty());
}

TEST(MatricesToRound, AreNotThoseOfAConv1D) {
  const json& model = stored()["cases"]["openai-gpt"];
  const TemporaryFolder folder;
  folder.write("config.json", model["config"].dump());
  folder.write("model.safetensors", weights_of(model));
  try {
    plan_rounding(Checkpoint::open(folder.path()), {.bits = 8});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("8 are stored [in, out], as a Conv1D"), std::string::npos) << error.message();
  }
}

// Stacks of experts in MXFP4, [experts, out, in] in pairs, and the same numbers as gpt-oss stores them in wide types.
struct Stack {
  std::vector<uint8_t> pairs, powers;
  std::vector<float> wide;  // [experts, in, out]

  Stack(int64_t experts, int64_t out, int64_t in) : wide(static_cast<size_t>(experts * out * in)) {
    constexpr double kFp4[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
    uint32_t random = 1;
    for (int64_t row = 0; row < experts * out; ++row)
      for (int64_t j = 0; j < in; ++j) {
        random = random * 1664525 + 1013904223;
        if (j % 32 == 0) powers.push_back(static_cast<uint8_t>(122 + (random >> 20) % 4));
        const uint32_t bits = random >> 28;
        if (j % 2 == 0)
          pairs.push_back(static_cast<uint8_t>(bits));
        else
          pairs.back() = static_cast<uint8_t>(pairs.back() | bits << 4);
        const double value = (bits < 8 ? 1 : -1) * std::ldexp(kFp4[bits % 8], powers.back() - 127);
        wide[static_cast<size_t>((row / out * in + j) * out + row % out)] = static_cast<float>(value);
      }
  }
};

TEST(Mxfp4, IsReadAsItIs) {
  json model = stored()["cases"]["gpt-oss"];
  constexpr int64_t kSize = 32;
  model["config"].update(
      {{"hidden_size", kSize}, {"intermediate_size", kSize}, {"num_hidden_layers", 1}, {"layer_types", nullptr}});
  std::vector<float> logits[2];
  for (const bool narrow : {false, true}) {
    SafetensorsText file;
    for (const auto& [prefix, rows] : model["tensors"].items())
      for (const auto& [name, row] : rows.items()) {
        auto dims = row[0].get<std::vector<int64_t>>();
        std::replace(dims.begin(), dims.end(), int64_t{16}, kSize);
        const bool up = name == "mlp.experts.gate_up_proj", is_stack = up || name == "mlp.experts.down_proj";
        const std::string whole = prefix.empty() ? name : prefix + "0." + name;
        if (!is_stack) {
          if (name.ends_with("gate_up_proj_bias")) dims = {kExperts, 2 * kSize};
          file.add(whole, dims);
          continue;
        }
        const int64_t out = up ? 2 * kSize : kSize;
        const Stack stack(kExperts, out, kSize);
        if (!narrow) {
          file.add(whole, "F32", {kExperts, kSize, out}, stack.wide);
        } else {
          file.add(whole + "_blocks", "U8", {kExperts, out, 1, 16}, stack.pairs);
          file.add(whole + "_scales", "U8", {kExperts, out, 1}, stack.powers);
        }
      }
    if (narrow) model["config"]["quantization_config"] = {{"quant_method", "mxfp4"}};
    const TemporaryFolder folder;
    folder.write("config.json", model["config"].dump());
    folder.write("model.safetensors", file.text());
    Decoder decoder = build_decoder(Checkpoint::open(folder.path()));
    verify(*decoder.graph);
    EXPECT_EQ(decoder.info.unused_tensors, std::vector<std::string>{});
    const Tensor y = DecoderRunner(std::move(decoder), 1).step({{0, stored()["prompt"].get<Ids>(), {}}}, false);
    logits[narrow].assign(y.as<float>().begin(), y.as<float>().end());
  }
  expect_near(logits[1], logits[0], "mxfp4");
}

std::vector<std::string> family_cases() {
  std::vector<std::string> names;
  for (const auto& [name, model] : stored()["cases"].items()) names.push_back(name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Tiny, Families, ::testing::ValuesIn(family_cases()), case_name);

}  // namespace
}  // namespace lathe::checkpoint
