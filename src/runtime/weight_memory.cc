#include "runtime/weight_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/error.h"

namespace lathe {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

bool aligned_for(const std::byte* data, DType type) {
  const auto bytes = static_cast<size_t>(std::max(bit_width(type) / 8, 1));
  return reinterpret_cast<uintptr_t>(data) % bytes == 0;
}

}  // namespace

WeightMemory::WeightMemory(const Program& program, const Backend& backend, const WeightSource& source,
                           const std::function<void(const Weight&)>& made)
    : program_(&program), backend_(&backend), source_(&source), addresses_(program.weights.size(), nullptr) {
  restore();
  for (size_t i = 0; backend.host_memory() && i < addresses_.size(); ++i) {
    const size_t owned = owned_.size();
    addresses_[i] = const_cast<std::byte*>(place(program.weights[i]).data());  // steps never write to constant operands
    if (made && owned_.size() > owned) made(program.weights[i]);
  }
}

WeightMemory::~WeightMemory() { evict(); }

WeightMemory& WeightMemory::operator=(WeightMemory&& other) noexcept {
  std::swap(program_, other.program_);
  std::swap(backend_, other.backend_);
  std::swap(source_, other.source_);
  std::swap(addresses_, other.addresses_);
  std::swap(device_, other.device_);
  std::swap(owned_, other.owned_);
  std::swap(owned_bytes_, other.owned_bytes_);
  return *this;
}

void WeightMemory::evict() noexcept {
  if (device_ == nullptr) return;
  for (void*& address : addresses_) {
    if (address != nullptr) device_->release(address);
    address = nullptr;
  }
  device_.reset();
  owned_bytes_ = 0;
}

void WeightMemory::restore() try {
  if (backend_->host_memory() || device_ != nullptr) return;
  device_ = backend_->make_context({});
  device_->begin_run();
  for (size_t i = 0; i < addresses_.size(); ++i) {
    const size_t before = owned_bytes_;
    const std::span<const std::byte> placed = place(program_->weights[i]);
    addresses_[i] = move_to_device(placed);
    owned_bytes_ = before + placed.size();
  }
} catch (...) {
  evict();
  throw;
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
  const size_t alignment = bytes >= kHugePage ? kHugePage : 64;
  const size_t rounded = (std::max<size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, rounded);
  if (memory == nullptr) fail(ErrorCode::out_of_memory, "cannot allocate {} bytes for a weight", bytes);
  if (alignment == kHugePage) madvise(memory, rounded, MADV_HUGEPAGE);
  owned_.emplace_back(static_cast<std::byte*>(memory), &std::free);
  owned_bytes_ += rounded;
  return {static_cast<std::byte*>(memory), bytes};
}

std::span<const std::byte> WeightMemory::place(const Weight& weight) {
  const Tensor& constant = weight.node->as<Constant>()->value;
  const auto stored = source_->in_place(constant, weight.layout);
  if (stored && (!weight.layout.plain() || aligned_for(stored->data(), constant.dtype()))) return *stored;
  const Tensor plain = source_->plain(constant);
  if (!weight.layout.plain()) {
    const std::span<std::byte> packed = allocate(backend_->packed_bytes(weight.layout, plain.dtype(), plain.dims()));
    backend_->pack(weight.layout, plain, packed);
    return packed;
  }
  const std::span<std::byte> copy = allocate(plain.bytes().size());
  if (!copy.empty()) std::memcpy(copy.data(), plain.bytes().data(), copy.size());
  return copy;
}

}  // namespace lathe
