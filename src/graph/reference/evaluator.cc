// Drives the families: walks the node list, binds and checks sizes, frees values.
#include "graph/reference/evaluator.h"

#include <unordered_map>
#include <utility>

#include "graph/reference/families.h"

namespace lathe {
namespace reference {

const RefValue& Call::value(size_t i) const {
  if (!has(i)) fail(ErrorCode::invalid_model, "operand {} is missing", i);
  return *inputs[i];
}

const Tensor& Call::tensor(size_t i) const {
  const auto* tensor = std::get_if<Tensor>(&value(i));
  if (tensor == nullptr) fail(ErrorCode::invalid_model, "operand {} is not a tensor", i);
  return *tensor;
}

const std::vector<Tensor>& Call::sequence(size_t i) const {
  const auto* sequence = std::get_if<std::vector<Tensor>>(&value(i));
  if (sequence == nullptr) fail(ErrorCode::invalid_model, "operand {} is not a sequence", i);
  return *sequence;
}

std::vector<const Tensor*> Call::tensors_from(size_t first) const {
  std::vector<const Tensor*> tensors;
  for (size_t i = first; i < inputs.size(); ++i) tensors.push_back(&tensor(i));
  return tensors;
}

std::vector<RefValue> evaluate(const Constant& op, const Call&) { return {op.value.aligned()}; }

std::vector<RefValue> evaluate(const Dims& op, const Call& call) {
  const std::vector<int64_t> values = call.symbols.evaluate(op.values);
  std::vector<int64_t> sizes;
  if (!op.scalar) sizes.push_back(static_cast<int64_t>(values.size()));
  return {Tensor::of<int64_t>(std::move(sizes), values)};
}

std::vector<RefValue> evaluate(const Bind& op, const Call& call) {
  const Tensor& values = call.tensor(0);
  if (values.elements() != static_cast<int64_t>(op.symbols.size()))
    fail(ErrorCode::invalid_argument, "a tensor of shape {} has {} elements for {} symbols", to_string(values.dims()),
         values.elements(), op.symbols.size());
  for (size_t i = 0; i < op.symbols.size(); ++i)
    call.symbols.bind(op.symbols[i], values.read_int(static_cast<int64_t>(i)));
  return {};
}

}  // namespace reference

namespace {

enum class Role { input, result };

// Binds the bare symbols of a type that have no value since the mark `oldest`.
void bind_symbols(const Type& type, const RefValue& value, SymbolBindings& symbols, size_t oldest) {
  const auto* tensor = std::get_if<Tensor>(&value);
  if (tensor == nullptr || !type.is_tensor() || !type.ranked || type.rank() != tensor->rank()) return;
  for (size_t axis = 0; axis < type.shape.size(); ++axis) {
    if (!type.shape[axis].is_symbol()) continue;
    const std::string name = type.shape[axis].to_string();
    if (!symbols.find(name, oldest)) symbols.bind(name, tensor->dims()[axis]);
  }
}

// "input 'x'" or "result 'y'": only spelled out when something is wrong.
std::string describe(const Value& value, Role role) {
  return fmt::format("{} '{}'", role == Role::input ? "input" : "result", value.name());
}

// A dimension that mentions a symbol without a value cannot be checked; whoever needs its value will say so.
void check_tensor(const Value& expected, const Tensor& tensor, Role role, const SymbolBindings& symbols) {
  const Type& type = expected.type();
  const ErrorCode code = role == Role::input ? ErrorCode::invalid_argument : ErrorCode::invalid_model;
  if (tensor.dtype() != type.dtype)
    fail(code, "{} is {}, expected {}", describe(expected, role), to_string(tensor.dtype()), to_string(type));
  if (!type.ranked) return;
  if (tensor.rank() != type.rank())
    fail(code, "{} has shape {}, expected {}", describe(expected, role), to_string(tensor.dims()), to_string(type));
  for (size_t axis = 0; axis < type.shape.size(); ++axis) {
    const Dim& dim = type.shape[axis];
    const std::optional<int64_t> size = symbols.try_evaluate(dim);
    if (!size || *size == tensor.dims()[axis]) continue;
    const std::string meaning = dim.is_constant() ? "" : fmt::format(" ({})", dim.to_string());
    fail(code, "{}: dimension {} is {}, expected {}{}; its shape is {}", describe(expected, role), axis,
         tensor.dims()[axis], *size, meaning, to_string(tensor.dims()));
  }
}

void check_value(const Value& expected, const RefValue& value, Role role, const SymbolBindings& symbols) {
  const Type& type = expected.type();
  if (type.is_tensor()) {
    const auto* tensor = std::get_if<Tensor>(&value);
    if (tensor == nullptr)
      fail(ErrorCode::invalid_argument, "{} is not a tensor, expected {}", describe(expected, role), to_string(type));
    return check_tensor(expected, *tensor, role, symbols);
  }
  const bool may_be_empty = type.kind == Type::Kind::optional || type.kind == Type::Kind::optional_sequence;
  const bool holds_sequence = type.kind == Type::Kind::sequence || type.kind == Type::Kind::optional_sequence;
  const bool fits = std::holds_alternative<std::monostate>(value)
                        ? may_be_empty
                        : std::holds_alternative<Tensor>(value) != holds_sequence;
  if (!fits) fail(ErrorCode::invalid_argument, "{} is not a {}", describe(expected, role), to_string(type));
}

// One evaluation of one graph.
class Run {
 public:
  // The symbols of the inputs are bound unless they are since the mark `scope`.
  Run(const Graph& graph, SymbolBindings& symbols, size_t scope, const RefObserver& observer)
      : graph_(graph), symbols_(symbols), scope_(scope), observer_(observer) {}

  std::vector<RefValue> operator()(std::span<const RefValue> inputs) {
    take_inputs(inputs);
    for (const auto& node : graph_.nodes()) {
      try {
        run(*node);
      } catch (Error& error) {
        if (error.node().empty()) error.in_node(label(*node), op_name(node->op()));
        throw;
      }
    }
    std::vector<RefValue> outputs;
    for (const Value* value : graph_.outputs()) outputs.push_back(slots_.at(value).value);
    for (const Value* value : graph_.inputs())
      if (const auto state = states_.find(value); state != states_.end()) outputs.push_back(std::move(state->second));
    return outputs;
  }

 private:
  struct Slot {
    RefValue value;
    size_t uses = 0;  // that are still to come
  };

  static std::string_view label(const Node& node) {
    if (!node.name().empty() || node.outputs().empty()) return node.name();
    return node.output()->name();
  }

  void take_inputs(std::span<const RefValue> inputs) {
    const std::span<Value* const> expected = graph_.inputs();
    if (inputs.size() != expected.size())
      fail(ErrorCode::invalid_argument, "{} inputs are given, expected {}", inputs.size(), expected.size());
    // All symbols first: the shape of one input may be an expression over a symbol that a later input binds.
    for (size_t i = 0; i < inputs.size(); ++i) bind_symbols(expected[i]->type(), inputs[i], symbols_, scope_);
    for (size_t i = 0; i < inputs.size(); ++i) {
      check_value(*expected[i], inputs[i], Role::input, symbols_);
      store(expected[i], inputs[i]);
    }
  }

  void run(const Node& node) {
    std::vector<const RefValue*> operands;
    for (const Value* value : node.inputs()) operands.push_back(value == nullptr ? nullptr : &slots_.at(value).value);
    std::vector<RefValue> results = evaluate_op(node.op(), operands, node.outputs().size(), symbols_);
    take_state(node, results);
    LATHE_CHECK(results.size() == node.outputs().size());
    for (size_t i = 0; i < results.size(); ++i) bind_symbols(node.output(i)->type(), results[i], symbols_, 0);
    for (size_t i = 0; i < results.size(); ++i) check_value(*node.output(i), results[i], Role::result, symbols_);
    if (observer_) observer_(node, results);
    for (const Value* value : node.inputs())
      if (value != nullptr) release(value);
    for (size_t i = 0; i < results.size(); ++i) store(node.output(i), std::move(results[i]));
  }

  // Keeps the new contents of the operands that a node has written; what is left are the node's results.
  void take_state(const Node& node, std::vector<RefValue>& results) {
    const std::span<const size_t> written = written_operands(node.op());
    LATHE_CHECK(results.size() >= written.size());
    for (size_t i = written.size(); i-- > 0; results.pop_back())
      states_[node.input(written[i])] = std::move(results.back());
  }

  void store(const Value* value, RefValue contents) {
    const size_t uses = value->users().size() + (value->is_output() ? 1 : 0);
    if (uses > 0) slots_[value] = {std::move(contents), uses};
  }

  void release(const Value* value) {
    const auto slot = slots_.find(value);
    if (--slot->second.uses == 0) slots_.erase(slot);
  }

  const Graph& graph_;
  SymbolBindings& symbols_;
  size_t scope_;
  const RefObserver& observer_;
  std::unordered_map<const Value*, Slot> slots_;
  std::unordered_map<const Value*, RefValue> states_;
};

}  // namespace

std::vector<RefValue> reference::evaluate_region(const Graph& body, std::span<const RefValue> inputs,
                                                 SymbolBindings& symbols) {
  struct Rollback {
    ~Rollback() { symbols.rollback(mark); }
    SymbolBindings& symbols;
    size_t mark;
  } const scope{symbols, symbols.mark()};
  const RefObserver unobserved;
  return Run(body, symbols, scope.mark, unobserved)(inputs);
}

std::vector<RefValue> evaluate_op(const Op& op, std::span<const RefValue* const> inputs, size_t num_outputs,
                                  SymbolBindings& symbols) {
  std::vector<RefValue> aligned(inputs.size());  // weights that view a file may lie at any address
  std::vector<const RefValue*> operands(inputs.begin(), inputs.end());
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto* tensor = inputs[i] == nullptr ? nullptr : std::get_if<Tensor>(inputs[i]);
    if (tensor == nullptr) continue;
    aligned[i] = tensor->aligned();
    operands[i] = &aligned[i];
  }
  const reference::Call call{operands, num_outputs, symbols};
  return std::visit([&](const auto& alternative) { return reference::evaluate(alternative, call); }, op);
}

std::vector<RefValue> evaluate(const Graph& graph, std::span<const RefValue> inputs, SymbolBindings& symbols,
                               const RefObserver& observer) {
  return Run(graph, symbols, /*scope=*/0, observer)(inputs);
}

std::vector<RefValue> evaluate(const Graph& graph, std::span<const RefValue> inputs, const RefObserver& observer) {
  SymbolBindings symbols;
  return evaluate(graph, inputs, symbols, observer);
}

}  // namespace lathe
