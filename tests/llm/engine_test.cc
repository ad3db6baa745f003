// The engine with its thread.
#include "llm/engine.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/error.h"
#include "toy_model.h"

namespace lathe::llm {
namespace {

class Numbers : public TextDecoder {
 public:
  std::string push(int32_t id) override { return std::to_string(id) + ","; }
  std::string flush() override { return ""; }
};

std::unique_ptr<Engine> make_engine(const ToyOptions& toy = {}) {
  EngineParts parts{std::make_unique<ToyModel>(toy), scheduler_options(toy), [] { return std::make_unique<Numbers>(); },
                    nullptr};
  return std::make_unique<Engine>(std::make_unique<Engine::Impl>(std::move(parts)));
}

Request request_of(int32_t first, int64_t max_tokens = 12) {
  Request request;
  request.prompt = {first, 5, 7, 3, first};
  request.max_tokens = max_tokens;
  request.ignore_eos = true;
  request.sampling.seed = static_cast<uint64_t>(first);
  return request;
}

TEST(LlmEngine, TokensComeOneByOneAndTheResultHasThemAll) {
  const auto engine = make_engine();
  Generation generation = engine->submit(request_of(4));
  std::vector<int32_t> ids;
  std::string text;
  while (const auto token = generation.next()) {
    ids.push_back(token->id);
    text += token->text;
  }
  EXPECT_TRUE(generation.done());
  const Choice& choice = generation.wait().choices.at(0);
  EXPECT_EQ(ids, answers_alone(ToyModel({}), request_of(4))[0]);
  EXPECT_EQ(choice.ids(), ids);
  EXPECT_EQ(choice.text, text);
  EXPECT_EQ(choice.finish, FinishReason::length);
}

TEST(LlmEngine, AStopStringEndsTheTextBeforeIt) {
  const auto engine = make_engine();
  const std::vector<int32_t> alone = answers_alone(ToyModel({}), request_of(4))[0];
  Request request = request_of(4);
  request.stop = {std::to_string(alone[3]) + ","};
  Generation generation = engine->submit(request);
  const Choice& choice = generation.wait().choices.at(0);
  EXPECT_EQ(choice.finish, FinishReason::stop);
  EXPECT_LE(choice.tokens.size(), 4u);
  EXPECT_EQ(choice.text.find(request.stop[0]), std::string::npos);
}

TEST(LlmEngine, ManyThreadsAtOnce) {
  ToyOptions toy;
  toy.blocks = 20;
  const auto engine = make_engine(toy);
  std::vector<std::thread> threads;
  for (int32_t t = 2; t < 10; ++t)
    threads.emplace_back([&engine, t] {
      for (int i = 0; i < 20; ++i) {
        Generation generation = engine->submit(request_of(t));
        if (i % 5 == 4) {
          generation.next();
          generation.cancel();
          generation.wait();
        } else {
          EXPECT_EQ(generation.wait().choices[0].ids(), answers_alone(ToyModel({}), request_of(t))[0]);
        }
      }
    });
  for (std::thread& thread : threads) thread.join();
}

TEST(LlmEngine, ARequestThatNobodyHoldsIsCancelled) {
  const auto engine = make_engine();
  for (int i = 0; i < 100; ++i) engine->submit(request_of(4, 50));
  EXPECT_EQ(engine->submit(request_of(5)).wait().choices[0].finish, FinishReason::length);
}

TEST(LlmEngine, ClosingEndsWhatIsUnderWay) {
  auto engine = make_engine();
  std::vector<Generation> generations;
  for (int32_t i = 2; i < 20; ++i) generations.push_back(engine->submit(request_of(i, 50)));
  engine.reset();
  for (Generation& generation : generations) {
    const FinishReason finish = generation.wait().choices[0].finish;
    EXPECT_TRUE(finish == FinishReason::cancelled || finish == FinishReason::length);
  }
}

TEST(LlmEngine, RefusesOnTheCallersThread) {
  const auto engine = make_engine();
  EXPECT_THROW(engine->submit({}), Error);
  Request request = request_of(4);
  request.n = 100;
  EXPECT_THROW(engine->submit(request), Error);
  request = request_of(4);
  request.on_token = [](const Token&) { fail(ErrorCode::io, "no more"); };
  Generation generation = engine->submit(request);
  EXPECT_THROW(generation.wait(), Error);
}

}  // namespace
}  // namespace lathe::llm
