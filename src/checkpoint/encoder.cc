#include "checkpoint/encoder.h"

#include <array>
#include <limits>
#include <utility>

#include "base/error.h"
#include "checkpoint/encoder_families.h"
#include "checkpoint/layers.h"
#include "checkpoint/spellings.h"
#include "checkpoint/weights.h"
#include "graph/build.h"

namespace lathe::checkpoint {
namespace {

constexpr Traits kEncoderTraits{.norm = NormKind::layer,
                                .norm_bias = true,
                                .epsilon = 1e-12,
                                .residual = Residual::post_norm,
                                .positions = Positions::learned,
                                .mlp = MlpKind::plain,
                                .activation = Activation::gelu_erf,
                                .biases = {.qkv = true, .attention_out = true, .mlp = true},
                                .tied = true};

const EncoderFamily* find_family(const Fields& fields) {
  const std::string type = fields.optional_text("model_type").value_or("");
  for (const EncoderFamily& family : kEncoderFamilies)
    if (is_spelling(family.model_type, type)) return &family;
  return nullptr;
}

[[noreturn]] void refuse_family(const Fields& fields) {
  std::string known;
  for (const EncoderFamily& family : kEncoderFamilies)
    known += (known.empty() ? "" : ", ") + std::string(first_spelling(family.model_type));
  throw Error(ErrorCode::unsupported, fmt::format("the model_type '{}' is not that of an encoder that Lathe knows",
                                                  fields.optional_text("model_type").value_or("")))
      .remedy(fmt::format("Encoders are {}. Language models run with `lathe generate`, `chat` and `bench`", known));
}

EncoderTask read_task(const Fields& fields, const EncoderFamily& family) {
  const std::vector<std::string> architectures = fields.texts("architectures");
  const std::string architecture = architectures.empty() ? "Model" : architectures.front();
  const std::array<std::pair<std::string_view, EncoderTask>, 5> endings{{
      {"ForMaskedLM", EncoderTask::masked_lm},
      {"ForPreTraining", family.discriminates ? EncoderTask::features : EncoderTask::masked_lm},
      {"ForSequenceClassification", EncoderTask::classify_text},
      {"ForTokenClassification", EncoderTask::classify_tokens},
      {"Model", EncoderTask::features},
  }};
  for (const auto& [ending, task] : endings)
    if (architecture.size() >= ending.size() && architecture.substr(architecture.size() - ending.size()) == ending)
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

// Attention to a few blocks of the text alone is not computed.
void expect_full_attention(const Fields& fields) {
  if (fields.optional_text("attention_type").value_or("block_sparse") != "original_full")
    fields.refuse("attention_type");
  fields.expect_flag("rescale_embeddings", false);
  fields.expect_flag("use_bias", true);
  for (const std::string_view key : {"block_size", "num_random_blocks"}) fields.any(key);  // of the other attention
}

class EncoderBuilder {
 public:
  EncoderBuilder(const Checkpoint& checkpoint, const Fields& fields, const EncoderFamily& family, DType compute)
      : family_(family),
        config_(read_config(fields, family)),
        graph_(std::make_unique<Graph>()),
        weights_(*graph_, checkpoint, compute, family.names.root, std::string(family.names.embedding) + ".weight"),
        layers_(weights_, config_) {
    info_.family = config_.family;
    info_.task = read_task(fields, family);
    info_.vocab = config_.vocab;
    info_.hidden = config_.hidden;
    info_.labels = read_labels(fields);
    pad_id_ = fields.optional_integer("pad_token_id").value_or(family.padded_positions ? 1 : 0);
    if (pad_id_ < 0 || pad_id_ >= config_.vocab) fields.refuse("pad_token_id");
    info_.max_positions = config_.max_positions - (family.padded_positions ? pad_id_ + 1 : 0);
    fields.expect_flag("is_decoder", false);
    expect_usual(fields);
    if (fields.optional_text("position_embedding_type").value_or("absolute") != "absolute")
      fields.refuse("position_embedding_type");
    if (family.sparse) expect_full_attention(fields);
    token_types_ = family.token_types.empty() ? 0 : fields.size("type_vocab_size", 2);
    if (!family.task_types.empty()) {
      const int64_t task_types = fields.size("task_type_vocab_size", 3);
      task_types_ = fields.flag("use_task_id", false) ? task_types : 0;
    }
    label_count_ = info_.labels.empty() ? fields.size("num_labels", 2) : static_cast<int64_t>(info_.labels.size());
    fields.expect_all_read(neutral_fields());
  }

  Encoder build() {
    graph_->set_name(info_.family);
    const Shape shape = {Dim::symbol("batch"), Dim::symbol("sequence")};
    ids_ = graph_->add_input("input_ids", Type::tensor(DType::i64, shape));
    Value* mask = graph_->add_input("attention_mask", Type::tensor(DType::i64, shape));
    mask_ = reshape(*graph_, mask, {shape[0], 1, 1, shape[1]});
    Value* x = embed(shape);
    for (int64_t layer = 0; layer < config_.layers; ++layer) {
      const int64_t number = family_.shared_layer ? 0 : layer;
      const std::string prefix = weights_.under_root(family_.names.layers) + std::to_string(number) + ".";
      x = normed_sum(x, attend(x, prefix), prefix + std::string(family_.names.norm1));
      x = normed_sum(x, layers_.mlp(x, prefix), prefix + std::string(family_.names.norm2));
    }
    add_outputs(x);
    weights_.expect_complete();
    info_.unused_tensors = weights_.unused(family_.names.buffers);
    return {std::move(graph_), std::move(info_)};
  }

 private:
  static ModelConfig read_config(const Fields& fields, const EncoderFamily& family) {
    ModelConfig config;
    config.family = first_spelling(family.model_type);
    config.names = family.names;
    config.traits = kEncoderTraits;
    read_sizes(fields, family.fields, config);
    if (!family.projection.empty()) config.embedding_width = fields.size("embedding_size", 128);
    if (family.shared_layer)
      for (const std::string_view key : {"num_hidden_groups", "inner_group_num"}) fields.expect_number(key, 1);
    return config;
  }

  Value* linear(Value* x, std::string_view name, int64_t out) const {
    return layers_.linear(x, std::string(name), config_.hidden, out, true);
  }
  Value* normed_sum(Value* x, Value* y, const std::string& name) const {
    return layers_.norm(map2(*graph_, MapOp::add, x, y), name, config_.hidden);
  }

  // The sum of word, position and types, normalised.
  Value* embed(const Shape& shape) {
    const Names& names = family_.names;
    const auto table = [&](std::string_view name, int64_t rows) {
      return weights_.table(weights_.under_root(name) + ".weight", {rows, config_.embedding_width});
    };
    const auto first_type = [&] { return constant(*graph_, Tensor::of<int64_t>({1, 1}, {0})); };
    std::vector<Value*> operands = {ids_, table(names.embedding, config_.vocab), position_ids(shape),
                                    table(names.positions, config_.max_positions)};
    if (token_types_ > 0) {
      const bool is_input = token_types_ > 1;
      operands.push_back(is_input ? graph_->add_input("token_type_ids", Type::tensor(DType::i64, shape))
                                  : first_type());
      operands.push_back(table(family_.token_types, token_types_));
    }
    if (task_types_ > 0) operands.insert(operands.end(), {first_type(), table(family_.task_types, task_types_)});
    Embedding op;
    op.num_tables = static_cast<int64_t>(operands.size()) / 2;
    op.epsilon = config_.epsilon;
    for (size_t i = 1; i < operands.size(); i += 2)
      if (operands[i]->dtype() == DType::f64) operands[i] = cast(*graph_, operands[i], DType::f32);
    const auto [scale, bias] =
        layers_.norm_parameters(weights_.under_root(names.embedding_norm), config_.embedding_width);
    operands.insert(operands.end(), {scale, bias});
    return projected(cast(*graph_, graph_->emit(op, operands, "embeddings"), weights_.compute()));
  }
  // As wide as the layers.
  Value* projected(Value* embeddings) {
    if (family_.projection.empty()) return embeddings;
    const std::string name = weights_.under_root(family_.projection);
    if (config_.embedding_width == config_.hidden && !weights_.contains(name + ".weight")) return embeddings;
    return layers_.linear(embeddings, name, config_.embedding_width, config_.hidden, true);
  }
  Value* position_ids(const Shape& shape) const {
    if (!family_.padded_positions) {
      MapProgram count;
      count.finish(count.iota(-1));
      return graph_->emit(Map{count, Shape{1, shape[1]}}, {});
    }
    MapProgram is_token;
    const int ids = is_token.input(0, DType::i64);
    is_token.finish(
        is_token.cast(is_token.binary(MapOp::ne, ids, is_token.constant_int(pad_id_, DType::i64)), DType::i64));
    Value* tokens = graph_->emit(Map{is_token, {}}, {ids_});
    Value* counted = map2(*graph_, MapOp::mul, graph_->emit(Cumulative{.axis = 1}, {tokens}), tokens);
    return map2(*graph_, MapOp::add, counted, constant(*graph_, Tensor::scalar(pad_id_)));
  }

  Value* attend(Value* x, const std::string& prefix) const {
    const Names& names = family_.names;
    const auto project = [&](std::string_view name) { return linear(x, prefix + std::string(name), config_.hidden); };
    Attention op;
    op.heads = op.kv_heads = config_.heads;
    op.head_dim = op.value_dim = op.q_stride = op.k_stride = op.v_stride = config_.head_dim;
    op.scale = config_.attention_scale;
    const DType type = weights_.compute();
    const int product = op.score.input(0, type), mask = op.score.input(1, DType::i64);
    const int visible = op.score.binary(MapOp::ne, mask, op.score.constant_int(0, DType::i64));
    op.score.finish(
        op.score.select(visible, product, op.score.constant(-std::numeric_limits<double>::infinity(), type)));
    Value* y = graph_->emit(op, {project(names.q), project(names.k), project(names.v), mask_}, prefix + "attention");
    return linear(y, prefix + std::string(names.attention_out), config_.hidden);
  }

  void add_output(Value* value, std::string name) {
    graph_->add_output(cast(*graph_, value, DType::f32), std::move(name));
  }

  void add_outputs(Value* x) {
    if (info_.task != EncoderTask::features && !family_.pooled_text)  // some files keep the pooler of pretraining
      for (const char* part : {".weight", ".bias"}) weights_.ignore(weights_.under_root(family_.pooler) + part);
    switch (info_.task) {
      case EncoderTask::masked_lm: return add_output(masked_lm(x), "logits");
      case EncoderTask::classify_tokens: return add_output(linear(x, family_.tokens.output, label_count_), "logits");
      case EncoderTask::classify_text: return add_output(text_class(x), "logits");
      case EncoderTask::features: break;
    }
    add_output(x, "last_hidden_state");
    if (!family_.pooler.empty() && weights_.contains(weights_.under_root(family_.pooler) + ".weight"))
      add_output(pooled(x), "pooler_output");
  }
  // Of the first token, [batch, hidden].
  Value* first_token(Value* x) const {
    return reshape(*graph_, slice_axis(*graph_, x, 1, 0, 1), {x->shape()[0], config_.hidden});
  }
  Value* pooled(Value* x) const {
    return map1(*graph_, MapOp::tanh, linear(first_token(x), weights_.under_root(family_.pooler), config_.hidden));
  }
  Value* text_class(Value* x) const {
    if (family_.pooled_text) return linear(pooled(x), family_.text.output, label_count_);
    Value* inner =
        activate(*graph_, family_.text_activation, linear(first_token(x), family_.text.dense, config_.hidden));
    return linear(inner, family_.text.output, label_count_);
  }
  Value* masked_lm(Value* x) {
    const EncoderHead& head = family_.masked_lm;
    Value* inner = activate(*graph_, config_.traits.activation, linear(x, head.dense, config_.embedding_width));
    inner = layers_.norm(inner, std::string(head.norm), config_.embedding_width);
    const std::string own = std::string(head.decoder) + ".weight";
    if (config_.traits.tied) weights_.ignore(own);
    weights_.ignore(std::string(head.decoder) + ".bias");  // the bias again
    MatMul product;
    product.trans_b = true;
    Value* matrix =
        weights_.matrix(config_.traits.tied ? weights_.under_root(family_.names.embedding) + ".weight" : own,
                        config_.vocab, config_.embedding_width);
    Value* logits = graph_->emit(product, {inner, matrix}, "logits");
    return map2(*graph_, MapOp::add, logits, weights_.vector(std::string(head.bias), config_.vocab));
  }

  const EncoderFamily& family_;
  ModelConfig config_;
  std::unique_ptr<Graph> graph_;
  Weights weights_;
  Layers layers_;
  EncoderInfo info_;
  int64_t pad_id_ = 0, token_types_ = 0, task_types_ = 0, label_count_ = 0;
  Value* ids_ = nullptr;
  Value* mask_ = nullptr;  // [batch, 1, 1, sequence]
};

}  // namespace

bool is_encoder(const Checkpoint& checkpoint) {
  const nlohmann::json document = Fields::parse(checkpoint.config(), (checkpoint.folder() / "config.json").string());
  return find_family(Fields(document, "config.json")) != nullptr;
}

Encoder build_encoder(const Checkpoint& checkpoint, DType compute) {
  if (compute != DType::f32 && !is_half(compute))
    fail(ErrorCode::invalid_argument, "an encoder computes in f32, f16 or bf16, not in {}", to_string(compute));
  try {
    const nlohmann::json document = Fields::parse(checkpoint.config(), (checkpoint.folder() / "config.json").string());
    const Fields fields(document, "config.json");
    const EncoderFamily* family = find_family(fields);
    if (family == nullptr) refuse_family(fields);
    return EncoderBuilder(checkpoint, fields, *family, compute).build();
  } catch (Error& error) {
    if (error.file().empty()) error.in_file((checkpoint.folder() / "config.json").string());
    throw;
  }
}

}  // namespace lathe::checkpoint
