#include "tools/layer_compare.h"

#include <algorithm>
#include <map>
#include <set>

#include "graph/op.h"
#include "tools/interrupt.h"
#include "tools/value_stream.h"

namespace lathe::tools {
namespace {

std::set<std::string> value_names(const Session& session) {
  std::set<std::string> names;
  const Program& program = session.engine().impl().model.program;
  for (const ProgramStep& step : program.steps)
    for (const int value : step.outputs)
      if (value >= 0) names.insert(program.values[static_cast<size_t>(value)].value->name());
  return names;
}

Tensor copy_of(const Tensor& view) {
  Tensor copy = view;
  copy.mutable_bytes();  // a view is copied before it can be written
  return copy;
}

// Watches the program under test and looks up each value in the other's stream.
class Comparer : public StepObserver {
 public:
  Comparer(Session& tested, ValueStream& expected, const std::set<std::string>& expected_names,
           const Tolerance& tolerance)
      : session_(tested),
        stream_(expected),
        expected_names_(expected_names),
        wanted_(value_names(tested)),
        tolerance_(tolerance) {}

  void before(size_t) override { check_interrupted(); }

  void after(size_t step, const StepIo& io) override {
    ++report_.steps;
    for (const StepValue& value : step_values(session_, step, io)) {
      wanted_.erase(value.name);
      const Tensor* expected = expected_names_.count(value.name) ? find(value.name) : nullptr;
      if (expected == nullptr || expected->dims() != value.tensor.dims())
        ++report_.unmatched;
      else
        add(step, value, *expected);
      kept_.erase(value.name);
    }
  }

  LayerReport take() { return std::move(report_); }

 private:
  // The value from what was kept, or from the stream, which runs on until it comes.
  const Tensor* find(const std::string& name) {
    if (const auto kept = kept_.find(name); kept != kept_.end()) return &kept->second;
    while (const StepValue* value = stream_.next()) {
      if (value->name == name) return &value->tensor;
      if (wanted_.count(value->name)) kept_.insert_or_assign(value->name, copy_of(value->tensor));
    }
    return nullptr;
  }

  void add(size_t step, const StepValue& value, const Tensor& expected) {
    const ProgramStep& program_step = session_.engine().impl().model.program.steps[step];
    LayerComparison layer;
    layer.value = value.name;
    layer.node = program_step.node->name();
    layer.op = op_name(program_step.node->op());
    layer.kernel = program_step.kernel;
    layer.dims = value.tensor.dims();
    layer.comparison = compare(expected, value.tensor, tolerance_);
    layer.drifted = layer.comparison.drifted(tolerance_);
    report_.layers.push_back(std::move(layer));
  }

  Session& session_;
  ValueStream& stream_;
  const std::set<std::string>& expected_names_;
  std::set<std::string> wanted_;        // values that are still to come from the program under test
  std::map<std::string, Tensor> kept_;  // expected values that came early
  Tolerance tolerance_;
  LayerReport report_;
};

}  // namespace

const LayerComparison* LayerReport::first_drift() const {
  const auto found = std::find_if(layers.begin(), layers.end(), [](const LayerComparison& l) { return l.drifted; });
  return found == layers.end() ? nullptr : &*found;
}

LayerReport compare_layers(Session& expected, Session& tested, std::span<const Input> inputs,
                           const Tolerance& tolerance) {
  const std::set<std::string> names = value_names(expected);
  ValueStream stream(expected, inputs);
  Comparer comparer(tested, stream, names, tolerance);
  tested.impl().observer = &comparer;
  tested.run(inputs);
  tested.impl().observer = nullptr;
  return comparer.take();
}

}  // namespace lathe::tools
