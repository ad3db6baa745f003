// Compares two programs value by value while both run, fusions and all. A value that takes the place of another takes
// over its name (graph/graph.h), so equal names are the same quantity; what a backend holds channels-last is compared
// with what the other program has in the model's order. The runs go in step: nothing is held but values that one
// program computed well before the other.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "lathe/lathe.h"
#include "tools/comparison.h"

namespace lathe::tools {

struct LayerComparison {
  std::string value;             // name
  std::string node, op, kernel;  // of the step under test that computed it
  std::vector<int64_t> dims;
  Comparison comparison;
  bool drifted = false;
};

struct LayerReport {
  std::vector<LayerComparison> layers;  // in the order of the program under test
  size_t steps = 0;                     // of that program
  size_t unmatched = 0;                 // its values that the other program does not compute, or in other sizes

  // The first layer that drifted; null when none did.
  const LayerComparison* first_drift() const;
};

// Both run on the same inputs. `tolerance` is judged as Comparison::drifted does.
LayerReport compare_layers(Session& expected, Session& tested, std::span<const Input> inputs,
                           const Tolerance& tolerance);

}  // namespace lathe::tools
