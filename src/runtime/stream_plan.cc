#include "runtime/stream_plan.h"

#include <algorithm>
#include <set>

#include "base/error.h"

namespace lathe {
namespace {

size_t aligned(size_t bytes) {
  return (bytes + StreamPlan::kAlignment - 1) / StreamPlan::kAlignment * StreamPlan::kAlignment;
}

void visit_weights(const Program& program, const ProgramStep& step, const auto& visit) {
  for (const int value : step.inputs)
    if (value >= 0 && program.values[static_cast<size_t>(value)].weight >= 0)
      visit(static_cast<size_t>(program.values[static_cast<size_t>(value)].weight));
  for (const Program& region : step.regions)
    for (const ProgramStep& inner : region.steps) visit_weights(region, inner, visit);
}

// Of every step the weights that it alone reads.
std::vector<std::vector<size_t>> own_weights(const Program& program) {
  std::vector<std::set<size_t>> readers(program.weights.size());
  std::vector<bool> pinned(program.weights.size(), false);
  for (size_t s = 0; s < program.steps.size(); ++s) {
    visit_weights(program, program.steps[s], [&](size_t weight) {
      readers[weight].insert(s);
      if (!program.steps[s].regions.empty()) pinned[weight] = true;
    });
  }
  for (const int output : program.outputs) {  // read after the last step
    const ProgramValue& value = program.values[static_cast<size_t>(output)];
    const int weight = program.values[static_cast<size_t>(value.root)].weight;
    if (weight >= 0) pinned[static_cast<size_t>(weight)] = true;
  }
  std::vector<std::vector<size_t>> own(program.steps.size());
  for (size_t w = 0; w < readers.size(); ++w)
    if (readers[w].size() == 1 && !pinned[w]) own[*readers[w].begin()].push_back(w);
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

StreamPlan plan_streams(const Program& program, const std::vector<size_t>& bytes, size_t budget) {
  return Planner(program, bytes).plan(budget);
}

}  // namespace lathe
