// The decoder of an encoder-decoder, token-major over paged caches of its own keys and values and of the source's.
#include "base/error.h"
#include "checkpoint/seq2seq_side.h"
#include "graph/build.h"
#include "graph/paged_cache.h"

namespace lathe::checkpoint {
namespace {

// What attention over a pool of blocks needs besides queries, keys and values.
struct Pool {
  Value *starts = nullptr, *lengths = nullptr, *table = nullptr;
  std::vector<Value*> keys, values;  // caches, by layer
};

class DecoderSide : public Seq2SeqSide {
 public:
  DecoderSide(const Checkpoint& checkpoint, const Seq2SeqConfig& config, const DecoderOptions& options)
      : Seq2SeqSide(checkpoint, config, config.decoder, options),
        checkpoint_(checkpoint),
        options_(options),
        max_positions_(options.max_positions > 0 ? options.max_positions : config_.max_positions) {}

  Decoder build() {
    check_options();
    add_inputs();
    Value* x = embed(token_ids_, positions_);
    for (int64_t layer = 0; layer < config_.layers; ++layer) x = build_layer(x, layer);
    graph().add_output(logits(x), "logits");
    weights_.expect_complete();
    return {std::move(graph_), info()};
  }

 private:
  void check_options() const {
    const auto is_type = [](DType type) { return type == DType::f32 || is_half(type); };
    if (!is_type(options_.compute) || !is_type(options_.cache))
      fail(ErrorCode::invalid_argument, "a decoder computes and caches in f32, f16 or bf16, not in {} and {}",
           to_string(options_.compute), to_string(options_.cache));
    if (options_.block_size < 1 || options_.max_positions < 0)
      fail(ErrorCode::invalid_argument, "blocks of {} tokens or contexts of {} cannot be", options_.block_size,
           options_.max_positions);
    if (family_.positions != SidePositions::relative && max_positions_ > config_.max_positions)
      fail(ErrorCode::invalid_argument, "the model has {} positions; {} were asked for", config_.max_positions,
           max_positions_);
  }

  Value* integers(std::string_view name, Shape shape) {
    return graph().add_input(name, Type::tensor(DType::i32, std::move(shape)));
  }
  void add_caches(Pool& pool, std::string_view prefix, const std::string& blocks) {
    const CacheRows rows{options_.cache, config_.head_dim, options_.block_size};
    const Type type =
        Type::tensor(options_.cache, {Dim::symbol(blocks), config_.heads, options_.block_size, rows.columns()});
    for (int64_t layer = 0; layer < config_.layers; ++layer) {
      pool.keys.push_back(graph().add_input(fmt::format("{}key_cache.{}", prefix, layer), type));
      pool.values.push_back(graph().add_input(fmt::format("{}value_cache.{}", prefix, layer), type));
    }
  }
  void add_inputs() {
    const Dim tokens = Dim::symbol("tokens"), sequences = Dim::symbol("sequences");
    token_ids_ = integers("token_ids", {tokens});
    positions_ = integers("positions", {tokens});
    own_.starts = integers("sequence_starts", {sequences + 1});
    own_.lengths = integers("context_lengths", {sequences});
    own_.table = integers("block_table", {sequences, Dim::symbol("table_blocks")});
    logit_rows_ = integers("logit_rows", {Dim::symbol("rows")});
    const Shape states = {Dim::symbol("source_tokens"), all_.encoder.hidden};
    states_ = cast(graph(), graph().add_input("source_states", Type::tensor(DType::f32, states)), weights_.compute());
    source_.starts = integers("source_starts", {sequences + 1});
    source_.lengths = integers("source_lengths", {sequences});
    source_.table = integers("source_table", {sequences, Dim::symbol("source_table_blocks")});
    add_caches(own_, "", "blocks");
    add_caches(source_, "source_", "source_blocks");
  }

  Value* build_layer(Value* x, int64_t layer) {
    const std::string prefix = layer_prefix(layer);
    const auto name = [&](std::string_view part) { return prefix + std::string(part); };
    x = join(x, name(config_.names.norm1), [&](Value* of) { return attend(of, prefix, layer); });
    x = join(x, name(family_.cross.norm), [&](Value* of) { return attend_source(of, prefix, layer); });
    return join(x, name(config_.names.norm2), [&](Value* of) { return layers_.mlp(of, prefix); });
  }

  PagedAttention attention() const {
    PagedAttention op;
    op.heads = op.kv_heads = config_.heads;
    op.head_dim = op.value_dim = op.q_stride = op.k_stride = op.v_stride = config_.head_dim;
    op.block_size = options_.block_size;
    op.scale = config_.attention_scale;
    return op;
  }

  Value* attend(Value* x, const std::string& prefix, int64_t layer) {
    const Names& names = config_.names;
    const auto i = static_cast<size_t>(layer);
    if (layer == 0 || family_.bias_in_every_layer) biases_ = distance_biases(layer);
    Value* y = graph().emit(
        attention(),
        {heads(x, prefix + std::string(names.q), true), heads(x, prefix + std::string(names.k), family_.key_bias),
         heads(x, prefix + std::string(names.v), true), own_.keys[i], own_.values[i], own_.starts, own_.lengths,
         own_.table, nullptr, nullptr, biases_},
        prefix + "attention");
    return from_heads(y, prefix + std::string(names.attention_out));
  }

  // To the source: keys and values of the states that the step brings are stored, those of others are there already.
  Value* attend_source(Value* x, const std::string& prefix, int64_t layer) {
    const CrossNames& names = family_.cross;
    const auto i = static_cast<size_t>(layer);
    Value* y = graph().emit(
        attention(),
        {heads(x, prefix + std::string(names.q), true), heads(states_, prefix + std::string(names.k), family_.key_bias),
         heads(states_, prefix + std::string(names.v), true), source_.keys[i], source_.values[i], own_.starts,
         source_.lengths, source_.table, nullptr, nullptr, nullptr, source_.starts},
        prefix + "cross_attention");
    return from_heads(y, prefix + std::string(names.out));
  }

  // [heads, distances]
  Value* distance_biases(int64_t layer) {
    std::vector<int64_t> offsets;
    for (int64_t distance = 0; distance <= all_.buckets.max_distance; ++distance) offsets.push_back(-distance);
    Value* rows = relative_biases(layer, all_.buckets, offsets);
    return rows == nullptr ? nullptr : transpose(graph(), rows, {1, 0});
  }

  // Only the rows that were asked for go through the output matrix.
  Value* logits(Value* x) {
    x = final_norm(graph().emit(Gather{0}, {x, logit_rows_}));
    x = layers_.scaled(x, config_.logit_scale);
    const std::string own = weights_.found_name(config_.names.head);
    if (config_.traits.tied) weights_.ignore(own + ".weight");  // files may hold it twice
    const std::string head = config_.traits.tied ? embedding_name() : own;
    Value* y = weights_.product(x, {head, config_.hidden, config_.vocab, false, MatrixRole::head});
    y = cast(graph(), y, DType::f32);
    const std::string bias(family_.logit_bias);
    if (bias.empty() || !weights_.contains(bias)) return y;
    return add(y, weights_.f32(bias, {1, config_.vocab}));
  }

  DecoderInfo info() const {
    DecoderInfo info;
    info.family = config_.family;
    info.vocab = config_.vocab;
    info.layers = config_.layers;
    info.kv_heads = config_.heads;
    info.head_dim = info.value_dim = config_.head_dim;
    info.max_positions = max_positions_;
    info.block_size = options_.block_size;
    info.cache = options_.cache;
    info.windows = config_.windows;
    info.unused_tensors = unused();
    read_special_ids(checkpoint_, info);
    info.rules = read_seq2seq_rules(config_texts(checkpoint_), config_.vocab);
    return info;
  }

  const Checkpoint& checkpoint_;
  const DecoderOptions& options_;
  int64_t max_positions_;
  Pool own_, source_;
  Value *token_ids_ = nullptr, *positions_ = nullptr, *logit_rows_ = nullptr, *states_ = nullptr;
  Value* biases_ = nullptr;
};

}  // namespace

Decoder build_decoder_side(const Checkpoint& checkpoint, const Seq2SeqConfig& config, const DecoderOptions& options) {
  return DecoderSide(checkpoint, config, options).build();
}

}  // namespace lathe::checkpoint
