// Checkpoints with known answers: tiny models of random weights, their logits and greedy continuations as the models'
// reference implementations compute them in f32. Each folder of the data with a golden.npz is a case.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/npz.h"
#include "graph/verifier.h"
#include "tests/checkpoint/decoder_runner.h"

namespace lathe::checkpoint {
namespace {

constexpr double kAbsolute = 0.002, kRelative = 0.001;  // as the goldens state for f32

Ids ids_of(const NpyArray& array) {
  EXPECT_EQ(array.dtype, DType::i64);
  Ids ids(array.bytes.size() / sizeof(int64_t));
  for (size_t i = 0; i < ids.size(); ++i) {
    int64_t id = 0;
    std::memcpy(&id, array.bytes.data() + i * sizeof(id), sizeof(id));
    ids[i] = static_cast<int32_t>(id);
  }
  return ids;
}

std::vector<float> floats_of(const NpyArray& array) {
  EXPECT_EQ(array.dtype, DType::f32);
  std::vector<float> values(array.bytes.size() / sizeof(float));
  std::memcpy(values.data(), array.bytes.data(), array.bytes.size());
  return values;
}

// Records the largest difference, so that --gtest_output tells how near the limit a case is.
void expect_near(std::span<const float> actual, std::span<const float> expected, const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  double worst = 0, excess = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double difference = std::fabs(static_cast<double>(actual[i]) - static_cast<double>(expected[i]));
    ASSERT_FALSE(std::isnan(difference)) << what << ", element " << i;
    worst = std::max(worst, difference);
    excess = std::max(excess, difference - kAbsolute - kRelative * std::fabs(static_cast<double>(expected[i])));
  }
  ::testing::Test::RecordProperty(what, std::to_string(worst));
  EXPECT_LE(excess, 0) << what << " differs by up to " << worst;
}

class Golden : public ::testing::TestWithParam<std::string> {
 protected:
  Golden() : folder_(GetParam()), arrays_(folder_ / "golden.npz") {
    for (size_t i = 0; i < kPrompts; ++i) prompts_.push_back(ids_of(array("prompt_", i)));
  }
  static constexpr size_t kPrompts = 3;
  NpyArray array(const std::string& name, size_t i) const { return arrays_.read(name + std::to_string(i)); }
  DecoderRunner runner(size_t sequences) const {
    DecoderOptions options;
    options.block_size = 4;
    Decoder decoder = build_decoder(Checkpoint::open(folder_), options);
    verify(*decoder.graph);
    return {std::move(decoder), sequences};
  }

  std::filesystem::path folder_;
  NpzReader arrays_;
  std::vector<Ids> prompts_;
};

TEST_P(Golden, LogitsOfPrompts) {
  for (size_t i = 0; i < kPrompts; ++i) {
    DecoderRunner alone = runner(1);
    const Tensor logits = alone.step({{0, prompts_[i], {}}}, false);
    expect_near(logits.as<float>(), floats_of(array("logits_", i)), "logits_" + std::to_string(i));
  }
}

TEST_P(Golden, GreedyContinuationsInOneBatch) {
  DecoderRunner batch = runner(kPrompts);
  const Ids expected = ids_of(array("greedy_", 0));
  const auto generated = batch.generate(prompts_, expected.size());
  for (size_t i = 0; i < kPrompts; ++i) EXPECT_EQ(generated.ids[i], ids_of(array("greedy_", i))) << "prompt " << i;
  expect_near(generated.logits[1], floats_of(array("step_logits_", 1)), "step_logits_1");
}

TEST_P(Golden, PromptsInChunksBesideOthers) {
  const auto split = ids_of(arrays_.read("chunk_split")).at(0);
  const Ids& prompt = prompts_[2];
  const Ids first(prompt.begin(), prompt.begin() + split), second(prompt.begin() + split, prompt.end());
  DecoderRunner batch = runner(2);
  const Tensor begin = batch.step({{1, first, prompt}}, false);
  const Tensor end = batch.step({{0, prompts_[0], {}}, {1, second, {}}}, false);
  const std::vector<float> expected = floats_of(array("logits_", 2));
  const size_t known = begin.as<float>().size(), others = prompts_[0].size() * static_cast<size_t>(batch.info().vocab);
  expect_near(begin.as<float>(), std::span(expected).first(known), "first chunk");
  expect_near(end.as<float>().subspan(others), std::span(expected).subspan(known), "second chunk");
  expect_near(end.as<float>().first(others), floats_of(array("logits_", 0)), "the other prompt");
}

std::vector<std::string> decoder_cases() {
  std::vector<std::string> folders;
  for (const auto& entry : std::filesystem::directory_iterator(LATHE_CHECKPOINT_CASES))
    if (std::filesystem::exists(entry.path() / "golden.npz") &&
        NpzReader(entry.path() / "golden.npz").contains("step_logits_1"))
      folders.push_back(entry.path().string());
  std::sort(folders.begin(), folders.end());
  return folders;
}

std::string case_name(const ::testing::TestParamInfo<std::string>& info) {
  std::string name = std::filesystem::path(info.param).filename().string();
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == '-' || c == '.'; }, '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, Golden, ::testing::ValuesIn(decoder_cases()), case_name);

}  // namespace
}  // namespace lathe::checkpoint
