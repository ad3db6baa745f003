// Encoder-decoders with known answers through the public interface: whatever the company and the pool, the tokens are
// the reference implementation's; and the rules that their answers obey.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/npz.h"
#include "lathe/llm.h"
#include "tests/base/temporary_folder.h"
#include "tests/data_path.h"
#include "tests/whole_model_device.h"

namespace lathe::llm {
namespace {

using Ids = std::vector<int32_t>;

const std::filesystem::path kCheckpoints = LATHE_TEST_DATA "/checkpoints";

template <class T>
std::vector<T> elements(const NpyArray& array) {
  std::vector<T> values(array.bytes.size() / sizeof(T));
  std::memcpy(values.data(), array.bytes.data(), array.bytes.size());
  return values;
}

class Seq2SeqTest : public ::testing::Test {
 protected:
  Seq2SeqTest() {
    options_.device = test::kWholeModelDevice;
    options_.dtype = test::kWholeModelType;
    options_.threads = 1;
    options_.block_size = 4;
  }
  void SetUp() override { test::skip_without_device(); }
  void load(const std::string& name) {
    folder_ = kCheckpoints / name;
    const NpzReader arrays(folder_ / "golden.npz");
    for (const std::string i : {"0", "1", "2"}) {
      Request request;
      if (arrays.contains("features_" + i)) {
        request.features = elements<float>(arrays.read("features_" + i));
      } else {
        const auto ids = elements<int64_t>(arrays.read("prompt_" + i));
        request.prompt.assign(ids.begin(), ids.end());
      }
      const auto greedy = elements<int64_t>(arrays.read("greedy_" + i));
      greedy_.emplace_back(greedy.begin(), greedy.end());
      request.max_tokens = static_cast<int64_t>(greedy.size());
      request.sampling.temperature = 0;
      request.ignore_eos = true;
      requests_.push_back(std::move(request));
    }
    logits_1_ = elements<float>(arrays.read("logits_1"));
  }
  void expect_greedy(Engine& engine, int times) const {
    std::vector<Generation> generations;
    for (int t = 0; t < times; ++t)
      for (const Request& request : requests_) generations.push_back(engine.submit(request));
    for (size_t g = 0; g < generations.size(); ++g)
      EXPECT_EQ(generations[g].wait().choices[0].ids(), greedy_[g % 3]) << "request " << g;
  }
  // A copy of a checkpoint with a generation_config.json.
  std::unique_ptr<Engine> with_rules(const std::string& name, const std::string& rules) {
    load(name);
    for (const char* file : {"config.json", "model.safetensors"})
      std::filesystem::copy_file(folder_ / file, copy_.path() / file,
                                 std::filesystem::copy_options::overwrite_existing);
    std::ofstream(copy_.path() / "generation_config.json") << rules;
    return Engine::open(copy_.path().string(), options_);
  }
  void expect_refused(Engine& engine, const Request& request, const std::string& text) {
    try {
      engine.submit(request);
      FAIL() << "expected: " << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
    }
  }

  std::filesystem::path folder_;
  std::vector<Request> requests_;
  std::vector<Ids> greedy_;
  std::vector<float> logits_1_;
  EngineOptions options_;
  TemporaryFolder copy_;
};

class Seq2SeqGolden : public Seq2SeqTest, public ::testing::WithParamInterface<std::string> {
 protected:
  Seq2SeqGolden() { load(GetParam()); }
};

TEST_P(Seq2SeqGolden, OneByOneWithTheLogitsOfTheDecoder) {
  const auto engine = Engine::open(folder_.string(), options_);
  EXPECT_GT(engine->facts().source_context, 0);
  for (size_t i = 0; i < 3; ++i) {
    std::vector<float> logits;
    Request asked = requests_[i];
    asked.on_prompt_logits = [&](int64_t, std::span<const float> row) {
      logits.insert(logits.end(), row.begin(), row.end());
    };
    EXPECT_EQ(engine->submit(std::move(asked)).wait().choices[0].ids(), greedy_[i]);
    if (i != 1) continue;
    ASSERT_EQ(logits.size(), logits_1_.size());
    for (size_t e = 0; e < logits.size(); ++e)
      ASSERT_LE(std::fabs(logits[e] - logits_1_[e]), 0.002 + 0.001 * std::fabs(logits_1_[e])) << e;
  }
}

TEST_P(Seq2SeqGolden, SideBySide) { expect_greedy(*Engine::open(folder_.string(), options_), 3); }

TEST_P(Seq2SeqGolden, FewTokensAStep) {
  options_.step_tokens = 2;
  options_.max_sequences = 2;  // sources wait for blocks that others hold
  expect_greedy(*Engine::open(folder_.string(), options_), 2);
}

TEST_P(Seq2SeqGolden, OnAPoolThatIsTooSmall) {
  options_.blocks =
      (requests_[0].max_tokens + 3) / 4 + 1;  // one answer and a bit: preempted ones go on from their sources
  expect_greedy(*Engine::open(folder_.string(), options_), 2);
  options_.swap_memory = 1 << 20;
  expect_greedy(*Engine::open(folder_.string(), options_), 2);
}

TEST_P(Seq2SeqGolden, ChoicesAndBeamsShareTheSource) {
  const auto engine = Engine::open(folder_.string(), options_);
  Request several = requests_[1];
  several.n = 3;
  std::vector<float> logits;
  several.on_prompt_logits = [&](int64_t, std::span<const float> row) {
    logits.insert(logits.end(), row.begin(), row.end());
  };
  Generation twins = engine->submit(several);
  for (const Choice& choice : twins.wait().choices) EXPECT_EQ(choice.ids(), greedy_[1]);
  EXPECT_EQ(logits.size(), logits_1_.size());  // of one of them

  Request beams = requests_[2];
  beams.beam.beams = 3;
  beams.sampling.logprobs = 0;
  Generation searched = engine->submit(beams);
  const Choice best = searched.wait().choices[0];
  // What the beams made of the source is what one answer makes of it that is told to begin like that.
  Request told = requests_[2];
  const Ids ids = best.ids();
  told.answer_start = {GetParam() == "whisper" ? 3 : GetParam() == "m2m100" ? 1 : 0};
  told.answer_start.insert(told.answer_start.end(), ids.begin(), ids.end() - 1);
  told.max_tokens = 1;
  double sum = 0;
  told.on_prompt_logits = [&](int64_t position, std::span<const float> row) {
    double total = 0;
    for (const float logit : row) total += std::exp(static_cast<double>(logit));
    sum += row[static_cast<size_t>(ids[static_cast<size_t>(position)])] - std::log(total);
  };
  engine->submit(told).wait();
  EXPECT_NEAR(best.score, sum / static_cast<double>(ids.size()), 1e-3);
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, Seq2SeqGolden,
                         ::testing::Values("t5", "umt5", "bart", "marian", "m2m100", "whisper"),
                         [](const auto& test) { return test.param; });

TEST_F(Seq2SeqTest, AnswersObeyTheRules) {
  const auto engine = with_rules("bart", R"({"decoder_start_token_id": 0, "forced_bos_token_id": 5,
                                             "forced_eos_token_id": 1, "suppress_tokens": [1]})");
  Request request = requests_[0];
  request.ignore_eos = false;
  request.max_tokens = 6;
  const auto expect_rules = [&](const Request& asked) {
    Generation generation = engine->submit(asked);
    const Choice choice = generation.wait().choices[0];
    const Ids ids = choice.ids();
    ASSERT_EQ(ids.size(), 6u);
    EXPECT_EQ(ids.front(), 5);
    EXPECT_EQ(std::count(ids.begin(), ids.end() - 1, 1), 0);
    EXPECT_EQ(ids.back(), 1);
    EXPECT_EQ(choice.finish, FinishReason::stop);
  };
  expect_rules(request);
  request.sampling.temperature = 1.5;
  expect_rules(request);
  request.sampling.temperature = 0;
  request.beam.beams = 3;
  expect_rules(request);
  request.beam.beams = 1;
  request.answer_start = {0, 9};  // then only what follows is free
  EXPECT_NE(engine->submit(request).wait().choices[0].ids().front(), 5);
}

TEST_F(Seq2SeqTest, WhatCannotFollowIsSuppressed) {
  load("bart");
  const Ids free = greedy_[0];
  const auto engine = with_rules(
      "bart", "{\"decoder_start_token_id\": 0, \"begin_suppress_tokens\": [" + std::to_string(free[0]) + "]}");
  EXPECT_NE(engine->submit(requests_[0]).wait().choices[0].ids().front(), free[0]);
}

TEST_F(Seq2SeqTest, RequestsThatMakeNoSense) {
  load("t5");
  const auto reads = Engine::open(folder_.string(), options_);
  Request request;
  expect_refused(*reads, request, "the prompt is empty");
  request.prompt = {1, 48};
  expect_refused(*reads, request, "token 48");
  request.prompt = {1};
  request.features = {1};
  expect_refused(*reads, request, "hears no features");
  request.features.clear();
  request.answer_start = {-1};
  expect_refused(*reads, request, "start of the answer");
  const auto hears = Engine::open((kCheckpoints / "whisper").string(), options_);
  expect_refused(*hears, Request{}, "hears features [5, 18], 0 numbers");
  request = Request{};
  request.prompt = {1};
  expect_refused(*hears, request, "tokens can only begin");
  const auto decoder = Engine::open((kCheckpoints / "bloom").string(), options_);
  request.answer_start = {1};
  expect_refused(*decoder, request, "for models with an encoder");
}

}  // namespace
}  // namespace lathe::llm
