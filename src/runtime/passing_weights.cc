#include "runtime/passing_weights.h"

#include "base/page_out.h"
#include "runtime/stream_plan.h"

namespace lathe {

PassingWeights::PassingWeights(const Program& program, const Backend& backend, const WeightSource& source,
                               std::span<void* const> residents)
    : program_(program),
      backend_(backend),
      source_(source),
      blocks_(residents.size()),
      addresses_(residents.begin(), residents.end()) {
  for (size_t i = 0; i < residents.size(); ++i) {
    if (residents[i] != nullptr) continue;
    const Weight& weight = program.weights[i];
    blocks_[i] = allocate_on_host(bytes_in_layout(weight.constant(), weight.layout, backend));
    addresses_[i] = blocks_[i].memory.get();
  }
  for (const ProgramStep& step : program.steps) {
    std::vector<size_t>& passing = weights_.emplace_back();
    for (const size_t weight : weights_of(program, step))
      if (residents[weight] == nullptr) passing.push_back(weight);
  }
}

void PassingWeights::before(size_t step) {
  for (const size_t i : weights_[step]) {
    const Weight& weight = program_.weights[i];
    source_.lay_out(weight.constant(), weight.layout, backend_, blocks_[i].span());
    if (!weight.constant().is_deferred()) page_out(weight.constant().bytes());
  }
}

void PassingWeights::after(size_t step) {
  for (const size_t i : weights_[step]) forget(blocks_[i].span());
}

}  // namespace lathe
