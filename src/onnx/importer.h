// ONNX file to graph. Every node is lowered to the closed set of ops (graph/op.h); shape arithmetic is evaluated
// symbolically and disappears; weights stay views of the mapped file. Nodes that Lathe cannot import are collected and
// reported all at once.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace lathe::onnx {

struct ImportOptions {
  // Replaces the dimensions of graph inputs that have this name (dim_param) by a fixed size.
  std::vector<std::pair<std::string, int64_t>> fixed_dims;
  // Boolean inputs that are constants instead, of which all elements are this: they choose branches while importing.
  std::vector<std::pair<std::string, bool>> fixed_flags;
};

struct UnsupportedNode {
  std::string name;
  std::string op;
  std::string domain;  // "" is the standard domain
  int64_t opset = 0;   // that the model uses for the domain
  std::string reason;
  std::string remedy;
};

struct CapabilityReport {
  int64_t nodes = 0;  // with those of subgraphs and functions
  std::vector<UnsupportedNode> unsupported;

  bool supported() const { return unsupported.empty(); }
  // One line per unsupported node.
  std::string to_string() const;
};

// Throws Error(unsupported) that lists every unsupported node, Error(invalid_model) for a malformed file, naming file
// and node. The graph keeps the mapped file alive. External data is looked up in the model's folder.
std::unique_ptr<Graph> import_model(const std::filesystem::path& path, const ImportOptions& options = {});
// From memory that `owner` keeps alive as long as the graph lives; external data is an error.
std::unique_ptr<Graph> import_model(std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
                                    const ImportOptions& options = {});

// What stands in the way of importing the model; throws like import_model only when the file is malformed.
CapabilityReport check(const std::filesystem::path& path, const ImportOptions& options = {});

}  // namespace lathe::onnx
