// Every rewrite of the pipeline. Each takes a graph, also rewrites the regions of its control-flow nodes, keeps the
// meaning of the graph, and returns how many rewrites it made: 0 means that the graph is as it was. Order, names and
// one-line descriptions are in pipeline.cc; the text of docs/passes.md says what each is for.
#pragma once

#include "graph/graph.h"

namespace lathe::passes {

int dead_code(Graph& graph);
int common_subexpressions(Graph& graph);
int fold_constants(Graph& graph);
int simplify_maps(Graph& graph);
int simplify_structure(Graph& graph);
int simplify_captures(Graph& graph);
int simplify_movement(Graph& graph);
int simplify_positions(Graph& graph);
int sink_reshapes(Graph& graph);
int sink_transposes(Graph& graph);
int fold_transposes(Graph& graph);
int recognise_masks(Graph& graph);
int recognise_activations(Graph& graph);
int integer_products(Graph& graph);
int fuse_norm(Graph& graph);
int fuse_batch_norm(Graph& graph);
int fuse_rotary(Graph& graph);
int fuse_attention(Graph& graph);
int merge_matmuls(Graph& graph);
int fuse_elementwise(Graph& graph);
int fuse_epilogue(Graph& graph);
int fuse_residual_norm(Graph& graph);
int fuse_embedding(Graph& graph);
int share_constants(Graph& graph);
int pack_tokens(Graph& graph);
int pack_outputs(Graph& graph);

// Not of the pipeline: large constants of a graph that equal some of another graph come to share its storage.
int share_constants(Graph& graph, const Graph& other);

}  // namespace lathe::passes
