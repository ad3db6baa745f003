// Inputs and outputs of a session in memory of its device, so that runs copy nothing between host and device.
#pragma once

#include <vector>

#include "runtime/device_buffer.h"
#include "runtime/session.h"
#include "tools/random_inputs.h"

namespace lathe::tools {

class ResidentIo {
 public:
  // Uploads the inputs and binds the outputs, whose sizes a run finds out. The session outlives this object.
  ResidentIo(Session& session, const Tensors& inputs);
  ~ResidentIo();
  ResidentIo(const ResidentIo&) = delete;
  ResidentIo& operator=(const ResidentIo&) = delete;

  std::span<const Input> inputs() const { return inputs_; }

 private:
  void* allocate(size_t bytes);

  Session& session_;
  std::vector<DeviceBuffer> memory_;
  std::vector<Input> inputs_;
};

}  // namespace lathe::tools
