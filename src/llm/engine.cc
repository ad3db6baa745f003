#include "llm/engine.h"

#include <utility>

#include "base/error.h"

namespace lathe::llm {

Engine::Impl::Impl(EngineParts engine_parts)
    : parts(std::move(engine_parts)), core_(*parts.model, parts.scheduler), thread_([this] { serve(); }) {}

Engine::Impl::~Impl() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

std::shared_ptr<Scheduled> Engine::Impl::submit(Request request) {
  auto scheduled = std::make_shared<Scheduled>(std::move(request), *parts.model, parts.decoders);
  core_.check(*scheduled);
  if (!scheduled->request().stop.empty() && !parts.decoders) text();  // there is nothing to find them in
  {
    const std::lock_guard lock(mutex_);
    new_.push_back(scheduled);
  }
  wake_.notify_all();
  return scheduled;
}

void Engine::Impl::serve() {
  bool busy = false;
  while (take_new(!busy)) busy = core_.step();
  core_.close(FinishReason::cancelled);
}

bool Engine::Impl::take_new(bool idle) {
  std::unique_lock lock(mutex_);
  times_ = core_.times();
  if (idle) wake_.wait(lock, [&] { return closing_ || !new_.empty(); });
  for (auto& request : new_) core_.add(std::move(request));
  new_.clear();
  return !closing_;
}

StepTimes Engine::Impl::step_times() const {
  const std::lock_guard lock(mutex_);
  return times_;
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

Generation Engine::submit(Request request) { return Generation(impl_->submit(std::move(request))); }
const ModelFacts& Engine::facts() const { return impl_->parts.model->facts(); }
StepTimes Engine::step_times() const { return impl_->step_times(); }

const Recommendation& Engine::recommended() const { return impl_->parts.recommended; }

const ModelText& Engine::Impl::text() const {
  if (parts.text == nullptr)
    throw Error(ErrorCode::not_found, "the folder has no tokenizer")
        .remedy("Put the model's tokenizer files into it, or give prompts as token ids");
  return *parts.text;
}

bool Engine::has_text() const { return impl_->parts.text != nullptr; }
std::vector<int32_t> Engine::encode(std::string_view text) const { return impl_->text().encode(text); }
std::vector<int32_t> Engine::encode_chat(std::span<const ChatMessage> messages) const {
  return impl_->text().encode_chat(messages);
}
const std::vector<std::string>& Engine::chat_stops() const { return impl_->text().chat_stops(); }
std::string Engine::decode(std::span<const int32_t> ids) const { return impl_->text().decode(ids); }

// Cancels when the last copy of its Generation goes.
struct Generation::Handle {
  explicit Handle(std::shared_ptr<Scheduled> scheduled) : request(std::move(scheduled)) {}
  ~Handle() { request->cancel(); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  std::shared_ptr<Scheduled> request;
};

Generation::Generation(std::shared_ptr<Scheduled> request) : handle_(std::make_shared<Handle>(std::move(request))) {}
std::optional<Token> Generation::next() { return handle_->request->next(); }
bool Generation::ready(std::chrono::milliseconds timeout) const { return handle_->request->ready(timeout); }
void Generation::cancel() { handle_->request->cancel(); }
bool Generation::done() const { return handle_->request->done(); }
const Result& Generation::wait() { return handle_->request->wait(); }

}  // namespace lathe::llm
