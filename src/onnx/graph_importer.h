// Imports the nodes of one model into graphs: order, name resolution, function inlining, subgraphs, and the collecting
// of what is unsupported. Internal to onnx/.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "onnx/importer.h"
#include "onnx/proto.h"
#include "onnx/scope.h"
#include "onnx/tensor_data.h"

namespace lathe::onnx {

class Context;
struct OpRow;

class GraphImporter {
 public:
  GraphImporter(const ModelProto& model, ModelSource& source, const ImportOptions& options);

  // The whole model into `graph`.
  void import_main(Graph& graph);
  const CapabilityReport& report() const { return report_; }

  // --- for importers of control flow
  // Imports the initializers and nodes of a subgraph, whose inputs the caller has defined in `scope`.
  void import_body(const GraphProto& graph, Scope& scope);
  // The subgraph's outputs after import_body.
  std::vector<Binding*> outputs(const GraphProto& graph, Scope& scope);
  // How many nodes were reported so far: when it grows during import_body, the body is not usable.
  size_t num_unsupported() const { return report_.unsupported.size(); }

  // --- for Context
  // An attribute of a node; in a function body, one that refers to the call's attribute gives that. Null when absent.
  const Attribute* attribute(const NodeProto& node, std::string_view name) const;
  ModelSource& source() const { return source_; }

 private:
  // The function call whose body is being imported.
  struct Frame {
    const FunctionProto* function = nullptr;
    const NodeProto* call = nullptr;
    const Frame* caller = nullptr;
    int depth = 0;
  };

  void define_inputs(Graph& graph, Scope& scope);
  void define_map(const ValueInfo& info, Graph& graph, Scope& scope);
  Type input_type(const ValueInfo& info, SymbolSource& symbols);
  Dim size_of(std::string_view param, SymbolSource& symbols);
  std::string symbol_for(std::string_view param, SymbolSource& symbols);
  void import_nodes(const std::vector<NodeProto>& nodes, Scope& scope);
  void import_node(const NodeProto& node, Scope& scope);
  void import_op(const NodeProto& node, Scope& scope, const OpRow& row, std::vector<Binding*> inputs);
  void call_function(const FunctionProto& function, const NodeProto& node, Scope& scope,
                     const std::vector<Binding*>& inputs);
  bool is_absent_operand(std::string_view name) const;
  std::vector<Binding*> resolve_inputs(const NodeProto& node, Scope& scope);
  const FunctionProto* find_function(const NodeProto& node) const;
  int64_t opset_of(std::string_view domain) const;
  const Attribute* attribute_in(const Frame* frame, const NodeProto& node, std::string_view name) const;
  void report_unsupported(const NodeProto& node, Scope& scope, std::string_view reason, std::string_view remedy);

  const ModelProto& model_;
  ModelSource& source_;
  const ImportOptions& options_;
  CapabilityReport report_;
  const Frame* frame_ = nullptr;
  std::map<std::string, std::string, std::less<>> symbols_;  // dim_param -> symbol
  std::set<std::string_view> bound_params_;                  // that are a dimension of an input by themselves
};

}  // namespace lathe::onnx
