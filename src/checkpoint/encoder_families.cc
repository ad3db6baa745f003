#include "checkpoint/encoder_families.h"

#include <array>
#include <utility>

#include "base/error.h"
#include "checkpoint/encoder_fields.h"
#include "checkpoint/spellings.h"

namespace lathe::checkpoint {
namespace {

constexpr Traits kBertTraits{.norm = NormKind::layer,
                             .norm_bias = true,
                             .epsilon = 1e-12,
                             .embedding_norm = true,
                             .final_norm = false,
                             .residual = Residual::post_norm,
                             .positions = Positions::learned,
                             .mlp = MlpKind::plain,
                             .activation = Activation::gelu_erf,
                             .biases = {.qkv = true, .attention_out = true, .mlp = true},
                             .tied = true};

constexpr Traits pre_norm(bool embedding_norm) {
  Traits traits = kBertTraits;
  traits.residual = Residual::sequential;
  traits.embedding_norm = embedding_norm;
  traits.final_norm = true;
  return traits;
}

constexpr FieldNames kBertFields{
    .kv_heads = {}, .head_dim = {}, .epsilon = "layer_norm_eps", .rotary_fraction = {}, .rope_base = {}};

constexpr Names kBertNames{.root = "bert.",
                           .embedding = "embeddings.word_embeddings",
                           .embedding_norm = "embeddings.LayerNorm",
                           .positions = "embeddings.position_embeddings",
                           .layers = "encoder.layer.",
                           .norm1 = "attention.output.LayerNorm",
                           .norm2 = "output.LayerNorm",
                           .q = "attention.self.query",
                           .k = "attention.self.key",
                           .v = "attention.self.value",
                           .attention_out = "attention.output.dense",
                           .up = "intermediate.dense",
                           .down = "output.dense",
                           .buffers = "embeddings.position_ids|embeddings.token_type_ids"};

constexpr Names bert_names(std::string_view root) {
  Names names = kBertNames;
  names.root = root;
  return names;
}

constexpr Names kAlbertNames{.root = "albert.",
                             .embedding = "embeddings.word_embeddings",
                             .embedding_norm = "embeddings.LayerNorm",
                             .positions = "embeddings.position_embeddings",
                             .layers = "encoder.albert_layer_groups.0.albert_layers.",
                             .norm1 = "attention.LayerNorm",
                             .norm2 = "full_layer_layer_norm",
                             .q = "attention.query",
                             .k = "attention.key",
                             .v = "attention.value",
                             .attention_out = "attention.dense",
                             .up = "ffn",
                             .down = "ffn_output",
                             .buffers = "embeddings.position_ids|embeddings.token_type_ids"};

constexpr Names kDistilBertNames{.root = "distilbert.",
                                 .embedding = "embeddings.word_embeddings",
                                 .embedding_norm = "embeddings.LayerNorm",
                                 .positions = "embeddings.position_embeddings",
                                 .layers = "transformer.layer.",
                                 .norm1 = "sa_layer_norm",
                                 .norm2 = "output_layer_norm",
                                 .q = "attention.q_lin",
                                 .k = "attention.k_lin",
                                 .v = "attention.v_lin",
                                 .attention_out = "attention.out_lin",
                                 .up = "ffn.lin1",
                                 .down = "ffn.lin2",
                                 .buffers = "embeddings.position_ids"};

constexpr EncoderFamily bert() {
  return {.model_type = "bert",
          .names = kBertNames,
          .traits = kBertTraits,
          .fields = kBertFields,
          .token_types = "embeddings.token_type_embeddings",
          .pooler = "pooler.dense",
          .masked_lm = {.dense = "cls.predictions.transform.dense",
                        .norm = "cls.predictions.transform.LayerNorm",
                        .decoder = "cls.predictions.decoder",
                        .bias = "cls.predictions.bias"},
          .text = {.output = "classifier"},
          .tokens = {.output = "classifier"},
          .pooled_text = true};
}
constexpr EncoderFamily ernie() {
  EncoderFamily family = bert();
  family.model_type = "ernie";
  family.names = bert_names("ernie.");
  family.task_types = "embeddings.task_type_embeddings";
  return family;
}
constexpr EncoderFamily albert() {
  EncoderFamily family = bert();
  family.model_type = "albert";
  family.names = kAlbertNames;
  family.pooler = "pooler";
  family.projection = "encoder.embedding_hidden_mapping_in";
  family.masked_lm = {.dense = "predictions.dense",
                      .norm = "predictions.LayerNorm",
                      .decoder = "predictions.decoder",
                      .bias = "predictions.bias"};
  family.shared_layer = true;
  return family;
}
constexpr EncoderFamily electra() {
  EncoderFamily family = bert();
  family.model_type = "electra";
  family.names = bert_names("electra.");
  family.pooler = {};
  family.projection = "embeddings_project";
  family.masked_lm = {.dense = "generator_predictions.dense",
                      .norm = "generator_predictions.LayerNorm",
                      .decoder = "generator_lm_head",
                      .bias = "generator_lm_head.bias"};
  family.text = {.dense = "classifier.dense", .output = "classifier.out_proj"};
  family.text_activation = Activation::gelu_erf;
  family.pooled_text = false;
  family.discriminates = true;
  return family;
}
constexpr EncoderFamily big_bird() {
  EncoderFamily family = bert();
  family.model_type = "big_bird";
  family.pooler = "pooler";
  family.text = {.dense = "classifier.dense", .output = "classifier.out_proj"};
  family.text_activation = Activation::gelu_tanh;
  family.pooled_text = false;
  family.spans = {};  // a head of its own
  family.refine = expect_full_attention;
  return family;
}
constexpr EncoderFamily roberta(std::string_view model_type, std::string_view root) {
  return {.model_type = model_type,
          .names = bert_names(root),
          .traits = kBertTraits,
          .fields = kBertFields,
          .token_types = "embeddings.token_type_embeddings",
          .pooler = "pooler.dense",
          .masked_lm = {.dense = "lm_head.dense",
                        .norm = "lm_head.layer_norm",
                        .decoder = "lm_head.decoder",
                        .bias = "lm_head.bias"},
          .text = {.dense = "classifier.dense", .output = "classifier.out_proj"},
          .tokens = {.output = "classifier"},
          .padded_positions = true};
}

constexpr EncoderFamily roberta_prelayernorm() {
  EncoderFamily family = roberta("roberta-prelayernorm", "roberta_prelayernorm.");
  family.traits = pre_norm(true);
  family.names.norm1 = "attention.LayerNorm";
  family.names.norm2 = "intermediate.LayerNorm";
  family.names.final_norm = "LayerNorm";
  return family;
}
constexpr EncoderFamily xlm_roberta_xl() {
  EncoderFamily family = roberta("xlm-roberta-xl", "roberta.");
  family.traits = pre_norm(false);
  family.names.norm1 = "attention.self_attn_layer_norm";
  family.names.norm2 = "LayerNorm";
  family.names.final_norm = "encoder.LayerNorm";
  return family;
}
constexpr EncoderFamily megatron_bert() {
  EncoderFamily family = bert();
  family.model_type = "megatron-bert";
  family.traits = pre_norm(false);
  family.names.norm1 = "attention.ln";
  family.names.norm2 = "ln";
  family.names.final_norm = "encoder.ln";
  return family;
}
constexpr EncoderFamily mpnet() {
  EncoderFamily family = roberta("mpnet", "mpnet.");
  family.names.norm1 = "attention.LayerNorm";
  family.names.q = "attention.attn.q";
  family.names.k = "attention.attn.k";
  family.names.v = "attention.attn.v";
  family.names.attention_out = "attention.attn.o";
  family.token_types = {};
  family.relative_biases = "encoder.relative_attention_bias";
  family.refine = read_mpnet;
  return family;
}
constexpr EncoderFamily deberta_v2() {
  EncoderFamily family = bert();
  family.model_type = "deberta-v2";
  family.names = bert_names("deberta.");
  family.names.q = "attention.self.query_proj";
  family.names.k = "attention.self.key_proj";
  family.names.v = "attention.self.value_proj";
  family.traits.epsilon = 1e-7;
  family.pooler = {};
  family.disentangled = {.table = "encoder.rel_embeddings",
                         .norm = "encoder.LayerNorm",
                         .key = "attention.self.pos_key_proj",
                         .query = "attention.self.pos_query_proj"};
  family.text = {.dense = "pooler.dense", .output = "classifier"};
  family.text_activation = Activation::gelu_erf;
  family.pooled_text = false;
  family.refine = read_deberta_v2;
  return family;
}
constexpr EncoderFamily deberta() {
  EncoderFamily family = deberta_v2();
  family.model_type = "deberta";
  family.names.qkv = "attention.self.in_proj";
  family.names.q = family.names.k = family.names.v = {};
  family.traits.packing = QkvPacking::per_head;
  family.query_bias = "attention.self.q_bias";
  family.value_bias = "attention.self.v_bias";
  family.disentangled = {.table = "encoder.rel_embeddings",
                         .key = "attention.self.pos_proj",
                         .query = "attention.self.pos_q_proj",
                         .key_bias = false};
  family.refine = read_deberta;
  return family;
}

constexpr EncoderFamily modernbert() {
  const EncoderHead head{.dense = "head.dense", .norm = "head.norm", .output = "classifier"};
  EncoderFamily family{
      .model_type = "modernbert",
      .names = {.root = "model.",
                .embedding = "embeddings.tok_embeddings",
                .embedding_norm = "embeddings.norm",
                .layers = "layers.",
                .norm1 = "attn_norm",
                .norm2 = "mlp_norm",
                .qkv = "attn.Wqkv",
                .attention_out = "attn.Wo",
                .up = "mlp.Wi",
                .down = "mlp.Wo",
                .final_norm = "final_norm"},
      .traits = pre_norm(true),
      .fields = {.kv_heads = {},
                 .head_dim = {},
                 .epsilon = "norm_eps",
                 .activation = "hidden_activation",
                 .rope_base = "global_rope_theta"},
      .rope_base = 160000,
      .local_rope_base = "local_rope_theta",
      .masked_lm = {.dense = "head.dense", .norm = "head.norm", .decoder = "decoder", .bias = "decoder.bias"},
      .text = head,
      .tokens = head,
      .spans = head,
      .text_activation = Activation::gelu_erf,
      .refine = read_modernbert};
  family.traits.epsilon = 1e-5;
  family.traits.unnormed_start = true;
  family.traits.positions = Positions::rotary;
  family.traits.packing = QkvPacking::stacked;
  family.traits.mlp = MlpKind::gated_stacked;
  return family;
}
constexpr EncoderFamily eurobert() {
  EncoderFamily family{.model_type = "eurobert",
                       .names = {.root = "model.",
                                 .embedding = "embed_tokens",
                                 .layers = "layers.",
                                 .norm1 = "input_layernorm",
                                 .norm2 = "post_attention_layernorm",
                                 .q = "self_attn.q_proj",
                                 .k = "self_attn.k_proj",
                                 .v = "self_attn.v_proj",
                                 .attention_out = "self_attn.o_proj",
                                 .gate = "mlp.gate_proj",
                                 .up = "mlp.up_proj",
                                 .down = "mlp.down_proj",
                                 .final_norm = "norm"},
                       .masked_lm = {.decoder = "lm_head", .bias = "lm_head.bias"},
                       .text = {.dense = "dense", .output = "classifier"},
                       .tokens = {.output = "classifier"},
                       .spans = {},
                       .text_activation = Activation::gelu_erf,
                       .refine = read_eurobert};
  family.traits.epsilon = 1e-5;  // all else is LLaMA's
  return family;
}
constexpr EncoderFamily nomic_bert() {
  EncoderFamily family = bert();
  family.model_type = "nomic_bert";
  family.names = {.root = "nomic_bert.",
                  .embedding = "embeddings.word_embeddings",
                  .embedding_norm = "emb_ln",
                  .layers = "encoder.layers.",
                  .norm1 = "norm1",
                  .norm2 = "norm2",
                  .qkv = "attn.Wqkv",
                  .attention_out = "attn.out_proj",
                  .gate = "mlp.fc12",
                  .up = "mlp.fc11",
                  .down = "mlp.fc2"};
  family.traits.positions = Positions::rotary;
  family.traits.packing = QkvPacking::stacked;
  family.traits.mlp = MlpKind::gated;
  family.traits.activation = Activation::silu;
  family.traits.biases = {};
  family.fields = {.hidden = "hidden_size|n_embd",
                   .layers = "num_hidden_layers|n_layer",
                   .heads = "num_attention_heads|n_head",
                   .kv_heads = {},
                   .intermediate = "intermediate_size|n_inner",
                   .positions = "max_position_embeddings|n_positions",
                   .epsilon = "layer_norm_eps|layer_norm_epsilon",
                   .rope_base = "rotary_emb_base"};
  family.rope_base = 1000;
  family.masked_lm.norm = "cls.predictions.transform.layer_norm";
  family.refine = read_nomic_bert;
  return family;
}

constexpr EncoderFamily kEncoderFamilies[] = {
    bert(),
    ernie(),
    albert(),
    electra(),
    big_bird(),
    roberta("roberta|xlm-roberta|camembert", "roberta."),
    roberta("data2vec-text", "data2vec_text."),
    roberta_prelayernorm(),
    xlm_roberta_xl(),
    megatron_bert(),
    mpnet(),
    deberta_v2(),
    deberta(),
    modernbert(),
    eurobert(),
    nomic_bert(),
    {.model_type = "distilbert",
     .names = kDistilBertNames,
     .traits = kBertTraits,
     .fields = {.hidden = "dim",
                .layers = "n_layers",
                .heads = "n_heads",
                .kv_heads = {},
                .head_dim = {},
                .intermediate = "hidden_dim",
                .epsilon = {},
                .activation = "activation",
                .rotary_fraction = {},
                .rope_base = {}},
     .masked_lm = {.dense = "vocab_transform",
                   .norm = "vocab_layer_norm",
                   .decoder = "vocab_projector",
                   .bias = "vocab_projector.bias"},
     .text = {.dense = "pre_classifier", .output = "classifier"},
     .tokens = {.output = "classifier"},
     .text_activation = Activation::relu},
};

EncoderTask read_task(const Fields& fields, const EncoderFamily& family) {
  const std::vector<std::string> architectures = fields.texts("architectures");
  const std::string architecture = architectures.empty() ? "Model" : architectures.front();
  const std::array<std::pair<std::string_view, EncoderTask>, 6> endings{{
      {"ForMaskedLM", EncoderTask::masked_lm},
      {"ForPreTraining", family.discriminates ? EncoderTask::features : EncoderTask::masked_lm},
      {"ForSequenceClassification", EncoderTask::classify_text},
      {"ForTokenClassification", EncoderTask::classify_tokens},
      {"ForQuestionAnswering", EncoderTask::answer_spans},
      {"Model", EncoderTask::features},
  }};
  for (const auto& [ending, task] : endings)
    if (architecture.size() >= ending.size() && architecture.substr(architecture.size() - ending.size()) == ending &&
        (task != EncoderTask::answer_spans || !family.spans.output.empty()))
      return task;
  fields.refuse("architectures");
}

std::vector<std::string> read_labels(const Fields& fields) {
  std::vector<std::string> result;
  const nlohmann::json* labels = fields.any("id2label");
  if (labels == nullptr) return result;
  if (!labels->is_object()) fields.refuse("id2label");
  while (result.size() < labels->size()) {
    const auto label = labels->find(std::to_string(result.size()));
    if (label == labels->end() || !label->is_string()) fields.refuse("id2label");
    result.push_back(label->get<std::string>());
  }
  return result;
}

ModelConfig read_model(const Fields& fields, const EncoderFamily& family) {
  ModelConfig config;
  config.family = first_spelling(family.model_type);
  config.names = family.names;
  config.traits = family.traits;
  config.rope.base = family.rope_base;
  read_sizes(fields, family.fields, config);
  if (config.heads % config.kv_heads != 0) fields.refuse(family.fields.kv_heads);
  config.value_dim = config.head_dim;
  if (!family.projection.empty()) config.embedding_width = fields.size("embedding_size", 128);
  if (family.shared_layer)
    for (const std::string_view key : {"num_hidden_groups", "inner_group_num"}) fields.expect_number(key, 1);
  if (family.traits.positions != Positions::rotary) return config;
  if (!family.local_rope_base.empty()) config.local_rope_base = fields.number(family.local_rope_base, 10000);
  read_rope(fields, family.fields, config);
  if (config.rope.scaling == RopeScaling::dynamic || config.rope.scaling == RopeScaling::longrope)
    fields.refuse("rope_parameters|rope_scaling");  // which hang on the length of a text
  finish_rope(config);
  return config;
}

[[noreturn]] void refuse_family(const Fields& fields) {
  throw Error(ErrorCode::unsupported, fmt::format("the model_type '{}' is not that of an encoder that Lathe knows",
                                                  fields.optional_text("model_type").value_or("")))
      .remedy(fmt::format("Encoders are {}. Language models run with `lathe generate`, `chat` and `bench`",
                          known_encoders()));
}

}  // namespace

std::string known_encoders() {
  std::string known;
  for (const EncoderFamily& family : kEncoderFamilies)
    known += (known.empty() ? "" : ", ") + std::string(first_spelling(family.model_type));
  return known;
}

const EncoderFamily* find_encoder_family(const Fields& fields) {
  const std::string type = fields.optional_text("model_type").value_or("");
  for (const EncoderFamily& family : kEncoderFamilies)
    if (is_spelling(family.model_type, type)) return &family;
  return nullptr;
}

EncoderConfig read_encoder_config(const Fields& fields) {
  const EncoderFamily* family = find_encoder_family(fields);
  if (family == nullptr) refuse_family(fields);
  EncoderConfig config;
  config.family = family;
  config.model = read_model(fields, *family);
  config.task = read_task(fields, *family);
  config.labels = read_labels(fields);
  config.label_count =
      config.labels.empty() ? fields.size("num_labels", 2) : static_cast<int64_t>(config.labels.size());
  config.masked_activation = config.model.traits.activation;
  config.head_activation = family->text_activation;
  config.pad_id = fields.optional_integer("pad_token_id").value_or(family->padded_positions ? 1 : 0);
  if (family->padded_positions && (config.pad_id < 0 || config.pad_id >= config.model.vocab))
    fields.refuse("pad_token_id");
  config.max_length = config.model.max_positions - (family->padded_positions ? config.pad_id + 1 : 0);
  if (!family->token_types.empty()) {
    config.token_types = fields.optional_integer("type_vocab_size").value_or(2);
    if (config.token_types < 0) fields.refuse("type_vocab_size");
  }
  if (!family->task_types.empty()) {
    const int64_t task_types = fields.size("task_type_vocab_size", 3);
    config.task_types = fields.flag("use_task_id", false) ? task_types : 0;
  }
  fields.expect_flag("is_decoder", false);
  expect_usual(fields);
  if (fields.optional_text("position_embedding_type").value_or("absolute") != "absolute")
    fields.refuse("position_embedding_type");
  if (family->refine != nullptr) family->refine(fields, config);
  fields.expect_all_read(neutral_fields());
  return config;
}

}  // namespace lathe::checkpoint
