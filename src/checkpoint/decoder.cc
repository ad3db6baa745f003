#include "checkpoint/decoder.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "checkpoint/decoder_attention.h"
#include "checkpoint/layers.h"
#include "checkpoint/model_config.h"
#include "checkpoint/weights.h"
#include "graph/build.h"
#include "graph/paged_cache.h"

namespace lathe::checkpoint {
namespace {

// Of a context, so that tables of rotations stay within a few gigabytes.
constexpr int64_t kMostPositions = int64_t{1} << 22;

struct Caches {
  std::vector<Value*> keys, values;
};

class DecoderBuilder {
 public:
  DecoderBuilder(const Checkpoint& checkpoint, const DecoderOptions& options)
      : options_(options),
        config_(read_model_config(checkpoint)),
        max_positions_(options.max_positions > 0 ? options.max_positions : config_.max_positions),
        checkpoint_(checkpoint),
        graph_(std::make_unique<Graph>()),
        weights_(*graph_, checkpoint, options.compute, config_.names.root,
                 std::string(config_.names.embedding) + ".weight", options.weights),
        layers_(weights_, config_) {}

  Decoder build() {
    check_options();
    graph_->set_name(std::string(config_.family));
    add_inputs();
    Value* x = embed();
    const DecoderAttention attention(layers_, config_, attention_inputs_);
    for (int64_t layer = 0; layer < config_.layers; ++layer) x = build_layer(x, layer, attention);
    graph_->add_output(logits(x), "logits");
    weights_.expect_complete();
    return {std::move(graph_), info()};
  }

 private:
  void check_options() const {
    const auto is_type = [](DType type) { return type == DType::f32 || is_half(type); };
    if (!is_type(options_.compute))
      fail(ErrorCode::invalid_argument, "a decoder computes in f32, f16 or bf16, not in {}",
           to_string(options_.compute));
    if (options_.block_size < 1 || options_.max_positions < 0)
      fail(ErrorCode::invalid_argument, "blocks of {} tokens or contexts of {} cannot be", options_.block_size,
           options_.max_positions);
    if (max_positions_ > kMostPositions)
      throw Error(ErrorCode::unsupported,
                  fmt::format("contexts of {} tokens: more than {}", max_positions_, kMostPositions))
          .remedy("Ask for a shorter context");
    if (config_.traits.positions == Positions::learned && max_positions_ > config_.max_positions)
      fail(ErrorCode::invalid_argument, "the model has learned {} positions; {} were asked for", config_.max_positions,
           max_positions_);
  }

  void add_inputs() {
    const Dim tokens = Dim::symbol("tokens"), sequences = Dim::symbol("sequences");
    const auto integers = [&](std::string_view name, Shape shape) {
      return graph_->add_input(name, Type::tensor(DType::i32, std::move(shape)));
    };
    token_ids_ = integers("token_ids", {tokens});
    positions_ = integers("positions", {tokens});
    if (config_.traits.positions == Positions::rotary_2d || is_dynamic())
      block_positions_ = integers("block_positions", {tokens});
    attention_inputs_.sequence_starts = integers("sequence_starts", {sequences + 1});
    attention_inputs_.context_lengths = integers("context_lengths", {sequences});
    if (config_.traits.prefix_mask) attention_inputs_.prefix_lengths = integers("prefix_lengths", {sequences});
    attention_inputs_.block_table = integers("block_table", {sequences, Dim::symbol("table_blocks")});
    logit_rows_ = integers("logit_rows", {Dim::symbol("rows")});
    attention_inputs_.block_size = options_.block_size;
    for (int64_t layer = 0; layer < config_.layers; ++layer) {
      caches_.keys.push_back(add_cache("key_cache.", layer, config_.head_dim));
      caches_.values.push_back(add_cache("value_cache.", layer, config_.value_dim));
    }
  }
  Value* add_cache(std::string_view kind, int64_t layer, int64_t width) {
    const CacheRows rows{options_.cache, width, options_.block_size};
    return graph_->add_input(
        fmt::format("{}{}", kind, layer),
        Type::tensor(options_.cache, {Dim::symbol("blocks"), config_.kv_heads, options_.block_size, rows.columns()}));
  }

  // Token embeddings, with everything that depends on positions alone.
  Value* embed() {
    const Names& names = config_.names;
    const Traits& traits = config_.traits;
    Value* x = look_up(std::string(names.embedding), config_.vocab, config_.embedding_width, token_ids_);
    x = layers_.scaled(x, config_.embedding_scale);
    if (config_.embedding_width != config_.hidden)
      x = layers_.linear(x, weights_.under_root(names.project_in), config_.embedding_width, config_.hidden, false);
    switch (traits.positions) {
      case Positions::learned: x = map2(*graph_, MapOp::add, x, learned_positions()); break;
      case Positions::sinusoidal: x = map2(*graph_, MapOp::add, x, sinusoids()); break;
      case Positions::rotary:
        attention_inputs_.rotation = rotation(config_.rope);
        if (config_.local_rope_base) {
          Rope local = config_.rope;
          local.scaling = RopeScaling::none;
          local.magnitude = 1;
          local.base = *config_.local_rope_base;
          attention_inputs_.local_rotation = rotation(local);
        }
        break;
      case Positions::rotary_2d: attention_inputs_.rotation = rotation_2d(); break;
      case Positions::alibi: {
        std::vector<float> slopes = alibi_slopes(config_.heads);
        for (float& slope : slopes) slope *= static_cast<float>(config_.alibi_scale);
        attention_inputs_.slopes =
            constant(*graph_, Tensor::of<float>({config_.heads}, std::span<const float>(slopes)));
        break;
      }
    }
    if (config_.temperature.strength != 0) attention_inputs_.temperature = temperature();
    return traits.embedding_norm ? layers_.norm(x, weights_.under_root(names.embedding_norm), config_.hidden) : x;
  }

  Value* look_up(const std::string& name, int64_t rows, int64_t columns, Value* ids) {
    Value* table = weights_.table(weights_.under_root(name) + ".weight", {rows, columns});
    return cast(*graph_, graph_->emit(Gather{0}, {table, ids}, name), options_.compute);
  }
  Value* learned_positions() {
    const int64_t offset = config_.traits.position_offset;
    Value* rows = positions_;
    if (offset != 0)
      rows = map2(*graph_, MapOp::add, rows, constant(*graph_, Tensor::scalar(static_cast<int32_t>(offset))));
    return look_up(std::string(config_.names.positions), config_.max_positions + offset, config_.hidden, rows);
  }

  // Frequencies fall geometrically from 1 to 1/10000; sines stand left of all cosines.
  Value* sinusoids() {
    const int64_t offset = config_.traits.position_offset, half = config_.hidden / 2;
    const int64_t steps = config_.traits.ends_at_10000 ? half - 1 : half;
    std::vector<float> frequencies;
    for (int64_t i = 0; i < half; ++i)
      frequencies.push_back(
          static_cast<float>(std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(steps))));
    const RotaryTables tables = rotary_tables(frequencies, 1, max_positions_ + offset);
    Value* rows =
        map2(*graph_, MapOp::add, positions_, constant(*graph_, Tensor::scalar(static_cast<int32_t>(offset))));
    const auto gather = [&](const Tensor& table) { return graph_->emit(Gather{0}, {constant(*graph_, table), rows}); };
    return cast(*graph_, concat(*graph_, {gather(tables.sin), gather(tables.cos)}, 1), options_.compute);
  }

  Value* temperature() {
    const auto number = [&](double value) { return scalar(*graph_, value, DType::f32); };
    Value* count = map2(*graph_, MapOp::add, cast(*graph_, positions_, DType::f32), number(config_.temperature.shift));
    Value* step = map1(*graph_, MapOp::floor, map2(*graph_, MapOp::div, count, number(config_.temperature.interval)));
    Value* growth = map2(*graph_, MapOp::mul, map1(*graph_, MapOp::log1p, step), number(config_.temperature.strength));
    Value* factor = cast(*graph_, map2(*graph_, MapOp::add, growth, number(1)), options_.compute);
    return reshape(*graph_, factor, {positions_->shape()[0], 1, 1});
  }

  // Whether prompts beyond `original_positions` turn by tables of their own, below those of shorter ones.
  bool has_long_tables() const { return config_.rope.scaling == RopeScaling::longrope; }
  // Whether frequencies fall while a sequence grows.
  bool is_dynamic() const {
    const Rope& rope = config_.rope;
    return rope.scaling == RopeScaling::dynamic && max_positions_ > rope.original_positions;
  }
  Rotation rotation(const Rope& rope) {
    if (rope.scaling == RopeScaling::dynamic && is_dynamic()) return dynamic_rotation(rope);
    const auto tables = [&](bool long_context) {
      return rotary_tables(inverse_frequencies(rope, long_context), rope.magnitude, max_positions_);
    };
    return gathered(has_long_tables() ? stacked(tables(false), tables(true)) : tables(false), positions_);
  }
  // There are too many lengths for tables.
  Rotation dynamic_rotation(const Rope& rope) {
    const Dim tokens = positions_->shape()[0];
    const auto row = [&](const std::vector<float>& values) {
      return constant(*graph_, Tensor::of<float>({1, rope.dim / 2}, std::span<const float>(values)));
    };
    const auto column = [&](Value* x) { return reshape(*graph_, cast(*graph_, x, DType::f32), {tokens, 1}); };
    const auto mul = [&](Value* a, Value* b) { return map2(*graph_, MapOp::mul, a, b); };
    const double growth = rope.factor / static_cast<double>(rope.original_positions);
    Value* stretch = mul(column(block_positions_), scalar(*graph_, growth, DType::f32));
    stretch = map2(*graph_, MapOp::add, stretch, scalar(*graph_, 1, DType::f32));
    Value* slowdown = map2(*graph_, MapOp::pow, stretch, row(dynamic_exponents(rope)));
    Value* angles = mul(column(positions_), mul(row(inverse_frequencies(rope, false)), slowdown));
    const auto of_angles = [&](MapOp op) {
      return reshape(*graph_, map1(*graph_, op, angles), {tokens, 1, rope.dim / 2});
    };
    return {of_angles(MapOp::cos), of_angles(MapOp::sin)};
  }
  Rotation gathered(const RotaryTables& tables, Value* rows) {
    const Shape shape = {rows->shape()[0], 1, tables.cos.dims()[1]};
    const auto gather = [&](const Tensor& table) {
      return reshape(*graph_, graph_->emit(Gather{0}, {constant(*graph_, table), rows}), shape);
    };
    return {gather(tables.cos), gather(tables.sin)};
  }
  // The first half of each head turns with the position, the second with the position inside the block.
  Rotation rotation_2d() {
    const RotaryTables tables = rotary_tables(chatglm_frequencies(), 1, max_positions_);
    const Rotation outer = gathered(tables, positions_), inner = gathered(tables, block_positions_);
    const auto join = [&](Value* a, Value* b) {
      const Shape shape = {a->shape()[0], 1, 2, a->shape()[2]};
      return reshape(*graph_, concat(*graph_, {a, b}, 1), shape);
    };
    return {join(outer.cos, inner.cos), join(outer.sin, inner.sin)};
  }
  // ChatGLM-6B keeps its frequencies among its weights, in half precision, and computes with what was rounded; a
  // checkpoint without them means the exact ones.
  std::vector<float> chatglm_frequencies() {
    std::vector<float> frequencies = inverse_frequencies(config_.rope, false);
    const std::string name = layer_prefix(0) + "attention.rotary_emb.inv_freq";
    const StoredTensor* stored = checkpoint_.find(name);
    if (stored == nullptr || stored->dims != std::vector<int64_t>{config_.rope.dim / 2}) return frequencies;
    const Tensor kept = checkpoint_.tensor(name);
    for (size_t i = 0; i < frequencies.size(); ++i)
      frequencies[i] = static_cast<float>(kept.read_double(static_cast<int64_t>(i)));
    return frequencies;
  }

  std::string layer_prefix(int64_t layer) const {
    return fmt::format("{}{}.", weights_.under_root(config_.names.layers), layer);
  }

  Value* build_layer(Value* x, int64_t layer, const DecoderAttention& attention) {
    const std::string prefix = layer_prefix(layer);
    const Names& names = config_.names;
    const auto norm = [&](Value* of, std::string_view name) {
      return layers_.norm(of, prefix + std::string(name), config_.hidden);
    };
    const auto attend = [&](Value* of) {
      const auto i = static_cast<size_t>(layer);
      return attention.build(of, prefix, layer, caches_.keys[i], caches_.values[i]);
    };
    const auto mlp = [&](Value* of) {
      const auto& with_experts = config_.moe.layers;
      const bool sparse = !with_experts.empty() && with_experts[static_cast<size_t>(layer)];
      return sparse ? layers_.experts(of, prefix) : layers_.mlp(of, prefix);
    };
    const auto add = [&](Value* a, Value* branch) {
      return map2(*graph_, MapOp::add, a, layers_.scaled(branch, config_.branch_scale));
    };
    switch (config_.traits.residual) {
      case Residual::sequential: {
        const bool bare = layer == 0 && config_.traits.unnormed_start;
        Value* h = add(x, attend(bare ? x : norm(x, names.norm1)));
        return add(h, mlp(norm(h, names.norm2)));
      }
      case Residual::parallel: {
        Value* n = norm(x, names.norm1);
        return add(add(x, attend(n)), mlp(n));
      }
      case Residual::parallel_norms: return add(add(x, attend(norm(x, names.norm1))), mlp(norm(x, names.norm2)));
      case Residual::post_norm: {
        Value* h = norm(add(x, attend(x)), names.norm1);
        return norm(add(h, mlp(h)), names.norm2);
      }
      case Residual::output_norm: {
        Value* h = add(x, norm(attend(x), names.norm1));
        return add(h, norm(mlp(h), names.norm2));
      }
      case Residual::sandwich: {
        Value* h = add(x, norm(attend(norm(x, names.norm1)), names.post_norm1));
        return add(h, norm(mlp(norm(h, names.norm2)), names.post_norm2));
      }
      case Residual::normed: break;
    }
    Value* a = norm(x, names.norm1);
    Value* h = add(layers_.scaled(a, config_.residual_scale), attend(a));
    Value* m = norm(h, names.norm2);
    return add(layers_.scaled(m, config_.residual_scale), mlp(m));
  }

  // Only the rows that were asked for go through the output matrix.
  Value* logits(Value* x) {
    const Names& names = config_.names;
    x = graph_->emit(Gather{0}, {x, logit_rows_});
    if (config_.traits.final_norm) x = layers_.norm(x, weights_.under_root(names.final_norm), config_.hidden);
    if (config_.embedding_width != config_.hidden)
      x = layers_.linear(x, weights_.under_root(names.project_out), config_.hidden, config_.embedding_width, false);
    if (!names.head_dense.empty()) {
      x = layers_.linear(x, std::string(names.head_dense), config_.hidden, config_.hidden, false);
      x = layers_.norm(activate(*graph_, config_.head_activation, x), std::string(names.head_norm), config_.hidden);
    }
    Value* y = head(x);
    if (config_.traits.biases.head)
      y = map2(*graph_, MapOp::add, y, weights_.vector(weights_.found_name(names.head) + ".bias", config_.vocab));
    y = layers_.scaled(cast(*graph_, y, DType::f32), config_.logit_scale);
    if (config_.logit_softcap == 0) return y;
    y = map1(*graph_, MapOp::tanh, layers_.scaled(y, 1 / config_.logit_softcap));
    return layers_.scaled(y, config_.logit_softcap);
  }
  // x times the output matrix.
  Value* head(Value* x) {
    const std::string own = weights_.found_name(config_.names.head);
    const std::string name = config_.traits.tied ? weights_.under_root(config_.names.embedding) : own;
    if (config_.traits.tied) weights_.ignore(own + ".weight");  // files may hold it twice
    if (!config_.traits.normalised_head)
      return weights_.product(x, {name, config_.embedding_width, config_.vocab, false, MatrixRole::head});
    Value* wide = cast(*graph_, weights_.matrix(name + ".weight", config_.vocab, config_.embedding_width), DType::f32);
    Value* length = reduce(*graph_, ReduceKind::l2, wide, {1}, true);
    length = map2(*graph_, MapOp::max, length, scalar(*graph_, 1e-12, DType::f32));
    MatMul product;
    product.trans_b = true;
    Value* matrix = cast(*graph_, map2(*graph_, MapOp::div, wide, length), options_.compute);
    return graph_->emit(product, {x, matrix}, name);
  }

  DecoderInfo info() const {
    DecoderInfo info;
    info.family = config_.family;
    info.vocab = config_.vocab;
    info.layers = config_.layers;
    info.kv_heads = config_.kv_heads;
    info.head_dim = config_.head_dim;
    info.value_dim = config_.value_dim;
    info.max_positions = max_positions_;
    info.block_size = options_.block_size;
    info.cache = options_.cache;
    info.windows = config_.windows;
    info.prefix_mask = config_.traits.prefix_mask;
    info.block_positions = config_.traits.positions == Positions::rotary_2d;
    if (is_dynamic()) info.dynamic_context = config_.rope.original_positions;
    info.mask_id = static_cast<int32_t>(config_.mask_id);
    info.gmask_id = static_cast<int32_t>(config_.gmask_id);
    if (has_long_tables()) info.long_context = config_.rope.original_positions;
    info.unused_tensors = weights_.unused(config_.names.buffers);
    read_special_ids(checkpoint_, info);
    info.rules = read_generation_rules(config_texts(checkpoint_), config_.vocab);
    return info;
  }

  const DecoderOptions& options_;
  ModelConfig config_;
  int64_t max_positions_;
  const Checkpoint& checkpoint_;
  std::unique_ptr<Graph> graph_;
  Weights weights_;
  Layers layers_;
  Value* token_ids_ = nullptr;
  Value* positions_ = nullptr;
  Value* block_positions_ = nullptr;
  Value* logit_rows_ = nullptr;
  Caches caches_;
  AttentionInputs attention_inputs_;
};

}  // namespace

Decoder build_decoder(const Checkpoint& checkpoint, const DecoderOptions& options) {
  return DecoderBuilder(checkpoint, options).build();
}

}  // namespace lathe::checkpoint
