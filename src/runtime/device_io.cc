#include "runtime/device_io.h"

#include <algorithm>

namespace lathe {

DeviceIo::DeviceIo(DeviceContext& device, size_t inputs, size_t outputs)
    : device_(device), inputs_(inputs), outputs_(outputs) {}

DeviceIo::~DeviceIo() {
  for (const Buffer& buffer : inputs_)
    if (buffer.memory != nullptr) device_.release(buffer.memory);
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
  if (host == nullptr) {
    outputs_[output].resize(std::max<size_t>(bytes, 1));
    host = outputs_[output].data();
  }
  device_.download({static_cast<std::byte*>(host), bytes}, made.data);
  return host;
}

}  // namespace lathe
