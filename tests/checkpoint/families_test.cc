// Families against Transformers: tiny models whose weights both sides make from the names of the tensors, so that only
// configurations, shapes and results are stored (tests/data/checkpoints/families.json, written by make_families.py).
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "graph/verifier.h"
#include "tests/base/temporary_folder.h"
#include "tests/checkpoint/decoder_runner.h"
#include "tests/checkpoint/golden.h"

namespace lathe::checkpoint {
namespace {

using nlohmann::json;

const json& stored() {
  static const json document =
      json::parse(std::ifstream(std::filesystem::path(LATHE_TEST_DATA) / "checkpoints" / "families.json"));
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
    const std::vector<float> values = numbers_of(name, dims);
    const size_t begin = data_.size();
    data_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    header_[name] = {{"dtype", "F32"}, {"shape", dims}, {"data_offsets", {begin, data_.size()}}};
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

std::string weights_of(const json& model) {
  SafetensorsText file;
  for (const auto& [prefix, rows] : model["tensors"].items())
    for (const auto& [name, row] : rows.items()) {
      const auto dims = row[0].get<std::vector<int64_t>>();
      std::vector<int64_t> layers(model["layers"].get<size_t>());
      for (size_t i = 0; i < layers.size(); ++i) layers[i] = static_cast<int64_t>(i);
      if (row.size() > 1) layers = row[1].get<std::vector<int64_t>>();
      if (prefix.empty()) file.add(name, dims);
      for (const int64_t layer : layers)
        if (!prefix.empty()) file.add(prefix + std::to_string(layer) + "." + name, dims);
    }
  return file.text();
}

class Families : public ::testing::TestWithParam<std::string> {};

TEST_P(Families, ComputeAsTransformersDoes) {
  const json& model = stored()["cases"][GetParam()];
  const TemporaryFolder folder;
  folder.write("config.json", model["config"].dump());
  folder.write("model.safetensors", weights_of(model));
  Decoder decoder = build_decoder(Checkpoint::open(folder.path()));
  verify(*decoder.graph);
  EXPECT_EQ(decoder.info.unused_tensors, std::vector<std::string>{});
  DecoderRunner runner(std::move(decoder), 1);
  const auto expected = model["greedy"].get<Ids>();
  const auto generated = runner.generate({stored()["prompt"].get<Ids>()}, expected.size());
  EXPECT_EQ(generated.ids[0], expected);
  const auto logits = model["logits"].get<std::vector<float>>();
  expect_near(std::span(generated.logits[0]).first(logits.size()), logits, GetParam());
}

std::vector<std::string> family_cases() {
  std::vector<std::string> names;
  for (const auto& [name, model] : stored()["cases"].items()) names.push_back(name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Tiny, Families, ::testing::ValuesIn(family_cases()), case_name);

}  // namespace
}  // namespace lathe::checkpoint
