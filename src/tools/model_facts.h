// What `lathe inspect` tells about a model, apart from how it is shown: counts of parameters and ops, costs and memory
// for given sizes, and what an ONNX file says about itself.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "graph/cost.h"
#include "runtime/session.h"
#include "tools/input_sizes.h"

namespace lathe::tools {

struct OnnxFacts {
  int64_t ir_version = 0;
  std::string producer;
  std::vector<std::pair<std::string, int64_t>> opsets;  // domain ("ai.onnx" for the standard one) and version
  size_t nodes = 0;                                     // of the main graph
  std::map<std::string, size_t> op_types;  // of the main graph, with domain where it is not the standard one
};
OnnxFacts read_onnx_facts(const std::filesystem::path& path);

struct WeightFact {
  std::string name;
  Type type;
  double bytes = 0;
  std::string layout;  // "plain" or the packing scheme
};

// Constants that the program reads; one in two layouts stands twice.
std::vector<WeightFact> list_weights(const Program& program);
struct WeightTotals {
  int64_t parameters = 0;
  double bytes = 0;
};
WeightTotals total(const std::vector<WeightFact>& weights);

// The name of its node, or that of its first result where the node has none.
std::string step_name(const Program& program, const ProgramStep& step);

struct OpTotal {
  size_t count = 0;
  Cost cost;
};

struct CostFacts {
  std::vector<Cost> steps;             // by step; zero where sizes are known only at run time
  std::map<std::string, OpTotal> ops;  // by op name
  Cost total;
  size_t unknown = 0;  // steps whose sizes are not known beforehand
};
CostFacts estimate_costs(const Program& program, const std::map<std::string, int64_t>& symbols);

// Memory of a run with these sizes.
Executor::Footprint footprint_of(Session& session, const Sizes& sizes);

}  // namespace lathe::tools
