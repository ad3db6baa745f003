#include "llm/scheduled.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "llm/row_math.h"

namespace lathe::llm {
namespace {

double milliseconds(std::chrono::steady_clock::duration time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

void check_ids(std::span<const int32_t> ids, int64_t vocabulary, int64_t context, std::string_view what) {
  if (ids.empty()) fail(ErrorCode::invalid_argument, "the {} is empty", what);
  for (const int32_t id : ids)
    if (id < 0 || id >= vocabulary)
      fail(ErrorCode::invalid_argument, "the {} holds token {}; ids are below {}", what, id, vocabulary);
  if (static_cast<int64_t>(ids.size()) > context)
    fail(ErrorCode::invalid_argument, "the {} has {} tokens, the context of the model has {}", what, ids.size(),
         context);
}

void check_source(const Request& request, const ModelFacts& facts) {
  if (facts.mel_bins == 0) {
    if (!request.features.empty()) fail(ErrorCode::invalid_argument, "the model reads tokens, it hears no features");
    return check_ids(request.prompt, facts.source_vocabulary, facts.source_context, "prompt");
  }
  if (!request.prompt.empty())
    fail(ErrorCode::invalid_argument, "the model hears features; tokens can only begin its answer");
  if (request.features.size() != static_cast<size_t>(facts.mel_bins * facts.frames))
    fail(ErrorCode::invalid_argument, "the model hears features [{}, {}], {} numbers were given", facts.mel_bins,
         facts.frames, request.features.size());
}

void check(const Request& request, const ModelFacts& facts) {
  if (facts.source_context > 0) {
    check_source(request, facts);
    if (!request.answer_start.empty())
      check_ids(request.answer_start, facts.vocabulary, facts.context, "start of the answer");
  } else {
    if (!request.features.empty() || !request.answer_start.empty())
      fail(ErrorCode::invalid_argument, "features, and starts of answers, are for models with an encoder");
    check_ids(request.prompt, facts.vocabulary, facts.context, "prompt");
  }
  if (request.max_tokens < 1) fail(ErrorCode::invalid_argument, "at least one token must be asked for");
  if (request.min_tokens.value_or(0) < 0 || request.no_repeat_ngram.value_or(0) < 0)
    fail(ErrorCode::invalid_argument,
         "answers of a negative length, and repetitions of fewer tokens than none, cannot be");
  if (request.n < 1) fail(ErrorCode::invalid_argument, "at least one choice must be asked for");
  if (request.beam.beams < 1) fail(ErrorCode::invalid_argument, "a search needs at least one beam");
  if (request.beam.beams == 1) return;
  if (request.n > request.beam.beams)
    fail(ErrorCode::invalid_argument, "{} choices are more than {} beams", request.n, request.beam.beams);
  if (!request.stop.empty())
    throw Error(ErrorCode::invalid_argument, "stop strings and beams do not go together")
        .remedy(fmt::format("Leave out one of the two, here the {} beams", request.beam.beams));
}

// Where the tokens of a prefix see each other, keys depend on all of it; those of long prompts may, on its length.
std::string salt_of(const Request& request, const Layout& layout) {
  std::string salt = request.cache_salt;
  salt.push_back('\0');
  salt.append(reinterpret_cast<const char*>(request.prompt.data()),
              static_cast<size_t>(layout.prefix_length()) * sizeof(int32_t));
  const int32_t turned_by = layout.block_position(0);
  salt.append(reinterpret_cast<const char*>(&turned_by), sizeof(turned_by));
  return salt;
}

}  // namespace

std::string_view to_string(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop: return "stop";
    case FinishReason::length: return "length";
    case FinishReason::cancelled: return "cancelled";
    case FinishReason::error: return "error";
  }
  return "";
}

std::vector<int32_t> Choice::ids() const {
  std::vector<int32_t> ids;
  for (const Token& token : tokens) ids.push_back(token.id);
  return ids;
}

Scheduled::Scheduled(Request request, const StepModel& model, const TextDecoderFactory& decoders)
    : request_(std::move(request)), sampler_(request_.sampling, model.facts().vocabulary) {
  const ModelFacts& facts = model.facts();
  check(request_, facts);
  std::vector<int32_t> begin = request_.prompt;
  if (facts.source_context > 0) {
    begin = request_.answer_start.empty() ? model.rules().start : request_.answer_start;
    source_tokens = facts.mel_bins > 0 ? facts.source_context : static_cast<int64_t>(request_.prompt.size());
  }
  layout_ = model.layout(begin);
  stop_tokens_ = request_.stop_tokens;
  if (!request_.ignore_eos) stop_tokens_.insert(stop_tokens_.end(), facts.eos.begin(), facts.eos.end());

  prompt_tokens = static_cast<int64_t>(begin.size());
  prefix_tokens = layout_->prefix_length();
  long_from = layout_->long_from();
  // A prompt that fills the context has one answer: what is drawn last is never computed, and needs no place.
  max_length = std::min(std::max(facts.context, prompt_tokens + 1), prompt_tokens + request_.max_tokens);
  rules_.emplace(model.rules(), request_, stop_tokens_, prompt_tokens, max_length);
  salt = salt_of(request_, *layout_);
  reuse = !request_.on_prompt_logits;
  const auto n = static_cast<size_t>(request_.n);
  Sequence prompt;
  prompt.tokens = std::move(begin);
  const bool searching = request_.beam.beams > 1;
  width = searching ? static_cast<size_t>(request_.beam.beams) : n;
  sequences.assign(searching ? 1 : n, prompt);
  if (searching) search_ = std::make_unique<BeamSearch>(request_.beam, stop_tokens_, max_length - prompt_tokens);
  for (size_t i = 0; i < n; ++i) texts_.emplace_back(decoders ? decoders() : nullptr, request_.stop);
  result_.choices.resize(n);
  ended_.resize(n);
}

std::optional<Token> Scheduled::next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return done_ || !tokens_.empty(); });
  if (!tokens_.empty()) {
    Token token = std::move(tokens_.front());
    tokens_.pop_front();
    return token;
  }
  if (error_ != nullptr) std::rethrow_exception(error_);
  return std::nullopt;
}

bool Scheduled::ready(std::chrono::milliseconds timeout) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, timeout, [&] { return done_ || !tokens_.empty(); });
}

const Result& Scheduled::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return done_; });
  if (error_ != nullptr) std::rethrow_exception(error_);
  return result_;
}

bool Scheduled::done() const {
  const std::lock_guard lock(mutex_);
  return done_;
}

void Scheduled::begin() {
  if (!has_begun_) begun_ = Clock::now();
  has_begun_ = true;
}

int64_t Scheduled::unreported(int64_t first, int64_t count) const {
  if (!request_.on_prompt_logits || first > reported_) return 0;
  return std::max<int64_t>(0, std::min(first + count, reportable()) - reported_);
}

void Scheduled::report(int64_t position, std::span<const float> logits) {
  request_.on_prompt_logits(position, logits);
  reported_ = position + 1;
}

Source Scheduled::source() const { return source_tokens > 0 ? Source{request_.prompt, request_.features} : Source{}; }

bool Scheduled::stops(int32_t id) const {
  return std::find(stop_tokens_.begin(), stop_tokens_.end(), id) != stop_tokens_.end();
}

Drawn Scheduled::draw(size_t index, std::span<const float> logits) const {
  const std::span<const int32_t> tokens = sequences[index].tokens;
  const auto prompt = static_cast<size_t>(prompt_tokens);
  std::vector<float> ruled;
  if (rules_->applies(tokens)) {
    ruled.assign(logits.begin(), logits.end());
    rules_->apply(ruled, tokens);
    if (std::isinf(row_max(ruled)) && std::isfinite(row_max(logits)))
      throw Error(ErrorCode::invalid_argument, "what may not be said next is everything that the model knows")
          .remedy("Ask for shorter answers, or for fewer repetitions to be avoided");
    logits = ruled;
  }
  return sampler_.sample(logits, {tokens.first(prompt), tokens.subspan(prompt)}, static_cast<int>(index));
}

bool Scheduled::takes_likeliest(size_t index) const {
  return !searches() && sampler_.takes_likeliest() && !rules_->applies(sequences[index].tokens);
}

bool Scheduled::extend(size_t index, Drawn drawn) {
  Sequence& sequence = sequences[index];
  sequence.tokens.push_back(drawn.id);
  Token token{static_cast<int>(index), drawn.id, drawn.logprob, std::move(drawn.top), texts_[index].push(drawn.id)};
  sequence.finished = stops(drawn.id) || texts_[index].stopped() || sequence.length() >= max_length;
  if (sequence.finished) token.text += texts_[index].finish();
  deliver(index, std::move(token));
  if (sequence.finished)
    end_choice(index, stops(drawn.id) || texts_[index].stopped() ? FinishReason::stop : FinishReason::length);
  return sequence.finished;
}

std::optional<std::vector<BeamSearch::Next>> Scheduled::offer(size_t index, std::span<const float> logits) {
  const std::span<const int32_t> tokens = sequences[index].tokens;
  const auto prompt = static_cast<size_t>(prompt_tokens);
  const std::vector<float> logprobs = log_softmax(logits);
  std::vector<float> scores = logprobs;
  sampler_.penalise(scores, {tokens.first(prompt), tokens.subspan(prompt)});
  rules_->apply(scores, tokens);
  search_->offer(index, scores, logprobs, request_.sampling.logprobs);
  if (!search_->complete()) return std::nullopt;
  return search_->advance();
}

void Scheduled::finish_search() {
  for (size_t i = 0; i < result_.choices.size() && i < search_->finished().size(); ++i) {
    const BeamSearch::Finished& beam = search_->finished()[i];
    for (size_t t = 0; t < beam.tokens.size(); ++t) {
      Token token = beam.tokens[t];
      token.choice = static_cast<int>(i);
      token.text = texts_[i].push(token.id);
      if (t + 1 == beam.tokens.size()) token.text += texts_[i].finish();
      deliver(i, std::move(token));
    }
    end_choice(i, beam.stopped ? FinishReason::stop : FinishReason::length);
    result_.choices[i].score = beam.score;
  }
}

bool Scheduled::all_finished() const {
  return std::all_of(sequences.begin(), sequences.end(), [](const Sequence& s) { return s.finished; });
}

void Scheduled::deliver(size_t choice, Token token) {
  last_token_ = Clock::now();
  if (!has_token_) first_token_ = last_token_;
  has_token_ = true;
  if (request_.on_token) request_.on_token(token);
  const std::lock_guard lock(mutex_);
  Choice& made = result_.choices[choice];
  made.text += token.text;
  made.score += static_cast<double>(token.logprob);
  made.tokens.push_back(token);
  tokens_.push_back(std::move(token));
  changed_.notify_all();
}

void Scheduled::end_choice(size_t choice, FinishReason reason) {
  const std::lock_guard lock(mutex_);
  result_.choices[choice].finish = reason;
  ended_[choice] = true;
}

void Scheduled::close(FinishReason reason, std::exception_ptr error) {
  const std::lock_guard lock(mutex_);
  if (done_) return;
  for (size_t i = 0; i < result_.choices.size(); ++i)
    if (!ended_[i]) result_.choices[i].finish = reason;
  if (has_begun_) result_.timing.queued_ms = milliseconds(begun_ - submitted_);
  if (has_token_) {
    result_.timing.prefill_ms = milliseconds(first_token_ - begun_);
    result_.timing.decode_ms = milliseconds(last_token_ - first_token_);
  }
  result_.timing.cached_tokens = cached_tokens;
  error_ = std::move(error);
  done_ = true;
  changed_.notify_all();
}

}  // namespace lathe::llm
