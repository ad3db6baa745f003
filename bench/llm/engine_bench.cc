// What a step of the engine costs beside the model: every sequence has one token computed and the next one chosen. The
// model is free: it answers with the same logits every time. Vocabularies of one size tell what is scheduled, of a real
// one what choosing costs as well.
#include <benchmark/benchmark.h>

#include <random>

#include "llm/engine_core.h"

namespace lathe::llm {
namespace {

class FreeModel : public StepModel {
 public:
  FreeModel(int64_t vocabulary, int64_t sequences, int64_t context)
      : logits_(static_cast<size_t>(vocabulary * sequences)) {
    facts_.family = "free";
    facts_.vocabulary = vocabulary;
    facts_.context = context;
    facts_.block_size = 16;
    facts_.blocks = sequences * (context / facts_.block_size + 1);
    std::mt19937 random;
    std::normal_distribution<float> logit(0, 3);
    for (float& x : logits_) x = logit(random);
  }

  const ModelFacts& facts() const override { return facts_; }
  std::span<const float> run(const StepBatch& batch) override {
    return std::span(logits_).first(batch.logit_rows.size() * static_cast<size_t>(facts_.vocabulary));
  }
  void copy_block(BlockId, BlockId) override {}

 private:
  ModelFacts facts_;
  std::vector<float> logits_;
};

// Arguments: sequences, vocabulary, 1 to draw instead of taking the likeliest.
void step(benchmark::State& state) {
  constexpr int64_t kPrompt = 512, kAnswers = 4096;
  const int64_t sequences = state.range(0), vocabulary = state.range(1);
  FreeModel model(vocabulary, sequences, kPrompt + kAnswers);
  EngineCore core(model, {.blocks = model.facts().blocks,
                          .block_size = model.facts().block_size,
                          .step_tokens = sequences * kPrompt,
                          .max_sequences = sequences});
  std::mt19937 random;
  std::uniform_int_distribution<int32_t> id(0, static_cast<int32_t>(vocabulary) - 1);
  const auto refill = [&] {
    core.close(FinishReason::cancelled);
    for (int64_t i = 0; i < sequences; ++i) {
      Request request;
      for (int64_t t = 0; t < kPrompt; ++t) request.prompt.push_back(id(random));
      request.max_tokens = kAnswers;
      request.ignore_eos = true;
      if (state.range(2) == 0)
        request.sampling.temperature = 0;
      else
        request.sampling.top_p = 0.9;
      core.add(std::make_shared<Scheduled>(std::move(request), model, TextDecoderFactory()));
    }
    core.step();
  };
  int64_t left = 0;
  for (auto _ : state) {
    if (left-- == 0) {
      state.PauseTiming();
      refill();
      left = kAnswers - 2;
      state.ResumeTiming();
    }
    core.step();
  }
  core.close(FinishReason::cancelled);
}

BENCHMARK(step)
    ->ArgNames({"sequences", "vocabulary", "draws"})
    ->Args({1, 32, 0})
    ->Args({64, 32, 0})
    ->Args({256, 32, 0})
    ->Args({64, 32000, 0})
    ->Args({64, 32000, 1})
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace lathe::llm

BENCHMARK_MAIN();
