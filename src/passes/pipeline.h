// Runs the rewrites in the order of the table in pipeline.cc, timed, verified and switchable one by one. The same graph
// and options always give the same result.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"

namespace lathe::passes {

enum class Stage { simplified, fused, packed, quantised };

struct PassInfo {
  std::string_view name;
  Stage stage;
  int (*run)(Graph&);
  std::string_view description;  // one line, for --help and docs
  // Passes of one group (above 0) stand together in the table and run in turns until none of them finds anything.
  int group = 0;
};

// All passes of run_pipeline() in the order in which they run; a pass may stand in the table more than once.
std::span<const PassInfo> pass_table();
std::string_view to_string(Stage stage);

struct PassReport {
  std::string_view name;
  Stage stage = Stage::simplified;
  double ms = 0;
  size_t nodes_before = 0;  // regions included
  size_t nodes_after = 0;
  int rewrites = 0;
};

// Whether the padding of a batch of token sequences is left out (pack_tokens.cc).
enum class Packing {
  automatic,  // where every element of every output stays what it is
  always,     // also where outputs show tokens: those that are padding are 0 then
  never,
};

std::optional<Packing> packing_from_string(std::string_view text);  // "auto", "on", "off"

struct PassOptions {
  std::vector<std::string> disabled;  // names of passes to leave out
  Packing packing = Packing::automatic;
  bool verify = true;                                          // check the graph after each pass that changed it
  std::function<void(const PassReport&, const Graph&)> trace;  // called after each run of a pass
};

// One report per run of a pass (a pass of a group runs several times). Throws Error(invalid_argument) for an unknown
// name among the disabled ones, and Error(internal), naming the pass, when verification fails.
std::vector<PassReport> run_pipeline(Graph& graph, const PassOptions& options = {});

// The passes that turn what precision assignment leaves (src/precision/apply.h) into steps that pay: integer products,
// casts and quantisation in the epilogues before them.
std::vector<PassReport> run_quantised_stage(Graph& graph, const PassOptions& options = {});

// Nodes of a graph and of all its regions.
size_t count_nodes(const Graph& graph);

}  // namespace lathe::passes
