#include "checkpoint/families.h"

#include "checkpoint/family_fields.h"
#include "checkpoint/family_names.h"

namespace lathe::checkpoint {
namespace {

constexpr FieldNames kLlamaFields{};

constexpr FieldNames layer_norm_fields(std::string_view epsilon) {
  FieldNames fields;
  fields.epsilon = epsilon;
  return fields;
}

constexpr FieldNames kGpt2Fields{.hidden = "n_embd|hidden_size",
                                 .layers = "n_layer|num_hidden_layers",
                                 .heads = "n_head|num_attention_heads",
                                 .kv_heads = {},
                                 .head_dim = {},
                                 .intermediate = "n_inner",
                                 .positions = "n_positions|max_position_embeddings",
                                 .epsilon = "layer_norm_epsilon",
                                 .activation = "activation_function"};

constexpr FieldNames kBloomFields{.hidden = "hidden_size|n_embed",
                                  .layers = "n_layer|num_hidden_layers",
                                  .heads = "n_head|num_attention_heads",
                                  .kv_heads = {},
                                  .head_dim = {},
                                  .intermediate = "n_inner",
                                  .positions = "seq_length",
                                  .epsilon = "layer_norm_epsilon",
                                  .activation = {}};

constexpr FieldNames kFalconFields{.layers = "num_hidden_layers|n_layer",
                                   .heads = "num_attention_heads|n_head",
                                   .kv_heads = {},
                                   .head_dim = {},
                                   .intermediate = "ffn_hidden_size",
                                   .epsilon = "layer_norm_epsilon",
                                   .activation = "activation"};

constexpr FieldNames kGptNeoFields{.layers = "num_layers",
                                   .heads = "num_heads",
                                   .kv_heads = {},
                                   .head_dim = {},
                                   .epsilon = "layer_norm_epsilon",
                                   .activation = "activation_function"};

constexpr FieldNames kGptNeoxFields{.kv_heads = {},
                                    .head_dim = {},
                                    .epsilon = "layer_norm_eps",
                                    .rotary_fraction = "rotary_pct|partial_rotary_factor",
                                    .rope_base = "rotary_emb_base|rope_theta"};

constexpr FieldNames kOptFields{
    .kv_heads = {}, .head_dim = {}, .intermediate = "ffn_dim", .epsilon = {}, .activation = "activation_function"};

constexpr FieldNames kChatGlmFields{.layers = "num_layers",
                                    .kv_heads = {},
                                    .head_dim = {},
                                    .intermediate = "inner_hidden_size",
                                    .positions = "max_sequence_length",
                                    .epsilon = "layernorm_epsilon",
                                    .activation = {},
                                    .rotary_fraction = {},
                                    .rope_base = {}};

constexpr FieldNames kChatGlm2Fields{.layers = "num_layers|num_hidden_layers",
                                     .kv_heads = {},
                                     .head_dim = "kv_channels",
                                     .intermediate = "ffn_hidden_size",
                                     .positions = "seq_length",
                                     .epsilon = "layernorm_epsilon",
                                     .activation = {},
                                     .vocab = "padded_vocab_size|vocab_size",
                                     .rotary_fraction = {},
                                     .rope_base = {}};

// The two lines that most families vary: Llama's (RMS norm, rotary, SwiGLU, no biases) and GPT's.
constexpr Traits kLlama{};
constexpr Traits kGpt{.norm = NormKind::layer,
                      .norm_bias = true,
                      .epsilon = 1e-5,
                      .positions = Positions::learned,
                      .mlp = MlpKind::plain,
                      .activation = MapOp::gelu_tanh,
                      .biases = {.qkv = true, .attention_out = true, .mlp = true},
                      .tied = true};

// A variation of another row's traits.
template <class Change>
constexpr Traits with(Traits traits, Change change) {
  change(traits);
  return traits;
}

constexpr Traits kBloom = with(kGpt, [](Traits& t) {
  t.embedding_norm = true;
  t.positions = Positions::alibi;
  t.packing = QkvPacking::per_head;
});
constexpr Traits kGpt2 = with(kGpt, [](Traits& t) {
  t.packing = QkvPacking::stacked;
  t.transposed = true;
});
constexpr Traits kGptBigCode = with(kGpt, [](Traits& t) { t.packing = QkvPacking::stacked; });
constexpr Traits kGptNeo = with(kGpt, [](Traits& t) { t.biases.qkv = false; });
constexpr Traits kOpt = with(kGpt, [](Traits& t) {
  t.activation = MapOp::relu;
  t.position_offset = 2;
});
constexpr Traits kGptj = with(kGpt, [](Traits& t) {
  t.residual = Residual::parallel;
  t.positions = Positions::rotary;
  t.interleaved = true;
  t.biases = {.mlp = true, .head = true};
  t.tied = false;
});
constexpr Traits kGptNeox = with(kGpt, [](Traits& t) {
  t.residual = Residual::parallel_norms;
  t.positions = Positions::rotary;
  t.rotary_fraction = 0.25;
  t.packing = QkvPacking::per_head;
  t.activation = MapOp::gelu_erf;
  t.tied = false;
});
constexpr Traits kFalcon = with(kGpt, [](Traits& t) {
  t.residual = Residual::parallel;
  t.positions = Positions::rotary;
  t.packing = QkvPacking::stacked;
  t.activation = MapOp::gelu_erf;
  t.biases = {};
});
constexpr Traits kPhi = with(kGpt, [](Traits& t) {
  t.residual = Residual::parallel;
  t.positions = Positions::rotary;
  t.rotary_fraction = 0.5;
  t.biases.head = true;
  t.tied = false;
});
constexpr Traits kStarcoder2 = with(kGpt, [](Traits& t) { t.positions = Positions::rotary; });
constexpr Traits kChatGlm = with(kGpt, [](Traits& t) {
  t.residual = Residual::normed;
  t.positions = Positions::rotary_2d;
  t.packing = QkvPacking::per_head;
  t.tied = false;
  t.prefix_mask = true;
});

constexpr Traits kQwen2 = with(kLlama, [](Traits& t) { t.biases.qkv = true; });
constexpr Traits kQwen3 = with(kLlama, [](Traits& t) { t.qk_norm = QkNorm::head; });
constexpr Traits kPhi3 = with(kLlama, [](Traits& t) {
  t.packing = QkvPacking::stacked;
  t.mlp = MlpKind::gated_stacked;
});
constexpr Traits kGemma = with(kLlama, [](Traits& t) {
  t.unit_offset = true;
  t.activation = MapOp::gelu_tanh;
  t.tied = true;
});
constexpr Traits kGemma2 = with(kGemma, [](Traits& t) { t.residual = Residual::sandwich; });
constexpr Traits kGemma3 = with(kGemma2, [](Traits& t) { t.qk_norm = QkNorm::head; });
constexpr Traits kStableLm = with(kLlama, [](Traits& t) {
  t.norm = NormKind::layer;
  t.norm_bias = true;
  t.rotary_fraction = 0.25;
});
constexpr Traits kInternLm2 = with(kLlama, [](Traits& t) { t.packing = QkvPacking::per_group; });
constexpr Traits kBaichuan = with(kLlama, [](Traits& t) { t.packing = QkvPacking::stacked; });
constexpr Traits kChatGlm2 = with(kPhi3, [](Traits& t) {
  t.interleaved = true;
  t.rotary_fraction = 0.5;
});
constexpr Traits kGlm = with(kLlama, [](Traits& t) {
  t.mlp = MlpKind::gated_stacked;
  t.interleaved = true;
  t.rotary_fraction = 0.5;
});
constexpr Traits kGlm4 = with(kGlm, [](Traits& t) { t.residual = Residual::sandwich; });
constexpr Traits kCohere = with(kLlama, [](Traits& t) {
  t.norm = NormKind::layer;
  t.residual = Residual::parallel;
  t.interleaved = true;
  t.tied = true;
});
constexpr Traits kOlmo = with(kLlama, [](Traits& t) {
  t.norm = NormKind::layer;
  t.norm_scale = false;
  t.epsilon = 1e-5;
});
constexpr Traits kOlmo2 = with(kLlama, [](Traits& t) {
  t.residual = Residual::output_norm;
  t.qk_norm = QkNorm::all;
});

// clang-format off
constexpr Family kFamilies[] = {
    {.model_type = "llama|aquila|xverse", .names = kLlamaNames, .traits = kLlama, .refine = refine_llama},
    {.model_type = "mistral", .names = kLlamaNames, .traits = kLlama, .refine = refine_mistral},
    {.model_type = "mixtral", .names = mixtral_names(), .traits = kLlama, .refine = refine_mixtral},
    {.model_type = "qwen2", .names = kLlamaNames, .traits = kQwen2, .refine = refine_qwen},
    {.model_type = "qwen2_moe", .names = qwen_moe_names(), .traits = kQwen2, .refine = refine_qwen_moe},
    {.model_type = "qwen3", .names = kLlamaNames, .traits = kQwen3, .refine = refine_qwen},
    {.model_type = "qwen3_moe", .names = qwen_moe_names(), .traits = kQwen3, .refine = refine_qwen_moe},
    {.model_type = "phi3", .names = phi3_names(), .traits = kPhi3, .refine = refine_mistral},
    {.model_type = "gemma", .names = kLlamaNames, .traits = kGemma, .refine = refine_gemma},
    {.model_type = "gemma2", .names = gemma2_names(), .traits = kGemma2, .refine = refine_gemma2},
    {.model_type = "gemma3_text", .names = gemma2_names(), .traits = kGemma3, .refine = refine_gemma3},
    {.model_type = "stablelm", .names = kLlamaNames, .fields = layer_norm_fields("layer_norm_eps"),
     .traits = kStableLm, .refine = refine_stablelm},
    {.model_type = "internlm", .names = kLlamaNames, .traits = kLlama, .refine = refine_internlm},
    {.model_type = "internlm2", .names = kInternLm2Names, .traits = kInternLm2, .refine = refine_internlm},
    {.model_type = "baichuan", .names = baichuan_names(), .traits = kBaichuan, .refine = refine_baichuan},
    {.model_type = "glm", .names = glm_names(), .traits = kGlm, .refine = refine_glm},
    {.model_type = "glm4", .names = glm4_names(), .traits = kGlm4, .refine = refine_glm},
    {.model_type = "cohere", .names = kLlamaNames, .fields = layer_norm_fields("layer_norm_eps"), .traits = kCohere,
     .refine = refine_cohere},
    {.model_type = "olmo", .names = kLlamaNames, .fields = layer_norm_fields({}), .traits = kOlmo,
     .refine = refine_olmo},
    {.model_type = "olmo2", .names = olmo2_names(), .traits = kOlmo2, .refine = refine_llama},
    {.model_type = "granite", .names = kLlamaNames, .traits = kLlama, .refine = refine_granite},
    {.model_type = "chatglm", .if_field = "position_encoding_2d|inner_hidden_size", .names = kChatGlmNames,
     .fields = kChatGlmFields, .traits = kChatGlm, .refine = refine_chatglm},
    {.model_type = "chatglm", .if_field = "multi_query_attention|kv_channels", .names = kChatGlm2Names,
     .fields = kChatGlm2Fields, .traits = kChatGlm2, .refine = refine_chatglm2},
    {.model_type = "bloom", .names = kBloomNames, .fields = kBloomFields, .traits = kBloom, .refine = refine_bloom},
    {.model_type = "falcon|RefinedWebModel|RefinedWeb", .names = kBloomNames, .fields = kFalconFields,
     .traits = kFalcon, .refine = refine_falcon},
    {.model_type = "gpt2", .names = kGpt2Names, .fields = kGpt2Fields, .traits = kGpt2, .refine = refine_gpt2},
    {.model_type = "gpt_bigcode", .names = kGpt2Names, .fields = kGpt2Fields, .traits = kGptBigCode,
     .refine = refine_gpt_bigcode},
    {.model_type = "gpt_neo", .names = gpt_neo_names(), .fields = kGptNeoFields, .traits = kGptNeo,
     .refine = refine_gpt_neo},
    {.model_type = "gptj", .names = gptj_names(), .fields = kGpt2Fields, .traits = kGptj, .refine = refine_gptj},
    {.model_type = "gpt_neox", .names = kGptNeoxNames, .fields = kGptNeoxFields, .traits = kGptNeox,
     .refine = refine_gpt_neox},
    {.model_type = "opt", .names = kOptNames, .fields = kOptFields, .traits = kOpt, .refine = refine_opt},
    {.model_type = "phi", .names = phi_names(), .fields = layer_norm_fields("layer_norm_eps"), .traits = kPhi,
     .refine = refine_phi},
    {.model_type = "starcoder2", .names = starcoder2_names(), .fields = layer_norm_fields("norm_epsilon"),
     .traits = kStarcoder2, .refine = refine_starcoder2},
};
// clang-format on

}  // namespace

std::span<const Family> families() { return kFamilies; }

}  // namespace lathe::checkpoint
