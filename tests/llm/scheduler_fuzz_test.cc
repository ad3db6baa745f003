// Thousands of requests that come, fork and go at random, on pools that are too small for them. After every step: every
// block has as many references as there are sequences that name it, the budget was kept, and in the end every request
// has ended, with the answer that it gets when it is alone, and every block is free. Some worlds have encoders, lengths
// at which positions change, room for copies of blocks, or steps that fail; some requests have rules for their answers,
// want to see the logits of their prompts, or throw in their callbacks.
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
      : random_(seed), toy_(make_toy()), model_(toy_), options_(make_options()), core_(model_, options_) {
    model_.chooses = number(0, 1) == 0;
  }

  void run(int requests) {
    while (made_ < requests || !open_.empty()) {
      for (int64_t arrivals = number(0, 2); arrivals > 0 && made_ < requests; --arrivals) arrive();
      if (!open_.empty() && number(0, 30) == 0) cancel();
      if (steps_fail_ && number(0, 20) == 0) model_.fail_at_step = model_.steps;
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
    for (Done& request : all_) check_answer(request);
  }

  int64_t refused() const { return refused_; }
  int64_t failed() const {
    return std::count_if(all_.begin(), all_.end(), [](const Done& one) { return one.failed; });
  }
  int64_t saves() const { return model_.saves; }

 private:
  using Rows = std::vector<std::vector<float>>;

  struct Done {
    Request request;
    std::shared_ptr<Scheduled> scheduled;
    std::shared_ptr<Rows> prompt_logits;  // where they are wanted
    int64_t throws_at = 0;                // token; 0: nowhere
    bool cancelled = false, failed = false;
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
    if (number(0, 4) == 0) add_rules(request);
    return request;
  }

  void add_rules(Request& request) {
    request.min_tokens = number(0, 6);
    if (number(0, 1) == 0) request.no_repeat_ngram = number(2, 3);
    request.stop_tokens = {static_cast<int32_t>(number(2, 23))};
    request.sampling.repetition_penalty = number(0, 1) == 0 ? 1 : 1.5;
    request.sampling.frequency_penalty = number(0, 1) == 0 ? 0 : 2;
    request.sampling.logprobs = static_cast<int>(number(-1, 2));
  }

  // What the caller wants to be called for. Kept elsewhere than in the request, which is also answered alone.
  void add_callbacks(Request& request, Done& done) {
    if (number(0, 4) == 0) {
      done.prompt_logits = std::make_shared<Rows>();
      request.on_prompt_logits = [rows = done.prompt_logits](int64_t position, std::span<const float> logits) {
        EXPECT_EQ(position, std::ssize(*rows));
        rows->emplace_back(logits.begin(), logits.end());
      };
    }
    if (number(0, 15) != 0) return;
    done.throws_at = number(1, 6);
    request.on_token = [left = done.throws_at](const Token&) mutable {
      if (--left == 0) fail(ErrorCode::internal, "the callback is broken");
    };
  }

  // As conversations do: the prompt is an earlier one with its answer.
  void go_on(Request& request) {
    std::vector<const Done*> ended;
    for (const Done& done : all_)
      if (done.scheduled->done() && !has_failed(done)) ended.push_back(&done);
    if (ended.empty()) return;
    const Done& before = *ended[static_cast<size_t>(number(0, static_cast<int64_t>(ended.size()) - 1))];
    const std::vector<Choice>& choices = before.scheduled->wait().choices;
    const std::vector<int32_t> answer =
        choices[static_cast<size_t>(number(0, static_cast<int64_t>(choices.size()) - 1))].ids();
    request.prompt = before.request.prompt;
    request.prompt.insert(request.prompt.end(), answer.begin(), answer.end());
  }

  static bool has_failed(const Done& done) {
    try {
      done.scheduled->wait();
    } catch (const Error&) {
      return true;
    }
    return false;
  }

  void arrive() {
    ++made_;
    Done done{make_request(), nullptr, nullptr};
    Request request = done.request;
    add_callbacks(request, done);
    try {
      done.scheduled = std::make_shared<Scheduled>(request, model_, nullptr);
      core_.check(*done.scheduled);
      core_.add(done.scheduled);
      open_.push_back(done.scheduled);
      all_.push_back(done);
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

  void check_answer(Done& done) {
    done.failed = has_failed(done);
    if (done.failed) return check_failure(done);
    const Result& result = done.scheduled->wait();
    ASSERT_EQ(result.choices.size(), static_cast<size_t>(done.request.n));
    const Result alone = answer_alone(done.request);
    for (size_t i = 0; i < alone.choices.size(); ++i) check_choice(done, result.choices[i], alone.choices[i]);
    // What the engine says of a request alone is what the toy's arithmetic says, where no rule has a say.
    if (done.request.beam.beams == 1 && !done.request.min_tokens) {
      const std::vector<std::vector<int32_t>> computed = answers_alone(model_, done.request);
      for (size_t i = 0; i < computed.size(); ++i) EXPECT_EQ(alone.choices[i].ids(), computed[i]);
    }
    if (done.prompt_logits != nullptr) check_prompt_logits(done);
  }

  // The tokens that came until then are right.
  void check_failure(const Done& done) {
    EXPECT_TRUE(steps_fail_ || done.throws_at > 0);
    std::vector<std::vector<int32_t>> came(static_cast<size_t>(done.request.n));
    try {
      while (const auto token = done.scheduled->next()) came[static_cast<size_t>(token->choice)].push_back(token->id);
      ADD_FAILURE() << "the end of a failed request looks like any other";
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == ErrorCode::out_of_memory || done.throws_at > 0) << error.what();
    }
    const Result alone = answer_alone(done.request);
    for (size_t i = 0; i < came.size(); ++i) {
      std::vector<int32_t> wanted = alone.choices[i].ids();
      ASSERT_LE(came[i].size(), wanted.size());
      wanted.resize(came[i].size());
      EXPECT_EQ(came[i], wanted);
    }
  }

  // Each place once, whatever was preempted; of a model that reads, the answer's places follow those of its start.
  void check_prompt_logits(const Done& done) {
    if (toy_.source_context > 0) return;
    const std::span<const int32_t> tokens = done.request.prompt;
    const Rows& rows = *done.prompt_logits;
    ASSERT_TRUE(rows.size() == tokens.size() || (done.cancelled && rows.size() < tokens.size()));
    const auto layout = model_.layout(tokens);
    const bool is_long = toy_.long_from > 0 && std::ssize(tokens) > toy_.long_from;
    if (is_long || layout->prefix_length() > 0) return;  // what stands alone has other positions, or sees less
    for (size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(rows[i], model_.logits_of(tokens.first(i + 1), *layout)) << i;
  }

  void check_choice(const Done& done, const Choice& choice, const Choice& alone) const {
    std::vector<int32_t> wanted = alone.ids();
    if (choice.finish == FinishReason::cancelled) {
      EXPECT_TRUE(done.cancelled);
      ASSERT_LE(choice.tokens.size(), wanted.size());
      wanted.resize(choice.tokens.size());
      EXPECT_EQ(choice.ids(), wanted);
      return;
    }
    EXPECT_EQ(choice.ids(), wanted);
    EXPECT_EQ(choice.finish, alone.finish);
    EXPECT_EQ(choice.score, alone.score);
  }

  // By an engine with room for everything, in one step for the prompt.
  Result answer_alone(const Request& request) const {
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
    return scheduled->wait();
  }

  std::mt19937_64 random_;
  ToyOptions toy_;
  ToyModel model_;
  SchedulerOptions options_;
  EngineCore core_;
  std::vector<Done> all_;
  std::vector<std::shared_ptr<Scheduled>> open_;
  bool steps_fail_ = number(0, 4) == 0;
  int made_ = 0, turns_ = 0;
  int64_t refused_ = 0;
};

TEST(SchedulerFuzz, EveryRequestEndsAsIfItWereAlone) {
  int64_t refused = 0, saves = 0, failed = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    World world(seed);
    world.run(40);
    refused += world.refused();
    saves += world.saves();
    failed += world.failed();
    if (HasFatalFailure() || HasNonfatalFailure()) return;
  }
  EXPECT_GT(refused, 0);
  EXPECT_GT(saves, 0);
  EXPECT_GT(failed, 0);
  EXPECT_LT(refused, 400 * 40 / 2);
}

}  // namespace
}  // namespace lathe::llm
