#include "llm/graph_model.h"

#include <algorithm>

#include "base/error.h"
#include "checkpoint/positions.h"
#include "runtime/engine.h"
#include "runtime/session.h"

namespace lathe::llm {
namespace {

constexpr double kShareOfHost = 0.5, kShareOfDevice = 0.85;
// Of a budget for the device: what keys and values may take at most where weights do not fit, and what activations do.
constexpr size_t kCachePart = 4, kActivationPart = 10;

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

// Few sizes mean few sets of them that steps must be prepared for, and recordings that serve many steps. Rows beyond
// the step's own belong to no sequence.
int64_t wider(int64_t width) {
  int64_t wide = 8;
  while (wide < width) wide *= 2;
  return wide;
}
int64_t rounded_up(int64_t count) {
  const int64_t step = count <= 8 ? 1 : (count <= 64 ? 8 : 32);
  return (count + step - 1) / step * step;
}

}  // namespace

std::unique_ptr<Layout> lay_out(const checkpoint::DecoderInfo& info, std::span<const int32_t> prompt) {
  return std::make_unique<PromptPositions>(checkpoint::layout_prompt(info, prompt));
}

int64_t affordable_blocks(const DeviceContext& device, size_t block_bytes) {
  const double share = device.host_memory() ? kShareOfHost : kShareOfDevice;
  return static_cast<int64_t>(static_cast<double>(device.free_bytes()) * share /
                              static_cast<double>(std::max<size_t>(block_bytes, 1)));
}

void refuse_context(int64_t context, size_t bytes, size_t free_bytes) {
  throw Error(ErrorCode::out_of_memory,
              fmt::format("a context of {} tokens takes {} MB of keys and values, {} MB are free", context, bytes >> 20,
                          free_bytes >> 20))
      .remedy("Choose a shorter context, or keys and values of 16 bits");
}

GraphModel::GraphModel(checkpoint::Decoder decoder, const GraphModelOptions& options)
    : info_(std::move(decoder.info)),
      facts_(facts_of(info_)),
      session_(make_engine(std::move(decoder), options), options.session) {
  allocate_caches(choose_blocks(options));
}

GraphModel::~GraphModel() {
  for (const Cache& cache : caches_)
    if (cache.memory != nullptr) session_.impl().device->release(cache.memory);
}

std::shared_ptr<const lathe::Engine> GraphModel::make_engine(checkpoint::Decoder decoder,
                                                             const GraphModelOptions& options) {
  CompiledModel model = compile(std::move(decoder.graph), options.compile);
  find_caches(*model.graph);
  if (options.device_budget == 0) return lathe::make_engine(std::move(model));
  const size_t all = options.device_budget - options.device_budget / kActivationPart;
  const auto blocks = static_cast<size_t>(options.blocks > 0 ? options.blocks : longest() * options.sequences);
  const size_t caches = std::min(blocks * block_bytes(), options.blocks > 0 ? all : all / kCachePart);
  auto engine = lathe::make_engine(std::move(model), {.budget = std::max<size_t>(all - caches, 1)});
  const WeightMemory& weights = engine->impl().weights;
  budget_for_caches_ = std::max<size_t>(all - std::min(all, weights.owned_bytes() + weights.ring_bytes()), 1);
  return engine;
}

size_t GraphModel::block_bytes() const {
  size_t bytes = 0;
  for (const Cache& cache : caches_) bytes += cache.block_bytes;
  return bytes;
}

void GraphModel::find_caches(const Graph& graph) {
  for (const Value* input : graph.inputs()) {
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
  const DeviceContext& device = *session_.impl().device;
  int64_t affordable = affordable_blocks(device, block_bytes());
  if (budget_for_caches_ > 0)
    affordable = std::min(affordable, static_cast<int64_t>(budget_for_caches_ / std::max<size_t>(block_bytes(), 1)));
  if (options.may_shorten && affordable > 0 && affordable < longest()) {
    facts_.context = affordable * facts_.block_size;
    return affordable;
  }
  if (affordable < longest())
    refuse_context(facts_.context, static_cast<size_t>(longest()) * block_bytes(),
                   static_cast<size_t>(affordable) * block_bytes());
  return std::min(affordable, longest() * options.sequences);
}

void GraphModel::allocate_caches(int64_t blocks) {
  facts_.blocks = blocks;
  padded_.resize(integers_.size());
  for (Cache& cache : caches_) {
    cache.dims[0] = blocks;
    cache.memory = session_.impl().device->allocate(cache.block_bytes * static_cast<size_t>(blocks));
    inputs_.emplace_back(cache.name, cache.dtype, cache.dims, cache.memory, Memory::device);
  }
}

void GraphModel::bind(std::string_view name, std::span<const int32_t> values, int64_t count, int32_t filler) {
  const auto place = std::find(integers_.begin(), integers_.end(), name);
  if (place == integers_.end()) return;
  std::vector<int32_t>& padded = padded_[static_cast<size_t>(place - integers_.begin())];
  padded.assign(values.begin(), values.end());
  padded.resize(static_cast<size_t>(count), filler);
  inputs_.emplace_back(name, std::span<const int32_t>(padded), std::vector<int64_t>{count});
}

void GraphModel::bind_table(const StepBatch& batch, int64_t sequences) {
  const int64_t width = wider(batch.table_width);
  table_.assign(static_cast<size_t>(sequences * width), 0);
  for (int64_t s = 0; s < batch.sequences; ++s)
    std::copy_n(batch.block_table.begin() + s * batch.table_width, batch.table_width, table_.begin() + s * width);
  inputs_.emplace_back("block_table", std::span<const int32_t>(table_), std::vector<int64_t>{sequences, width});
}

std::span<const float> GraphModel::run(const StepBatch& batch) {
  const std::span<const float> logits = run_all(batch).front().as<float>();
  return logits.first(batch.logit_rows.size() * static_cast<size_t>(facts_.vocabulary));
}

std::span<const Output> GraphModel::run_all(const StepBatch& batch) {
  // On the host, tokens cost what they cost; a GPU computes whole tiles of them anyway.
  const auto own_tokens = static_cast<int64_t>(batch.token_ids.size());
  const int64_t tokens = session_.impl().device->host_memory() ? own_tokens : rounded_up(own_tokens);
  const int64_t sequences = rounded_up(batch.sequences);
  inputs_.erase(inputs_.begin() + static_cast<std::ptrdiff_t>(caches_.size()), inputs_.end());
  bind("token_ids", batch.token_ids, tokens);
  bind("positions", batch.positions, tokens);
  bind("block_positions", batch.block_positions, tokens);
  bind("sequence_starts", batch.sequence_starts, sequences + 1, static_cast<int32_t>(own_tokens));
  bind("context_lengths", batch.context_lengths, sequences);
  bind("prefix_lengths", batch.prefix_lengths, sequences);
  bind_table(batch, sequences);
  bind("logit_rows", batch.logit_rows, rounded_up(static_cast<int64_t>(batch.logit_rows.size())));
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
