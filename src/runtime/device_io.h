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

  // Copies an input to the device and puts the copy's address in its place.
  void upload(size_t input, TensorRef& given);
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

  DeviceContext& device_;
  std::vector<Buffer> inputs_;
  std::vector<HostBuffer> outputs_;
};

}  // namespace lathe
