// Checkpoints with known answers: tiny models of random weights, their logits and greedy continuations as the models'
// reference implementations compute them in f32. Each folder of the data with a golden.npz is a case.
#include "graph/verifier.h"
#include "tests/checkpoint/decoder_runner.h"
#include "tests/checkpoint/golden.h"

namespace lathe::checkpoint {
namespace {

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

INSTANTIATE_TEST_SUITE_P(Checkpoints, Golden, ::testing::ValuesIn(cases_with("step_logits_1")), case_name);

}  // namespace
}  // namespace lathe::checkpoint
