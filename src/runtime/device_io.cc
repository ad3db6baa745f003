#include "runtime/device_io.h"

#include <algorithm>

namespace lathe {

DeviceIo::DeviceIo(DeviceContext& device, size_t inputs, size_t outputs)
    : device_(device), inputs_(inputs), outputs_(outputs) {}

DeviceIo::~DeviceIo() {
  for (const Buffer& buffer : inputs_)
    if (buffer.memory != nullptr) device_.release(buffer.memory);
  for (const HostBuffer& buffer : outputs_)
    if (buffer.pinned != nullptr) device_.release_pinned(buffer.pinned);
}

void DeviceIo::upload(size_t input, TensorRef& given) {
  const size_t bytes = storage_bytes(given.dtype, given.elements());
  Buffer& buffer = inputs_[input];
  if (buffer.memory == nullptr || buffer.bytes < bytes) {
    if (buffer.memory != nullptr) device_.release(buffer.memory);
    buffer = {};
    buffer.memory = device_.allocate(std::max<size_t>(bytes, 1));
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
