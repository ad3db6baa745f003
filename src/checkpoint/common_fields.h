// What the config.json files of all families share: sizes, activations, and fields that change nothing.
#pragma once

#include <functional>
#include <set>
#include <string>
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

// Sizes, activation and tying; the traits of the family, and what `config` holds of kv_heads and head_dim, stay where a
// field is missing.
void read_sizes(const Fields& fields, const FieldNames& names, ModelConfig& config);

// The function of that name; throws Error(unsupported) that names the field and its value.
Activation read_activation(const Fields& fields, std::string_view keys);

// Layer types as recent configurations list them, or else the layers that `is_local` picks, get the window; 0: none.
void set_windows(const Fields& fields, ModelConfig& config, int64_t window,
                 const std::function<bool(int64_t)>& is_local);
// Null says that there is none.
int64_t window_size(const Fields& fields, int64_t otherwise);
// A window, where the field is set, holds in all layers that `layer_types` does not except.
void read_window(const Fields& fields, ModelConfig& config, int64_t otherwise = 0);
// Which layers know no positions: `no_rope_layers` holds 1 for those that do, or else it is every
// `no_rope_layer_interval`th.
void read_unrotated_layers(const Fields& fields, ModelConfig& config);
// Layers without a window know no positions.
void leave_global_layers_unrotated(ModelConfig& config);
// Everything about rotation: its base and how it is scaled, in all layers or in those with and without a window; then,
// once the sizes of heads are known, how many of their features turn.
void read_rope(const Fields& fields, const FieldNames& names, ModelConfig& config);
void finish_rope(ModelConfig& config);
void set_attention_bias(ModelConfig& config, bool bias);

// Throws Error(unsupported) for fields that would make any family compute otherwise than its row says.
void expect_usual(const Fields& fields);

// Fields that say how a model was trained, saved or is to be sampled from, or pick among implementations of the same
// arithmetic.
const std::set<std::string, std::less<>>& neutral_fields();

}  // namespace lathe::checkpoint
