// What the fields of a config.json change in a family beyond the sizes that all families share. One function per
// family or line of families, named in its row of the table.
#pragma once

#include "checkpoint/fields.h"
#include "checkpoint/model_config.h"

namespace lathe::checkpoint {

void refine_llama(const Fields& fields, ModelConfig& config);
void refine_mistral(const Fields& fields, ModelConfig& config);
void refine_ministral3(const Fields& fields, ModelConfig& config);
void refine_mixtral(const Fields& fields, ModelConfig& config);
void refine_qwen(const Fields& fields, ModelConfig& config);
void refine_qwen_vl(const Fields& fields, ModelConfig& config);
void refine_qwen_moe(const Fields& fields, ModelConfig& config);
void refine_phi3(const Fields& fields, ModelConfig& config);
void refine_gemma(const Fields& fields, ModelConfig& config);
void refine_gemma2(const Fields& fields, ModelConfig& config);
void refine_gemma3(const Fields& fields, ModelConfig& config);
void refine_stablelm(const Fields& fields, ModelConfig& config);
void refine_internlm(const Fields& fields, ModelConfig& config);
void refine_baichuan(const Fields& fields, ModelConfig& config);
void refine_glm(const Fields& fields, ModelConfig& config);
void refine_cohere(const Fields& fields, ModelConfig& config);
void refine_olmo(const Fields& fields, ModelConfig& config);
void refine_granite(const Fields& fields, ModelConfig& config);
void refine_chatglm(const Fields& fields, ModelConfig& config);
void refine_chatglm2(const Fields& fields, ModelConfig& config);
void refine_ernie(const Fields& fields, ModelConfig& config);
void refine_exaone4(const Fields& fields, ModelConfig& config);
void refine_cohere2(const Fields& fields, ModelConfig& config);
void refine_helium(const Fields& fields, ModelConfig& config);
void refine_olmo3(const Fields& fields, ModelConfig& config);
void refine_seed_oss(const Fields& fields, ModelConfig& config);
void refine_smollm3(const Fields& fields, ModelConfig& config);
void refine_hunyuan(const Fields& fields, ModelConfig& config);
void refine_qwen1(const Fields& fields, ModelConfig& config);
void refine_exaone(const Fields& fields, ModelConfig& config);
void refine_minicpm(const Fields& fields, ModelConfig& config);
void refine_internlm3(const Fields& fields, ModelConfig& config);
void refine_cwm(const Fields& fields, ModelConfig& config);
void refine_jais2(const Fields& fields, ModelConfig& config);
void refine_iquestcoder(const Fields& fields, ModelConfig& config);
void refine_hyperclovax(const Fields& fields, ModelConfig& config);
void refine_granite_swa(const Fields& fields, ModelConfig& config);
void refine_nanochat(const Fields& fields, ModelConfig& config);
void refine_bitnet(const Fields& fields, ModelConfig& config);
void refine_olmoe(const Fields& fields, ModelConfig& config);
void refine_granitemoe(const Fields& fields, ModelConfig& config);
void refine_phimoe(const Fields& fields, ModelConfig& config);
void refine_deepseek(const Fields& fields, ModelConfig& config);
void refine_deepseek_v2(const Fields& fields, ModelConfig& config);
void refine_deepseek_v3(const Fields& fields, ModelConfig& config);
void refine_glm4_moe(const Fields& fields, ModelConfig& config);
void refine_dots1(const Fields& fields, ModelConfig& config);
void refine_ernie_moe(const Fields& fields, ModelConfig& config);
void refine_glm4_moe_lite(const Fields& fields, ModelConfig& config);
void refine_solar_open(const Fields& fields, ModelConfig& config);
void refine_exaone_moe(const Fields& fields, ModelConfig& config);
void refine_hy_v3(const Fields& fields, ModelConfig& config);
void refine_afmoe(const Fields& fields, ModelConfig& config);
void refine_minimax_m2(const Fields& fields, ModelConfig& config);
void refine_granitemoe_swa(const Fields& fields, ModelConfig& config);
void refine_youtu(const Fields& fields, ModelConfig& config);
void refine_minicpm3(const Fields& fields, ModelConfig& config);

void refine_qwen_vl_moe(const Fields& fields, ModelConfig& config);
void refine_gpt_oss(const Fields& fields, ModelConfig& config);
void refine_llama4(const Fields& fields, ModelConfig& config);
void refine_dbrx(const Fields& fields, ModelConfig& config);
void refine_hunyuan_moe(const Fields& fields, ModelConfig& config);
void refine_granite_hybrid(const Fields& fields, ModelConfig& config);

void refine_bloom(const Fields& fields, ModelConfig& config);
void refine_falcon(const Fields& fields, ModelConfig& config);
void refine_gpt2(const Fields& fields, ModelConfig& config);
void refine_gpt_bigcode(const Fields& fields, ModelConfig& config);
void refine_gpt_neo(const Fields& fields, ModelConfig& config);
void refine_gptj(const Fields& fields, ModelConfig& config);
void refine_gpt_neox(const Fields& fields, ModelConfig& config);
void refine_opt(const Fields& fields, ModelConfig& config);
void refine_phi(const Fields& fields, ModelConfig& config);
void refine_starcoder2(const Fields& fields, ModelConfig& config);
void refine_codegen(const Fields& fields, ModelConfig& config);
void refine_mpt(const Fields& fields, ModelConfig& config);
void refine_ctrl(const Fields& fields, ModelConfig& config);
void refine_persimmon(const Fields& fields, ModelConfig& config);
void refine_xglm(const Fields& fields, ModelConfig& config);
void refine_biogpt(const Fields& fields, ModelConfig& config);
void refine_jais(const Fields& fields, ModelConfig& config);
void refine_gpt1(const Fields& fields, ModelConfig& config);
void refine_modernbert_decoder(const Fields& fields, ModelConfig& config);

}  // namespace lathe::checkpoint
