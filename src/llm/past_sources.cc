#include "llm/past_sources.h"

#include <algorithm>

namespace lathe::llm {

PastSources::PastSources(SourceReader reader, DeviceContext& device, std::span<const OnnxPorts::Kept> kept,
                         int64_t blocks)
    : reader_(std::move(reader)),
      device_(device),
      kept_(kept.begin(), kept.end()),
      sources_(static_cast<size_t>(blocks)) {}

PastSources::Source& PastSources::at(int32_t block, const llm::Source& given) {
  Source& source = sources_[static_cast<size_t>(block)];
  if (given.empty()) return source;
  source.states.clear();
  reader_.read(given, source.states);
  source.length = static_cast<int64_t>(source.states.size()) / hidden();
  source.serial = ++serial_;
  for (size_t i = source.kept.size(); i < kept_.size(); ++i) source.kept.emplace_back(device_);
  for (size_t i = 0; i < kept_.size(); ++i)
    source.kept[i].reserve(kept_[i].state_bytes() * static_cast<size_t>(source.length));
  return source;
}

PastSources::Batch& PastSources::together(std::span<Source* const> sources) {
  std::vector<uint64_t> serials;
  for (const Source* source : sources) serials.push_back(source->serial);
  for (Batch& batch : batches_)
    if (batch.serials_ == serials) {
      batch.used_ = true;
      return batch;
    }
  Batch& batch = batches_.emplace_back();
  batch.members_.assign(sources.begin(), sources.end());
  batch.serials_ = std::move(serials);
  for (const Source* source : sources) batch.length_ = std::max(batch.length_, source->length);
  if (!batch.alone()) gather(batch);
  return batch;
}

// Padding is zeros: it has no weight, but what is no number would show all the same.
void PastSources::gather(Batch& batch) {
  const size_t count = batch.members_.size(), row = static_cast<size_t>(batch.length_ * hidden());
  batch.states_.resize(count * row);
  bool padded = false;
  for (size_t i = 0; i < count; ++i) {
    const Source& source = *batch.members_[i];
    std::copy(source.states.begin(), source.states.end(), batch.states_.begin() + static_cast<std::ptrdiff_t>(i * row));
    padded = padded || source.length < batch.length_;
  }
  for (size_t k = 0; k < kept_.size(); ++k) {
    const size_t bytes = kept_[k].state_bytes() * static_cast<size_t>(batch.length_) * count;
    DeviceBuffer& buffer = batch.kept_.emplace_back(device_);
    buffer.reserve(bytes);
    if (padded) device_.upload(buffer.data(), std::vector<std::byte>(bytes));
    for (size_t i = 0; i < count; ++i) {
      const Source& source = *batch.members_[i];
      copy_row(k, {source.kept[k], source.length, 0}, {buffer, batch.length_, i}, source.length);
    }
  }
}

void PastSources::store(const Batch& batch) {
  if (batch.alone()) return;  // they were written where they stay
  for (size_t k = 0; k < kept_.size(); ++k)
    for (size_t i = 0; i < batch.members_.size(); ++i) {
      const Source& source = *batch.members_[i];
      copy_row(k, {batch.kept_[k], batch.length_, i}, {source.kept[k], source.length, 0}, source.length);
    }
}

// The first `length` states, of which each of the sizes before their axis has its own.
void PastSources::copy_row(size_t kept, const Row& from, const Row& to, int64_t length) {
  const size_t parts = kept_[kept].parts(), bytes = kept_[kept].state_bytes() / parts;
  const auto at = [&](const Row& row, size_t part) {
    return static_cast<std::byte*>(row.buffer.data()) +
           (row.index * parts + part) * static_cast<size_t>(row.length) * bytes;
  };
  for (size_t part = 0; part < parts; ++part)
    device_.copy(at(to, part), at(from, part), static_cast<size_t>(length) * bytes);
}

void PastSources::end_step() {
  device_.synchronize();
  batches_.remove_if([](const Batch& batch) { return !batch.used_; });
  for (Batch& batch : batches_) batch.used_ = false;
}

}  // namespace lathe::llm
