#include "runtime/device_io.h"

#include <algorithm>
#include <cstring>

namespace lathe {
namespace {

constexpr size_t kSmall = 4096;  // bytes, whose copy takes no longer than that of one
constexpr size_t kAlignment = 256;

}  // namespace

DeviceIo::DeviceIo(DeviceContext& device, size_t inputs, size_t outputs)
    : device_(device), inputs_(inputs), outputs_(outputs) {}

DeviceIo::~DeviceIo() {
  for (const Buffer& buffer : inputs_)
    if (buffer.memory != nullptr) device_.release(buffer.memory);
  if (small_inputs_ != nullptr) device_.release(small_inputs_);
  for (const HostBuffer& buffer : outputs_)
    if (buffer.pinned != nullptr) device_.release_pinned(buffer.pinned);
}

void DeviceIo::upload(std::span<TensorRef* const> inputs) {
  // Places follow from the sizes, so that addresses stay while sizes do.
  staging_.clear();
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i] == nullptr) continue;
    TensorRef& given = *inputs[i];
    const size_t bytes = storage_bytes(given.dtype, given.elements());
    if (bytes > kSmall) {
      upload_large(inputs_[i], given, bytes);
      continue;
    }
    if (small_inputs_ == nullptr) small_inputs_ = device_.allocate(inputs_.size() * (kSmall + kAlignment));
    const size_t offset = (staging_.size() + kAlignment - 1) / kAlignment * kAlignment;
    staging_.resize(offset + bytes);
    if (bytes > 0) std::memcpy(staging_.data() + offset, given.data, bytes);
    given.data = static_cast<std::byte*>(small_inputs_) + offset;
  }
  if (!staging_.empty()) device_.upload(small_inputs_, staging_);
}

void DeviceIo::upload_large(Buffer& buffer, TensorRef& given, size_t bytes) {
  if (buffer.bytes < bytes) {
    if (buffer.memory != nullptr) device_.release(buffer.memory);
    buffer = {};
    buffer.memory = device_.allocate(bytes);
    buffer.bytes = bytes;
  }
  device_.upload(buffer.memory, {static_cast<const std::byte*>(given.data), bytes});
  given.data = buffer.memory;
}

void* DeviceIo::download(size_t output, const TensorRef& made, void* host) {
  const size_t bytes = storage_bytes(made.dtype, made.elements());
  if (host == nullptr) host = reserve(outputs_[output], bytes);
  device_.download({static_cast<std::byte*>(host), bytes}, made.data);
  return host;
}

std::byte* DeviceIo::reserve(HostBuffer& buffer, size_t bytes) {
  if (buffer.bytes < bytes || buffer.bytes == 0) {
    if (buffer.pinned != nullptr) device_.release_pinned(buffer.pinned);
    buffer = {};
    buffer.bytes = std::max<size_t>(bytes, 1);
    buffer.pinned = device_.allocate_pinned(buffer.bytes);
    if (buffer.pinned == nullptr) buffer.plain.resize(buffer.bytes);
  }
  return buffer.pinned != nullptr ? buffer.pinned : buffer.plain.data();
}

}  // namespace lathe
