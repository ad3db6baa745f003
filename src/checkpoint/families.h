// The table of model families: one row says how a family computes, what it calls its tensors and its fields, and which
// of its fields change the arithmetic. A new family is a new row.
#pragma once

#include <span>
#include <string_view>

#include "checkpoint/common_fields.h"

namespace lathe::checkpoint {

// What holds where config.json does not mention a field; 0: what follows from the sizes, or none.
struct Defaults {
  int64_t kv_heads = 0, head_dim = 0;
  double rope_base = 10000;
  double attention_softcap = 0, logit_softcap = 0;
  int64_t experts = 0, top_k = 0, expert_intermediate = 0, shared_intermediate = 0;
};

struct Family {
  std::string_view model_type;  // spellings, "a|b"
  // Of files without a model_type: what the name of the class begins with, "Llama" of LlamaForCausalLM; "a|b".
  std::string_view architecture{};
  // Tells apart families that share a model_type: this field must be there. Rows are tried in order.
  std::string_view if_field{};
  Names names{};
  FieldNames fields{};
  Traits traits{};
  Defaults defaults{};
  // What further fields of this family change; the common ones are read before. Null: nothing.
  void (*refine)(const Fields&, ModelConfig&) = nullptr;
  // JSON: sizes that a `text_config` inside the configuration of a larger model leaves out where they are these.
  std::string_view unsaid = "{}";
};

std::span<const Family> families();

}  // namespace lathe::checkpoint
