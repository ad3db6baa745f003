// Checkpoints with known answers through the public interface: whatever the budget, the pool, the block size and the
// company, the tokens are the reference implementation's.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>

#include "base/npz.h"
#include "lathe/llm.h"
#include "tests/data_path.h"
#include "tests/whole_model_device.h"

namespace lathe::llm {
namespace {

using Ids = std::vector<int32_t>;

std::vector<std::string> decoders() {
  std::vector<std::string> folders;
  for (const auto& entry : std::filesystem::directory_iterator(LATHE_TEST_DATA "/checkpoints"))
    if (std::filesystem::exists(entry.path() / "golden.npz") &&
        NpzReader(entry.path() / "golden.npz").contains("step_logits_1"))
      folders.push_back(entry.path().string());
  return folders;
}

template <class T>
std::vector<T> elements(const NpyArray& array) {
  std::vector<T> values(array.bytes.size() / sizeof(T));
  std::memcpy(values.data(), array.bytes.data(), array.bytes.size());
  return values;
}

class LlmGolden : public ::testing::TestWithParam<std::string> {
 protected:
  LlmGolden() : arrays_(std::filesystem::path(GetParam()) / "golden.npz") {
    for (size_t i = 0; i < 3; ++i) {
      prompts_.push_back(ids("prompt_", i));
      greedy_.push_back(ids("greedy_", i));
    }
    options_.device = test::kWholeModelDevice;
    options_.dtype = test::kWholeModelType;
    options_.threads = 1;
    options_.block_size = 4;
  }
  void SetUp() override { test::skip_without_device(); }

  Ids ids(const std::string& name, size_t i) const {
    const std::vector<int64_t> values = elements<int64_t>(arrays_.read(name + std::to_string(i)));
    return {values.begin(), values.end()};
  }

  Request request(size_t i) const {
    Request request;
    request.prompt = prompts_[i];
    request.max_tokens = static_cast<int64_t>(greedy_[i].size());
    request.sampling.temperature = 0;
    request.sampling.logprobs = 0;
    request.ignore_eos = true;
    return request;
  }

  // All prompts side by side, `times` each, one behind the other.
  void expect_greedy(Engine& engine, int times = 1) const {
    std::vector<Generation> generations;
    for (int t = 0; t < times; ++t)
      for (size_t i = 0; i < prompts_.size(); ++i) generations.push_back(engine.submit(request(i)));
    for (size_t g = 0; g < generations.size(); ++g)
      EXPECT_EQ(generations[g].wait().choices[0].ids(), greedy_[g % prompts_.size()]) << "request " << g;
  }

  NpzReader arrays_;
  std::vector<Ids> prompts_, greedy_;
  EngineOptions options_;
};

TEST_P(LlmGolden, OneByOneWithTheLogitsOfThePrompt) {
  const auto engine = Engine::open(GetParam(), options_);
  for (size_t i = 0; i < prompts_.size(); ++i) {
    const std::vector<float> expected = elements<float>(arrays_.read("logits_" + std::to_string(i)));
    std::vector<float> logits;
    Request asked = request(i);
    asked.on_prompt_logits = [&](int64_t, std::span<const float> row) {
      logits.insert(logits.end(), row.begin(), row.end());
    };
    EXPECT_EQ(engine->submit(std::move(asked)).wait().choices[0].ids(), greedy_[i]);
    ASSERT_EQ(logits.size(), expected.size());
    for (size_t e = 0; e < expected.size(); ++e)
      ASSERT_LE(std::fabs(logits[e] - expected[e]), 0.002 + 0.001 * std::fabs(expected[e])) << e;
  }
}

TEST_P(LlmGolden, SideBySideAndAgainFromTheCache) {
  const auto engine = Engine::open(GetParam(), options_);
  expect_greedy(*engine, 2);
  expect_greedy(*engine);
  Generation again = engine->submit(request(2));
  EXPECT_EQ(again.wait().choices[0].ids(), greedy_[2]);
  EXPECT_EQ(again.wait().timing.cached_tokens, (static_cast<int64_t>(prompts_[2].size()) - 1) / 4 * 4);
}

TEST_P(LlmGolden, InChunksOfThree) {
  options_.step_tokens = 3;
  expect_greedy(*Engine::open(GetParam(), options_), 2);
}

TEST_P(LlmGolden, OnAPoolThatIsTooSmall) {
  size_t longest = 0;
  for (const Ids& prompt : prompts_) longest = std::max(longest, prompt.size());
  options_.blocks = static_cast<int64_t>(longest + greedy_[0].size() + 3) / 4 + 1;
  expect_greedy(*Engine::open(GetParam(), options_), 2);
  options_.swap_memory = 1 << 20;
  expect_greedy(*Engine::open(GetParam(), options_), 2);
}

TEST_P(LlmGolden, ChoicesAndBeamsForkTheirBlocks) {
  const auto engine = Engine::open(GetParam(), options_);
  Request several = request(1);
  several.n = 3;
  const Result twins = engine->submit(several).wait();
  for (const Choice& choice : twins.choices) EXPECT_EQ(choice.ids(), greedy_[1]);

  Request beams = request(1);
  beams.beam.beams = 3;
  Generation alone = engine->submit(beams);
  const Choice best = alone.wait().choices[0];
  double greedy_score = 0;
  for (const Token& token : twins.choices[0].tokens) greedy_score += static_cast<double>(token.logprob);
  EXPECT_GE(best.score, greedy_score / static_cast<double>(greedy_[1].size()) - 1e-4);
  // What the beams read from their blocks is what one sequence computes that never forked.
  Request plain = request(1);
  for (const Token& token : best.tokens) plain.prompt.push_back(token.id);
  double score = 0;
  plain.on_prompt_logits = [&](int64_t position, std::span<const float> row) {
    const int64_t next = position + 1 - static_cast<int64_t>(prompts_[1].size());
    if (next < 0 || next >= static_cast<int64_t>(best.tokens.size())) return;
    double sum = 0;
    for (const float logit : row) sum += std::exp(static_cast<double>(logit));
    score += row[static_cast<size_t>(best.tokens[static_cast<size_t>(next)].id)] - std::log(sum);
  };
  plain.max_tokens = 1;
  engine->submit(std::move(plain)).wait();
  EXPECT_NEAR(best.score, score / static_cast<double>(best.tokens.size()), 1e-3);
}

// Logits and answers to the last bit, whatever else is computed beside them.
TEST_P(LlmGolden, DeterministicBits) {
  struct Answers {
    std::vector<std::vector<float>> logits;
    std::vector<Ids> ids;
    std::vector<float> logprobs;
    bool operator==(const Answers&) const = default;
  };
  options_.deterministic = true;
  const auto answer = [&](EngineOptions options, bool together) {
    const auto engine = Engine::open(GetParam(), options);
    Answers answers;
    answers.logits.resize(prompts_.size());
    std::vector<Generation> generations;
    for (size_t i = 0; i < prompts_.size(); ++i) {
      Request asked = request(i);
      asked.on_prompt_logits = [&to = answers.logits[i]](int64_t, std::span<const float> row) {
        to.insert(to.end(), row.begin(), row.end());
      };
      generations.push_back(engine->submit(std::move(asked)));
      if (!together) generations.back().wait();
    }
    for (Generation& generation : generations) {
      const Choice& choice = generation.wait().choices[0];
      answers.ids.push_back(choice.ids());
      for (const Token& token : choice.tokens) answers.logprobs.push_back(token.logprob);
    }
    return answers;
  };
  const Answers alone = answer(options_, false);
  EXPECT_TRUE(answer(options_, true) == alone) << "side by side";
  EngineOptions chunks = options_;
  for (const int64_t step_tokens : {1, 3, 7}) {
    chunks.step_tokens = step_tokens;
    EXPECT_TRUE(answer(chunks, true) == alone) << "in chunks of " << step_tokens;
  }
  EngineOptions threads = options_;
  threads.threads = 2;
  EXPECT_TRUE(answer(threads, true) == alone) << "on two threads";
  size_t longest = 0;
  for (const Ids& prompt : prompts_) longest = std::max(longest, prompt.size());
  EngineOptions little = options_;
  little.blocks = static_cast<int64_t>(longest + greedy_[0].size() + 3) / 4 + 1;
  EXPECT_TRUE(answer(little, true) == alone) << "with preemption";
  little.swap_memory = 1 << 20;
  EXPECT_TRUE(answer(little, true) == alone) << "with copies of preempted blocks";
}

std::string name_of(const ::testing::TestParamInfo<std::string>& info) {
  std::string name = std::filesystem::path(info.param).filename().string();
  for (char& c : name)
    if (c == '-') c = '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, LlmGolden, ::testing::ValuesIn(decoders()), name_of);

}  // namespace
}  // namespace lathe::llm
