#include "toy_model.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "llm/sampling.h"

namespace lathe::llm {
namespace {

uint64_t mix(uint64_t a, uint64_t b) {
  uint64_t x = a * 0x9e3779b97f4a7c15 + b + 1;
  x = (x ^ (x >> 29)) * 0xbf58476d1ce4e5b9;
  return x ^ (x >> 32);
}

class ToyLayout : public Layout {
 public:
  ToyLayout(int64_t prefix, int64_t prompt, const ToyOptions& options)
      : prefix_(prefix), prompt_(prompt), long_from_(options.long_from), stretched_from_(options.stretched_from) {}
  int64_t prefix_length() const override { return prefix_; }
  int64_t long_from() const override { return long_from_; }
  // Odd, so that a position that is taken from elsewhere shows.
  int32_t position(int64_t index, int64_t length) const override {
    return static_cast<int32_t>(2 * index + prefix_ + (long_from_ > 0 && length > long_from_ ? 1000 : 0));
  }
  int32_t block_position(int64_t index) const override {
    const int64_t beyond = std::max<int64_t>(std::max(index + 1, prompt_) - stretched_from_, 0);
    return static_cast<int32_t>(index - prefix_ + (stretched_from_ > 0 ? 1000 * beyond : 0));
  }

 private:
  int64_t prefix_, prompt_, long_from_, stretched_from_;
};

uint64_t prefix_value(uint64_t all, int64_t index) { return mix(all, static_cast<uint64_t>(index)); }

uint64_t next_value(uint64_t before, int32_t token, int32_t position, int32_t block_position) {
  return mix(mix(before, static_cast<uint64_t>(token)),
             static_cast<uint64_t>(position) << 32 | static_cast<uint32_t>(block_position));
}

uint64_t source_value(uint64_t before, int32_t token) { return mix(before, static_cast<uint64_t>(token) + 77); }

}  // namespace

ToyModel::ToyModel(const ToyOptions& options)
    : options_(options),
      slots_(static_cast<size_t>(options.blocks * options.block_size)),
      saved_(static_cast<size_t>(options.saved_blocks * options.block_size)),
      source_slots_(static_cast<size_t>(options.source_blocks * options.block_size), -1) {
  facts_.family = "toy";
  facts_.vocabulary = options.vocabulary;
  facts_.context = options.context;
  facts_.blocks = options.blocks;
  facts_.block_size = options.block_size;
  facts_.eos = options.eos;
  facts_.source_context = options.source_context;
  facts_.source_vocabulary = options.source_context > 0 ? options.vocabulary : 0;
  facts_.source_blocks = options.source_blocks;
  rules_.start = {options.start};
}

std::unique_ptr<Layout> ToyModel::layout(std::span<const int32_t> prompt) const {
  const auto zero = std::find(prompt.begin(), prompt.end(), 0);
  return std::make_unique<ToyLayout>(options_.prefix && zero != prompt.end() ? zero - prompt.begin() : 0,
                                     std::ssize(prompt), options_);
}

ToyModel::Slot& ToyModel::slot(const StepBatch& batch, int64_t sequence, int64_t index) {
  const int32_t block =
      batch.block_table[static_cast<size_t>(sequence * batch.table_width + index / options_.block_size)];
  return slots_[static_cast<size_t>(block * options_.block_size + index % options_.block_size)];
}

void ToyModel::write(const StepBatch& batch, int64_t sequence) {
  const auto s = static_cast<size_t>(sequence);
  const int64_t start = batch.sequence_starts[s];
  const int64_t first = batch.context_lengths[s] - (batch.sequence_starts[s + 1] - start);
  const auto row = [&](int64_t index) { return static_cast<size_t>(start + index - first); };
  for (int64_t i = first; i < batch.context_lengths[s]; ++i) slot(batch, sequence, i).token = batch.token_ids[row(i)];
  const int64_t prefix = batch.prefix_lengths[s];
  uint64_t all = 0;
  for (int64_t i = 0; i < prefix; ++i) all = mix(all, static_cast<uint64_t>(slot(batch, sequence, i).token));
  for (int64_t i = first; i < batch.context_lengths[s]; ++i) {
    const uint64_t before = i == 0 ? 0 : slot(batch, sequence, i - 1).value;
    slot(batch, sequence, i).value = i < prefix ? prefix_value(all, i)
                                                : next_value(before, batch.token_ids[row(i)], batch.positions[row(i)],
                                                             batch.block_positions[row(i)]);
  }
}

uint64_t ToyModel::read_source(const StepBatch& batch, int64_t sequence) {
  const auto s = static_cast<size_t>(sequence);
  if (batch.source_lengths.empty()) return 0;
  const int64_t length = batch.source_lengths[s];
  const auto slot = [&](int64_t index) -> int32_t& {
    const int32_t block =
        batch.source_table[static_cast<size_t>(sequence * batch.source_width + index / options_.block_size)];
    return source_slots_[static_cast<size_t>(block * options_.block_size + index % options_.block_size)];
  };
  const std::span<const int32_t> fresh = batch.new_sources[s].ids;
  for (int64_t i = 0; i < std::ssize(fresh); ++i) slot(i) = fresh[static_cast<size_t>(i)];
  uint64_t state = 0;
  for (int64_t i = 0; i < length; ++i) state = source_value(state, slot(i));
  return state;
}

void ToyModel::fill_row(uint64_t state, std::span<float> row) const {
  for (size_t i = 0; i < row.size(); ++i) row[i] = static_cast<float>(mix(state, i) % 1000) / 100;
}

std::span<const float> ToyModel::run(const StepBatch& batch) {
  if (steps++ == fail_at_step) fail(ErrorCode::out_of_memory, "the toy is broken");
  tokens += static_cast<int64_t>(batch.token_ids.size());
  largest_step = std::max(largest_step, static_cast<int64_t>(batch.token_ids.size()));
  sources_.clear();
  for (int64_t s = 0; s < batch.sequences; ++s) {
    write(batch, s);
    sources_.push_back(read_source(batch, s));
  }
  const auto vocabulary = static_cast<size_t>(options_.vocabulary);
  logits_.resize(batch.logit_rows.size() * vocabulary);
  for (size_t r = 0; r < batch.logit_rows.size(); ++r) {
    const int32_t row = batch.logit_rows[r];
    const auto end = std::upper_bound(batch.sequence_starts.begin(), batch.sequence_starts.end(), row);
    const auto sequence = end - batch.sequence_starts.begin() - 1;
    const int64_t last = batch.context_lengths[static_cast<size_t>(sequence)] - (*end - row);
    uint64_t state = sources_[static_cast<size_t>(sequence)];
    for (int64_t i = 0; i <= last; ++i) state = mix(state, slot(batch, sequence, i).value);
    const auto logits = std::span(logits_).subspan(r * vocabulary, vocabulary);
    fill_row(state, logits);
    if (slot(batch, sequence, 0).token == poison) std::fill(logits.begin(), logits.end(), std::nanf(""));
  }
  return logits_;
}

bool ToyModel::choose(const StepBatch& batch, std::vector<Likeliest>& likeliest) {
  if (!chooses) return false;
  ++choices;
  const std::span<const float> logits = run(batch);
  const auto vocabulary = static_cast<size_t>(options_.vocabulary);
  likeliest.clear();
  for (size_t r = 0; r < batch.logit_rows.size(); ++r) {
    const auto row = logits.subspan(r * vocabulary, vocabulary);
    const auto top = std::max_element(row.begin(), row.end());
    likeliest.push_back({top - row.begin(), *top});
  }
  std::fill(logits_.begin(), logits_.end(), std::nanf(""));  // nobody may look at them
  return true;
}

void ToyModel::copy_block(BlockId from, BlockId to) {
  const auto size = options_.block_size;
  std::copy_n(slots_.begin() + from * size, size, slots_.begin() + to * size);
}

void ToyModel::save_block(BlockId block, BlockId copy) {
  const auto size = options_.block_size;
  std::copy_n(slots_.begin() + block * size, size, saved_.begin() + copy * size);
  ++saves;
}

void ToyModel::load_block(BlockId copy, BlockId block) {
  const auto size = options_.block_size;
  std::copy_n(saved_.begin() + copy * size, size, slots_.begin() + block * size);
}

std::vector<float> ToyModel::logits_of(std::span<const int32_t> ids, const Layout& layout,
                                       std::span<const int32_t> source) const {
  uint64_t all = 0, value = 0, state = 0;
  for (const int32_t token : source) state = source_value(state, token);
  for (int64_t i = 0; i < layout.prefix_length(); ++i)
    all = mix(all, static_cast<uint64_t>(ids[static_cast<size_t>(i)]));
  for (int64_t i = 0; i < static_cast<int64_t>(ids.size()); ++i) {
    value = i < layout.prefix_length() ? prefix_value(all, i)
                                       : next_value(value, ids[static_cast<size_t>(i)],
                                                    layout.position(i, std::ssize(ids)), layout.block_position(i));
    state = mix(state, value);
  }
  std::vector<float> row(static_cast<size_t>(options_.vocabulary));
  fill_row(state, row);
  return row;
}

SchedulerOptions scheduler_options(const ToyOptions& toy) {
  SchedulerOptions options;
  options.blocks = toy.blocks;
  options.source_blocks = toy.source_blocks;
  options.block_size = toy.block_size;
  options.saved_blocks = toy.saved_blocks;
  options.step_tokens = 16;
  options.max_sequences = 8;
  return options;
}

std::vector<std::vector<int32_t>> answers_alone(const ToyModel& model, const Request& request) {
  const bool reads = model.facts().source_context > 0;
  const std::vector<int32_t> begin = reads ? model.rules().start : request.prompt;
  const std::span<const int32_t> source = reads ? std::span<const int32_t>(request.prompt) : std::span<const int32_t>();
  const auto layout = model.layout(begin);
  const Sampler sampler(request.sampling, model.facts().vocabulary);
  const auto stops = [&](int32_t id) {
    return !request.ignore_eos && std::count(model.facts().eos.begin(), model.facts().eos.end(), id) > 0;
  };
  std::vector<std::vector<int32_t>> answers;
  const size_t prompt = begin.size();
  const auto most = std::min(prompt + static_cast<size_t>(request.max_tokens),
                             std::max(prompt + 1, static_cast<size_t>(model.facts().context)));
  for (int choice = 0; choice < request.n; ++choice) {
    std::vector<int32_t> ids = begin;
    do {
      const std::span<const int32_t> all = ids;
      const std::vector<float> logits = model.logits_of(all, *layout, source);
      ids.push_back(sampler.sample(logits, {all.first(prompt), all.subspan(prompt)}, choice).id);
    } while (ids.size() < most && !stops(ids.back()));
    answers.emplace_back(ids.begin() + static_cast<std::ptrdiff_t>(prompt), ids.end());
  }
  return answers;
}

}  // namespace lathe::llm
