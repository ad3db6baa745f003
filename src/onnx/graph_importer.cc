#include "onnx/graph_importer.h"

#include <algorithm>

#include "onnx/dim_param.h"
#include "onnx/importers/context.h"
#include "onnx/importers/table.h"
#include "onnx/node_order.h"
#include "onnx/symbolic_ops.h"

namespace lathe::onnx {
namespace {

constexpr int kMaxCallDepth = 32;

// What a map's tensors are called (lathe/lathe.h).
constexpr const char *kMapKeys = ".keys", *kMapValues = ".values";

Binding poison(std::string_view name) {
  Binding b;
  b.name = name;
  b.type = Type::unranked(DType::f32);
  b.poisoned = true;
  return b;
}

// What the graph says of the node being imported ("map") is told with the model's name of the op; a node inside of it
// has named itself already.
Error in_model_terms(const Error& error, const NodeProto& node) {
  if (!error.node().empty() && error.node() != node.name) return error;
  Error told(error.code(), error.message());
  told.in_node(node.name, node.op_type);
  if (!error.remedy_text().empty()) told.remedy(error.remedy_text());
  return told;
}

// Says why there is no importer for the node, and what else can be done.
[[noreturn]] void refuse(const NodeProto& node, bool known, int64_t opset) {
  constexpr std::string_view kSearches[] = {"BeamSearch", "GreedySearch", "Sampling", "WhisperBeamSearch"};
  if (known) fail(ErrorCode::unsupported, "{} does not exist in opset {}", node.op_type, opset);
  if (node.domain == "com.microsoft.nchwc")
    throw Error(ErrorCode::unsupported, "the blocked layout of ONNX Runtime is for the machine that it chose it on")
        .remedy("Take the model before it was optimised, or let ONNX Runtime optimise up to ORT_ENABLE_EXTENDED");
  if (node.domain == kMicrosoft &&
      std::find(std::begin(kSearches), std::end(kSearches), node.op_type) != std::end(kSearches))
    throw Error(ErrorCode::unsupported, "one node is the whole search for an answer")
        .remedy("Export the decoder alone: generate, chat and lathe/llm.h search by themselves");
  if (!node.domain.empty() && node.domain != kMicrosoft && node.domain != kMachineLearning)
    throw Error(ErrorCode::unsupported, fmt::format("operators of the domain '{}' are not known", node.domain))
        .remedy("Export the operator as a model-local function, or register a plugin for it");
  fail(ErrorCode::unsupported, "there is no importer for this operator yet");
}

int64_t count_nodes(const std::vector<NodeProto>& nodes) {
  auto count = static_cast<int64_t>(nodes.size());
  for (const NodeProto& node : nodes)
    for (const Attribute& attribute : node.attributes)
      for (const GraphProto& graph : attribute.graphs) count += count_nodes(graph.nodes);
  return count;
}

}  // namespace

GraphImporter::GraphImporter(const ModelProto& model, ModelSource& source, const ImportOptions& options)
    : model_(model), source_(source), options_(options) {
  report_.nodes = count_nodes(model.graph.nodes);
  for (const FunctionProto& f : model.functions) report_.nodes += count_nodes(f.nodes);
}

// --- the main graph

void GraphImporter::import_main(Graph& graph) {
  graph.set_name(std::string(model_.graph.name));
  Scope scope(graph);
  define_inputs(graph, scope);
  import_body(model_.graph, scope);
  if (!report_.supported()) return;
  const std::vector<Binding*> results = outputs(model_.graph, scope);
  for (size_t i = 0; i < results.size(); ++i) {
    const std::string name(model_.graph.outputs[i].name);
    if (results[i]->is_map()) {
      graph.add_output(scope.value(*results[i]->keys), name + kMapKeys);
      graph.add_output(scope.value(*results[i]->values), name + kMapValues);
    } else {
      graph.add_output(scope.value(*results[i]), name);
    }
  }
}

// Inputs that have an initializer are constants: overriding weights at run time is an ONNX feature nobody relies on.
void GraphImporter::define_inputs(Graph& graph, Scope& scope) {
  std::vector<std::string_view> initialized;
  for (const TensorProto& t : model_.graph.initializers) initialized.push_back(t.name);
  for (const auto& [name, sparse] : model_.graph.sparse_initializers) initialized.push_back(name);
  std::sort(initialized.begin(), initialized.end());
  for (const ValueInfo& info : model_.graph.inputs) {
    if (std::binary_search(initialized.begin(), initialized.end(), info.name)) continue;
    for (const TypeProto::Dimension& d : info.type.shape)
      if (!d.value && is_identifier(d.param)) bound_params_.insert(d.param);
  }
  for (const std::string_view param : bound_params_) symbol_for(param, graph.symbols());
  for (const ValueInfo& info : model_.graph.inputs) {
    if (std::binary_search(initialized.begin(), initialized.end(), info.name)) continue;
    const auto flag = std::find_if(options_.fixed_flags.begin(), options_.fixed_flags.end(),
                                   [&](const auto& fixed) { return fixed.first == info.name; });
    if (info.type.kind == TypeProto::Kind::map)
      define_map(info, graph, scope);
    else if (flag != options_.fixed_flags.end())
      scope.define(info.name, Binding::of(info.name, Tensor::of<bool>(std::vector<int64_t>(info.type.shape.size(), 1),
                                                                      {flag->second})));
    else
      scope.define(info.name, Binding::of(info.name, graph.add_input(info.name, input_type(info, graph.symbols()))));
  }
}

void GraphImporter::define_map(const ValueInfo& info, Graph& graph, Scope& scope) {
  const auto key_type = dtype_from_onnx(info.type.key_type);
  const bool plain = !info.type.element.empty() && info.type.element.front().kind == TypeProto::Kind::tensor;
  const auto value_type = plain ? dtype_from_onnx(info.type.element.front().elem_type) : std::nullopt;
  if (!key_type || !value_type)
    fail(ErrorCode::unsupported, "input '{}' is a map of something else than single strings or numbers", info.name);
  const Dim entries = Dim::symbol(graph.symbols().fresh("d"));
  Binding parts[2];
  for (const bool values : {false, true}) {
    const std::string name = std::string(info.name) + (values ? kMapValues : kMapKeys);
    parts[values] = Binding::of({}, graph.add_input(name, Type::tensor(values ? *value_type : *key_type, {entries})));
  }
  scope.define(info.name, Binding::map_of(info.name, parts[0], parts[1]));
}

Type GraphImporter::input_type(const ValueInfo& info, SymbolSource& symbols) {
  const TypeProto* tensor = &info.type;
  Type type;
  const auto descend = [&](TypeProto::Kind kind) {
    if (tensor->kind != kind) return false;
    if (tensor->element.empty()) fail(ErrorCode::invalid_model, "input '{}' has no element type", info.name);
    tensor = &tensor->element.front();
    return true;
  };
  const bool optional = descend(TypeProto::Kind::optional), sequence = descend(TypeProto::Kind::sequence);
  type.kind = optional ? (sequence ? Type::Kind::optional_sequence : Type::Kind::optional)
                       : (sequence ? Type::Kind::sequence : Type::Kind::tensor);
  if (tensor->kind != TypeProto::Kind::tensor)
    fail(ErrorCode::unsupported, "input '{}' is neither a tensor nor a sequence or optional of tensors", info.name);
  const auto dtype = dtype_from_onnx(tensor->elem_type);
  if (!dtype)
    fail(ErrorCode::invalid_model, "input '{}' has an unknown element type ({})", info.name, tensor->elem_type);
  type.dtype = *dtype;
  type.ranked = tensor->has_shape;
  for (const TypeProto::Dimension& d : tensor->shape) {
    type.shape.push_back(d.value && *d.value >= 0 ? Dim(*d.value) : size_of(d.value ? "" : d.param, symbols));
  }
  return type;
}

// An expression whose names are all bound by other dimensions of inputs is one here as well, and checked at run time.
Dim GraphImporter::size_of(std::string_view param, SymbolSource& symbols) {
  for (const auto& [name, size] : options_.fixed_dims)
    if (!param.empty() && name == param) return size;
  const auto bound = [&](std::string_view name) -> std::optional<Dim> {
    return bound_params_.count(name) ? std::optional(size_of(name, symbols)) : std::nullopt;
  };
  if (!param.empty() && !is_identifier(param))
    if (const auto expression = parse_dim_param(param, bound)) return *expression;
  return Dim::symbol(symbol_for(param, symbols));
}

// A symbol must be a name of the Dim grammar and no fresh one; two dim_params never share one.
std::string GraphImporter::symbol_for(std::string_view param, SymbolSource& symbols) {
  if (param.empty()) return symbols.fresh("d");
  if (const auto it = symbols_.find(param); it != symbols_.end()) return it->second;
  std::string name;
  if (std::isdigit(static_cast<unsigned char>(param[0]))) name += '_';
  for (const char c : param) {
    const bool plain =
        std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.' || c == ':' || (c & 0x80) != 0;
    name += plain ? c : '_';
  }
  const auto taken = [&] {
    return std::any_of(symbols_.begin(), symbols_.end(), [&](const auto& entry) { return entry.second == name; });
  };
  while (taken()) name += '_';
  symbols.reserve(name);
  symbols_.emplace(param, name);
  return name;
}

void GraphImporter::import_body(const GraphProto& graph, Scope& scope) {
  for (const TensorProto& t : graph.initializers) scope.define(t.name, Binding::of(t.name, source_.tensor(t)));
  for (const auto& [name, sparse] : graph.sparse_initializers)
    scope.define(name, Binding::of(name, source_.tensor(sparse)));
  import_nodes(graph.nodes, scope);
}

std::vector<Binding*> GraphImporter::outputs(const GraphProto& graph, Scope& scope) {
  std::vector<Binding*> results;
  for (const ValueInfo& output : graph.outputs) {
    Binding* b = scope.find(output.name);
    if (b == nullptr) fail(ErrorCode::invalid_model, "the graph output '{}' is computed by no node", output.name);
    results.push_back(b);
  }
  return results;
}

// --- nodes

void GraphImporter::import_nodes(const std::vector<NodeProto>& nodes, Scope& scope) {
  for (const size_t i : import_order(nodes)) {
    const NodeProto& node = nodes[i];
    try {
      import_node(node, scope);
    } catch (const Error& error) {
      const Error told = in_model_terms(error, node);
      if (told.code() != ErrorCode::unsupported) throw told;
      report_unsupported(node, scope, told.message(), told.remedy_text());
    }
  }
}

void GraphImporter::import_node(const NodeProto& node, Scope& scope) {
  std::vector<Binding*> inputs = resolve_inputs(node, scope);
  const int64_t opset = opset_of(node.domain);
  bool known = false;
  const OpRow* row = find_row(node.domain, node.op_type, opset, known);
  const FunctionProto* function = row == nullptr ? find_function(node) : nullptr;
  if (row == nullptr && function == nullptr) refuse(node, known, opset);
  if (std::any_of(inputs.begin(), inputs.end(), [](const Binding* b) { return b != nullptr && b->poisoned; })) {
    for (const std::string_view output : node.outputs)
      if (!output.empty()) scope.define(output, poison(output));
    return;
  }
  if (function != nullptr)
    call_function(*function, node, scope, inputs);
  else
    import_op(node, scope, *row, std::move(inputs));
}

void GraphImporter::import_op(const NodeProto& node, Scope& scope, const OpRow& row, std::vector<Binding*> inputs) {
  Context context(*this, scope, node, opset_of(node.domain), std::move(inputs));
  std::vector<SymbolicTensor> results = evaluate_symbolically(context);
  for (size_t i = 0; i < results.size(); ++i) context.set_output(i, std::move(results[i]));
  if (results.empty()) row.import(context);
  for (size_t i = 0; i < node.outputs.size(); ++i)
    if (context.wants_output(i) && scope.find(node.outputs[i]) == nullptr)
      fail(ErrorCode::unsupported, "output {} ('{}') cannot be computed", i, node.outputs[i]);
}

// An operand of the function around here that its call does not give, so that no name was defined for it.
bool GraphImporter::is_absent_operand(std::string_view name) const {
  if (frame_ == nullptr) return false;
  const std::vector<std::string_view>& operands = frame_->function->inputs;
  return std::find(operands.begin(), operands.end(), name) != operands.end();
}

std::vector<Binding*> GraphImporter::resolve_inputs(const NodeProto& node, Scope& scope) {
  std::vector<Binding*> inputs;
  for (const std::string_view name : node.inputs) {
    Binding* b = name.empty() ? nullptr : scope.find(name);
    if (b == nullptr && !name.empty() && !is_absent_operand(name))
      throw Error(ErrorCode::invalid_model, fmt::format("input '{}' is neither computed nor given", name))
          .in_node(node.name, node.op_type);
    inputs.push_back(b);
  }
  return inputs;
}

// The node's results become poison: what depends on them is looked up in the table but not imported.
void GraphImporter::report_unsupported(const NodeProto& node, Scope& scope, std::string_view reason,
                                       std::string_view remedy) {
  for (const std::string_view output : node.outputs) {
    if (output.empty()) continue;
    if (Binding* b = scope.find(output))
      b->poisoned = true;
    else
      scope.define(output, poison(output));
  }
  report_.unsupported.push_back({std::string(node.name), std::string(node.op_type), std::string(node.domain),
                                 opset_of(node.domain), std::string(reason), std::string(remedy)});
}

int64_t GraphImporter::opset_of(std::string_view domain) const {
  const std::vector<OpsetImport>& opsets = frame_ != nullptr ? frame_->function->opsets : model_.opsets;
  for (const OpsetImport& o : opsets)
    if (o.domain == domain) return o.version;
  return 1;  // IR versions before 3 do not say; contrib domains have one version
}

// --- functions

const FunctionProto* GraphImporter::find_function(const NodeProto& node) const {
  for (const FunctionProto& f : model_.functions)
    if (f.domain == node.domain && f.name == node.op_type && f.overload == node.overload) return &f;
  return nullptr;
}

void GraphImporter::call_function(const FunctionProto& function, const NodeProto& node, Scope& scope,
                                  const std::vector<Binding*>& inputs) {
  const Frame frame{&function, &node, frame_, frame_ == nullptr ? 1 : frame_->depth + 1};
  if (frame.depth > kMaxCallDepth) fail(ErrorCode::invalid_model, "the function '{}' calls itself", function.name);
  if (inputs.size() > function.inputs.size() || node.outputs.size() > function.outputs.size())
    fail(ErrorCode::invalid_model, "the function '{}' is called with too many inputs or outputs", function.name);
  Scope body(scope, FunctionBody{});
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i] != nullptr) body.alias(function.inputs[i], inputs[i]);
  const Frame* const caller = std::exchange(frame_, &frame);
  try {
    import_nodes(function.nodes, body);
  } catch (...) {
    frame_ = caller;
    throw;
  }
  frame_ = caller;
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    if (node.outputs[i].empty()) continue;
    Binding* result = body.find(function.outputs[i]);
    if (result == nullptr)
      fail(ErrorCode::invalid_model, "the function '{}' does not compute its output", function.name);
    scope.define(node.outputs[i], *result);
  }
}

const Attribute* GraphImporter::attribute(const NodeProto& node, std::string_view name) const {
  return attribute_in(frame_, node, name);
}

const Attribute* GraphImporter::attribute_in(const Frame* frame, const NodeProto& node, std::string_view name) const {
  for (const Attribute& a : node.attributes) {
    if (a.name != name) continue;
    if (a.ref_name.empty()) return &a;
    if (frame == nullptr) fail(ErrorCode::invalid_model, "attribute '{}' refers to a function's outside of one", name);
    if (const Attribute* given = attribute_in(frame->caller, *frame->call, a.ref_name)) return given;
    for (const Attribute& fallback : frame->function->attribute_defaults)
      if (fallback.name == a.ref_name) return &fallback;
    return nullptr;
  }
  return nullptr;
}

}  // namespace lathe::onnx
