// What happens to the scores between query-key product and softmax, as one program over [batch, heads, queries, keys]:
// scale, masks of every spelling, position biases, casts. Masks that are made by broadcasting are inlined as programs
// over positions; smaller operands stay operands, computed once.
#pragma once

#include <optional>
#include <vector>

#include "graph/graph.h"

namespace lathe::passes {

struct ScoreProgram {
  MapProgram program;  // (scaled product, extras..); empty if nothing is left to do
  std::vector<Value*> extras;
  double scale = 1;  // factor of the product that was taken out of the program
  bool causal = false;
  Dim causal_offset;
};

// The program from `product` (the matmul's result) to `scores` (the softmax operand). `space` is [batch, heads,
// queries, keys]. May insert nodes before `position`. nullopt if something other than elementwise work and regrouping
// of the leading axes lies between.
std::optional<ScoreProgram> score_program(Graph& graph, Node* position, Value* product, Value* scores,
                                          const Shape& space);

// A reshape between these shapes regroups leading axes only: as many rows, each as long as before.
bool keeps_rows(const Shape& from, const Shape& to);

// A comparison that says key <= query + offset, or the opposite.
struct PositionCondition {
  bool visible = true;  // what it gives for keys that the query may see
  Dim offset;
};
std::optional<PositionCondition> match_position_condition(const MapProgram& program, int index);

// Takes the causal condition out of the program, if it has one: the scores that it fails are -inf, or no other mask is
// applied and they are so low that they weigh nothing beside key 0, which every query sees.
void extract_causal(ScoreProgram& score);

}  // namespace lathe::passes
