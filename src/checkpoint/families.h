// The table of model families: one row says how a family computes, what it calls its tensors and its fields, and which
// of its fields change the arithmetic. A new family is a new row.
#pragma once

#include <span>
#include <string_view>

#include "checkpoint/fields.h"
#include "checkpoint/model_config.h"

namespace lathe::checkpoint {

// Spellings of the fields that nearly every config.json has, as Fields takes them.
struct FieldNames {
  std::string_view hidden = "hidden_size", layers = "num_hidden_layers", heads = "num_attention_heads";
  std::string_view kv_heads = "num_key_value_heads", head_dim = "head_dim", intermediate = "intermediate_size";
  std::string_view positions = "max_position_embeddings", epsilon = "rms_norm_eps", activation = "hidden_act";
  std::string_view vocab = "vocab_size", rotary_fraction = "partial_rotary_factor", rope_base = "rope_theta";
};

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

// The function of an activation's name; throws Error(unsupported) that names the field and its value.
MapOp read_activation(const Fields& fields, std::string_view keys);

}  // namespace lathe::checkpoint
