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

WeightMemory::WeightMemory(const Program& program, const Backend& backend, const WeightSource& source) {
  addresses_.reserve(program.weights.size());
  for (const Weight& weight : program.weights) {
    const size_t before = owned_bytes_;
    const std::span<const std::byte> placed = place(weight, backend, source);
    if (backend.host_memory()) {
      addresses_.push_back(const_cast<std::byte*>(placed.data()));  // steps never write to constant operands
      continue;
    }
    addresses_.push_back(move_to_device(placed, backend));
    owned_bytes_ = before + placed.size();
  }
}

WeightMemory::~WeightMemory() {
  if (device_ == nullptr) return;
  for (void* address : addresses_) device_->release(address);
}

WeightMemory& WeightMemory::operator=(WeightMemory&& other) noexcept {
  std::swap(addresses_, other.addresses_);
  std::swap(device_, other.device_);
  std::swap(owned_, other.owned_);
  std::swap(owned_bytes_, other.owned_bytes_);
  return *this;
}

// What the host had to make for the weight goes away.
void* WeightMemory::move_to_device(std::span<const std::byte> weight, const Backend& backend) {
  if (device_ == nullptr) {
    device_ = backend.make_context({});
    device_->begin_run();
  }
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

std::span<const std::byte> WeightMemory::place(const Weight& weight, const Backend& backend,
                                               const WeightSource& source) {
  const Tensor& constant = weight.node->as<Constant>()->value;
  const auto stored = source.in_place(constant, weight.layout);
  if (stored && (!weight.layout.plain() || aligned_for(stored->data(), constant.dtype()))) return *stored;
  const Tensor plain = source.plain(constant);
  if (!weight.layout.plain()) {
    const std::span<std::byte> packed = allocate(backend.packed_bytes(weight.layout, plain.dtype(), plain.dims()));
    backend.pack(weight.layout, plain, packed);
    return packed;
  }
  const std::span<std::byte> copy = allocate(plain.bytes().size());
  if (!copy.empty()) std::memcpy(copy.data(), plain.bytes().data(), copy.size());
  return copy;
}

}  // namespace lathe
