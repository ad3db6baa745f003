#include "checkpoint/families.h"

#include "checkpoint/family_field_names.h"
#include "checkpoint/family_fields.h"
#include "checkpoint/family_names.h"

namespace lathe::checkpoint {
namespace {

// The two lines that most families vary: Llama's (RMS norm, rotary, SwiGLU, no biases) and GPT's.
constexpr Traits kLlama{};
constexpr Traits kGpt{.norm = NormKind::layer,
                      .norm_bias = true,
                      .epsilon = 1e-5,
                      .positions = Positions::learned,
                      .mlp = MlpKind::plain,
                      .activation = Activation::gelu_tanh,
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
  t.activation = Activation::relu;
  t.position_offset = 2;
});
constexpr Traits kGptj = with(kGpt, [](Traits& t) {
  t.residual = Residual::parallel;
  t.positions = Positions::rotary;
  t.interleaved = true;
  t.biases = {.mlp = true, .head = true};
  t.tied = false;
});
constexpr Traits kCodeGen = with(kGptj, [](Traits& t) { t.packing = QkvPacking::quarters; });
constexpr Traits kGpt1 = with(kGpt2, [](Traits& t) {
  t.residual = Residual::post_norm;
  t.final_norm = false;
});
constexpr Traits kModernBert = with(kGpt, [](Traits& t) {
  t.embedding_norm = t.unnormed_start = true;
  t.positions = Positions::rotary;
  t.mlp = MlpKind::gated_stacked;
  t.activation = Activation::gelu_erf;
});
constexpr Traits kXglm = with(kGpt, [](Traits& t) {
  t.positions = Positions::sinusoidal;
  t.position_offset = 2;
  t.activation = Activation::gelu_erf;
});
constexpr Traits kCtrl = with(kXglm, [](Traits& t) {
  t.epsilon = 1e-6;
  t.position_offset = 0;
  t.ends_at_10000 = false;
  t.activation = Activation::relu;
  t.biases.head = true;
});
constexpr Traits kBioGpt = with(kOpt, [](Traits& t) { t.activation = Activation::gelu_erf; });
constexpr Traits kMpt = with(kGpt, [](Traits& t) {
  t.norm_bias = false;
  t.positions = Positions::alibi;
  t.packing = QkvPacking::stacked;
  t.activation = Activation::gelu_erf;
  t.biases = {};
});
constexpr Traits kPersimmon = with(kGpt, [](Traits& t) {
  t.positions = Positions::rotary;
  t.rotary_fraction = 0.5;
  t.packing = QkvPacking::per_head;
  t.activation = Activation::relu_squared;
  t.tied = false;
});
constexpr Traits kGptNeox = with(kGpt, [](Traits& t) {
  t.residual = Residual::parallel_norms;
  t.positions = Positions::rotary;
  t.rotary_fraction = 0.25;
  t.packing = QkvPacking::per_head;
  t.activation = Activation::gelu_erf;
  t.tied = false;
});
constexpr Traits kFalcon = with(kGpt, [](Traits& t) {
  t.residual = Residual::parallel;
  t.positions = Positions::rotary;
  t.packing = QkvPacking::stacked;
  t.activation = Activation::gelu_erf;
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
constexpr Traits kMixtral = with(kLlama, [](Traits& t) { t.epsilon = 1e-5; });
constexpr Traits kPhi3 = with(kLlama, [](Traits& t) {
  t.epsilon = 1e-5;
  t.packing = QkvPacking::stacked;
  t.mlp = MlpKind::gated_stacked;
});
constexpr Traits kGemma = with(kLlama, [](Traits& t) {
  t.unit_offset = true;
  t.activation = Activation::gelu_tanh;
  t.tied = true;
});
constexpr Traits kGemma2 = with(kGemma, [](Traits& t) { t.residual = Residual::sandwich; });
constexpr Traits kGemma3 = with(kGemma2, [](Traits& t) { t.qk_norm = QkNorm::head; });
constexpr Traits kStableLm = with(kLlama, [](Traits& t) {
  t.norm = NormKind::layer;
  t.norm_bias = true;
  t.epsilon = 1e-5;
  t.rotary_fraction = 0.25;
});
constexpr Traits kInternLm2 = with(kLlama, [](Traits& t) { t.packing = QkvPacking::per_group; });
constexpr Traits kBaichuan = with(kLlama, [](Traits& t) { t.packing = QkvPacking::stacked; });
constexpr Traits kChatGlm2 = with(kPhi3, [](Traits& t) {
  t.interleaved = true;
  t.rotary_fraction = 0.5;
});
constexpr Traits kGlm = with(kLlama, [](Traits& t) {
  t.epsilon = 1.5625e-7;
  t.biases.qkv = true;
  t.mlp = MlpKind::gated_stacked;
  t.interleaved = true;
  t.rotary_fraction = 0.5;
});
constexpr Traits kGlm4 = with(kGlm, [](Traits& t) { t.residual = Residual::sandwich; });
constexpr Traits kCohere = with(kLlama, [](Traits& t) {
  t.norm = NormKind::layer;
  t.epsilon = 1e-5;
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
  t.epsilon = 1e-5;
  t.residual = Residual::output_norm;
  t.qk_norm = QkNorm::all;
});
constexpr Traits kArcee = with(kLlama, [](Traits& t) {
  t.epsilon = 1e-5;
  t.mlp = MlpKind::plain;
  t.activation = Activation::relu_squared;
});
constexpr Traits kApertus = with(kArcee, [](Traits& t) {
  t.qk_norm = QkNorm::head;
  t.activation = Activation::xielu;
});
constexpr Traits kNemotron = with(kArcee, [](Traits& t) {
  t.norm = NormKind::layer;
  t.norm_bias = true;
  t.unit_offset = true;
  t.rotary_fraction = 0.5;
});
constexpr Traits kErnie = with(kLlama, [](Traits& t) {
  t.epsilon = 1e-5;
  t.interleaved = true;
  t.tied = true;
});
constexpr Traits kExaone = with(kLlama, [](Traits& t) { t.epsilon = 1e-5; });
constexpr Traits kExaone4 = with(kExaone, [](Traits& t) {
  t.residual = Residual::output_norm;
  t.qk_norm = QkNorm::head;
});
constexpr Traits kHelium = with(kLlama, [](Traits& t) {
  t.epsilon = 1e-8;
  t.interleaved = true;
});
constexpr Traits kSmolLm3 = with(kLlama, [](Traits& t) { t.tied = true; });
constexpr Traits kHunYuan = with(kLlama, [](Traits& t) {
  t.epsilon = 1e-5;
  t.qk_norm = QkNorm::head;
  t.norm_after_rotation = true;
});
constexpr Traits kQwen1 = with(kLlama, [](Traits& t) {
  t.packing = QkvPacking::stacked;
  t.biases.qkv = true;
});
constexpr Traits kOrion = with(kLlama, [](Traits& t) {
  t.norm = NormKind::layer;
  t.norm_bias = true;
  t.epsilon = 1e-5;
});
constexpr Traits kOlmoe = with(kLlama, [](Traits& t) {
  t.epsilon = 1e-5;
  t.qk_norm = QkNorm::all;
});
constexpr Traits kLatent = with(kLlama, [](Traits& t) {
  t.packing = QkvPacking::latent;
  t.interleaved = true;
});
constexpr Traits kGptOss = with(kLlama, [](Traits& t) {
  t.epsilon = 1e-5;
  t.biases.mlp = t.biases.router = true;
});
constexpr Traits kLlama4 = with(kLlama, [](Traits& t) {
  t.epsilon = 1e-5;
  t.interleaved = true;
});
constexpr Traits kDbrx = with(kLlama, [](Traits& t) {
  t.norm = NormKind::layer;
  t.epsilon = 1e-5;
  t.packing = QkvPacking::stacked;
});
constexpr Traits kMiniCpm3 = with(kLlama, [](Traits& t) {
  t.epsilon = 1e-5;
  t.packing = QkvPacking::latent;
  t.tied = true;
});
constexpr Traits kYoutu = with(kLatent, [](Traits& t) { t.tied = true; });
constexpr Traits kGlm4MoeLite = with(kLatent, [](Traits& t) { t.epsilon = 1e-5; });
constexpr Traits kMinistral3 = with(kMixtral, [](Traits& t) { t.tempered = true; });
constexpr Traits kJais2 = with(kOrion, [](Traits& t) {
  t.mlp = MlpKind::plain;
  t.activation = Activation::relu_squared;
});
constexpr Traits kHyperClovaX = with(kLlama, [](Traits& t) { t.residual = Residual::sandwich; });
constexpr Traits kExaoneMoe = with(kExaone, [](Traits& t) { t.qk_norm = QkNorm::head; });
constexpr Traits kAfmoe = with(kExaoneMoe, [](Traits& t) { t.residual = Residual::sandwich; });
constexpr Traits kMiniMaxM2 = with(kLlama, [](Traits& t) { t.qk_norm = QkNorm::all; });
constexpr Traits kGraniteSwa = with(kExaone, [](Traits& t) { t.tied = true; });
constexpr Traits kNanoChat = with(kLlama, [](Traits& t) {
  t.norm_scale = false;
  t.embedding_norm = true;
  t.qk_norm = QkNorm::unit;
  t.norm_after_rotation = true;
  t.mlp = MlpKind::plain;
  t.activation = Activation::relu_squared;
});
constexpr Traits kBitNet = with(kExaone, [](Traits& t) { t.activation = Activation::relu_squared; });
constexpr Traits kFlexOlmo = with(kOlmo2, [](Traits& t) { t.epsilon = 1e-6; });
constexpr Traits kGraniteHybrid = with(kLlama, [](Traits& t) { t.mlp = MlpKind::gated_stacked; });
constexpr Traits kGlm4Moe = with(kLlama, [](Traits& t) {
  t.epsilon = 1e-5;
  t.rotary_fraction = 0.5;
});

// clang-format off
constexpr Family kFamilies[] = {
    {.model_type = "llama|aquila|xverse|Yi", .architecture = "Llama|LLaMA|Aquila|Xverse|Yi", .names = kLlamaNames,
     .traits = kLlama, .refine = refine_llama,
     .unsaid = R"({"vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
                   "num_attention_heads": 32})"},
    {.model_type = "mistral|ministral", .architecture = "Mistral|Ministral", .names = kLlamaNames, .traits = kLlama,
     .defaults = {.kv_heads = 8}, .refine = refine_mistral,
     .unsaid = R"({"vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
                   "num_attention_heads": 32, "max_position_embeddings": 131072})"},
    {.model_type = "mixtral", .architecture = "Mixtral", .names = mixtral_names(), .traits = kMixtral,
     .defaults = {.kv_heads = 8, .rope_base = 1e6, .experts = 8, .top_k = 2}, .refine = refine_mixtral},
    {.model_type = "qwen2", .architecture = "Qwen2", .names = kLlamaNames, .traits = kQwen2, .refine = refine_qwen},
    {.model_type = "qwen2_vl|qwen2_vl_text|qwen2_5_vl|qwen2_5_vl_text", .architecture = "Qwen2VL|Qwen2_5_VL",
     .names = kLlamaNames, .traits = kQwen2, .defaults = {.kv_heads = 8, .rope_base = 1e6}, .refine = refine_qwen_vl,
     .unsaid = R"({"vocab_size": 152064, "hidden_size": 8192, "intermediate_size": 29568, "num_hidden_layers": 80,
                   "num_attention_heads": 64, "max_position_embeddings": 32768})"},
    {.model_type = "qwen2_moe", .architecture = "Qwen2Moe", .names = qwen_moe_names(), .traits = kQwen2,
     .defaults = {.kv_heads = 16, .experts = 60, .top_k = 4, .expert_intermediate = 1408, .shared_intermediate = 5632},
     .refine = refine_qwen_moe},
    {.model_type = "qwen3", .architecture = "Qwen3", .names = kLlamaNames, .traits = kQwen3,
     .defaults = {.head_dim = 128}, .refine = refine_qwen},
    {.model_type = "qwen3_moe", .architecture = "Qwen3Moe", .names = qwen_moe_names(), .traits = kQwen3,
     .defaults = {.kv_heads = 4, .experts = 128, .top_k = 8, .expert_intermediate = 768}, .refine = refine_qwen_moe},
    {.model_type = "qwen3_vl_text", .architecture = "Qwen3VL", .names = kLlamaNames, .traits = kQwen3,
     .defaults = {.kv_heads = 32, .head_dim = 128, .rope_base = 5e6}, .refine = refine_qwen,
     .unsaid = R"({"vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 22016, "num_hidden_layers": 32,
                   "num_attention_heads": 32, "max_position_embeddings": 128000})"},
    {.model_type = "qwen3_vl_moe_text", .architecture = "Qwen3VLMoe", .names = qwen_vl_moe_names(), .traits = kQwen3,
     .defaults = {.kv_heads = 16, .rope_base = 5e6, .experts = 60, .top_k = 4, .expert_intermediate = 1408},
     .refine = refine_qwen_vl_moe,
     .unsaid = R"({"vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 24,
                   "num_attention_heads": 16, "max_position_embeddings": 128000})"},
    {.model_type = "phimoe", .architecture = "PhiMoE|Phimoe", .names = mixtral_names(), .traits = kOrion,
     .defaults = {.kv_heads = 8, .rope_base = 1e6, .experts = 16, .top_k = 2}, .refine = refine_phimoe},
    {.model_type = "phi3", .architecture = "Phi3", .names = phi3_names(), .traits = kPhi3, .refine = refine_phi3},
    {.model_type = "gemma", .architecture = "Gemma", .names = kLlamaNames, .traits = kGemma,
     .defaults = {.kv_heads = 16, .head_dim = 256}, .refine = refine_gemma},
    {.model_type = "gemma2", .architecture = "Gemma2", .names = gemma2_names(), .fields = gemma2_fields(),
     .traits = kGemma2,
     .defaults = {.kv_heads = 4, .head_dim = 256, .attention_softcap = 50, .logit_softcap = 30},
     .refine = refine_gemma2},
    {.model_type = "vaultgemma", .architecture = "VaultGemma", .names = vaultgemma_names(), .fields = gemma2_fields(),
     .traits = kGemma,
     .defaults = {.kv_heads = 4, .head_dim = 256, .attention_softcap = 50, .logit_softcap = 30},
     .refine = refine_gemma2},
    {.model_type = "gemma3_text", .architecture = "Gemma3", .names = gemma2_names(), .fields = gemma2_fields(),
     .traits = kGemma3, .defaults = {.kv_heads = 4, .head_dim = 256, .rope_base = 1e6}, .refine = refine_gemma3,
     .unsaid = R"({"vocab_size": 262208, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
                   "num_attention_heads": 8, "max_position_embeddings": 131072})"},
    {.model_type = "stablelm_epoch", .architecture = "StableLMEpoch", .names = kLlamaNames,
     .fields = kOldStableLmFields, .traits = kStableLm, .refine = refine_stablelm},
    {.model_type = "stablelm", .architecture = "StableLm|StableLM", .names = stablelm_names(),
     .fields = layer_norm_fields("layer_norm_eps"), .traits = kStableLm, .refine = refine_stablelm},
    {.model_type = "internlm", .architecture = "InternLM", .names = kLlamaNames, .traits = kLlama,
     .refine = refine_internlm},
    {.model_type = "internlm2", .architecture = "InternLM2", .names = kInternLm2Names, .traits = kInternLm2,
     .refine = refine_internlm},
    {.model_type = "baichuan", .architecture = "Baichuan|BaiChuan", .names = baichuan_names(), .traits = kBaichuan,
     .refine = refine_baichuan},
    {.model_type = "glm", .architecture = "Glm", .names = glm_names(), .traits = kGlm,
     .defaults = {.kv_heads = 2, .head_dim = 128}, .refine = refine_glm},
    {.model_type = "glm4", .architecture = "Glm4", .names = glm4_names(), .traits = kGlm4,
     .defaults = {.kv_heads = 2, .head_dim = 128}, .refine = refine_glm},
    {.model_type = "cohere", .architecture = "Cohere", .names = kLlamaNames,
     .fields = layer_norm_fields("layer_norm_eps"), .traits = kCohere, .refine = refine_cohere},
    {.model_type = "cohere2", .architecture = "Cohere2", .names = kLlamaNames,
     .fields = layer_norm_fields("layer_norm_eps"), .traits = kCohere, .refine = refine_cohere2},
    {.model_type = "olmo", .architecture = "Olmo", .names = kLlamaNames, .fields = layer_norm_fields({}),
     .traits = kOlmo, .refine = refine_olmo},
    {.model_type = "olmo2", .architecture = "Olmo2", .names = olmo2_names(), .traits = kOlmo2,
     .refine = refine_llama},
    {.model_type = "olmo3", .architecture = "Olmo3", .names = olmo2_names(), .traits = kOlmo2,
     .refine = refine_olmo3},
    {.model_type = "olmoe", .architecture = "Olmoe", .names = qwen_moe_names(), .traits = kOlmoe,
     .defaults = {.experts = 64, .top_k = 8}, .refine = refine_olmoe},
    {.model_type = "granitemoe", .architecture = "GraniteMoe", .names = granitemoe_names(), .traits = kLlama,
     .defaults = {.experts = 8, .top_k = 2}, .refine = refine_granitemoe},
    {.model_type = "granitemoeshared", .architecture = "GraniteMoeShared", .names = granitemoe_names(),
     .traits = kLlama, .defaults = {.experts = 8, .top_k = 2}, .refine = refine_granitemoe},
    {.model_type = "granitemoehybrid", .architecture = "GraniteMoeHybrid", .names = granite_hybrid_names(),
     .traits = kGraniteHybrid, .defaults = {.experts = 8, .top_k = 2}, .refine = refine_granite_hybrid},
    {.model_type = "gpt_oss", .architecture = "GptOss", .names = gpt_oss_names(), .traits = kGptOss,
     .defaults = {.kv_heads = 8, .head_dim = 64, .rope_base = 150000, .experts = 128, .top_k = 4},
     .refine = refine_gpt_oss},
    {.model_type = "llama4_text", .architecture = "Llama4", .names = llama4_names(), .traits = kLlama4,
     .defaults = {.kv_heads = 8, .head_dim = 128, .rope_base = 5e5, .experts = 16, .top_k = 1},
     .refine = refine_llama4,
     .unsaid = R"({"vocab_size": 202048, "hidden_size": 5120, "num_hidden_layers": 48, "num_attention_heads": 40,
                   "max_position_embeddings": 131072})"},
    {.model_type = "dbrx", .architecture = "Dbrx", .names = kDbrxNames, .fields = kDbrxFields, .traits = kDbrx,
     .refine = refine_dbrx},
    {.model_type = "flex_olmo", .architecture = "FlexOlmo", .names = flex_olmo_names(), .traits = kFlexOlmo,
     .defaults = {.rope_base = 5e5, .experts = 7, .top_k = 5}, .refine = refine_olmoe},
    {.model_type = "granite", .architecture = "Granite", .names = kLlamaNames, .traits = kLlama,
     .refine = refine_granite},
    {.model_type = "glm4_moe", .architecture = "Glm4Moe", .names = deepseek_names(), .traits = kGlm4Moe,
     .defaults = {.kv_heads = 8, .experts = 128, .top_k = 8, .expert_intermediate = 1408}, .refine = refine_glm4_moe},
    {.model_type = "glm4_moe_lite", .architecture = "Glm4MoeLite", .names = deepseek_names(), .traits = kGlm4MoeLite,
     .defaults = {.experts = 64, .top_k = 4, .expert_intermediate = 1536}, .refine = refine_glm4_moe_lite},
    {.model_type = "solar_open", .architecture = "SolarOpen", .names = deepseek_names(), .traits = kExaone,
     .defaults = {.kv_heads = 8, .head_dim = 128, .rope_base = 1e6, .experts = 128, .top_k = 8,
                  .expert_intermediate = 1280},
     .refine = refine_solar_open},
    {.model_type = "exaone_moe", .architecture = "ExaoneMoe|ExaoneMoE", .names = exaone_moe_names(),
     .traits = kExaoneMoe, .defaults = {.experts = 64, .top_k = 8, .expert_intermediate = 1024},
     .refine = refine_exaone_moe},
    {.model_type = "hy_v3", .architecture = "HYV3", .names = hy_v3_names(), .traits = kExaoneMoe,
     .defaults = {.kv_heads = 8, .head_dim = 128, .rope_base = 11158840, .experts = 192, .top_k = 8,
                  .expert_intermediate = 1536},
     .refine = refine_hy_v3},
    {.model_type = "afmoe", .architecture = "Afmoe", .names = afmoe_names(), .traits = kAfmoe,
     .defaults = {.head_dim = 128, .experts = 64, .top_k = 6, .expert_intermediate = 1408}, .refine = refine_afmoe},
    {.model_type = "minimax_m2", .architecture = "MiniMaxM2", .names = minimax_m2_names(), .traits = kMiniMaxM2,
     .defaults = {.kv_heads = 8, .head_dim = 128, .rope_base = 5e6, .experts = 256, .top_k = 8},
     .refine = refine_minimax_m2},
    {.model_type = "youtu", .architecture = "Youtu", .names = deepseek_names(), .traits = kYoutu,
     .refine = refine_youtu},
    {.model_type = "minicpm3", .architecture = "MiniCPM3", .names = deepseek_names(), .traits = kMiniCpm3,
     .refine = refine_minicpm3},
    {.model_type = "ministral3", .architecture = "Ministral3", .names = kLlamaNames, .traits = kMinistral3,
     .defaults = {.kv_heads = 8, .head_dim = 128, .rope_base = 1e6}, .refine = refine_ministral3},
    {.model_type = "cwm", .architecture = "Cwm", .names = kLlamaNames, .traits = kExaone,
     .defaults = {.kv_heads = 8, .head_dim = 128, .rope_base = 1e6}, .refine = refine_cwm},
    {.model_type = "modernbert-decoder", .architecture = "ModernBertDecoder", .names = kModernBertNames,
     .fields = kModernBertFields, .traits = kModernBert, .defaults = {.rope_base = 160000},
     .refine = refine_modernbert_decoder},
    {.model_type = "jais2", .architecture = "Jais2", .names = kLlamaNames,
     .fields = layer_norm_fields("layer_norm_eps"), .traits = kJais2, .refine = refine_jais2},
    {.model_type = "iquestcoder", .architecture = "IQuestCoder", .names = kLlamaNames, .traits = kExaone,
     .defaults = {.kv_heads = 8, .head_dim = 128}, .refine = refine_iquestcoder},
    {.model_type = "hyperclovax", .architecture = "HyperCLOVAX", .names = hyperclovax_names(),
     .traits = kHyperClovaX, .refine = refine_hyperclovax},
    {.model_type = "granite_swa", .architecture = "GraniteSWA", .names = granite_swa_names(), .traits = kGraniteSwa,
     .defaults = {.kv_heads = 4}, .refine = refine_granite_swa},
    {.model_type = "granitemoe_swa", .architecture = "GraniteMoeSWA", .names = granitemoe_swa_names(),
     .traits = kLlama, .defaults = {.experts = 8, .top_k = 2}, .refine = refine_granitemoe_swa},
    {.model_type = "nanochat", .architecture = "NanoChat", .names = nanochat_names(), .traits = kNanoChat,
     .defaults = {.logit_softcap = 15},
     .refine = refine_nanochat},
    {.model_type = "bitnet", .architecture = "BitNet", .names = bitnet_names(), .traits = kBitNet,
     .defaults = {.kv_heads = 5, .rope_base = 5e5}, .refine = refine_bitnet},
    {.model_type = "ctrl", .architecture = "CTRL", .names = kCtrlNames, .fields = kCtrlFields, .traits = kCtrl,
     .refine = refine_ctrl},
    {.model_type = "apertus", .architecture = "Apertus", .names = apertus_names(), .traits = kApertus,
     .defaults = {.rope_base = 1.2e7}, .refine = refine_llama},
    {.model_type = "arcee", .architecture = "Arcee", .names = kLlamaNames, .traits = kArcee, .refine = refine_llama},
    {.model_type = "nemotron", .architecture = "Nemotron", .names = kLlamaNames,
     .fields = layer_norm_fields("norm_eps"), .traits = kNemotron, .refine = refine_llama},
    {.model_type = "ernie4_5", .architecture = "Ernie4_5", .names = kLlamaNames, .traits = kErnie,
     .defaults = {.kv_heads = 2, .head_dim = 128, .rope_base = 5e5}, .refine = refine_ernie},
    {.model_type = "ernie4_5_moe", .architecture = "Ernie4_5_Moe", .names = ernie_moe_names(), .traits = kErnie,
     .defaults = {.kv_heads = 4, .rope_base = 5e5}, .refine = refine_ernie_moe},
    {.model_type = "exaone", .architecture = "Exaone", .names = exaone_names(), .fields = kExaoneFields,
     .traits = kExaone, .refine = refine_exaone},
    {.model_type = "exaone4", .architecture = "Exaone4", .names = olmo2_names(), .traits = kExaone4,
     .refine = refine_exaone4},
    {.model_type = "helium", .architecture = "Helium", .names = kLlamaNames, .traits = kHelium,
     .defaults = {.kv_heads = 20, .head_dim = 128, .rope_base = 1e5}, .refine = refine_helium},
    {.model_type = "seed_oss", .architecture = "SeedOss", .names = kLlamaNames, .traits = kLlama,
     .defaults = {.kv_heads = 8, .head_dim = 128}, .refine = refine_seed_oss},
    {.model_type = "smollm3", .architecture = "SmolLM3", .names = kLlamaNames, .traits = kSmolLm3,
     .defaults = {.kv_heads = 4, .rope_base = 2e6}, .refine = refine_smollm3},
    {.model_type = "hunyuan_v1_dense", .architecture = "HunYuanDenseV1", .names = hunyuan_names(), .traits = kHunYuan,
     .refine = refine_hunyuan},
    {.model_type = "hunyuan_v1_moe", .architecture = "HunYuanMoEV1", .names = hunyuan_moe_names(),
     .traits = kHunYuan, .refine = refine_hunyuan_moe},
    {.model_type = "minicpm", .architecture = "MiniCPM", .names = kLlamaNames, .traits = kSmolLm3,
     .refine = refine_minicpm},
    {.model_type = "internlm3", .architecture = "InternLM3", .names = kLlamaNames, .traits = kLlama,
     .refine = refine_internlm3},
    {.model_type = "orion", .architecture = "Orion", .names = kLlamaNames, .traits = kOrion, .refine = refine_llama},
    {.model_type = "qwen", .architecture = "QWen", .names = qwen1_names(), .fields = kQwen1Fields, .traits = kQwen1,
     .refine = refine_qwen1},
    {.model_type = "deepseek", .architecture = "Deepseek", .names = deepseek_names(), .traits = kLlama,
     .defaults = {.expert_intermediate = 1407}, .refine = refine_deepseek},
    {.model_type = "deepseek_v2", .architecture = "DeepseekV2", .names = deepseek_names(), .traits = kLatent,
     .defaults = {.experts = 64, .expert_intermediate = 1407}, .refine = refine_deepseek_v2},
    {.model_type = "deepseek_v3|kimi_k2", .architecture = "DeepseekV3", .names = deepseek_names(), .traits = kLatent,
     .defaults = {.experts = 256, .top_k = 8, .expert_intermediate = 2048}, .refine = refine_deepseek_v3},
    {.model_type = "dots1", .architecture = "Dots1", .names = deepseek_names(), .traits = kQwen3,
     .defaults = {.kv_heads = 32, .expert_intermediate = 1408}, .refine = refine_dots1},
    {.model_type = "chatglm", .architecture = "ChatGLM", .if_field = "position_encoding_2d|inner_hidden_size",
     .names = kChatGlmNames, .fields = kChatGlmFields, .traits = kChatGlm, .refine = refine_chatglm},
    {.model_type = "chatglm", .architecture = "ChatGLM", .if_field = "multi_query_attention|kv_channels",
     .names = kChatGlm2Names, .fields = kChatGlm2Fields, .traits = kChatGlm2, .refine = refine_chatglm2},
    {.model_type = "bloom", .architecture = "Bloom", .names = kBloomNames, .fields = kBloomFields, .traits = kBloom,
     .refine = refine_bloom},
    {.model_type = "falcon|RefinedWebModel|RefinedWeb", .architecture = "Falcon|RW", .names = kBloomNames,
     .fields = kFalconFields, .traits = kFalcon, .refine = refine_falcon},
    {.model_type = "gpt2", .architecture = "GPT2", .names = kGpt2Names, .fields = kGpt2Fields, .traits = kGpt2,
     .refine = refine_gpt2},
    {.model_type = "jais", .architecture = "JAIS", .names = jais_names(), .fields = jais_fields(), .traits = kGpt2,
     .refine = refine_jais},
    {.model_type = "gpt_bigcode", .architecture = "GPTBigCode", .names = kGpt2Names, .fields = kGpt2Fields,
     .traits = kGptBigCode, .refine = refine_gpt_bigcode},
    {.model_type = "gpt_neo", .architecture = "GPTNeo", .names = gpt_neo_names(), .fields = kGptNeoFields,
     .traits = kGptNeo, .refine = refine_gpt_neo},
    {.model_type = "gptj", .architecture = "GPTJ", .names = gptj_names(), .fields = kGpt2Fields, .traits = kGptj,
     .refine = refine_gptj},
    {.model_type = "codegen", .architecture = "CodeGen", .names = codegen_names(), .fields = kGpt2Fields,
     .traits = kCodeGen, .refine = refine_codegen},
    {.model_type = "openai-gpt", .architecture = "OpenAIGPT", .names = gpt1_names(), .fields = gpt1_fields(),
     .traits = kGpt1, .refine = refine_gpt1},
    {.model_type = "mpt", .architecture = "Mpt|MPT", .names = kMptNames, .fields = kMptFields, .traits = kMpt,
     .refine = refine_mpt},
    {.model_type = "xglm", .architecture = "XGLM", .names = xglm_names(), .fields = kXglmFields, .traits = kXglm,
     .refine = refine_xglm},
    {.model_type = "biogpt", .architecture = "BioGpt", .names = biogpt_names(), .fields = kBioGptFields,
     .traits = kBioGpt, .refine = refine_biogpt},
    {.model_type = "persimmon", .architecture = "Persimmon", .names = persimmon_names(),
     .fields = layer_norm_fields("layer_norm_eps"), .traits = kPersimmon, .defaults = {.rope_base = 25000},
     .refine = refine_persimmon},
    {.model_type = "gpt_neox", .architecture = "GPTNeoX", .names = kGptNeoxNames, .fields = kGptNeoxFields,
     .traits = kGptNeox, .refine = refine_gpt_neox},
    {.model_type = "opt", .architecture = "OPT", .names = kOptNames, .fields = kOptFields, .traits = kOpt,
     .refine = refine_opt},
    {.model_type = "phi", .architecture = "Phi", .names = phi_names(), .fields = layer_norm_fields("layer_norm_eps"),
     .traits = kPhi, .refine = refine_phi},
    {.model_type = "starcoder2", .architecture = "Starcoder2", .names = starcoder2_names(),
     .fields = layer_norm_fields("norm_epsilon"), .traits = kStarcoder2, .defaults = {.kv_heads = 2},
     .refine = refine_starcoder2},
};
// clang-format on

}  // namespace

std::span<const Family> families() { return kFamilies; }

}  // namespace lathe::checkpoint
