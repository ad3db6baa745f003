// Sum of table look-ups followed by a normalisation: the input layer of BERT and its relatives.
#pragma once

#include "graph/ops/field_types.h"
#include "graph/ops/norm.h"

namespace lathe {

// (ids_0, table_0, .., scale, bias?, picked?) -> y [ids.., width]: sum of table rows, normalised as Norm does over the
// last axis. ids broadcast to each other. y has the type of scale; the tables too, or, where it is f32, f16 or bf16.
// picked i32 [T] are the ids that are wanted, as indices in the list of all that there are: y is [T, width] then.
struct Embedding {
  static constexpr std::string_view kName = "embedding";
  int64_t num_tables = 1;
  NormKind kind = NormKind::layer;
  double epsilon = 1e-5;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("num_tables", s.num_tables);
    visit("kind", s.kind);
    visit("epsilon", s.epsilon);
  }
};

}  // namespace lathe
