// Recognises, in the epilogue program of a product or convolution, what its kernel can do while storing:
// activation(alpha * product + bias + residual), or activation(alpha * product + bias) + residual.
#pragma once

#include <functional>
#include <optional>

#include "backends/cpu/kernels/activation.h"
#include "graph/map_program.h"

namespace lathe::cpu {

struct EpilogueForm {
  float alpha = 1;
  int bias = -1;      // program input, or -1
  int residual = -1;  // program input, or -1
  bool residual_after_activation = false;
  Activation activation;
};

enum class ExtraKind { bias, residual, other };

// `kind_of(i)` says what program input i (1, 2, ..) is to the kernel: one value per column, a tensor of the result's
// shape, or something else. nullopt when the program does more than the form can say. An empty program gives the
// identity form.
std::optional<EpilogueForm> match_epilogue(const MapProgram& program, const std::function<ExtraKind(int)>& kind_of);

// The activation that instruction `index` applies to another instruction's result; `argument` receives that
// instruction. Composite spellings (clip as min of max, x * sigmoid(a x), leaky relu as select or max) are seen
// through.
std::optional<Activation> match_activation(const MapProgram& program, int index, int& argument);

}  // namespace lathe::cpu
