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
  return facts;
}

bool is_cache(std::string_view name) { return name.starts_with("key_cache.") || name.starts_with("value_cache."); }

// Tables of few widths mean few sets of sizes that steps must be prepared for.
int64_t wider(int64_t width) {
  int64_t wide = 8;
  while (wide < width) wide *= 2;
  return wide;
}

}  // namespace

GraphModel::GraphModel(checkpoint::Decoder decoder, const GraphModelOptions& options)
    : info_(std::move(decoder.info)),
      facts_(facts_of(info_)),
      session_(make_engine(compile(std::move(decoder.graph), options.compile)), options.session) {
  find_caches();
  allocate_caches(choose_blocks(options));
}

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
    caches_.push_back(std::move(cache));
  }
}

int64_t GraphModel::choose_blocks(const GraphModelOptions& options) {
  if (options.blocks > 0) return options.blocks;
  const int64_t longest = (facts_.context + facts_.block_size - 1) / facts_.block_size;
  const DeviceContext& device = *session_.impl().device;
  size_t block_bytes = 0;
  for (const Cache& cache : caches_) block_bytes += cache.block_bytes;
  const double share = device.host_memory() ? kShareOfHost : kShareOfDevice;
  const auto affordable = static_cast<int64_t>(static_cast<double>(device.free_bytes()) * share /
                                               static_cast<double>(std::max<size_t>(block_bytes, 1)));
  if (options.may_shorten && affordable > 0 && affordable < longest) {
    facts_.context = affordable * facts_.block_size;
    return affordable;
  }
  if (affordable < longest)
    throw Error(ErrorCode::out_of_memory,
                fmt::format("a context of {} tokens takes {} MB of keys and values, {} MB are free", facts_.context,
                            static_cast<size_t>(longest) * block_bytes >> 20, device.free_bytes() >> 20))
        .remedy("Choose a shorter context, or keys and values of 16 bits");
  return std::min(affordable, longest * options.sequences);
}

void GraphModel::allocate_caches(int64_t blocks) {
  facts_.blocks = blocks;
  for (Cache& cache : caches_) {
    cache.dims[0] = blocks;
    cache.memory = session_.impl().device->allocate(cache.block_bytes * static_cast<size_t>(blocks));
  }
}

std::unique_ptr<Layout> GraphModel::layout(std::span<const int32_t> prompt) const {
  return std::make_unique<PromptPositions>(checkpoint::layout_prompt(info_, prompt));
}

void GraphModel::bind(std::string_view name, std::span<const int32_t> values, std::vector<int64_t> dims) {
  if (std::find(integers_.begin(), integers_.end(), name) != integers_.end())
    inputs_.emplace_back(name, values, std::move(dims));
}

std::span<const float> GraphModel::run(const StepBatch& batch) { return run_all(batch).front().as<float>(); }

std::span<const Output> GraphModel::run_all(const StepBatch& batch) {
  const auto tokens = static_cast<int64_t>(batch.token_ids.size());
  const int64_t width = wider(batch.table_width);
  table_.assign(static_cast<size_t>(batch.sequences * width), 0);
  for (int64_t s = 0; s < batch.sequences; ++s)
    std::copy_n(batch.block_table.begin() + s * batch.table_width, batch.table_width, table_.begin() + s * width);
  inputs_.clear();
  bind("token_ids", batch.token_ids, {tokens});
  bind("positions", batch.positions, {tokens});
  bind("block_positions", batch.block_positions, {tokens});
  bind("sequence_starts", batch.sequence_starts, {batch.sequences + 1});
  bind("context_lengths", batch.context_lengths, {batch.sequences});
  bind("prefix_lengths", batch.prefix_lengths, {batch.sequences});
  bind("block_table", table_, {batch.sequences, width});
  bind("logit_rows", batch.logit_rows, {static_cast<int64_t>(batch.logit_rows.size())});
  for (const Cache& cache : caches_)
    inputs_.emplace_back(cache.name, cache.dtype, cache.dims, cache.memory, Memory::device);
  return session_.run(inputs_);
}

void GraphModel::copy_block(BlockId from, BlockId to) {
  DeviceContext& device = *session_.impl().device;
  for (const Cache& cache : caches_) {
    auto* const memory = static_cast<std::byte*>(cache.memory);
    device.copy(memory + static_cast<size_t>(to) * cache.block_bytes,
                memory + static_cast<size_t>(from) * cache.block_bytes, cache.block_bytes);
  }
}

}  // namespace lathe::llm
