#include "tools/resident_io.h"

namespace lathe::tools {

ResidentIo::ResidentIo(Session& session, const Tensors& inputs) : session_(session) {
  DeviceContext& device = *session.impl().device;
  for (const auto& [name, tensor] : inputs) {
    void* memory = allocate(tensor.bytes().size());
    device.upload(memory, tensor.bytes());
    inputs_.emplace_back(name, tensor.dtype(), tensor.dims(), memory, Memory::device);
  }
  device.synchronize();
  for (const Output& output : session.run(inputs_)) {
    const size_t bytes = storage_bytes(output.dtype, output.elements());
    session.bind_output(output.name, allocate(bytes), bytes, Memory::device);
  }
}

ResidentIo::~ResidentIo() {
  for (const TensorInfo& output : session_.engine().outputs()) session_.bind_output(output.name, nullptr, 0);
}

void* ResidentIo::allocate(size_t bytes) { return memory_.emplace_back(*session_.impl().device).reserve(bytes); }

}  // namespace lathe::tools
