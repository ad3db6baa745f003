// What an Engine is inside: a model and the thread that steps it. Requests come in through a list; the thread sleeps
// when nothing is left to compute.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "lathe/llm.h"
#include "llm/engine_core.h"
#include "llm/model_text.h"

namespace lathe::llm {

struct EngineParts {
  std::unique_ptr<StepModel> model;
  SchedulerOptions scheduler;
  TextDecoderFactory decoders;      // may be empty: answers then have no text
  std::unique_ptr<ModelText> text;  // null where the model has no tokenizer
  Recommendation recommended = {};
};

struct Engine::Impl {
  explicit Impl(EngineParts engine_parts);
  ~Impl();  // ends what is under way as cancelled

  std::shared_ptr<Scheduled> submit(Request request);
  const ModelText& text() const;  // throws Error(not_found) where there is none
  StepTimes step_times() const;

  EngineParts parts;

 private:
  void serve();
  // Requests that came in since the last call; waits for some if `idle`. False when the engine closes.
  bool take_new(bool idle);

  EngineCore core_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::shared_ptr<Scheduled>> new_;
  StepTimes times_;  // of the core, when it last looked for requests
  bool closing_ = false;
  std::thread thread_;  // last: it uses everything above
};

}  // namespace lathe::llm
