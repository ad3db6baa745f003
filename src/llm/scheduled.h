// A request inside the engine. One half belongs to the engine's thread: sequences, sampling, texts. The other is the
// channel to the caller: tokens that wait to be fetched, the result, the wish to cancel.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "lathe/llm.h"
#include "llm/answer_rules.h"
#include "llm/answer_text.h"
#include "llm/beam_search.h"
#include "llm/sampling.h"
#include "llm/step_model.h"
#include "llm/task.h"

namespace lathe::llm {

class Scheduled : public Task {
 public:
  // Throws Error(invalid_argument) for a request that makes no sense for this model.
  Scheduled(Request request, const StepModel& model, const TextDecoderFactory& decoders);

  // The caller's half; from any thread.
  std::optional<Token> next();
  bool ready(std::chrono::milliseconds timeout) const;
  const Result& wait();
  bool done() const;
  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }

  // The engine's half.
  const Layout& layout() const { return *layout_; }
  const Request& request() const { return request_; }
  // What the encoder reads; empty where there is none.
  Source source() const;
  void begin();  // a step is about to run for it; the first time ends its wait
  // Tokens whose logits the request may wait for: those of the prompt, or all that a decoder beside an encoder is
  // given.
  int64_t reportable() const { return source_tokens > 0 ? max_length : prompt_tokens; }
  // How many of the last of them in [first, first + count) the request still waits to see the logits of.
  int64_t unreported(int64_t first, int64_t count) const;
  void report(int64_t position, std::span<const float> logits);
  // What follows a sequence. Changes nothing, so that threads may share the work.
  Drawn draw(size_t sequence, std::span<const float> logits) const;
  // Whether that is the likeliest token by the logits, of which nothing else is wanted.
  bool takes_likeliest(size_t sequence) const;
  // Appends it. Returns true when the sequence has ended.
  bool extend(size_t sequence, Drawn drawn);
  // Beam search: the logits behind a sequence; the beams that run on once all have come.
  bool searches() const { return search_ != nullptr; }
  std::optional<std::vector<BeamSearch::Next>> offer(size_t sequence, std::span<const float> logits);
  void finish_search();
  bool all_finished() const;
  // Ends the request: what has not ended has ended for this reason.
  void close(FinishReason reason, std::exception_ptr error = nullptr);

 private:
  using Clock = std::chrono::steady_clock;

  bool stops(int32_t id) const;
  void deliver(size_t choice, Token token);
  void end_choice(size_t choice, FinishReason reason);

  Request request_;
  Sampler sampler_;
  std::optional<AnswerRules> rules_;
  std::unique_ptr<Layout> layout_;
  std::vector<int32_t> stop_tokens_;
  std::vector<AnswerText> texts_;  // by choice
  std::vector<bool> ended_;        // by choice
  std::unique_ptr<BeamSearch> search_;
  int64_t reported_ = 0;
  Clock::time_point submitted_ = Clock::now(), begun_, first_token_, last_token_;
  bool has_begun_ = false, has_token_ = false;

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::deque<Token> tokens_;  // that nobody has fetched
  Result result_;
  std::exception_ptr error_;
  bool done_ = false;
  std::atomic<bool> cancelled_ = false;
};

}  // namespace lathe::llm
