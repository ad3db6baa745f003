#include "checkpoint/seq2seq_side.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "checkpoint/spellings.h"
#include "graph/build.h"

namespace lathe::checkpoint {
namespace {

// Rows [positions, features] of sines, then cosines.
Tensor sinusoids(int64_t positions, int64_t features, bool ends_at_10000) {
  const int64_t pairs = features / 2;
  const double steps = static_cast<double>(ends_at_10000 ? pairs - 1 : pairs);
  Tensor table(DType::f32, {positions, features});
  float* row = table.mutable_as<float>().data();
  for (int64_t position = 0; position < positions; ++position, row += features) {
    for (int64_t p = 0; p < pairs; ++p) {
      const double angle = static_cast<double>(position) * std::pow(10000.0, -static_cast<double>(p) / steps);
      row[p] = static_cast<float>(std::sin(angle));
      row[pairs + p] = static_cast<float>(std::cos(angle));
    }
  }
  return table;
}

}  // namespace

Seq2SeqSide::Seq2SeqSide(const Checkpoint& checkpoint, const Seq2SeqConfig& all, const ModelConfig& config,
                         const DecoderOptions& options)
    : all_(all),
      family_(*all.family),
      config_(config),
      graph_(std::make_unique<Graph>()),
      weights_(*graph_, checkpoint, options.compute, config.names.root,
               fmt::format("{}0.{}.weight", config.names.layers, config.names.norm1), options.weights),
      layers_(weights_, config_) {
  graph_->set_name(std::string(config.family));
}

std::string Seq2SeqSide::layer_prefix(int64_t layer) const {
  return fmt::format("{}{}.", weights_.under_root(config_.names.layers), layer);
}

Value* Seq2SeqSide::add(Value* a, Value* b) const { return map2(*graph_, MapOp::add, a, b); }

std::string Seq2SeqSide::embedding_name() const {
  const std::string_view names = config_.names.embedding;
  const auto found = find_spelling(
      names, [&](std::string_view name) { return weights_.contains(weights_.under_root(name) + ".weight"); });
  return weights_.under_root(found.value_or(first_spelling(names)));
}

Value* Seq2SeqSide::embed(Value* ids, Value* positions) {
  // Files may hold one matrix under all of its names.
  for (const std::string_view name : {"shared", "encoder.embed_tokens", "decoder.embed_tokens"})
    weights_.ignore(weights_.under_root(name) + ".weight");
  Value* table = weights_.table(embedding_name() + ".weight", {config_.vocab, config_.hidden});
  Value* x = cast(graph(), graph().emit(Gather{0}, {table, ids}, "embedding"), weights_.compute());
  return with_positions(layers_.scaled(x, config_.embedding_scale), positions);
}

Value* Seq2SeqSide::with_positions(Value* x, Value* positions) {
  const int64_t offset = config_.traits.position_offset, rows = config_.max_positions + offset;
  const auto normed = [&](Value* of) {
    return layers_.norm(of, weights_.under_root(config_.names.embedding_norm), config_.hidden);
  };
  const bool norms = config_.traits.embedding_norm, norms_first = norms && config_.traits.norm_before_positions;
  if (norms_first) x = normed(x);
  if (family_.positions != SidePositions::relative) {
    if (offset != 0) positions = add(positions, scalar(graph(), static_cast<double>(offset), positions->dtype()));
    Value* table =
        family_.positions == SidePositions::learned
            ? weights_.table(weights_.under_root(config_.names.positions) + ".weight", {rows, config_.hidden})
            : constant(graph(), sinusoids(rows, config_.hidden, family_.ends_at_10000));
    x = add(x, cast(graph(), graph().emit(Gather{0}, {table, positions}, "positions"), weights_.compute()));
  }
  return norms && !norms_first ? normed(x) : x;
}

Value* Seq2SeqSide::final_norm(Value* x) const {
  return config_.traits.final_norm ? layers_.norm(x, weights_.under_root(config_.names.final_norm), config_.hidden) : x;
}

Value* Seq2SeqSide::heads(Value* x, const std::string& name, bool bias) const {
  return layers_.linear(x, name, config_.hidden, config_.heads * config_.head_dim, bias && config_.traits.biases.qkv);
}

Value* Seq2SeqSide::from_heads(Value* y, const std::string& name) const {
  return layers_.linear(y, name, config_.heads * config_.head_dim, config_.hidden, config_.traits.biases.attention_out);
}

Value* Seq2SeqSide::relative_biases(int64_t layer, const RelativeBuckets& buckets,
                                    const std::vector<int64_t>& offsets) {
  if (family_.positions != SidePositions::relative) return nullptr;
  const std::string name = layer_prefix(family_.bias_in_every_layer ? layer : 0) + std::string(family_.relative_bias);
  std::vector<int64_t> rows;
  for (const int64_t offset : offsets) rows.push_back(buckets.bucket(offset));
  const Tensor ids = Tensor::of<int64_t>({static_cast<int64_t>(rows.size())}, std::span<const int64_t>(rows));
  Value* table = weights_.f32(name + ".weight", {buckets.buckets, config_.heads});
  return graph().emit(Gather{0}, {table, constant(graph(), ids)}, name);
}

bool is_seq2seq(const Checkpoint& checkpoint) { return find_seq2seq_family(checkpoint) != nullptr; }

// T5 grew up in bfloat16; what is beyond the range of f16 appears in its states.
DType suitable_half(const Checkpoint& checkpoint) {
  const Seq2SeqFamily* family = find_seq2seq_family(checkpoint);
  return family != nullptr && family->positions == SidePositions::relative ? DType::bf16 : DType::f16;
}

SourceEncoder build_source_encoder(const Checkpoint& checkpoint, DType compute, int64_t max_positions) {
  DecoderOptions options;
  options.compute = compute;
  options.max_positions = max_positions;
  return build_encoder_side(checkpoint, read_seq2seq_config(checkpoint), options);
}

Seq2Seq build_seq2seq(const Checkpoint& checkpoint, const DecoderOptions& options) {
  const Seq2SeqConfig config = read_seq2seq_config(checkpoint);
  std::vector<std::string> unused;
  SourceEncoder encoder = build_encoder_side(checkpoint, config, options, &unused);
  Decoder decoder = build_decoder_side(checkpoint, config, options);
  // A tensor is used when either side uses it.
  const auto used = [&](const std::string& name) { return !std::binary_search(unused.begin(), unused.end(), name); };
  std::erase_if(decoder.info.unused_tensors, used);
  decoder.info.source = encoder.info;
  return {std::move(encoder), std::move(decoder)};
}

}  // namespace lathe::checkpoint
