// Normalisations with learned scale and bias.
#pragma once

#include "graph/map_program.h"
#include "graph/ops/field_types.h"

namespace lathe {

enum class NormKind : uint8_t { layer, rms };

// (x.., scale, bias?) -> y, and, when the node has further outputs: the sum that was normalised; y in i8 and the scale
// of each row, as a symmetric DynamicQuantize from `axis` on gives them; the same in f8e4m3. What nobody reads may stay
// unwritten.
// The normalised tensor is v = prologue(x0, .., xn-1) (empty: v = x0, n = 1); axes from `axis` to the last are
// normalised together: layer: (v - mean) / sqrt(var + epsilon), rms: v / sqrt(mean(v^2) + epsilon); then * scale (+
// bias). num_x counts the leading operands; scale and bias follow, either may be absent (null operand) and both
// broadcast to v's normalised axes. Statistics are f32 at least, whatever the type.
struct Norm {
  static constexpr std::string_view kName = "norm";
  NormKind kind = NormKind::layer;
  int64_t axis = -1;  // resolved: not negative
  double epsilon = 1e-5;
  int64_t num_x = 1;
  MapProgram prologue;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("kind", s.kind);
    visit("axis", s.axis);
    visit("epsilon", s.epsilon);
    visit("num_x", s.num_x);
    visit("prologue", s.prologue);
  }
};

// (x [N, C, spatial..], scale [C], bias [C]) -> y. Normalises each of `groups` groups of channels over channels and
// space; groups = 0 stands for one group per channel (instance normalisation).
struct GroupNorm {
  static constexpr std::string_view kName = "group_norm";
  int64_t groups = 1;
  double epsilon = 1e-5;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("groups", s.groups);
    visit("epsilon", s.epsilon);
  }
};

}  // namespace lathe
