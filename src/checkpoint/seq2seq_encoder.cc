// The encoder of an encoder-decoder, as a graph over padded batches.
#include <limits>

#include "base/error.h"
#include "checkpoint/seq2seq_side.h"
#include "graph/build.h"

namespace lathe::checkpoint {
namespace {

class EncoderSide : public Seq2SeqSide {
 public:
  EncoderSide(const Checkpoint& checkpoint, const Seq2SeqConfig& config, const DecoderOptions& options)
      : Seq2SeqSide(checkpoint, config, config.encoder, options),
        max_positions_(family_.positions == SidePositions::relative && options.max_positions > 0
                           ? options.max_positions
                           : config_.max_positions) {}

  SourceEncoder build() {
    Value* x = family_.audio ? hear() : read();
    for (int64_t layer = 0; layer < config_.layers; ++layer) {
      const std::string prefix = layer_prefix(layer);
      const auto attention = [&](Value* of) { return attend(of, prefix, layer); };
      const auto mlp = [&](Value* of) { return layers_.mlp(of, prefix); };
      x = join(x, prefix + std::string(config_.names.norm1), attention);
      x = join(x, prefix + std::string(config_.names.norm2), mlp);
    }
    graph().add_output(cast(graph(), final_norm(x), DType::f32), "last_hidden_state");
    weights_.expect_complete();
    return {std::move(graph_), info()};
  }

 private:
  SourceInfo info() const {
    SourceInfo info;
    info.max_length = max_positions_;
    info.vocab = config_.vocab;
    if (family_.audio) {
      info.mel_bins = all_.mel_bins;
      info.frames = 2 * config_.max_positions;
    }
    info.hidden = config_.hidden;
    info.heads = all_.decoder.heads;
    info.head_dim = all_.decoder.head_dim;
    return info;
  }

  // Tokens.
  Value* read() {
    const Shape shape = {Dim::symbol("batch"), Dim::symbol("sequence")};
    Value* ids = graph().add_input("input_ids", Type::tensor(DType::i64, shape));
    Value* mask = graph().add_input("attention_mask", Type::tensor(DType::i64, shape));
    mask_ = reshape(graph(), mask, {shape[0], 1, 1, shape[1]});
    sequence_ = shape[1];
    MapProgram count;
    count.finish(count.iota(-1));
    return embed(ids, graph().emit(Map{count, Shape{1, shape[1]}}, {}));
  }

  // A spectrogram; two of its frames become one state.
  Value* hear() {
    const Shape shape = {Dim::symbol("batch"), all_.mel_bins, 2 * config_.max_positions};
    Value* x = graph().add_input("input_features", Type::tensor(DType::f32, shape));
    x = convolve(cast(graph(), x, weights_.compute()), "encoder.conv1", all_.mel_bins, 1);
    x = convolve(x, "encoder.conv2", config_.hidden, 2);
    MapProgram count;
    count.finish(count.iota(-1));
    return with_positions(transpose(graph(), x, {0, 2, 1}),
                          graph().emit(Map{count, Shape{1, config_.max_positions}}, {}));
  }
  Value* convolve(Value* x, const std::string& name, int64_t channels, int64_t stride) {
    constexpr int64_t kTaps = 3;
    const std::string whole = weights_.under_root(name);
    Conv op;
    op.strides = {stride};
    op.dilations = {1};
    op.pads = {1, 1};
    Value* kernel = cast(graph(), weights_.table(whole + ".weight", {config_.hidden, channels, kTaps}), x->dtype());
    Value* bias = reshape(graph(), weights_.vector(whole + ".bias", config_.hidden), {config_.hidden, 1});
    return map1(graph(), MapOp::gelu_erf, add(graph().emit(op, {x, kernel}, name), bias));
  }

  Value* attend(Value* x, const std::string& prefix, int64_t layer) {
    const Names& names = config_.names;
    Attention op;
    op.heads = op.kv_heads = config_.heads;
    op.head_dim = op.value_dim = op.q_stride = op.k_stride = op.v_stride = config_.head_dim;
    op.scale = config_.attention_scale;
    std::vector<Value*> operands = {heads(x, prefix + std::string(names.q), true),
                                    heads(x, prefix + std::string(names.k), family_.key_bias),
                                    heads(x, prefix + std::string(names.v), true)};
    if (layer == 0 || family_.bias_in_every_layer) bias_ = score_bias(layer);
    add_score(op, operands);
    return from_heads(graph().emit(op, operands, prefix + "attention"), prefix + std::string(names.attention_out));
  }

  // The bias is added to a score, then what the mask hides is hidden.
  void add_score(Attention& op, std::vector<Value*>& operands) const {
    if (mask_ == nullptr) return;
    const DType type = weights_.compute();
    int score = op.score.input(0, type), extras = 0;
    if (bias_ != nullptr) {
      operands.push_back(bias_);
      score = op.score.binary(MapOp::add, score, op.score.input(++extras, type));
    }
    operands.push_back(mask_);
    const int mask = op.score.input(++extras, DType::i64);
    const int visible = op.score.binary(MapOp::ne, mask, op.score.constant_int(0, DType::i64));
    op.score.finish(op.score.select(visible, score, op.score.constant(-std::numeric_limits<double>::infinity(), type)));
  }

  // [1, heads, queries, keys]
  Value* score_bias(int64_t layer) {
    const int64_t reach = all_.buckets.max_distance;
    std::vector<int64_t> offsets;
    for (int64_t offset = -reach; offset <= reach; ++offset) offsets.push_back(offset);
    RelativeBuckets buckets = all_.buckets;
    buckets.both_ways = true;
    Value* rows = relative_biases(layer, buckets, offsets);
    if (rows == nullptr) return nullptr;
    Value* biases = transpose(graph(), by_distance(graph(), rows, sequence_, reach), {2, 0, 1});
    return cast(graph(), reshape(graph(), biases, {1, config_.heads, sequence_, sequence_}), weights_.compute());
  }

  int64_t max_positions_;
  Dim sequence_;
  Value* mask_ = nullptr;  // [batch, 1, 1, sequence]; null: nothing is hidden
  Value* bias_ = nullptr;
};

}  // namespace

SourceEncoder build_encoder_side(const Checkpoint& checkpoint, const Seq2SeqConfig& config,
                                 const DecoderOptions& options, std::vector<std::string>* unused) {
  if (options.compute != DType::f32 && !is_half(options.compute))
    fail(ErrorCode::invalid_argument, "an encoder computes in f32, f16 or bf16, not in {}", to_string(options.compute));
  EncoderSide side(checkpoint, config, options);
  SourceEncoder encoder = side.build();
  if (unused != nullptr) *unused = side.unused();
  return encoder;
}

}  // namespace lathe::checkpoint
