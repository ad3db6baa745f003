// If, Loop, Scan, SequenceMap. A subgraph becomes a region; what it uses from outside becomes a capture (scope.h). An
// If whose condition is known at import is replaced by the branch it takes.
#include <algorithm>
#include <set>

#include "onnx/graph_importer.h"
#include "onnx/importers/context.h"
#include "onnx/importers/table.h"

namespace lathe::onnx {
namespace {

Value* as_scalar(Emitter& emitter, Value* v) { return v == nullptr ? nullptr : emitter.reshape(v, {}); }

void append_captures(Context& ctx, const Captures& captures, std::vector<Value*>& operands) {
  for (Binding* outer : captures) operands.push_back(ctx.scope().value(*outer));
}

// A body may also hand on what an unsupported node outside of it should have computed.
bool any_poisoned(const std::vector<Binding*>& results) {
  return std::any_of(results.begin(), results.end(), [](const Binding* b) { return b->poisoned; });
}

// --- If

void inline_branch(Context& ctx, const GraphProto& branch) {
  const size_t reported = ctx.importer().num_unsupported();
  Scope scope(ctx.scope());
  ctx.importer().import_body(branch, scope);
  if (ctx.importer().num_unsupported() != reported) return ctx.poison_outputs();
  const std::vector<Binding*> results = ctx.importer().outputs(branch, scope);
  for (size_t i = 0; i < results.size(); ++i) ctx.set_output(i, *results[i]);
}

// False when the branch holds unsupported nodes.
bool import_branch(Context& ctx, const GraphProto& branch, Scope& scope) {
  const size_t reported = ctx.importer().num_unsupported();
  scope.adopt_captures();
  ctx.importer().import_body(branch, scope);
  const std::vector<Binding*> results = ctx.importer().outputs(branch, scope);
  if (ctx.importer().num_unsupported() != reported || any_poisoned(results)) return false;
  for (Binding* result : results) scope.graph().add_output(scope.value(*result), std::string(result->name));
  return true;
}

void import_if(Context& ctx) {
  const GraphProto &then_branch = ctx.attr_graph("then_branch"), &else_branch = ctx.attr_graph("else_branch");
  if (const auto condition = ctx.constant(0); condition && condition->elements() == 1)
    return inline_branch(ctx, condition->read_int(0) != 0 ? then_branch : else_branch);
  Captures captures;
  auto then_graph = std::make_unique<Graph>(ctx.graph().shared_symbols());
  auto else_graph = std::make_unique<Graph>(ctx.graph().shared_symbols());
  Scope then_scope(*then_graph, ctx.scope(), captures), else_scope(*else_graph, ctx.scope(), captures);
  const bool then_known = import_branch(ctx, then_branch, then_scope);
  if (!import_branch(ctx, else_branch, else_scope) || !then_known) return ctx.poison_outputs();
  then_scope.adopt_captures();
  std::vector<Value*> operands = {as_scalar(ctx, ctx.input(0))};
  append_captures(ctx, captures, operands);
  Node* node = ctx.append(If{Region(std::move(then_graph)), Region(std::move(else_graph))}, std::move(operands),
                          ctx.num_outputs());
  for (size_t i = 0; i < ctx.num_outputs(); ++i) ctx.set_output(i, node->output(i));
}

// --- bodies that run many times

// The type of a value that is carried from iteration to iteration. It begins as the initial value's; sizes that an
// iteration changes become symbols, a rank that it changes becomes unknown, until one import of the body agrees.
class CarriedType {
 public:
  CarriedType(Type initial, SymbolSource& symbols) : type_(std::move(initial)), symbols_(symbols) {}

  const Type& type() const { return type_; }

  // True when `end`, the type after an iteration begun with type(), asked for a more general type.
  bool widen(const Type& end) {
    if (!type_.ranked) return false;
    if (!end.ranked || end.shape.size() != type_.shape.size()) {
      type_.ranked = false;
      type_.shape.clear();
      return true;
    }
    bool changed = false;
    for (size_t i = 0; i < type_.shape.size(); ++i) {
      Dim& size = type_.shape[i];
      if (size == end.shape[i] || own_.count(size.to_string()) != 0) continue;
      size = Dim::symbol(*own_.insert(symbols_.fresh("d")).first);
      changed = true;
    }
    return changed;
  }

 private:
  Type type_;
  SymbolSource& symbols_;
  std::set<std::string> own_;
};

bool is_optional(const Type& type) {
  return type.kind == Type::Kind::optional || type.kind == Type::Kind::optional_sequence;
}

struct Body {
  std::unique_ptr<Graph> graph;
  Captures captures;
  std::vector<bool> filled;  // carried values that begin as optionals, which the body gives back with a value
};

// Imports a body whose inputs are `fixed` types, then the carried ones, then `slices`; its outputs are
// num_fixed_outputs others, then the next carried values, then stacked ones. Null graph when it holds unsupported
// nodes.
struct BodySignature {
  std::vector<Type> before;  // inputs before the carried ones
  std::vector<CarriedType> carried;
  std::vector<Type> after;  // inputs after the carried ones
  size_t outputs_before = 0;
};

bool widen_carried(BodySignature& signature, const Graph& graph) {
  bool changed = false;
  for (size_t i = 0; i < signature.carried.size(); ++i)
    changed = signature.carried[i].widen(graph.outputs()[signature.outputs_before + i]->type()) || changed;
  return changed;
}

Body import_body_once(Context& ctx, const GraphProto& proto, const BodySignature& signature) {
  Body body{std::make_unique<Graph>(ctx.graph().shared_symbols()), {}, {}};
  Scope scope(*body.graph, ctx.scope(), body.captures);
  std::vector<Type> types = signature.before;
  for (const CarriedType& c : signature.carried) types.push_back(c.type());
  types.insert(types.end(), signature.after.begin(), signature.after.end());
  if (proto.inputs.size() != types.size())
    ctx.invalid(fmt::format("the body takes {} inputs, {} are given", proto.inputs.size(), types.size()));
  if (proto.outputs.size() < signature.outputs_before + signature.carried.size())
    ctx.invalid("the body has too few outputs");
  for (size_t i = 0; i < types.size(); ++i) {
    const std::string_view name = proto.inputs[i].name;
    scope.define(name, Binding::of(name, body.graph->add_input(name, types[i])));
  }
  const size_t reported = ctx.importer().num_unsupported();
  ctx.importer().import_body(proto, scope);
  const std::vector<Binding*> results = ctx.importer().outputs(proto, scope);
  if (ctx.importer().num_unsupported() != reported || any_poisoned(results)) return {};
  Emitter emitter(*body.graph, std::string(ctx.name()));
  for (size_t i = 0; i < results.size(); ++i) {
    Value* value = scope.value(*results[i]);
    if (i < signature.outputs_before) value = as_scalar(emitter, value);  // the condition of a Loop
    const size_t carried = i - signature.outputs_before;
    if (i >= signature.outputs_before && carried < signature.carried.size()) {
      body.filled.push_back(is_optional(signature.carried[carried].type()) && !is_optional(value->type()));
      if (body.filled.back()) value = emitter.emit(Sequence{SequenceKind::optional_make}, {value});
    }
    body.graph->add_output(value, std::string(proto.outputs[i].name));
  }
  return body;
}

Body import_carrying_body(Context& ctx, const GraphProto& proto, BodySignature& signature) {
  for (;;) {
    Body body = import_body_once(ctx, proto, signature);
    if (body.graph == nullptr || !widen_carried(signature, *body.graph)) return body;
  }
}

void set_all_outputs(Context& ctx, Node* node) {
  if (node->outputs().size() < ctx.num_outputs()) ctx.invalid("the body has too few outputs");
  for (size_t i = 0; i < ctx.num_outputs(); ++i) ctx.set_output(i, node->output(i));
}

void import_loop(Context& ctx) {
  const GraphProto& proto = ctx.attr_graph("body");
  BodySignature signature{{Type::tensor(DType::i64, {}), Type::tensor(DType::boolean, {})}, {}, {}, 1};
  std::vector<Value*> operands = {as_scalar(ctx, ctx.optional_input(0)), as_scalar(ctx, ctx.optional_input(1))};
  for (size_t i = 2; i < ctx.num_inputs(); ++i) {
    operands.push_back(ctx.input(i));
    signature.carried.emplace_back(ctx.type(i), ctx.graph().symbols());
  }
  Body body = import_carrying_body(ctx, proto, signature);
  if (body.graph == nullptr) return ctx.poison_outputs();
  append_captures(ctx, body.captures, operands);
  const size_t outputs = body.graph->outputs().size() - 1;
  Loop op{static_cast<int64_t>(signature.carried.size()), Region(std::move(body.graph))};
  Node* node = ctx.append(std::move(op), std::move(operands), outputs);
  if (outputs < ctx.num_outputs()) ctx.invalid("the body has too few outputs");
  for (size_t i = 0; i < ctx.num_outputs(); ++i) {
    const bool filled = i < body.filled.size() && body.filled[i];
    ctx.set_output(i, filled ? ctx.emit(Sequence{SequenceKind::optional_get}, {node->output(i)}) : node->output(i));
  }
}

// Axes (negative ones count from the end of a tensor of `ranks[i]`) and directions of scanned inputs or outputs.
std::vector<int64_t> scan_list(Context& ctx, std::string_view name, size_t count) {
  std::vector<int64_t> values = ctx.attr_ints(name);
  if (values.empty()) values.assign(count, 0);
  if (values.size() != count)
    ctx.invalid(fmt::format("attribute '{}' has {} entries, {} expected", name, values.size(), count));
  return values;
}

// Null when the body holds unsupported nodes.
Node* append_scan(Context& ctx, std::string_view directions) {
  const GraphProto& proto = ctx.attr_graph("body");
  const int64_t scanned = ctx.required_int("num_scan_inputs"),
                states = static_cast<int64_t>(ctx.num_inputs()) - scanned;
  if (scanned < 1 || states < 0) ctx.invalid("num_scan_inputs does not fit the number of inputs");
  Scan op;
  op.num_states = states;
  op.num_scanned = scanned;
  op.input_axes = scan_list(ctx, "scan_input_axes", static_cast<size_t>(scanned));
  op.input_reversed = scan_list(ctx, directions, static_cast<size_t>(scanned));
  BodySignature signature;
  std::vector<Value*> operands = ctx.all_inputs();
  for (size_t i = 0; i < operands.size(); ++i) {
    if (i < static_cast<size_t>(states)) {
      signature.carried.emplace_back(ctx.type(i), ctx.graph().symbols());
      continue;
    }
    int64_t& axis = op.input_axes[i - static_cast<size_t>(states)];
    axis = ctx.resolve_axis(axis, ctx.rank(i));
    Type slice = ctx.type(i);
    slice.shape.erase(slice.shape.begin() + axis);
    signature.after.push_back(std::move(slice));
  }
  Body body = import_carrying_body(ctx, proto, signature);
  if (body.graph == nullptr) return nullptr;
  append_captures(ctx, body.captures, operands);
  const size_t outputs = body.graph->outputs().size(), stacked = outputs - static_cast<size_t>(states);
  op.output_axes = scan_list(ctx, "scan_output_axes", stacked);
  op.output_reversed = scan_list(ctx, "scan_output_directions", stacked);
  for (size_t i = 0; i < stacked; ++i) {
    const Type& slice = body.graph->outputs()[static_cast<size_t>(states) + i]->type();
    if (op.output_axes[i] < 0 && !slice.ranked) ctx.unsupported("the rank of a scanned output is not known");
    op.output_axes[i] = ctx.resolve_axis(op.output_axes[i], slice.ranked ? slice.rank() + 1 : INT32_MAX);
  }
  op.body = Region(std::move(body.graph));
  return ctx.append(std::move(op), std::move(operands), outputs);
}

void import_scan(Context& ctx) {
  Node* node = append_scan(ctx, "scan_input_directions");
  if (node == nullptr) return ctx.poison_outputs();
  set_all_outputs(ctx, node);
}

// In opset 8 all operands and results have a batch in front: a scan over it, whose body is the scan that is meant.
void import_scan_of_batch(Context& ctx) {
  if (ctx.has_input(0)) ctx.unsupported("the sequences of a batch have lengths of their own");
  Captures captures;
  auto body = std::make_unique<Graph>(ctx.graph().shared_symbols());
  Scope scope(*body, ctx.scope(), captures);
  std::vector<Value*> operands;
  std::vector<Binding> slices(std::max<size_t>(ctx.num_inputs(), 1) - 1);
  std::vector<Binding*> inputs;
  for (Binding& slice : slices) {
    const size_t i = operands.size() + 1;
    if (ctx.rank(i) == 0) ctx.invalid("an operand has no batch");
    Type type = ctx.type(i);
    type.shape.erase(type.shape.begin());
    operands.push_back(ctx.input(i));
    slice = Binding::of({}, body->add_input("slice", std::move(type)));
    inputs.push_back(&slice);
  }
  Context inner(ctx.importer(), scope, ctx.node(), ctx.opset(), std::move(inputs));
  const Node* sequence = append_scan(inner, "directions");
  if (sequence == nullptr) return ctx.poison_outputs();
  for (Value* result : sequence->outputs()) body->add_output(result, "result");
  append_captures(ctx, captures, operands);
  const size_t results = sequence->outputs().size();
  const std::vector<int64_t> first(slices.size(), 0), stacked(results, 0);
  Scan op{0, static_cast<int64_t>(slices.size()), first, stacked, first, stacked, Region(std::move(body))};
  set_all_outputs(ctx, ctx.append(std::move(op), std::move(operands), results));
}

// --- SequenceMap: a loop over positions that carries the operands, which stay, and the sequences of results, which
// grow

std::unique_ptr<Graph> import_map_body(Context& ctx, const GraphProto& proto, const std::vector<Type>& operands,
                                       const std::vector<Type>& results, Captures& captures) {
  auto body = std::make_unique<Graph>(ctx.graph().shared_symbols());
  Scope scope(*body, ctx.scope(), captures);
  Value* position = body->add_input("position", Type::tensor(DType::i64, {}));
  Value* condition = body->add_input("condition", Type::tensor(DType::boolean, {}));
  std::vector<Value*> carried;
  for (const Type& type : operands) carried.push_back(body->add_input("operand", type));
  for (const Type& type : results) carried.push_back(body->add_input("results", type));
  Emitter emitter(*body, std::string(ctx.name()));
  for (size_t i = 0; i < operands.size(); ++i) {
    Value* element = carried[i];
    if (operands[i].kind == Type::Kind::sequence)
      element = emitter.emit(Sequence{SequenceKind::at}, {element, position});
    scope.define(proto.inputs[i].name, Binding::of(proto.inputs[i].name, element));
  }
  const size_t reported = ctx.importer().num_unsupported();
  ctx.importer().import_body(proto, scope);
  const std::vector<Binding*> made = ctx.importer().outputs(proto, scope);
  if (ctx.importer().num_unsupported() != reported || any_poisoned(made)) return nullptr;
  body->add_output(condition, "condition");
  for (size_t i = 0; i < carried.size(); ++i) {
    Value* next = carried[i];
    if (i >= operands.size())
      next = emitter.emit(Sequence{SequenceKind::insert}, {next, scope.value(*made[i - operands.size()])});
    body->add_output(next, "next");
  }
  return body;
}

void import_sequence_map(Context& ctx) {
  const GraphProto& proto = ctx.attr_graph("body");
  if (ctx.num_inputs() == 0 || proto.inputs.size() != ctx.num_inputs() || proto.outputs.size() < ctx.num_outputs())
    ctx.invalid("the body does not fit the operands and results");
  std::vector<Value*> operands = {ctx.emit(Sequence{SequenceKind::length}, {ctx.input(0)}), nullptr};
  std::vector<Type> types, results;
  for (size_t i = 0; i < ctx.num_inputs(); ++i) {
    operands.push_back(ctx.input(i));
    types.push_back(ctx.type(i));
  }
  for (const ValueInfo& output : proto.outputs) {
    const auto dtype = dtype_from_onnx(output.type.elem_type);
    if (!dtype) ctx.invalid("the body does not say of which type its results are");
    results.push_back(Type::sequence(*dtype));
    operands.push_back(ctx.emit(Sequence{SequenceKind::construct, *dtype}, {}));
  }
  Captures captures;
  auto body = import_map_body(ctx, proto, types, results, captures);
  if (body == nullptr) return ctx.poison_outputs();
  append_captures(ctx, captures, operands);
  const size_t carried = types.size() + results.size();
  Loop op{static_cast<int64_t>(carried), Region(std::move(body))};
  Node* node = ctx.append(std::move(op), std::move(operands), carried);
  for (size_t i = 0; i < ctx.num_outputs(); ++i) ctx.set_output(i, node->output(types.size() + i));
}

constexpr OpRow kRows[] = {
    {"", "If", 1, import_if},
    {"", "Loop", 1, import_loop},
    {"", "Scan", 8, import_scan_of_batch},
    {"", "Scan", 9, import_scan},
    {"", "SequenceMap", 17, import_sequence_map},
};

}  // namespace

std::span<const OpRow> control_ops() { return kRows; }

}  // namespace lathe::onnx
