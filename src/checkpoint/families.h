// The table of model families: one row says how a family computes, what it calls its tensors and its fields, and which
// of its fields change the arithmetic. A new family is a new row.
#pragma once

#include <span>
#include <string_view>

#include "checkpoint/common_fields.h"

namespace lathe::checkpoint {

struct Family {
  std::string_view model_type;  // spellings, "a|b"
  // Tells apart families that share a model_type: this field must be there. Rows are tried in order.
  std::string_view if_field{};
  Names names{};
  FieldNames fields{};
  Traits traits{};
  // What further fields of this family change; the common ones are read before. Null: nothing.
  void (*refine)(const Fields&, ModelConfig&) = nullptr;
};

std::span<const Family> families();

}  // namespace lathe::checkpoint
