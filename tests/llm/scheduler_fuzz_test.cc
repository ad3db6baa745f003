// Thousands of requests that come, fork and go at random, on pools that are too small for them. After every step: every
// block has as many references as there are sequences that name it, the budget was kept, and in the end every request
// has ended, with the answer that it gets when it is alone, and every block is free. Some worlds have encoders, lengths
// at which positions change, or room for copies of blocks.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "base/error.h"
#include "toy_model.h"

namespace lathe::llm {
namespace {

class World {
 public:
  explicit World(uint64_t seed)
      : random_(seed), toy_(make_toy()), model_(toy_), options_(make_options()), core_(model_, options_) {}

  void run(int requests) {
    while (made_ < requests || !open_.empty()) {
      for (int64_t arrivals = number(0, 2); arrivals > 0 && made_ < requests; --arrivals) arrive();
      if (!open_.empty() && number(0, 30) == 0) cancel();
      const int64_t before = model_.tokens;
      const bool stepped = core_.step();
      check_step(model_.tokens - before);
      ASSERT_TRUE(stepped || open_.empty() || made_ == 0 || no_work()) << "the engine is stuck";
      std::erase_if(open_, [](const auto& request) { return request->done(); });
      ASSERT_LT(++turns_, 100000) << "this never ends";
      if (testing::Test::HasFatalFailure()) return;
    }
    EXPECT_EQ(core_.scheduler().pool().available(), toy_.blocks);
    EXPECT_EQ(core_.scheduler().source_pool().available(), toy_.source_blocks);
    EXPECT_EQ(core_.scheduler().saved_pool().available(), toy_.saved_blocks);
    for (const Done& request : all_) check_answer(request);
  }

  int64_t refused() const { return refused_; }
  int64_t saves() const { return model_.saves; }

 private:
  struct Done {
    Request request;
    std::shared_ptr<Scheduled> scheduled;
    bool cancelled = false;
  };

  int64_t number(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(random_); }

  ToyOptions make_toy() {
    ToyOptions toy;
    toy.block_size = number(1, 6);
    toy.blocks = number(6, 40);
    toy.prefix = number(0, 2) == 0;
    toy.context = number(20, 60);
    if (number(0, 2) == 0) toy.long_from = number(1, 40);
    if (number(0, 3) == 0) toy.stretched_from = number(1, 40);
    if (number(0, 1) == 0) toy.saved_blocks = number(1, 30);
    if (number(0, 3) == 0) {
      toy.source_context = 24;
      toy.source_blocks = number(6, 40);
    }
    return toy;
  }

  SchedulerOptions make_options() {
    SchedulerOptions options = scheduler_options(toy_);
    options.step_tokens = number(1, 24);
    options.max_sequences = number(1, 8);
    options.prefix_cache = number(0, 3) > 0;
    return options;
  }

  // Prompts begin alike, often.
  Request make_request() {
    Request request;
    const int64_t stem = number(0, 2), length = number(1, 24);
    for (int64_t i = 0; i < length; ++i)
      request.prompt.push_back(static_cast<int32_t>(i < 12 ? 2 + (stem * 7 + i * 5) % 11 : number(2, 12)));
    if (number(0, 1) == 0) request.prompt[static_cast<size_t>(number(0, length - 1))] = 0;
    if (toy_.source_context == 0 && number(0, 2) == 0) go_on(request);
    request.max_tokens = number(1, 20);
    request.ignore_eos = number(0, 1) == 0;
    request.sampling.temperature = number(0, 1) == 0 ? 0 : 1.5;
    request.sampling.seed = static_cast<uint64_t>(number(0, 1000));
    request.n = static_cast<int>(number(1, 3));
    if (number(0, 4) == 0) request.beam.beams = static_cast<int>(number(request.n, 4));
    if (number(0, 4) == 0) request.cache_salt = "other";
    return request;
  }

  // As conversations do: the prompt is an earlier one with its answer.
  void go_on(Request& request) {
    std::vector<const Done*> ended;
    for (const Done& done : all_)
      if (done.scheduled->done()) ended.push_back(&done);
    if (ended.empty()) return;
    const Done& before = *ended[static_cast<size_t>(number(0, static_cast<int64_t>(ended.size()) - 1))];
    const std::vector<Choice>& choices = before.scheduled->wait().choices;
    const std::vector<int32_t> answer =
        choices[static_cast<size_t>(number(0, static_cast<int64_t>(choices.size()) - 1))].ids();
    request.prompt = before.request.prompt;
    request.prompt.insert(request.prompt.end(), answer.begin(), answer.end());
  }

  void arrive() {
    ++made_;
    const Request request = make_request();
    try {
      auto scheduled = std::make_shared<Scheduled>(request, model_, nullptr);
      core_.check(*scheduled);
      core_.add(scheduled);
      open_.push_back(scheduled);
      all_.push_back({request, scheduled});
    } catch (const Error& error) {
      ASSERT_EQ(error.code(), ErrorCode::invalid_argument);
      ++refused_;
    }
  }

  void cancel() {
    const auto& victim = open_[static_cast<size_t>(number(0, static_cast<int64_t>(open_.size()) - 1))];
    victim->cancel();
    for (Done& request : all_) request.cancelled |= request.scheduled == victim;
  }

  bool no_work() const {
    return std::all_of(open_.begin(), open_.end(), [](const auto& request) { return request->done(); });
  }

  void check_step(int64_t tokens) {
    const Scheduler& scheduler = core_.scheduler();
    // Only a prefix that is longer than the budget may exceed it.
    ASSERT_TRUE(toy_.prefix || tokens <= options_.step_tokens);
    std::map<BlockId, int32_t> references;
    size_t sequences = 0;
    for (const Task* task : scheduler.running()) {
      sequences += task->sequences.size();
      for (const Sequence& sequence : task->sequences) {
        ASSERT_LE(sequence.computed, static_cast<int64_t>(sequence.blocks.size()) * toy_.block_size);
        for (const BlockId block : sequence.blocks) ++references[block];
      }
    }
    for (const Task* task : scheduler.waiting())
      for (const Sequence& sequence : task->sequences) ASSERT_TRUE(sequence.blocks.empty());
    ASSERT_LE(sequences, static_cast<size_t>(options_.max_sequences));
    for (BlockId block = 0; block < static_cast<BlockId>(toy_.blocks); ++block)
      ASSERT_EQ(scheduler.pool().references(block), references[block]);
    ASSERT_EQ(scheduler.pool().available() + static_cast<int64_t>(references.size()) -
                  std::count_if(references.begin(), references.end(), [](const auto& r) { return r.second == 0; }),
              toy_.blocks);
  }

  void check_answer(const Done& done) {
    const Result& result = done.scheduled->wait();
    ASSERT_EQ(result.choices.size(), static_cast<size_t>(done.request.n));
    if (done.request.beam.beams > 1) {
      const std::vector<std::vector<int32_t>> alone = search_alone(done.request);
      for (size_t i = 0; i < alone.size(); ++i) check_choice(done, result.choices[i], alone[i]);
      return;
    }
    const std::vector<std::vector<int32_t>> alone = answers_alone(model_, done.request);
    for (size_t i = 0; i < alone.size(); ++i) check_choice(done, result.choices[i], alone[i]);
  }

  void check_choice(const Done& done, const Choice& choice, std::vector<int32_t> alone) const {
    if (choice.finish == FinishReason::cancelled) {
      EXPECT_TRUE(done.cancelled);
      ASSERT_LE(choice.tokens.size(), alone.size());
      alone.resize(choice.tokens.size());
      EXPECT_EQ(choice.ids(), alone);
      return;
    }
    EXPECT_EQ(choice.ids(), alone);
    const bool stopped = !done.request.ignore_eos && alone.back() == toy_.eos.front();
    EXPECT_EQ(choice.finish, stopped ? FinishReason::stop : FinishReason::length);
  }

  std::vector<std::vector<int32_t>> search_alone(const Request& request) const {
    ToyOptions toy = toy_;
    toy.blocks = toy.source_blocks = 1000;
    ToyModel model(toy);
    SchedulerOptions options = scheduler_options(toy);
    options.step_tokens = 1000;
    options.prefix_cache = false;
    EngineCore core(model, options);
    auto scheduled = std::make_shared<Scheduled>(request, model, nullptr);
    core.add(scheduled);
    while (core.step()) continue;
    std::vector<std::vector<int32_t>> answers;
    for (const Choice& choice : scheduled->wait().choices) answers.push_back(choice.ids());
    return answers;
  }

  std::mt19937_64 random_;
  ToyOptions toy_;
  ToyModel model_;
  SchedulerOptions options_;
  EngineCore core_;
  std::vector<Done> all_;
  std::vector<std::shared_ptr<Scheduled>> open_;
  int made_ = 0, turns_ = 0;
  int64_t refused_ = 0;
};

TEST(SchedulerFuzz, EveryRequestEndsAsIfItWereAlone) {
  int64_t refused = 0, saves = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    World world(seed);
    world.run(40);
    refused += world.refused();
    saves += world.saves();
    if (HasFatalFailure() || HasNonfatalFailure()) return;
  }
  EXPECT_GT(refused, 0);
  EXPECT_GT(saves, 0);
  EXPECT_LT(refused, 400 * 40 / 2);
}

}  // namespace
}  // namespace lathe::llm
