// Inputs and outputs of a session whose device does not read host memory: copies on the device that grow with the
// sizes, so that their addresses stay the same as long as the sizes do, and host memory for outputs that nobody bound.
#pragma once

#include <span>
#include <vector>

#include "backends/backend.h"

namespace lathe {

class DeviceIo {
 public:
  DeviceIo(DeviceContext& device, size_t inputs, size_t outputs);
  ~DeviceIo();
  DeviceIo(const DeviceIo&) = delete;
  DeviceIo& operator=(const DeviceIo&) = delete;

  // Copies inputs to the device and puts the copies' addresses in their places; null where there is nothing to copy.
  // Small ones travel together.
  void upload(std::span<TensorRef* const> inputs);
  // Copies an output to `host` (null: to memory of this object, valid until the next run) and returns where it is.
  void* download(size_t output, const TensorRef& made, void* host);

 private:
  struct Buffer {
    void* memory = nullptr;
    size_t bytes = 0;
  };

  // Memory of the host, pinned where the device knows how.
  struct HostBuffer {
    std::byte* pinned = nullptr;
    std::vector<std::byte> plain;
    size_t bytes = 0;
  };
  std::byte* reserve(HostBuffer& buffer, size_t bytes);
  void upload_large(Buffer& buffer, TensorRef& given, size_t bytes);

  DeviceContext& device_;
  std::vector<Buffer> inputs_;
  void* small_inputs_ = nullptr;  // room for all of them
  std::vector<std::byte> staging_;
  std::vector<HostBuffer> outputs_;
};

}  // namespace lathe
