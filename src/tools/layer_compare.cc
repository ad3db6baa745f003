#include "tools/layer_compare.h"

#include <algorithm>
#include <map>
#include <set>

#include "backends/channels_last.h"
#include "graph/op.h"
#include "graph/reference/evaluator.h"
#include "tools/interrupt.h"
#include "tools/value_stream.h"

namespace lathe::tools {
namespace {

bool is_channels_last(std::string_view name) { return name.ends_with(kChannelsLastSuffix); }

std::string model_name(const std::string& name) {
  return is_channels_last(name) ? name.substr(0, name.size() - kChannelsLastSuffix.size()) : name;
}

std::set<std::string> value_names(const Session& session) {
  std::set<std::string> names;
  const Program& program = session.engine().impl().model.program;
  for (const ProgramStep& step : program.steps)
    for (const int value : step.outputs)
      if (value >= 0) names.insert(model_name(program.values[static_cast<size_t>(value)].value->name()));
  return names;
}

// The value in the model's order of axes: a view where it is so, else a copy.
Tensor in_model_order(const StepValue& value) {
  if (!is_channels_last(value.name)) return value.tensor;
  std::vector<int64_t> perm = {0, value.tensor.rank() - 1};
  for (int64_t axis = 1; axis + 1 < value.tensor.rank(); ++axis) perm.push_back(axis);
  const RefValue source = value.tensor;
  const RefValue* const operands[] = {&source};
  SymbolBindings none;
  return std::get<Tensor>(evaluate_op(Transpose{std::move(perm)}, operands, 1, none)[0]);
}

Tensor copy_of(Tensor value) {
  value.mutable_bytes();  // a view is copied before it can be written
  return value;
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
      const std::string name = model_name(value.name);
      if (wanted_.erase(name) == 0) continue;  // the same in another order
      const Tensor tensor = in_model_order(value);
      const Tensor* expected = expected_names_.count(name) ? find(name) : nullptr;
      if (expected == nullptr || expected->dims() != tensor.dims())
        ++report_.unmatched;
      else
        add(step, name, tensor, *expected);
      kept_.erase(name);
    }
  }

  LayerReport take() { return std::move(report_); }

 private:
  // The value from what was kept, or from the stream, which runs on until it comes.
  const Tensor* find(const std::string& name) {
    if (const auto kept = kept_.find(name); kept != kept_.end()) return &kept->second;
    while (const StepValue* value = stream_.next()) {
      const std::string found = model_name(value->name);
      if (found != name && wanted_.count(found) == 0) continue;
      const auto entry = kept_.insert_or_assign(found, copy_of(in_model_order(*value))).first;
      if (found == name) return &entry->second;
    }
    return nullptr;
  }

  void add(size_t step, const std::string& name, const Tensor& tensor, const Tensor& expected) {
    const ProgramStep& program_step = session_.engine().impl().model.program.steps[step];
    LayerComparison layer;
    layer.value = name;
    layer.node = program_step.node->name();
    layer.op = op_name(program_step.node->op());
    layer.kernel = program_step.kernel;
    layer.dims = tensor.dims();
    layer.comparison = compare(expected, tensor, tolerance_);
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
