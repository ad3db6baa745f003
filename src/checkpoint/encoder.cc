#include "checkpoint/encoder.h"

#include <utility>

#include "base/error.h"
#include "checkpoint/encoder_attention.h"
#include "checkpoint/encoder_families.h"
#include "graph/build.h"

namespace lathe::checkpoint {
namespace {

class EncoderBuilder {
 public:
  EncoderBuilder(const Checkpoint& checkpoint, const Fields& fields, DType compute)
      : config_(read_encoder_config(fields)),
        family_(*config_.family),
        model_(config_.model),
        graph_(std::make_unique<Graph>()),
        weights_(*graph_, checkpoint, compute, family_.names.root, std::string(family_.names.embedding) + ".weight"),
        layers_(weights_, model_) {}

  Encoder build() {
    graph_->set_name(std::string(model_.family));
    const Shape shape = {Dim::symbol("batch"), Dim::symbol("sequence")};
    ids_ = graph_->add_input("input_ids", Type::tensor(DType::i64, shape));
    mask_ = graph_->add_input("attention_mask", Type::tensor(DType::i64, shape));
    EncoderAttention attention(layers_, weights_, config_, reshape(*graph_, mask_, {shape[0], 1, 1, shape[1]}));
    Value* x = embed(shape);
    for (int64_t layer = 0; layer < model_.layers; ++layer) x = build_layer(x, layer, attention);
    if (model_.traits.final_norm) x = layers_.norm(x, weights_.under_root(model_.names.final_norm), model_.hidden);
    add_outputs(x);
    weights_.expect_complete();
    return {std::move(graph_), info()};
  }

 private:
  EncoderInfo info() const {
    EncoderInfo info;
    info.family = model_.family;
    info.task = config_.task;
    info.vocab = model_.vocab;
    info.hidden = model_.hidden;
    info.max_positions = config_.max_length;
    info.labels = config_.labels;
    info.unused_tensors = weights_.unused(family_.names.buffers);
    return info;
  }

  Value* build_layer(Value* x, int64_t layer, EncoderAttention& attention) {
    const int64_t number = family_.shared_layer ? 0 : layer;
    const std::string prefix = weights_.under_root(family_.names.layers) + std::to_string(number) + ".";
    const auto norm = [&](Value* of, std::string_view name) {
      return layers_.norm(of, prefix + std::string(name), model_.hidden);
    };
    const auto add = [&](Value* a, Value* b) { return map2(*graph_, MapOp::add, a, b); };
    if (model_.traits.residual == Residual::post_norm) {
      x = norm(add(x, attention.build(x, prefix, layer)), family_.names.norm1);
      return norm(add(x, layers_.mlp(x, prefix)), family_.names.norm2);
    }
    Value* first = layer == 0 && model_.traits.unnormed_start ? x : norm(x, family_.names.norm1);
    x = add(x, attention.build(first, prefix, layer));
    return add(x, layers_.mlp(norm(x, family_.names.norm2), prefix));
  }

  Value* linear(Value* x, std::string_view name, int64_t out) const {
    return layers_.linear(x, std::string(name), model_.hidden, out, true);
  }

  // The sum of word, position and types, normalised.
  Value* embed(const Shape& shape) {
    const Names& names = model_.names;
    const auto table = [&](std::string_view name, int64_t rows) {
      return weights_.table(weights_.under_root(name) + ".weight", {rows, model_.embedding_width});
    };
    const auto first_type = [&] { return constant(*graph_, Tensor::of<int64_t>({1, 1}, {0})); };
    std::vector<Value*> operands = {ids_, table(names.embedding, model_.vocab)};
    if (!names.positions.empty())
      operands.insert(operands.end(), {position_ids(shape), table(names.positions, model_.max_positions)});
    if (config_.token_types > 0) {
      const bool is_input = config_.token_types > 1;
      operands.push_back(is_input ? graph_->add_input("token_type_ids", Type::tensor(DType::i64, shape))
                                  : first_type());
      operands.push_back(table(family_.token_types, config_.token_types));
    }
    if (config_.task_types > 0)
      operands.insert(operands.end(), {first_type(), table(family_.task_types, config_.task_types)});
    return projected(cast(*graph_, looked_up(std::move(operands)), weights_.compute()));
  }
  Value* looked_up(std::vector<Value*> operands) {
    if (!model_.traits.embedding_norm) {
      Value* sum = nullptr;
      for (size_t i = 0; i < operands.size(); i += 2) {
        Value* rows = cast(*graph_, graph_->emit(Gather{0}, {operands[i + 1], operands[i]}), weights_.compute());
        sum = sum == nullptr ? rows : map2(*graph_, MapOp::add, sum, rows);
      }
      return sum;
    }
    Embedding op;
    op.num_tables = static_cast<int64_t>(operands.size()) / 2;
    op.kind = model_.traits.norm;
    op.epsilon = model_.epsilon;
    for (size_t i = 1; i < operands.size(); i += 2)
      if (operands[i]->dtype() == DType::f64) operands[i] = cast(*graph_, operands[i], DType::f32);
    const auto [scale, bias] =
        layers_.norm_parameters(weights_.under_root(model_.names.embedding_norm), model_.embedding_width);
    operands.insert(operands.end(), {scale, bias});
    return graph_->emit(op, operands, "embeddings");
  }
  // As wide as the layers.
  Value* projected(Value* embeddings) {
    if (family_.projection.empty()) return embeddings;
    const std::string name = weights_.under_root(family_.projection);
    if (model_.embedding_width == model_.hidden && !weights_.contains(name + ".weight")) return embeddings;
    return layers_.linear(embeddings, name, model_.embedding_width, model_.hidden, true);
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
        is_token.cast(is_token.binary(MapOp::ne, ids, is_token.constant_int(config_.pad_id, DType::i64)), DType::i64));
    Value* tokens = graph_->emit(Map{is_token, {}}, {ids_});
    Value* counted = map2(*graph_, MapOp::mul, graph_->emit(Cumulative{.axis = 1}, {tokens}), tokens);
    return map2(*graph_, MapOp::add, counted, constant(*graph_, Tensor::scalar(config_.pad_id)));
  }

  void add_output(Value* value, std::string name) {
    graph_->add_output(cast(*graph_, value, DType::f32), std::move(name));
  }

  void add_outputs(Value* x) {
    if (config_.task != EncoderTask::features && !family_.pooled_text)  // some files keep the pooler of pretraining
      for (const char* part : {".weight", ".bias"}) weights_.ignore(weights_.under_root(family_.pooler) + part);
    switch (config_.task) {
      case EncoderTask::masked_lm: return add_output(masked_lm(x), "logits");
      case EncoderTask::classify_tokens: return add_output(of_tokens(x, family_.tokens, config_.label_count), "logits");
      case EncoderTask::classify_text: return add_output(text_class(x), "logits");
      case EncoderTask::answer_spans: return add_spans(of_tokens(x, family_.spans, 2));
      case EncoderTask::features: break;
    }
    add_output(x, "last_hidden_state");
    if (!family_.pooler.empty() && weights_.contains(weights_.under_root(family_.pooler) + ".weight"))
      add_output(pooled(x), "pooler_output");
  }
  // [batch, sequence, 2]: how likely an answer begins, or ends, with each token.
  void add_spans(Value* ends) {
    const Shape shape = ids_->shape();
    const auto part = [&](int64_t index) { return reshape(*graph_, slice_axis(*graph_, ends, 2, index, 1), shape); };
    add_output(part(0), "start_logits");
    add_output(part(1), "end_logits");
  }
  // What stands before the last matrix of a head.
  Value* transformed(Value* x, const EncoderHead& head, Activation activation, int64_t width) const {
    if (!head.dense.empty())
      x = activate(*graph_, activation,
                   layers_.linear(x, std::string(head.dense), model_.hidden, width, config_.head_bias));
    return head.norm.empty() ? x : layers_.norm(x, std::string(head.norm), width);
  }
  Value* of_tokens(Value* x, const EncoderHead& head, int64_t classes) const {
    return linear(transformed(x, head, config_.head_activation, model_.hidden), head.output, classes);
  }
  // Of the first token, [batch, hidden].
  Value* first_token(Value* x) const {
    return reshape(*graph_, slice_axis(*graph_, x, 1, 0, 1), {x->shape()[0], model_.hidden});
  }
  // Over what is no padding: [batch, features].
  Value* mean(Value* x) const {
    Value* counts = cast(*graph_, mask_, x->dtype());
    Value* sum =
        reduce(*graph_, ReduceKind::sum,
               map2(*graph_, MapOp::mul, x, reshape(*graph_, counts, {x->shape()[0], x->shape()[1], 1})), {1}, false);
    return map2(*graph_, MapOp::div, sum, reduce(*graph_, ReduceKind::sum, counts, {1}, true));
  }
  Value* pooled(Value* x) const {
    return map1(*graph_, MapOp::tanh, linear(first_token(x), weights_.under_root(family_.pooler), model_.hidden));
  }
  Value* text_class(Value* x) const {
    if (family_.pooled_text) return linear(pooled(x), family_.text.output, config_.label_count);
    switch (config_.pooling) {
      case Pooling::first: x = first_token(x); break;
      case Pooling::mean: x = mean(x); break;
      case Pooling::mean_of_classes: return mean(of_tokens(x, family_.text, config_.label_count));
    }
    return of_tokens(x, family_.text, config_.label_count);
  }
  Value* masked_lm(Value* x) {
    const EncoderHead& head = family_.masked_lm;
    const bool tied = model_.traits.tied;
    Value* inner = transformed(x, head, config_.masked_activation, model_.embedding_width);
    const std::string own = std::string(head.decoder) + ".weight";
    if (tied) weights_.ignore(own);
    weights_.ignore(std::string(head.decoder) + ".bias");  // the bias again
    MatMul product;
    product.trans_b = true;
    Value* matrix = weights_.matrix(tied ? weights_.under_root(family_.names.embedding) + ".weight" : own, model_.vocab,
                                    model_.embedding_width);
    Value* logits = graph_->emit(product, {inner, matrix}, "logits");
    if (!config_.decoder_bias) return logits;
    return map2(*graph_, MapOp::add, logits, weights_.vector(std::string(head.bias), model_.vocab));
  }

  const EncoderConfig config_;
  const EncoderFamily& family_;
  const ModelConfig& model_;
  std::unique_ptr<Graph> graph_;
  Weights weights_;
  Layers layers_;
  Value* ids_ = nullptr;
  Value* mask_ = nullptr;
};

}  // namespace

bool is_encoder(const Checkpoint& checkpoint) {
  const nlohmann::json document = Fields::parse(checkpoint.config(), (checkpoint.folder() / "config.json").string());
  return find_encoder_family(Fields(document, "config.json")) != nullptr;
}

Encoder build_encoder(const Checkpoint& checkpoint, DType compute) {
  if (compute != DType::f32 && !is_half(compute))
    fail(ErrorCode::invalid_argument, "an encoder computes in f32, f16 or bf16, not in {}", to_string(compute));
  try {
    const nlohmann::json document = Fields::parse(checkpoint.config(), (checkpoint.folder() / "config.json").string());
    const Fields fields(document, "config.json");
    return EncoderBuilder(checkpoint, fields, compute).build();
  } catch (Error& error) {
    if (error.file().empty()) error.in_file((checkpoint.folder() / "config.json").string());
    throw;
  }
}

}  // namespace lathe::checkpoint
