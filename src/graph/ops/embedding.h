// Sum of table look-ups followed by a normalisation: the input layer of BERT and its relatives.
#pragma once

#include "graph/ops/field_types.h"
#include "graph/ops/norm.h"

namespace lathe {

// (ids_0, table_0, .., ids_n-1, table_n-1, scale, bias?) -> y [ids.., width]: sum of table rows, normalised as Norm
// does over the last axis. ids broadcast against each other (a position table has ids of shape [1, seq]). y has the
// type of scale; the tables have that type too, or, where it is f32, may be stored in f16 or bf16.
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
