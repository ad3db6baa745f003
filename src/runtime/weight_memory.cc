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

WeightMemory::WeightMemory(const Program& program, const Backend& backend, const StoredWeights* stored,
                           const Backend& packer) {
  addresses_.reserve(program.weights.size());
  for (const Weight& weight : program.weights) {
    const size_t before = owned_bytes_;
    place(weight, backend, stored, packer);
    if (!backend.host_memory()) owned_bytes_ = before + move_to_device(weight, backend);
  }
  if (device_ != nullptr) device_->synchronize();
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

// The weight placed last goes to the device, and what the host had to make for it goes away.
size_t WeightMemory::move_to_device(const Weight& weight, const Backend& backend) {
  if (device_ == nullptr) {
    device_ = backend.make_context({});
    device_->begin_run();
  }
  const Tensor& constant = weight.node->as<Constant>()->value;
  const size_t bytes = weight.layout.plain() ? storage_bytes(constant.dtype(), constant.elements())
                                             : backend.packed_bytes(weight.layout, constant.dtype(), constant.dims());
  void* memory = device_->allocate(std::max<size_t>(bytes, 1));
  device_->upload(memory, {static_cast<const std::byte*>(std::exchange(addresses_.back(), memory)), bytes});
  device_->synchronize();
  owned_.clear();
  return bytes;
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

void WeightMemory::place(const Weight& weight, const Backend& backend, const StoredWeights* stored,
                         const Backend& packer) {
  const Tensor& constant = weight.node->as<Constant>()->value;
  const std::vector<StoredWeights::Entry> entries =
      stored == nullptr ? std::vector<StoredWeights::Entry>{} : stored->find(constant);
  for (const StoredWeights::Entry& entry : entries) {
    if (entry.layout != weight.layout) continue;
    const size_t needed = entry.layout.plain() ? storage_bytes(constant.dtype(), constant.elements())
                                               : packer.packed_bytes(entry.layout, constant.dtype(), constant.dims());
    if (entry.bytes.size() != needed)
      fail(ErrorCode::invalid_model, "a weight of shape {} in layout {} has {} bytes", to_string(constant.dims()),
           entry.layout.scheme, entry.bytes.size());
    addresses_.push_back(const_cast<std::byte*>(entry.bytes.data()));  // steps never write to constant operands
    return;
  }
  // Stored in other layouts only: back to plain first, then to the layout that this machine wants.
  Tensor plain = constant;
  if (!entries.empty()) {
    const StoredWeights::Entry& entry = entries.front();
    plain = entry.layout.plain() ? Tensor::view(constant.dtype(), constant.dims(), entry.bytes, nullptr)
                                 : packer.unpack(entry.layout, constant.dtype(), constant.dims(), entry.bytes);
  }
  if (!weight.layout.plain()) {
    const std::span<std::byte> packed = allocate(backend.packed_bytes(weight.layout, plain.dtype(), plain.dims()));
    backend.pack(weight.layout, plain, packed);
    addresses_.push_back(packed.data());
  } else if (entries.empty() && aligned_for(plain.bytes().data(), plain.dtype())) {
    addresses_.push_back(const_cast<std::byte*>(plain.bytes().data()));
  } else {
    const std::span<std::byte> copy = allocate(plain.bytes().size());
    if (!copy.empty()) std::memcpy(copy.data(), plain.bytes().data(), copy.size());
    addresses_.push_back(copy.data());
  }
}

}  // namespace lathe
