#include "onnx/node_order.h"

#include <functional>
#include <queue>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"

namespace lathe::onnx {
namespace {

using Visit = std::function<void(std::string_view)>;

void visit_used_names(const NodeProto& node, const Visit& visit);

// Names that a subgraph uses but does not define.
void visit_free_names(const GraphProto& graph, const Visit& visit) {
  std::unordered_set<std::string_view> own;
  for (const ValueInfo& input : graph.inputs) own.insert(input.name);
  for (const TensorProto& initializer : graph.initializers) own.insert(initializer.name);
  for (const NodeProto& node : graph.nodes) own.insert(node.outputs.begin(), node.outputs.end());
  const Visit visit_free = [&](std::string_view name) {
    if (own.count(name) == 0) visit(name);
  };
  for (const NodeProto& node : graph.nodes) visit_used_names(node, visit_free);
  for (const ValueInfo& output : graph.outputs) visit_free(output.name);
}

void visit_used_names(const NodeProto& node, const Visit& visit) {
  for (const std::string_view input : node.inputs)
    if (!input.empty()) visit(input);
  for (const Attribute& attribute : node.attributes)
    for (const GraphProto& graph : attribute.graphs) visit_free_names(graph, visit);
}

}  // namespace

std::vector<size_t> import_order(const std::vector<NodeProto>& nodes) {
  std::unordered_map<std::string_view, size_t> producer;
  for (size_t i = 0; i < nodes.size(); ++i)
    for (const std::string_view output : nodes[i].outputs)
      if (!output.empty()) producer.emplace(output, i);

  std::vector<std::vector<size_t>> users(nodes.size());
  std::vector<size_t> missing(nodes.size(), 0);
  for (size_t i = 0; i < nodes.size(); ++i) {
    visit_used_names(nodes[i], [&](std::string_view name) {
      if (const auto it = producer.find(name); it != producer.end()) {
        users[it->second].push_back(i);
        ++missing[i];
      }
    });
  }

  // Lowest index first: gives the identity for a graph that is in order.
  std::priority_queue<size_t, std::vector<size_t>, std::greater<>> ready;
  for (size_t i = 0; i < nodes.size(); ++i)
    if (missing[i] == 0) ready.push(i);
  std::vector<size_t> order;
  while (!ready.empty()) {
    const size_t i = ready.top();
    ready.pop();
    order.push_back(i);
    for (const size_t user : users[i])
      if (--missing[user] == 0) ready.push(user);
  }
  if (order.size() != nodes.size()) {
    for (size_t i = 0; i < nodes.size(); ++i)
      if (missing[i] != 0)
        throw Error(ErrorCode::invalid_model, "the graph is cyclic: this node depends on itself")
            .in_node(nodes[i].name, nodes[i].op_type);
  }
  return order;
}

}  // namespace lathe::onnx
