// Chooses a type for every layer: as narrow as asked, wider where that costs more accuracy than allowed.
//
// One run tells what each layer loses by itself. Layers that overflow are pinned at once. If the whole then misses the
// bound, those that lose most climb their ladders; how many must is found by bisection, so a graph of a hundred layers
// takes about ten trials.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "precision/calibration.h"
#include "precision/measure.h"

namespace lathe::precision {

struct LayerReport {
  std::string name, op;
  LayerType wanted, type;
  Agreement alone;     // of the wanted type, all other layers in f32
  std::string reason;  // why it is pinned; empty when it is not
};

struct Report {
  bool met = false;                // the bound holds, and some layer is narrower than f32 if any can be ..
  bool fastest_in_f32 = false;     // .. but for a model that meets it and is slower for it, where that was asked
  bool halves_are_faster = false;  // than the bytes that were asked for beside them, and so they were taken
  std::vector<LayerReport> layers;
  std::vector<OutputAgreement> outputs;
  Speed before, after;
  size_t trials = 0;
  bool recalled = false;  // all of this was found by an earlier search (recall.h)
};

// Whether there is a bound, or ranges to be found: types of 16 bits without one are taken as they come, which needs no
// more memory than the weights in them.
bool measures(const PrecisionOptions& options);

// Whether bytes are among the types. Ranges are then found on every other batch and judged on the rest.
bool finds_ranges(const PrecisionOptions& options);

// Rewrites the optimised f32 graph. Without an assignment that meets the bound the graph gets the one that comes
// closest, and the report says so.
Report assign(Graph& graph, const CompileOptions& compile, const Batches& batches, PrecisionOptions options);

}  // namespace lathe::precision
