#include "llm/engine_core.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"

namespace lathe::llm {
namespace {

using Clock = std::chrono::steady_clock;

// Fewer numbers than this are looked through before other threads are awake.
constexpr size_t kWorthSharing = 50'000;
// More have nothing more to share: a step has some dozens of tokens to choose.
constexpr int kMostThreads = 16;

double milliseconds_since(Clock::time_point begun) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begun).count();
}

Scheduled& request_of(const Decision::Piece& piece) { return *static_cast<Scheduled*>(piece.task); }

const Sequence& sequence_of(const Decision::Piece& piece) { return piece.task->sequences[piece.sequence]; }

// The tokens of a piece whose logits are wanted: those of the prompt that are reported, [first, end), and the last one
// where the piece brings its sequence to where the next token is chosen.
struct WantedRows {
  int64_t first = 0, end = 0;
  bool chooses = false, last_is_reported = false;

  int64_t count() const { return end - first + (chooses && !last_is_reported ? 1 : 0); }
};

WantedRows wanted_rows(const Decision::Piece& piece) {
  const Scheduled& request = request_of(piece);
  const int64_t piece_end = piece.first + piece.count;
  WantedRows rows;
  rows.end = std::min(piece_end, request.reportable());
  // Beyond the prompt, sequences differ: it is the first whose logits are reported.
  rows.first = rows.end - (piece.sequence == 0 ? request.unreported(piece.first, piece.count) : 0);
  rows.chooses = piece_end == sequence_of(piece).length();
  rows.last_is_reported = rows.first < rows.end && rows.end == piece_end;
  return rows;
}

// The sequences for which a piece chooses: where the prompt has just been computed, all of them go on from there.
Range choosing_sequences(const Decision::Piece& piece) {
  const bool all = sequence_of(piece).length() == piece.task->prompt_tokens;
  const auto sequence = static_cast<int64_t>(piece.sequence);
  return all ? Range{0, static_cast<int64_t>(piece.task->sequences.size())} : Range{sequence, sequence + 1};
}

// Whether the likeliest token is all that is wanted of every row.
bool wants_likeliest(const Decision& decision) {
  return std::all_of(decision.pieces.begin(), decision.pieces.end(), [](const Decision::Piece& piece) {
    const WantedRows wanted = wanted_rows(piece);
    if (wanted.first < wanted.end) return false;
    const Range choosing = wanted.chooses ? choosing_sequences(piece) : Range{0, 0};
    for (int64_t s = choosing.begin; s < choosing.end; ++s)
      if (!request_of(piece).takes_likeliest(static_cast<size_t>(s))) return false;
    return true;
  });
}

}  // namespace

void EngineCore::Buffers::clear() {
  for (auto* buffer : {&token_ids, &positions, &block_positions, &starts, &contexts, &prefixes, &table, &rows,
                       &source_lengths, &source_table})
    buffer->clear();
  first_rows.clear();
  new_sources.clear();
}

EngineCore::EngineCore(StepModel& model, const SchedulerOptions& options)
    : model_(model), options_(options), scheduler_(options), team_(std::min(options.sampling_threads, kMostThreads)) {}

void EngineCore::add(std::shared_ptr<Scheduled> request) {
  scheduler_.add(*request);
  requests_.push_back(std::move(request));
}

bool EngineCore::step() {
  const Clock::time_point begun = Clock::now();
  const double model_before = times_.model_ms;
  drop_cancelled();
  const Decision& decision = scheduler_.next();
  if (decision.pieces.empty()) return false;
  try {
    const std::span<const float> logits = run_model(decision);
    scheduler_.complete(decision);
    use_logits(decision, logits);
  } catch (...) {
    for (const Decision::Piece& piece : decision.pieces)
      if (!request_of(piece).done()) end(request_of(piece), FinishReason::error, std::current_exception());
  }
  std::erase_if(requests_, [](const auto& request) { return request->done(); });
  ++times_.steps;
  times_.host_ms += milliseconds_since(begun) - (times_.model_ms - model_before);
  return true;
}

std::span<const float> EngineCore::run_model(const Decision& decision) {
  const StepBatch batch = make_batch(decision);
  const Clock::time_point begun = Clock::now();
  for (const Decision::Copy& save : decision.saves) model_.save_block(save.from, save.to);
  for (const Decision::Copy& load : decision.loads) model_.load_block(load.from, load.to);
  for (const Decision::Copy& copy : decision.copies) model_.copy_block(copy.from, copy.to);
  std::span<const float> logits;
  if (!wants_likeliest(decision) || !model_.choose(batch, likeliest_)) logits = model_.run(batch);
  times_.model_ms += milliseconds_since(begun);
  return logits;
}

void EngineCore::close(FinishReason reason) {
  for (const auto& request : requests_) end(*request, reason);
  requests_.clear();
}

void EngineCore::drop_cancelled() {
  for (const auto& request : requests_)
    if (request->cancelled()) end(*request, FinishReason::cancelled);
  std::erase_if(requests_, [](const auto& request) { return request->done(); });
}

void EngineCore::end(Scheduled& request, FinishReason reason, std::exception_ptr error) {
  scheduler_.remove(request);
  request.close(reason, std::move(error));
}

StepBatch EngineCore::make_batch(const Decision& decision) {
  buffers_.clear();
  size_t width = 1;
  for (const Decision::Piece& piece : decision.pieces) width = std::max(width, sequence_of(piece).blocks.size());
  buffers_.starts.push_back(0);
  for (const Decision::Piece& piece : decision.pieces) {
    add_piece(piece);
    const std::vector<BlockId>& blocks = sequence_of(piece).blocks;
    buffers_.table.insert(buffers_.table.end(), blocks.begin(), blocks.end());
    buffers_.table.resize(buffers_.contexts.size() * width);
  }
  StepBatch batch;
  batch.sequences = static_cast<int64_t>(decision.pieces.size());
  batch.table_width = static_cast<int64_t>(width);
  batch.token_ids = buffers_.token_ids;
  batch.positions = buffers_.positions;
  batch.block_positions = buffers_.block_positions;
  batch.sequence_starts = buffers_.starts;
  batch.context_lengths = buffers_.contexts;
  batch.prefix_lengths = buffers_.prefixes;
  batch.block_table = buffers_.table;
  batch.logit_rows = buffers_.rows;
  if (model_.facts().source_context > 0) add_sources(decision, batch);
  return batch;
}

void EngineCore::add_sources(const Decision& decision, StepBatch& batch) {
  size_t width = 1;
  for (const Decision::Piece& piece : decision.pieces) width = std::max(width, piece.task->source_blocks.size());
  for (const Decision::Piece& piece : decision.pieces) {
    const Task& task = *piece.task;
    buffers_.source_lengths.push_back(static_cast<int32_t>(task.source_tokens));
    buffers_.source_table.insert(buffers_.source_table.end(), task.source_blocks.begin(), task.source_blocks.end());
    buffers_.source_table.resize(buffers_.source_lengths.size() * width);
    buffers_.new_sources.push_back(task.source_computed ? Source{} : request_of(piece).source());
  }
  batch.source_width = static_cast<int64_t>(width);
  batch.source_lengths = buffers_.source_lengths;
  batch.source_table = buffers_.source_table;
  batch.new_sources = buffers_.new_sources;
}

void EngineCore::add_piece(const Decision::Piece& piece) {
  Scheduled& request = request_of(piece);
  request.begin();
  const Sequence& sequence = sequence_of(piece);
  const Layout& layout = request.layout();
  const auto row = static_cast<int64_t>(buffers_.token_ids.size());
  const int64_t end = piece.first + piece.count;
  for (int64_t i = piece.first; i < end; ++i) {
    buffers_.token_ids.push_back(sequence.tokens[static_cast<size_t>(i)]);
    buffers_.positions.push_back(layout.position(i, sequence.length()));
    buffers_.block_positions.push_back(layout.block_position(i));
  }
  buffers_.starts.push_back(static_cast<int32_t>(row + piece.count));
  buffers_.contexts.push_back(static_cast<int32_t>(end));
  buffers_.prefixes.push_back(static_cast<int32_t>(layout.prefix_length()));
  const WantedRows wanted = wanted_rows(piece);
  buffers_.first_rows.push_back(buffers_.rows.size());
  for (int64_t i = wanted.first; i < wanted.end; ++i)
    buffers_.rows.push_back(static_cast<int32_t>(row + i - piece.first));
  if (wanted.chooses && !wanted.last_is_reported) buffers_.rows.push_back(static_cast<int32_t>(row + piece.count - 1));
}

void EngineCore::use_logits(const Decision& decision, std::span<const float> logits) {
  draw_tokens(decision, logits);
  for (size_t i = 0; i < decision.pieces.size(); ++i) {
    Scheduled& request = request_of(decision.pieces[i]);
    if (request.done()) continue;  // with another of its sequences
    try {
      use_rows(decision, i, logits);
    } catch (...) {
      end(request, FinishReason::error, std::current_exception());
    }
  }
}

std::span<const float> EngineCore::row(std::span<const float> logits, size_t index) const {
  const auto vocabulary = static_cast<size_t>(model_.facts().vocabulary);
  return logits.empty() ? logits : logits.subspan(vocabulary * index, vocabulary);
}

void EngineCore::draw_tokens(const Decision& decision, std::span<const float> logits) {
  draws_.clear();
  first_draws_.clear();
  for (size_t i = 0; i < decision.pieces.size(); ++i) {
    const Decision::Piece& piece = decision.pieces[i];
    first_draws_.push_back(draws_.size());
    const WantedRows wanted = wanted_rows(piece);
    if (!wanted.chooses || request_of(piece).searches()) continue;
    const size_t last = buffers_.first_rows[i] + static_cast<size_t>(wanted.count()) - 1;
    const Range choosing = choosing_sequences(piece);
    for (int64_t s = choosing.begin; s < choosing.end; ++s)
      draws_.push_back({&request_of(piece), static_cast<size_t>(s), last});
  }
  const auto draw = [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      Draw& one = draws_[static_cast<size_t>(i)];
      try {
        one.drawn = logits.empty() ? take(likeliest_[one.row]) : one.request->draw(one.sequence, row(logits, one.row));
      } catch (...) {
        one.error = std::current_exception();
      }
    }
  };
  const auto count = static_cast<int64_t>(draws_.size());
  if (draws_.size() > 1 && logits.size() >= kWorthSharing)
    team_.parallel_for(count, draw);
  else
    draw(0, count, 0);
}

void EngineCore::use_rows(const Decision& decision, size_t index, std::span<const float> logits) {
  const Decision::Piece& piece = decision.pieces[index];
  const size_t first_row = buffers_.first_rows[index];
  const WantedRows wanted = wanted_rows(piece);
  for (int64_t i = wanted.first; i < wanted.end; ++i)
    request_of(piece).report(i, row(logits, first_row + static_cast<size_t>(i - wanted.first)));
  if (wanted.chooses) use_last_row(decision, index, row(logits, first_row + static_cast<size_t>(wanted.count() - 1)));
}

void EngineCore::use_last_row(const Decision& decision, size_t index, std::span<const float> logits) {
  const Decision::Piece& piece = decision.pieces[index];
  Scheduled& request = request_of(piece);
  if (request.searches()) {
    if (const auto next = request.offer(piece.sequence, logits)) advance_search(request, *next);
  } else {
    const Range choosing = choosing_sequences(piece);
    for (int64_t s = choosing.begin; s < choosing.end; ++s) {
      Draw& draw = draws_[first_draws_[index] + static_cast<size_t>(s - choosing.begin)];
      if (draw.error != nullptr) std::rethrow_exception(draw.error);
      if (request.extend(draw.sequence, std::move(draw.drawn))) scheduler_.release(request.sequences[draw.sequence]);
    }
  }
  if (request.all_finished()) end(request, FinishReason::length);
}

void EngineCore::advance_search(Scheduled& request, const std::vector<BeamSearch::Next>& next) {
  std::vector<Sequence> beams;
  for (const auto& [parent, token] : next) {
    beams.push_back(scheduler_.fork(request.sequences[parent]));
    beams.back().tokens.push_back(token.id);
  }
  for (Sequence& sequence : request.sequences) scheduler_.release(sequence);
  if (next.empty()) {
    request.finish_search();
    for (Sequence& sequence : request.sequences) sequence.finished = true;
  } else {
    request.sequences = std::move(beams);
  }
}

}  // namespace lathe::llm
