// The engine without its thread: requests in, one step at a time. Each step asks the scheduler what to compute, has the
// model compute it, and gives every sequence that has all of its tokens computed one more. All in one thread.
#pragma once

#include <memory>
#include <vector>

#include "base/thread_team.h"
#include "llm/scheduled.h"
#include "llm/scheduler.h"
#include "llm/step_model.h"

namespace lathe::llm {

class EngineCore {
 public:
  EngineCore(StepModel& model, const SchedulerOptions& options);

  // Whether the request can ever be served; throws Error(invalid_argument) if not. From any thread.
  void check(const Scheduled& request) const { scheduler_.check(request); }
  void add(std::shared_ptr<Scheduled> request);
  // Drops cancelled requests, then computes a step. False when there is nothing to do. What the model throws ends the
  // requests of that step; what the sampling or a callback of a request throws ends that one.
  bool step();
  // Ends all requests.
  void close(FinishReason reason);

  const Scheduler& scheduler() const { return scheduler_; }
  const StepTimes& times() const { return times_; }

 private:
  // The spans of a StepBatch, kept between steps so that their memory is.
  struct Buffers {
    std::vector<int32_t> token_ids, positions, block_positions, starts, contexts, prefixes, table, rows;
    std::vector<size_t> first_rows;  // of each piece, in `rows`
    std::vector<int32_t> source_lengths, source_table;
    std::vector<Source> new_sources;
    void clear();
  };

  // The logits of the step's rows; empty where `likeliest_` is all that is wanted of them.
  std::span<const float> run_model(const Decision& decision);
  void drop_cancelled();
  StepBatch make_batch(const Decision& decision);
  void add_piece(const Decision::Piece& piece);
  void add_sources(const Decision& decision, StepBatch& batch);
  void use_logits(const Decision& decision, std::span<const float> logits);
  void draw_tokens(const Decision& decision, std::span<const float> logits);
  void use_rows(const Decision& decision, size_t piece, std::span<const float> logits);
  void use_last_row(const Decision& decision, size_t piece, std::span<const float> logits);
  // One row of `logits`; empty where these are.
  std::span<const float> row(std::span<const float> logits, size_t index) const;
  void advance_search(Scheduled& request, const std::vector<BeamSearch::Next>& next);
  void end(Scheduled& request, FinishReason reason, std::exception_ptr error = nullptr);

  StepModel& model_;
  SchedulerOptions options_;
  Scheduler scheduler_;
  std::vector<std::shared_ptr<Scheduled>> requests_;
  // A token of the step, chosen ahead of what becomes of it.
  struct Draw {
    const Scheduled* request;
    size_t sequence;
    size_t row;
    Drawn drawn = {};
    std::exception_ptr error = nullptr;
  };

  Buffers buffers_;
  std::vector<Likeliest> likeliest_;  // of each row
  std::vector<Draw> draws_;
  std::vector<size_t> first_draws_;  // of each piece
  ThreadTeam team_;
  StepTimes times_;
};

}  // namespace lathe::llm
