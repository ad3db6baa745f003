// Reads the score program of an attention: how much of it the kernel can do by itself.
//
// A program that scales the product, caps it and adds terms that do not depend on it becomes numbers and one additive
// mask. select(visible, score, -inf) is an addition of 0 or -inf. Whatever else a program does (select with a finite
// value, say, which differs from an addition in rows that see nothing) leaves it to run as it is, on blocks of scores.
// In a program of a narrow type the numbers keep that type's rounding, while sums with the product are not rounded.
#pragma once

#include <optional>

#include "graph/map_program.h"

namespace lathe {

struct ScoreForm {
  double scale = 1;
  float softcap = 0;
  MapProgram mask;  // f32, of the node's extras as inputs 1, 2, .. (0 is not used); empty: no mask
};

// nullopt when the program must run on the scores.
std::optional<ScoreForm> match_score(const MapProgram& program);

}  // namespace lathe
