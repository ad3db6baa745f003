// What an executor works out once for a set of input sizes: the value of every symbol and dimension that follows from
// them, a place in the arena for every value, and the state of every step. Values whose sizes only the run can tell
// are "late", and so are the steps that touch them: they are prepared when they are reached, and again only when the
// sizes differ from those of the last time.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "runtime/placement.h"
#include "runtime/wiring.h"

namespace lathe {

struct PreparedStep {
  std::vector<TensorRef> inputs, outputs;
  std::unique_ptr<StepState> state;
  size_t workspace_bytes = 0;
  Cost cost;
  bool late = false;  // an operand or result without known sizes, or the op mentions a symbol that inputs do not bind

  // Of a late step, what its state was made for.
  bool has_state = false;
  std::vector<std::vector<int64_t>> dims;  // of the operands, then of the results
  std::vector<int64_t> symbols;            // values of the symbols that the op mentions
};

struct Prepared {
  std::vector<int64_t> key;  // of every input its rank and its sizes, then the outer symbols
  SymbolBindings symbols;
  size_t input_symbols = 0;                // symbols.mark() before the run binds any
  std::vector<std::vector<int64_t>> dims;  // by value
  std::vector<bool> known;                 // by value: dims holds its sizes before the run starts
  std::vector<PreparedStep> steps;
  std::shared_ptr<const Placement> placement;
  size_t activation_bytes = 0, largest_workspace = 0, late_values = 0;

  // Where the device records runs (Executor::replay): the addresses of the last run, and what was recorded with them.
  bool recordable = false;  // every step only enqueues work whose sizes are known
  std::vector<void*> addresses;
  std::unique_ptr<Recording> recording;
};

// What preparation depends on.
struct RunSizes {
  std::span<const TensorRef> inputs;
  std::span<const int64_t> counted;       // one per Wiring::counted
  const SymbolBindings* outer = nullptr;  // null for a whole model
};

// Whether this was made for these sizes.
bool is_prepared_for(const Prepared& prepared, const Wiring& wiring, const RunSizes& sizes);

// A placement of `capacities`, smallest first, is taken where one is large enough. Throws Error(invalid_argument) on
// sizes that do not fit the model.
std::unique_ptr<Prepared> prepare(const Wiring& wiring, const RunSizes& sizes,
                                  std::span<const std::shared_ptr<const Placement>> capacities, DeviceContext& device);

// The sizes of a value into `dims`; false when one depends on a symbol that has no value yet. Throws Error when they
// are negative or beyond what addresses can count.
bool evaluate_sizes(const SymbolBindings& symbols, const Value& value, std::vector<int64_t>& dims);

// An alias reads the memory of another value under its own sizes: both must have the same number of elements.
void check_view(std::span<const int64_t> available, std::span<const int64_t> wanted);

// What a step with these operands costs.
Cost cost_of_step(const ProgramStep& step, const StepIo& io);

}  // namespace lathe
