#include "llm/graph_model.h"

#include <algorithm>

#include "base/error.h"
#include "checkpoint/positions.h"
#include "runtime/engine.h"
#include "runtime/session.h"

namespace lathe::llm {
namespace {

constexpr std::string_view kLogits = "logits";
constexpr double kShareOfHost = 0.5, kShareOfDevice = 0.85;
// Of a budget for the device: what keys and values may take at most where weights do not fit, and what activations do.
constexpr size_t kCachePart = 4, kActivationPart = 10;

class PromptPositions : public Layout {
 public:
  explicit PromptPositions(const checkpoint::PromptLayout& layout) : layout_(layout) {}
  int64_t prefix_length() const override { return layout_.prefix_length; }
  int64_t long_from() const override { return layout_.long_from; }
  int32_t position(int64_t index, int64_t length) const override { return layout_.position(index, length); }
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
  if (info.block_positions) facts.prompt_end = {info.gmask_id, info.bos_id};
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

// Few sizes mean few sets of them that steps must be prepared for, and recordings that serve many steps. Rows beyond
// the step's own belong to no sequence.
int64_t wider(int64_t width) {
  int64_t step = 2;
  while (8 * step < width) step *= 2;
  return std::max<int64_t>((width + step - 1) / step * step, 8);
}
int64_t rounded_up(int64_t count) {
  const int64_t step = count <= 8 ? 1 : (count <= 64 ? 8 : 32);
  return (count + step - 1) / step * step;
}

// Adds two outputs that a device finds in the logits by itself: the likeliest token of each row, and its logit.
void add_likeliest(Graph& graph) {
  Value* logits = graph.outputs()[0];
  Value* ids = graph.emit(ArgReduce{.axis = 1}, {logits});
  graph.add_output(ids, "likeliest");
  graph.add_output(graph.emit(GatherElements{1}, {logits, ids}), "highest");
}

}  // namespace

std::unique_ptr<Layout> lay_out(const checkpoint::DecoderInfo& info, std::span<const int32_t> prompt) {
  return std::make_unique<PromptPositions>(checkpoint::layout_prompt(info, prompt));
}

size_t cache_memory(const DeviceContext& device) {
  const double share = device.host_memory() ? kShareOfHost : kShareOfDevice;
  return static_cast<size_t>(static_cast<double>(device.free_bytes()) * share);
}

void refuse_context(int64_t context, size_t bytes, size_t free_bytes) {
  throw Error(ErrorCode::out_of_memory,
              fmt::format("a context of {} tokens takes {} MB of keys and values, {} MB are free", context, bytes >> 20,
                          free_bytes >> 20))
      .remedy("Choose a shorter context, or keys and values of 16 bits");
}

GraphModel::GraphModel(checkpoint::Decoder decoder, std::unique_ptr<SourceReader> reader,
                       const GraphModelOptions& options)
    : info_(std::move(decoder.info)),
      facts_(facts_of(info_)),
      session_(make_engine(std::move(decoder), options), options.session),
      logits_(*session_.impl().device),
      reader_(std::move(reader)) {
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

std::shared_ptr<const lathe::Engine> GraphModel::make_engine(checkpoint::Decoder decoder,
                                                             const GraphModelOptions& options) {
  brings_likeliest_ = cuda_ordinal(options.compile.device) && decoder.graph->outputs().size() == 1;
  if (brings_likeliest_) add_likeliest(*decoder.graph);
  CompiledModel model = compile(std::move(decoder.graph), options.compile);
  find_caches(*model.graph);
  if (options.device_budget == 0) return lathe::make_engine(std::move(model));
  const size_t all = options.device_budget - options.device_budget / kActivationPart;
  const auto blocks = static_cast<size_t>(options.blocks > 0 ? options.blocks : longest(false) * options.sequences);
  const auto of_sources = static_cast<size_t>(longest(true) * options.sequences) * block_bytes(true);
  const size_t caches = std::min(blocks * block_bytes(false) + of_sources, options.blocks > 0 ? all : all / kCachePart);
  auto engine = lathe::make_engine(std::move(model), {.budget = std::max<size_t>(all - caches, 1)});
  const WeightMemory& weights = engine->impl().weights;
  budget_for_caches_ = std::max<size_t>(all - std::min(all, weights.owned_bytes() + weights.ring_bytes()), 1);
  return engine;
}

int64_t GraphModel::longest(bool of_source) const {
  const int64_t tokens = of_source ? facts_.source_context : facts_.context;
  return (tokens + facts_.block_size - 1) / facts_.block_size;
}

size_t GraphModel::block_bytes(bool of_source) const {
  size_t bytes = 0;
  for (const Cache& cache : caches_)
    if (cache.of_source == of_source) bytes += cache.block_bytes;
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
    cache.of_source = is_source(cache.name);
    caches_.push_back(std::move(cache));
  }
}

// Half of the memory at most goes to sources.
int64_t GraphModel::choose_source_blocks(const GraphModelOptions& options, size_t memory) const {
  if (reader_ == nullptr) return 0;
  const size_t bytes = std::max<size_t>(block_bytes(true), 1);
  const auto affordable = static_cast<int64_t>(memory / 2 / bytes);
  if (affordable < longest(true))
    refuse_context(facts_.source_context, static_cast<size_t>(longest(true)) * bytes, memory / 2);
  return std::min(affordable, longest(true) * options.sequences);
}

int64_t GraphModel::choose_blocks(const GraphModelOptions& options, size_t memory) {
  if (options.blocks > 0) return options.blocks;
  const size_t bytes = std::max<size_t>(block_bytes(false), 1);
  const auto affordable = static_cast<int64_t>(memory / bytes);
  if (options.may_shorten && affordable > 0 && affordable < longest(false)) {
    facts_.context = affordable * facts_.block_size;
    return affordable;
  }
  if (affordable < longest(false)) refuse_context(facts_.context, static_cast<size_t>(longest(false)) * bytes, memory);
  return std::min(affordable, longest(false) * options.sequences);
}

void GraphModel::allocate_caches(const GraphModelOptions& options) {
  DeviceContext& device = *session_.impl().device;
  const size_t free = cache_memory(device);
  const size_t memory = budget_for_caches_ > 0 ? std::min(free, budget_for_caches_) : free;
  facts_.source_blocks = choose_source_blocks(options, memory);
  facts_.blocks = choose_blocks(options, memory - static_cast<size_t>(facts_.source_blocks) * block_bytes(true));
  padded_.resize(integers_.size());
  for (Cache& cache : caches_) {
    cache.dims[0] = cache.of_source ? facts_.source_blocks : facts_.blocks;
    cache.memory = device.allocate(cache.block_bytes * static_cast<size_t>(cache.dims[0]));
    inputs_.emplace_back(cache.name, cache.dtype, cache.dims, cache.memory, Memory::device);
  }
  saved_blocks_ = static_cast<int64_t>(options.swap_memory / std::max<size_t>(block_bytes(false), 1));
  saved_.reset(new std::byte[static_cast<size_t>(saved_blocks_) * block_bytes(false)]);  // pages come when written
}

void GraphModel::bind(std::string_view name, std::span<const int32_t> values, int64_t count, int32_t filler) {
  const auto place = std::find(integers_.begin(), integers_.end(), name);
  if (place == integers_.end()) return;
  std::vector<int32_t>& padded = padded_[static_cast<size_t>(place - integers_.begin())];
  padded.assign(values.begin(), values.end());
  padded.resize(static_cast<size_t>(count), filler);
  inputs_.emplace_back(name, std::span<const int32_t>(padded), std::vector<int64_t>{count});
}

void GraphModel::bind_table(std::string_view name, std::span<const int32_t> table, int64_t width, int64_t rows,
                            std::vector<int32_t>& wide) {
  const int64_t columns = wider(width), known = static_cast<int64_t>(table.size()) / std::max<int64_t>(width, 1);
  wide.assign(static_cast<size_t>(rows * columns), 0);
  for (int64_t row = 0; row < known; ++row)
    std::copy_n(table.begin() + row * width, width, wide.begin() + row * columns);
  inputs_.emplace_back(name, std::span<const int32_t>(wide), std::vector<int64_t>{rows, columns});
}

std::span<const float> GraphModel::run(const StepBatch& batch) {
  if (brings_likeliest_) session_.bind_output(kLogits, nullptr, 0);
  const std::span<const float> logits = run_all(batch).front().as<float>();
  return logits.first(batch.logit_rows.size() * static_cast<size_t>(facts_.vocabulary));
}

bool GraphModel::choose(const StepBatch& batch, std::vector<Likeliest>& likeliest) {
  if (!brings_likeliest_) return false;
  const size_t bytes = static_cast<size_t>(computed_rows(batch) * facts_.vocabulary) * sizeof(float);
  session_.bind_output(kLogits, logits_.reserve(bytes), logits_.capacity(), Memory::device);
  const std::span<const Output> outputs = run_all(batch);
  const std::span<const int64_t> ids = outputs[1].as<int64_t>();
  const std::span<const float> highest = outputs[2].as<float>();
  likeliest.resize(batch.logit_rows.size());
  for (size_t i = 0; i < likeliest.size(); ++i) likeliest[i] = {ids[i], highest[i]};
  return true;
}

int64_t GraphModel::computed_rows(const StepBatch& batch) const {
  return rounded_up(static_cast<int64_t>(batch.logit_rows.size()));
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
  bind_table("block_table", batch.block_table, batch.table_width, sequences, table_);
  bind("logit_rows", batch.logit_rows, computed_rows(batch));
  if (reader_ != nullptr) bind_sources(batch, sequences);
  return session_.run(inputs_);
}

void GraphModel::bind_sources(const StepBatch& batch, int64_t sequences) {
  states_.clear();
  states_.reserve(static_cast<size_t>(info_.source.hidden));  // an address, even of no states
  source_starts_.assign(1, 0);
  for (const Source& source : batch.new_sources) {
    if (!source.empty()) reader_->read(source, states_);
    source_starts_.push_back(static_cast<int32_t>(static_cast<int64_t>(states_.size()) / info_.source.hidden));
  }
  const int32_t all = source_starts_.back();
  inputs_.emplace_back("source_states", states_, std::vector<int64_t>{all, info_.source.hidden});
  bind("source_starts", source_starts_, sequences + 1, all);
  bind("source_lengths", batch.source_lengths, sequences);
  bind_table("source_table", batch.source_table, batch.source_width, sequences, source_table_);
}

template <class Visit>
void GraphModel::for_each_part(BlockId block, BlockId copy, const Visit& visit) {
  std::byte* saved = saved_.get() + static_cast<size_t>(copy) * block_bytes(false);
  for (const Cache& cache : caches_) {
    if (cache.of_source) continue;
    visit(static_cast<std::byte*>(cache.memory) + static_cast<size_t>(block) * cache.block_bytes,
          std::span(saved, cache.block_bytes));
    saved += cache.block_bytes;
  }
}

void GraphModel::save_block(BlockId block, BlockId copy) {
  for_each_part(block, copy, [&](std::byte* memory, std::span<std::byte> saved) {
    session_.impl().device->download(saved, memory);
  });
}

void GraphModel::load_block(BlockId copy, BlockId block) {
  for_each_part(block, copy,
                [&](std::byte* memory, std::span<std::byte> saved) { session_.impl().device->upload(memory, saved); });
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
