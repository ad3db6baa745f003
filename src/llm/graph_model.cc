#include "llm/graph_model.h"

#include <algorithm>

#include "base/error.h"
#include "checkpoint/positions.h"
#include "runtime/engine.h"
#include "runtime/session.h"

namespace lathe::llm {
namespace {

// Of the memory that is free once the weights are in place. The rest is for activations, and for whoever else.
constexpr double kShareOfHost = 0.5, kShareOfDevice = 0.85;

class PromptPositions : public Layout {
 public:
  explicit PromptPositions(const checkpoint::PromptLayout& layout) : layout_(layout) {}
  int64_t prefix_length() const override { return layout_.prefix_length; }
  int32_t position(int64_t index) const override { return layout_.position(index); }
  int32_t block_position(int64_t index) const override { return layout_.block_position(index); }

 private:
  checkpoint::PromptLayout layout_;
};

ModelFacts facts_of(const checkpoint::DecoderInfo& info) {
  ModelFacts facts;
  facts.family = info.family;
  facts.vocabulary = info.vocab;
  facts.context = info.max_positions;
  facts.block_size = info.block_size;
  facts.eos = info.eos_ids;
  facts.source_context = info.source.max_length;
  facts.source_vocabulary = info.source.vocab;
  facts.mel_bins = info.source.mel_bins;
  facts.frames = info.source.frames;
  return facts;
}

bool is_source(std::string_view name) { return name.starts_with("source_"); }
bool is_cache(std::string_view name) {
  if (is_source(name)) name.remove_prefix(std::string_view("source_").size());
  return name.starts_with("key_cache.") || name.starts_with("value_cache.");
}

// Tables of few widths mean few sets of sizes that steps must be prepared for.
int64_t wider(int64_t width) {
  int64_t wide = 8;
  while (wide < width) wide *= 2;
  return wide;
}

// The rows of a table, made wider.
void widen(std::span<const int32_t> table, int64_t rows, int64_t from, int64_t to, std::vector<int32_t>& wide) {
  wide.assign(static_cast<size_t>(rows * to), 0);
  for (int64_t row = 0; row < rows; ++row) std::copy_n(table.begin() + row * from, from, wide.begin() + row * to);
}

int64_t blocks_for(int64_t tokens, int64_t block_size) { return (tokens + block_size - 1) / block_size; }

[[noreturn]] void no_room(int64_t tokens, double needed, double free) {
  constexpr double kMegabyte = 1 << 20;
  throw Error(ErrorCode::out_of_memory,
              fmt::format("a context of {} tokens takes {:.0f} MB of keys and values, {:.0f} MB are free", tokens,
                          needed / kMegabyte, free / kMegabyte))
      .remedy("Choose a shorter context, or keys and values of 16 bits");
}

}  // namespace

GraphModel::GraphModel(checkpoint::Decoder decoder, std::unique_ptr<SourceReader> reader,
                       const GraphModelOptions& options)
    : info_(std::move(decoder.info)),
      facts_(facts_of(info_)),
      session_(make_engine(compile(std::move(decoder.graph), options.compile)), options.session),
      reader_(std::move(reader)) {
  find_caches();
  allocate_caches(options);
}

GraphModel::GraphModel(checkpoint::Decoder decoder, const GraphModelOptions& options)
    : GraphModel(std::move(decoder), nullptr, options) {}

GraphModel::GraphModel(checkpoint::Seq2Seq model, const GraphModelOptions& options)
    : GraphModel(std::move(model.decoder),
                 std::make_unique<SourceReader>(std::move(model.encoder), options.compile, options.session), options) {}

GraphModel::~GraphModel() {
  for (const Cache& cache : caches_)
    if (cache.memory != nullptr) session_.impl().device->release(cache.memory);
}

void GraphModel::find_caches() {
  for (const Value* input : session_.engine().impl().model.graph->inputs()) {
    if (!is_cache(input->name())) {
      integers_.push_back(input->name());
      continue;
    }
    Cache cache{input->name(), input->type().dtype, {0}, 0, nullptr};
    int64_t elements = 1;
    for (size_t i = 1; i < input->type().shape.size(); ++i) {
      cache.dims.push_back(input->type().shape[i].value());
      elements *= cache.dims.back();
    }
    cache.block_bytes = storage_bytes(cache.dtype, elements);
    cache.of_source = is_source(cache.name);
    caches_.push_back(std::move(cache));
  }
}

size_t GraphModel::block_bytes(bool of_source) const {
  size_t bytes = 0;
  for (const Cache& cache : caches_)
    if (cache.of_source == of_source) bytes += cache.block_bytes;
  return bytes;
}

// Half of the memory at most goes to sources.
int64_t GraphModel::choose_source_blocks(const GraphModelOptions& options, double memory) const {
  if (reader_ == nullptr) return 0;
  const int64_t longest = blocks_for(facts_.source_context, facts_.block_size);
  const double bytes = static_cast<double>(std::max<size_t>(block_bytes(true), 1));
  const auto affordable = static_cast<int64_t>(memory / 2 / bytes);
  if (affordable < longest) no_room(facts_.source_context, static_cast<double>(longest) * bytes, memory / 2);
  return std::min(affordable, longest * options.sequences);
}

int64_t GraphModel::choose_blocks(const GraphModelOptions& options, double memory) {
  if (options.blocks > 0) return options.blocks;
  const int64_t longest = blocks_for(facts_.context, facts_.block_size);
  const double bytes = static_cast<double>(std::max<size_t>(block_bytes(false), 1));
  const auto affordable = static_cast<int64_t>(memory / bytes);
  if (options.may_shorten && affordable > 0 && affordable < longest) {
    facts_.context = affordable * facts_.block_size;
    return affordable;
  }
  if (affordable < longest) no_room(facts_.context, static_cast<double>(longest) * bytes, memory);
  return std::min(affordable, longest * options.sequences);
}

void GraphModel::allocate_caches(const GraphModelOptions& options) {
  DeviceContext& device = *session_.impl().device;
  const double share = device.host_memory() ? kShareOfHost : kShareOfDevice;
  const double memory = static_cast<double>(device.free_bytes()) * share;
  facts_.source_blocks = choose_source_blocks(options, memory);
  const double of_sources = static_cast<double>(facts_.source_blocks) * static_cast<double>(block_bytes(true));
  facts_.blocks = choose_blocks(options, memory - of_sources);
  for (Cache& cache : caches_) {
    cache.dims[0] = cache.of_source ? facts_.source_blocks : facts_.blocks;
    cache.memory = device.allocate(cache.block_bytes * static_cast<size_t>(cache.dims[0]));
  }
}

std::unique_ptr<Layout> GraphModel::layout(std::span<const int32_t> prompt) const {
  return std::make_unique<PromptPositions>(checkpoint::layout_prompt(info_, prompt));
}

void GraphModel::bind(std::string_view name, std::span<const int32_t> values, std::vector<int64_t> dims) {
  if (std::find(integers_.begin(), integers_.end(), name) != integers_.end())
    inputs_.emplace_back(name, values, std::move(dims));
}

std::span<const float> GraphModel::run(const StepBatch& batch) {
  const auto tokens = static_cast<int64_t>(batch.token_ids.size());
  const int64_t width = wider(batch.table_width);
  widen(batch.block_table, batch.sequences, batch.table_width, width, table_);
  inputs_.clear();
  bind("token_ids", batch.token_ids, {tokens});
  bind("positions", batch.positions, {tokens});
  bind("block_positions", batch.block_positions, {tokens});
  bind("sequence_starts", batch.sequence_starts, {batch.sequences + 1});
  bind("context_lengths", batch.context_lengths, {batch.sequences});
  bind("prefix_lengths", batch.prefix_lengths, {batch.sequences});
  bind("block_table", table_, {batch.sequences, width});
  bind("logit_rows", batch.logit_rows, {static_cast<int64_t>(batch.logit_rows.size())});
  if (reader_ != nullptr) bind_sources(batch);
  for (const Cache& cache : caches_)
    inputs_.emplace_back(cache.name, cache.dtype, cache.dims, cache.memory, Memory::device);
  return session_.run(inputs_).front().as<float>();
}

void GraphModel::bind_sources(const StepBatch& batch) {
  const int64_t width = wider(batch.source_width);
  widen(batch.source_table, batch.sequences, batch.source_width, width, source_table_);
  states_.clear();
  states_.reserve(static_cast<size_t>(info_.source.hidden));  // an address, even of no states
  source_starts_.assign(1, 0);
  for (const Source& source : batch.new_sources) {
    if (!source.empty()) reader_->read(source, states_);
    source_starts_.push_back(static_cast<int32_t>(static_cast<int64_t>(states_.size()) / info_.source.hidden));
  }
  inputs_.emplace_back("source_states", states_, std::vector<int64_t>{source_starts_.back(), info_.source.hidden});
  bind("source_starts", source_starts_, {batch.sequences + 1});
  bind("source_lengths", batch.source_lengths, {batch.sequences});
  bind("source_table", source_table_, {batch.sequences, width});
}

void GraphModel::copy_block(BlockId from, BlockId to) {
  DeviceContext& device = *session_.impl().device;
  for (const Cache& cache : caches_) {
    if (cache.of_source) continue;
    auto* const memory = static_cast<std::byte*>(cache.memory);
    device.copy(memory + static_cast<size_t>(to) * cache.block_bytes,
                memory + static_cast<size_t>(from) * cache.block_bytes, cache.block_bytes);
  }
}

}  // namespace lathe::llm
