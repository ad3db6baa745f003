// What a decoder computes, as typed values: the traits of its family (families.h) and the numbers of its config.json.
// The builder of graphs (decoder.h) reads nothing else.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/activation.h"
#include "checkpoint/rope.h"
#include "graph/ops/norm.h"

namespace lathe::checkpoint {

class Checkpoint;

// How a layer joins attention, MLP, its norms n1, n2 (p1, p2) and what came in, x.
enum class Residual : uint8_t {
  sequential,      // h = x + attn(n1 x), y = h + mlp(n2 h)
  parallel,        // y = x + attn(n1 x) + mlp(n1 x)
  parallel_norms,  // y = x + attn(n1 x) + mlp(n2 x)
  post_norm,       // h = n1(x + attn x), y = n2(h + mlp h)
  output_norm,     // h = x + n1(attn x), y = h + n2(mlp h)
  sandwich,        // h = x + p1(attn(n1 x)), y = h + p2(mlp(n2 h))
  normed,          // a = n1 x, h = r a + attn a, m = n2 h, y = r m + mlp m with r = residual_scale
};

// sinusoidal: a fixed table, sines left of cosines, in the place of a learned one. rotary_2d: half of each head turns
// with the position, half with the position inside the block (ChatGLM-6B).
enum class Positions : uint8_t { learned, sinusoidal, rotary, rotary_2d, alibi };

// The order of the rows of a joint projection: all of q, then k, then v; q, k, v of each head; of each key/value head,
// the queries that share it, its key, its value; or q, v, k (in this order) of each quarter of the heads. latent: from
// projections of low rank (LatentAttention).
enum class QkvPacking : uint8_t { separate, stacked, per_head, per_group, quarters, latent };

// down(act(up x)), or down(act(gate x) * up x) with two matrices or one that holds the gate above the rest.
enum class MlpKind : uint8_t { plain, gated, gated_stacked };

// Norms of queries and keys before they are turned: over each head, with weights that heads share or have of their own,
// or over all heads together. unit: over each head, without weights, and only where heads turn at all.
enum class QkNorm : uint8_t { none, head, each_head, all, unit };

struct Biases {
  bool qkv = false, attention_out = false, mlp = false, head = false, router = false;
};

// What families differ in; fixed by the row of the family, or by a few fields of config.json.
struct Traits {
  NormKind norm = NormKind::rms;
  bool norm_bias = false;
  bool norm_scale = true;
  double epsilon = 1e-6;     // of norms, where config.json does not say
  bool unit_offset = false;  // norms scale by 1 + weight (Gemma)
  bool embedding_norm = false;
  bool norm_before_positions = false;  // of an encoder-decoder's embeddings: positions are added to what it gives
  bool final_norm = true;
  bool unnormed_start = false;  // the first layer has no norm before attention
  Residual residual = Residual::sequential;
  Positions positions = Positions::rotary;
  bool interleaved = false;     // rotary pairs are neighbours
  double rotary_fraction = 1;   // of a head's features
  int64_t position_offset = 0;  // of rows in a learned table
  bool ends_at_10000 = true;    // sinusoidal: pair p of n turns by 10000^(-p / (n - 1)), else by 10000^(-p / n)
  QkvPacking packing = QkvPacking::separate;
  QkNorm qk_norm = QkNorm::none;
  bool norm_after_rotation = false;  // of queries and keys
  bool tempered = false;             // what scales rotation also says how queries grow with the position
  MlpKind mlp = MlpKind::gated;
  Activation activation = Activation::silu;
  Biases biases;
  bool transposed = false;       // matrices are stored [in, out] (GPT-2)
  bool tied = false;             // the output matrix is the embedding
  bool prefix_mask = false;      // the prompt sees all of itself
  bool normalised_head = false;  // rows of the output matrix are scaled to length 1 (Baichuan 2)
};

// The names of tensors. Those of a layer stand behind root + layers + number + "."; all but those of the head, "a|b",
// behind the root, which a checkpoint may leave out. Names are without ".weight" and ".bias".
struct Names {
  std::string_view root{}, embedding{}, embedding_norm{}, positions{}, project_in{}, project_out{};
  std::string_view layers{}, norm1{}, norm2{}, post_norm1{}, post_norm2{};
  std::string_view qkv{}, q{}, k{}, v{}, q_norm{}, k_norm{}, attention_out{};
  std::string_view sinks{};                       // whole, without an ending; empty: the family has none
  std::string_view attention_gate{};              // its sigmoid multiplies what heads give; empty: nothing does
  std::string_view attention_norm{}, mlp_norm{};  // of what goes into the last matrix of attention, of an MLP
  std::string_view q_down{}, q_down_norm{}, q_up{}, kv_down{}, kv_down_norm{}, kv_up{};  // of latent attention
  std::string_view xielu{};                        // what the parameters of this activation stand behind
  std::string_view gate{}, up{}, down{};           // `up` is the joint matrix of a stacked MLP
  std::string_view router{}, router_correction{};  // the latter whole, without an ending
  std::string_view experts{}, expert_gate{}, expert_up{}, expert_down{}, shared{}, shared_gate{};
  // Of the expert that every token uses, where they differ from those of the others; `shared_gate` says how much it
  // counts.
  std::string_view shared_open{}, shared_up{}, shared_down{};
  std::string_view final_norm{}, head = "lm_head";
  std::string_view head_dense{}, head_norm{};  // of what goes into the output matrix; empty: the states themselves
  std::string_view buffers{};                  // endings of tensors that are no weights, "a|b"
};

// Whether experts have names of their own, or the matrices of all stand one upon the other in one tensor, each
// [out, in] or [in, out]. stacked_ends: what an expert gives is stored [in, out], all else [out, in].
enum class ExpertStore : uint8_t { each, stacked, stacked_transposed, stacked_ends };

struct MixtureOfExperts {
  ExpertStore store = ExpertStore::each;
  int64_t experts = 0, top_k = 0;
  int64_t intermediate = 0;  // of an expert
  // Above 0: SparseMixer (arXiv 2310.00811) picks experts one after the other, and the weight of each is its share
  // among those whose scores come within this much of it.
  double nearness = 0;
  bool sigmoid = false;    // scores are sigmoids, not a softmax over all experts
  bool corrected = false;  // a learned term is added to scores when experts are chosen, and does not count after
  int64_t groups = 1, top_groups = 1;  // experts are chosen from the best groups alone,
  int64_t group_leaders = 1;           // by the sum of the best scores of each, so many
  bool scaled_inputs = false;          // the weight of an expert multiplies what it is given, not what it gives
  // Above 0: the columns of the joint matrix are gates and others in turn; gates are held below this, the others within
  // ± this, and 1 is added to them (gpt-oss).
  double swiglu_limit = 0;
  bool renormalise = false;         // the weights of the chosen experts sum to 1,
  double scale = 1;                 // and are then multiplied
  int64_t shared_intermediate = 0;  // of an expert that every token uses; 0: none
  bool shared_gate = false;         // by as much as a sigmoid says
  std::vector<bool> layers;         // which layers have experts; the others have the plain MLP
};

// Queries, keys and values of ranks below their sizes (arXiv 2405.04434). rope.dim features of a head turn, and behind
// those that do not; of keys, all heads share them.
struct LatentAttention {
  int64_t q_rank = 0;  // 0: queries are projected as a whole
  int64_t kv_rank = 0;
};

struct ModelConfig {
  std::string_view family;
  Names names;
  Traits traits;
  int64_t vocab = 0, hidden = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0, intermediate = 0;
  int64_t value_dim = 0;        // of a head's values
  int64_t embedding_width = 0;  // differs from hidden where there are projections in between
  int64_t max_positions = 0;
  double epsilon = 1e-5;
  Rope rope;
  std::optional<double> local_rope_base;  // of layers with a window; unscaled (Gemma 3)
  std::vector<bool> unrotated;            // layers that know no positions; empty: none
  LatentAttention latent;
  double qkv_limit = 0;  // queries, keys and values are held within ± this; 0: no limit
  double attention_scale = 0;
  std::vector<double> layer_scales;  // factors to attention_scale, by layer; empty: 1
  double alibi_scale = 1;
  double attention_softcap = 0, logit_softcap = 0;  // 0: none
  double embedding_scale = 1, residual_scale = 1, branch_scale = 1, logit_scale = 1;
  Activation head_activation = Activation::gelu_erf;  // between the head's dense layer and norm
  std::vector<int64_t> windows;                       // by layer; 0: none
  bool chunked = false;                               // windows begin at multiples of their size
  // Queries are multiplied by 1 + strength * log(1 + floor((position + shift) / interval)): those of unrotated layers,
  // or all.
  struct Temperature {
    double strength = 0, interval = 1, shift = 1;  // strength 0: they are not
    bool everywhere = false;
  } temperature;
  MixtureOfExperts moe;
  int64_t mask_id = -1, gmask_id = -1;  // ChatGLM-6B: what its positions hang on
};

// Throws Error(unsupported) that names the model_type, or the fields, that Lathe does not know, and
// Error(invalid_model) for fields that are missing or contradict each other.
ModelConfig read_model_config(const Checkpoint& checkpoint);

}  // namespace lathe::checkpoint
