#include "passes/pipeline.h"

#include <algorithm>

#include "base/error.h"
#include "base/stopwatch.h"
#include "base/suggest.h"
#include "graph/verifier.h"
#include "passes/passes.h"

namespace lathe::passes {
namespace {

constexpr int kMaxRounds = 16;  // of a group; rewrites only ever simplify, so this is a guard against a bug

constexpr PassInfo kPasses[] = {
    {"dead-code", Stage::simplified, dead_code, "drop nodes whose results nobody needs"},
    {"recognise-masks", Stage::simplified, recognise_masks,
     "replace stored triangular masks by programs over positions"},
    {"integer-products", Stage::simplified, integer_products, "multiply quantised operands as bytes, scale the sums"},
    {"simplify-structure", Stage::simplified, simplify_structure,
     "resolve If with a known condition, no-op slices, concats and reductions", 1},
    {"simplify-captures", Stage::simplified, simplify_captures,
     "constants into the regions that read them; drop what no region reads", 1},
    {"simplify-maps", Stage::simplified, simplify_maps, "algebra inside maps: identities, constants, casts", 1},
    {"simplify-positions", Stage::simplified, simplify_positions,
     "index tensors as programs; look-ups that name every element in order", 1},
    {"simplify-movement", Stage::simplified, simplify_movement,
     "shorten chains of reshapes and transposes, drop those that move nothing", 1},
    {"sink-transposes", Stage::simplified, sink_transposes,
     "move transposes behind elementwise work, where they cancel", 1},
    {"sink-reshapes", Stage::simplified, sink_reshapes, "keep [batch, sequence, features] through work on rows", 1},
    {"fold-transposes", Stage::simplified, fold_transposes, "turn transposes of matmul operands into flags", 1},
    {"fold-constants", Stage::simplified, fold_constants, "compute what depends on constants only", 1},
    {"common-subexpressions", Stage::simplified, common_subexpressions, "compute equal expressions once", 1},
    {"dead-code", Stage::simplified, dead_code, "drop nodes whose results nobody needs", 1},
    {"fuse-norm", Stage::fused, fuse_norm, "LayerNorm and RMSNorm from their elementwise spelling", 2},
    {"fuse-rotary", Stage::fused, fuse_rotary, "rotary position embedding from slices, negation and concat", 2},
    {"sink-transposes", Stage::fused, sink_transposes, "move transposes behind elementwise work, where they cancel", 2},
    {"fuse-batch-norm", Stage::fused, fuse_batch_norm, "scale and shift per channel into the weights before them", 2},
    {"fuse-attention", Stage::fused, fuse_attention, "matmul, scores, softmax, matmul into one attention step", 2},
    {"simplify-movement", Stage::fused, simplify_movement,
     "shorten chains of reshapes and transposes, drop those that move nothing", 2},
    {"common-subexpressions", Stage::fused, common_subexpressions, "compute equal expressions once", 2},
    {"dead-code", Stage::fused, dead_code, "drop nodes whose results nobody needs", 2},
    {"fuse-elementwise", Stage::fused, fuse_elementwise, "chains and trees of maps into one map", 3},
    {"recognise-activations", Stage::fused, recognise_activations, "GELU, SiLU, hard-swish, .. from their spelling", 3},
    {"simplify-maps", Stage::fused, simplify_maps, "algebra inside maps: identities, constants, casts", 3},
    {"fuse-epilogue", Stage::fused, fuse_epilogue, "bias, activation, residual and scale into matmul and convolution",
     3},
    {"merge-matmuls", Stage::fused, merge_matmuls, "matmuls of one input into one (query, key, value)", 4},
    {"fold-constants", Stage::fused, fold_constants, "compute what depends on constants only", 4},
    {"dead-code", Stage::fused, dead_code, "drop nodes whose results nobody needs", 4},
    {"fuse-embedding", Stage::fused, fuse_embedding, "table look-ups, their sum and the norm into one step"},
    {"fuse-residual-norm", Stage::fused, fuse_residual_norm, "sums into the norm that follows"},
    {"dead-code", Stage::fused, dead_code, "drop nodes whose results nobody needs"},
    {"share-constants", Stage::fused, share_constants, "store equal weights of several regions once"},
    {"pack-tokens", Stage::packed, pack_tokens, "leave out the padding of a batch of token sequences"},
    {"pack-outputs", Stage::packed, pack_outputs, "the same where outputs show padding, which is 0 then"},
    {"dead-code", Stage::packed, dead_code, "drop nodes whose results nobody needs"},
};

constexpr PassInfo kQuantisedPasses[] = {
    {"integer-products", Stage::quantised, integer_products, "multiply quantised operands as bytes, scale the sums"},
    {"fold-constants", Stage::quantised, fold_constants, "compute what depends on constants only", 1},
    {"common-subexpressions", Stage::quantised, common_subexpressions, "compute equal expressions once", 1},
    {"dead-code", Stage::quantised, dead_code, "drop nodes whose results nobody needs", 1},
    {"fuse-elementwise", Stage::quantised, fuse_elementwise, "chains and trees of maps into one map", 2},
    {"simplify-maps", Stage::quantised, simplify_maps, "algebra inside maps: identities, constants, casts", 2},
    {"fuse-epilogue", Stage::quantised, fuse_epilogue, "casts and quantisation into matmul and convolution", 2},
    {"dead-code", Stage::quantised, dead_code, "drop nodes whose results nobody needs", 2},
};

void check_names(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const auto known = [&](const PassInfo& pass) { return pass.name == name; };
    if (std::any_of(std::begin(kPasses), std::end(kPasses), known)) continue;
    const auto closest =
        std::min_element(std::begin(kPasses), std::end(kPasses), [&](const PassInfo& a, const PassInfo& b) {
          return edit_distance(a.name, name) < edit_distance(b.name, name);
        });
    throw Error(ErrorCode::invalid_argument, fmt::format("there is no pass named '{}'", name))
        .remedy(fmt::format("Did you mean '{}'?", closest->name));
  }
}

PassReport run_pass(Graph& graph, const PassInfo& pass, const PassOptions& options) {
  PassReport report{pass.name, pass.stage};
  report.nodes_before = count_nodes(graph);
  const Stopwatch watch;
  report.rewrites = pass.run(graph);
  report.ms = watch.milliseconds();
  report.nodes_after = count_nodes(graph);
  if (options.verify && report.rewrites > 0) {
    try {
      verify(graph);
    } catch (const Error& e) {
      fail(ErrorCode::internal, "pass '{}' broke the graph: {}", pass.name, e.what());
    }
  }
  if (options.trace) options.trace(report, graph);
  return report;
}

}  // namespace

std::span<const PassInfo> pass_table() { return kPasses; }

std::string_view to_string(Stage stage) {
  switch (stage) {
    case Stage::simplified: return "simplified";
    case Stage::fused: return "fused";
    case Stage::packed: return "packed";
    default: return "quantised";
  }
}

std::optional<Packing> packing_from_string(std::string_view text) {
  if (text == "auto") return Packing::automatic;
  if (text == "on") return Packing::always;
  if (text == "off") return Packing::never;
  return std::nullopt;
}

size_t count_nodes(const Graph& graph) {
  size_t count = graph.num_nodes();
  for (const auto& node : graph.nodes())
    for (const Region* region : regions_of(node->op())) count += count_nodes(region->graph());
  return count;
}

namespace {

std::vector<PassReport> run_table(Graph& graph, std::span<const PassInfo> table, const PassOptions& options) {
  const auto enabled = [&](const PassInfo& pass) {
    if (pass.run == pack_tokens && options.packing == Packing::never) return false;
    if (pass.run == pack_outputs && options.packing != Packing::always) return false;
    return std::find(options.disabled.begin(), options.disabled.end(), pass.name) == options.disabled.end();
  };
  std::vector<PassReport> reports;
  for (size_t begin = 0, end = 0; begin < table.size(); begin = end) {
    end = begin + 1;
    while (table[begin].group > 0 && end < table.size() && table[end].group == table[begin].group) ++end;
    const int rounds = table[begin].group > 0 ? kMaxRounds : 1;
    for (int round = 0, rewrites = 1; round < rounds && rewrites > 0; ++round) {
      rewrites = 0;
      for (const PassInfo& pass : table.subspan(begin, end - begin)) {
        if (!enabled(pass)) continue;
        reports.push_back(run_pass(graph, pass, options));
        rewrites += reports.back().rewrites;
      }
    }
  }
  return reports;
}

}  // namespace

std::vector<PassReport> run_pipeline(Graph& graph, const PassOptions& options) {
  check_names(options.disabled);
  return run_table(graph, kPasses, options);
}

std::vector<PassReport> run_quantised_stage(Graph& graph, const PassOptions& options) {
  return run_table(graph, kQuantisedPasses, options);
}

}  // namespace lathe::passes
