#include "runtime/stream_plan.h"

#include <algorithm>

#include "base/error.h"

namespace lathe {
namespace {

size_t aligned(size_t bytes) {
  return (bytes + StreamPlan::kAlignment - 1) / StreamPlan::kAlignment * StreamPlan::kAlignment;
}

// -1: the value is no constant, nor another shape of one.
int weight_of(const Program& program, int value) {
  const int root = program.values[static_cast<size_t>(value)].root;
  return program.values[static_cast<size_t>(root)].weight;
}

// Of every step the weights that it alone reads.
std::vector<std::vector<size_t>> own_weights(const Program& program) {
  std::vector<std::set<size_t>> readers(program.weights.size());
  std::set<size_t> pinned = weights_of_outputs(program);
  for (size_t s = 0; s < program.steps.size(); ++s) {
    const std::set<size_t> weights = weights_of(program, program.steps[s]);
    for (const size_t weight : weights) readers[weight].insert(s);
    if (!program.steps[s].regions.empty()) pinned.insert(weights.begin(), weights.end());
  }
  std::vector<std::vector<size_t>> own(program.steps.size());
  for (size_t w = 0; w < readers.size(); ++w)
    if (readers[w].size() == 1 && pinned.count(w) == 0) own[*readers[w].begin()].push_back(w);
  return own;
}

class Planner {
 public:
  Planner(const Program& program, const std::vector<size_t>& bytes) : bytes_(bytes), own_(own_weights(program)) {
    plan_.offsets.assign(bytes.size(), 0);
    plan_.streamed.assign(bytes.size(), false);
    plan_.group_of_step.assign(program.steps.size(), -1);
  }

  StreamPlan plan(size_t budget) {
    for (const size_t bytes : bytes_) plan_.resident_bytes += aligned(bytes);
    if (plan_.resident_bytes <= budget) return std::move(plan_);
    for (size_t s = 0; s < own_.size(); ++s) plan_.slot_bytes = std::max(plan_.slot_bytes, step_bytes(s));
    const size_t ring = plan_.slot_bytes * StreamPlan::kSlots;
    size_t kept = plan_.resident_bytes + ring;
    for (size_t s = 0; s < own_.size(); ++s) kept -= step_bytes(s);
    if (kept > budget)
      throw Error(ErrorCode::out_of_memory,
                  fmt::format("weights do not fit into {} MB: {} MB must stay on the device, and the largest layer "
                              "needs two places of {} MB",
                              budget >> 20, (kept - ring) >> 20, plan_.slot_bytes >> 20))
          .remedy(fmt::format("Allow {} MB", (kept >> 20) + 1));
    for (size_t s = 0; s < own_.size(); ++s) {
      if (own_[s].empty()) continue;
      kept += step_bytes(s);
      if (kept > budget) add_to_group(s);
    }
    return std::move(plan_);
  }

 private:
  size_t step_bytes(size_t step) const {
    size_t sum = 0;
    for (const size_t weight : own_[step]) sum += aligned(bytes_[weight]);
    return sum;
  }

  void add_to_group(size_t step) {
    if (plan_.groups.empty() || used_ + step_bytes(step) > plan_.slot_bytes) {
      plan_.groups.push_back({{}, step, step});
      used_ = 0;
    }
    StreamGroup& group = plan_.groups.back();
    group.last_step = step;
    plan_.group_of_step[step] = static_cast<int>(plan_.groups.size()) - 1;
    for (const size_t weight : own_[step]) {
      group.weights.push_back(weight);
      plan_.streamed[weight] = true;
      plan_.offsets[weight] = used_;
      used_ += aligned(bytes_[weight]);
      plan_.resident_bytes -= aligned(bytes_[weight]);
    }
  }

  const std::vector<size_t>& bytes_;
  const std::vector<std::vector<size_t>> own_;
  StreamPlan plan_;
  size_t used_ = 0;  // of the last group's slot
};

}  // namespace

std::set<size_t> weights_of(const Program& program, const ProgramStep& step) {
  std::set<size_t> weights;
  for (const int value : step.inputs)
    if (const int weight = value >= 0 ? weight_of(program, value) : -1; weight >= 0)
      weights.insert(static_cast<size_t>(weight));
  for (const Program& region : step.regions)
    for (const ProgramStep& inner : region.steps) weights.merge(weights_of(region, inner));
  return weights;
}

std::set<size_t> weights_of_outputs(const Program& program) {
  std::set<size_t> weights;
  for (const int output : program.outputs)
    if (const int weight = weight_of(program, output); weight >= 0) weights.insert(static_cast<size_t>(weight));
  return weights;
}

StreamPlan plan_streams(const Program& program, const std::vector<size_t>& bytes, size_t budget) {
  return Planner(program, bytes).plan(budget);
}

}  // namespace lathe
