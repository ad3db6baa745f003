#include "runtime/weight_memory.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <map>
#include <tuple>

#include "base/error.h"
#include "build/constant_id.h"
#include "runtime/passing_weights.h"

namespace lathe {
namespace {

constexpr size_t kLeastPassing = size_t{64} << 10;  // bytes; smaller weights are not worth the coming and going

bool aligned_for(const std::byte* data, DType type) {
  const auto bytes = static_cast<size_t>(std::max(bit_width(type) / 8, 1));
  return reinterpret_cast<uintptr_t>(data) % bytes == 0;
}

}  // namespace

WeightMemory::WeightMemory(const Program& program, const Backend& backend, const WeightSource& source,
                           const Options& options)
    : program_(&program),
      backend_(&backend),
      source_(&source),
      twin_(options.twin),
      shared_(program.weights.size(), -1),
      addresses_(program.weights.size(), nullptr),
      budget_(options.budget) {
  LATHE_CHECK(twin_ == nullptr || (budget_ == 0 && !options.passing));
  for (const Weight& weight : program.weights) ids_.push_back(constant_id(weight.constant()));
  if (twin_ != nullptr) find_shared();
  restore();
  if (backend.host_memory()) place_on_host(options);
}

// Steps never write to constant operands, whatever the type of their addresses.
void WeightMemory::place_on_host(const Options& options) {
  const std::set<size_t> outputs = weights_of_outputs(*program_);
  const auto passes = [&](size_t i) {
    const Weight& weight = program_->weights[i];
    return options.passing && outputs.count(i) == 0 && bytes_of(weight) >= kLeastPassing && !where_it_lies(weight);
  };
  for (size_t i = 0; i < addresses_.size(); ++i) {
    if (shared_[i] >= 0) {
      addresses_[i] = twin_->addresses_[static_cast<size_t>(shared_[i])];
    } else if (passes(i)) {
      passing_ = true;
    } else {
      const size_t owned = owned_.size();
      addresses_[i] = const_cast<std::byte*>(place(program_->weights[i]).data());
      if (options.made && owned_.size() > owned) options.made(program_->weights[i]);
    }
  }
}

void WeightMemory::find_shared() {
  std::map<std::tuple<ConstantId, std::string, std::vector<int64_t>>, int> known;
  const auto key = [](const WeightMemory& memory, size_t i) {
    const WeightLayout& layout = memory.program_->weights[i].layout;
    return std::tuple{memory.ids_[i], layout.scheme, layout.params};
  };
  for (size_t i = 0; i < twin_->ids_.size(); ++i) known.emplace(key(*twin_, i), static_cast<int>(i));
  for (size_t i = 0; i < shared_.size(); ++i)
    if (const auto found = known.find(key(*this, i)); found != known.end()) shared_[i] = found->second;
}

WeightMemory::~WeightMemory() { evict(); }

WeightMemory& WeightMemory::operator=(WeightMemory&& other) noexcept {
  std::swap(program_, other.program_);
  std::swap(backend_, other.backend_);
  std::swap(source_, other.source_);
  std::swap(twin_, other.twin_);
  std::swap(ids_, other.ids_);
  std::swap(shared_, other.shared_);
  std::swap(addresses_, other.addresses_);
  std::swap(device_, other.device_);
  std::swap(owned_, other.owned_);
  std::swap(owned_bytes_, other.owned_bytes_);
  std::swap(budget_, other.budget_);
  std::swap(passing_, other.passing_);
  std::swap(plan_, other.plan_);
  std::swap(groups_, other.groups_);
  std::swap(pinned_, other.pinned_);
  std::swap(unpinned_, other.unpinned_);
  return *this;
}

void WeightMemory::evict() noexcept {
  if (device_ == nullptr) return;
  for (size_t i = 0; i < addresses_.size(); ++i) {
    if (addresses_[i] != nullptr && shared_[i] < 0) device_->release(addresses_[i]);
    addresses_[i] = nullptr;
  }
  for (std::byte* memory : pinned_) device_->release_pinned(memory);
  pinned_.clear();
  unpinned_.clear();
  groups_.clear();
  plan_ = {};
  device_.reset();
  owned_bytes_ = 0;
}

void WeightMemory::restore() try {
  if (backend_->host_memory() || device_ != nullptr) return;
  device_ = backend_->make_context({});
  device_->begin_run();
  std::vector<size_t> bytes;
  for (const Weight& weight : program_->weights) bytes.push_back(bytes_of(weight));
  plan_ = plan_streams(*program_, bytes, budget_ > 0 ? budget_ : SIZE_MAX);
  for (const StreamGroup& group : plan_.groups) keep_on_host(group);
  for (size_t i = 0; i < addresses_.size(); ++i) {
    if (plan_.streamed[i]) continue;
    if (shared_[i] >= 0) {
      addresses_[i] = twin_->addresses_[static_cast<size_t>(shared_[i])];
      continue;
    }
    const size_t before = owned_bytes_;
    const std::span<const std::byte> placed = place(program_->weights[i]);
    addresses_[i] = move_to_device(placed);
    owned_bytes_ = before + placed.size();
  }
} catch (...) {
  evict();
  throw;
}

size_t WeightMemory::bytes_of(const Weight& weight) const {
  return bytes_in_layout(weight.constant(), weight.layout, *backend_);
}

void WeightMemory::keep_on_host(const StreamGroup& group) {
  const size_t last = group.weights.back();
  const size_t bytes = plan_.offsets[last] + bytes_of(program_->weights[last]);
  std::byte* const pinned = device_->allocate_pinned(bytes);
  std::vector<StreamedBytes>& parts = groups_.emplace_back();
  const size_t before = owned_bytes_;
  if (pinned != nullptr) {
    pinned_.push_back(pinned);
    parts.push_back({0, {pinned, bytes}});
  }
  for (const size_t index : group.weights) {
    const std::span<const std::byte> placed = place(program_->weights[index]);
    if (pinned == nullptr)
      parts.push_back({plan_.offsets[index], placed});
    else if (!placed.empty())
      std::memcpy(pinned + plan_.offsets[index], placed.data(), placed.size());
    if (pinned != nullptr) owned_.clear();
  }
  std::move(owned_.begin(), owned_.end(), std::back_inserter(unpinned_));
  owned_.clear();
  owned_bytes_ = before;
}

std::unique_ptr<WeightStream> WeightMemory::make_stream(DeviceContext& device) const {
  if (passing_) return std::make_unique<PassingWeights>(*program_, *backend_, *source_, addresses_);
  return std::make_unique<RingStream>(plan_, groups_, addresses_, device);
}

// What the host had to make for the weight goes away.
void* WeightMemory::move_to_device(std::span<const std::byte> weight) {
  void* memory = device_->allocate(std::max<size_t>(weight.size(), 1));
  device_->upload(memory, weight);
  device_->synchronize();
  owned_.clear();
  return memory;
}

std::span<std::byte> WeightMemory::allocate(size_t bytes) {
  const HostBlock& block = owned_.emplace_back(allocate_on_host(bytes));
  owned_bytes_ += block.reserved;
  return block.span();
}

std::optional<std::span<const std::byte>> WeightMemory::where_it_lies(const Weight& weight) const {
  const Tensor& constant = weight.constant();
  auto stored = source_->in_place(constant, weight.layout);
  if (stored && weight.layout.plain() && !aligned_for(stored->data(), constant.dtype())) stored.reset();
  return stored;
}

std::span<const std::byte> WeightMemory::place(const Weight& weight) {
  if (const auto stored = where_it_lies(weight)) return *stored;
  const std::span<std::byte> made = allocate(bytes_of(weight));
  source_->lay_out(weight.constant(), weight.layout, *backend_, made);
  return made;
}

}  // namespace lathe
