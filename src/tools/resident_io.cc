#include "tools/resident_io.h"

#include "tools/named_values.h"

namespace lathe::tools {

ResidentIo::ResidentIo(Session& session, const Tensors& inputs) : session_(session) {
  DeviceContext& device = *session.impl().device;
  inputs_ = as_inputs(session.engine(), inputs);
  for (Input& input : inputs_) {
    if (input.kind != ValueKind::tensor || input.dtype == DType::string) continue;
    const Tensor& tensor = inputs.at(std::string(input.name));
    void* memory = allocate(tensor.bytes().size());
    device.upload(memory, tensor.bytes());
    input.data = memory;
    input.memory = Memory::device;
  }
  device.synchronize();
  const std::vector<TensorInfo>& infos = session.engine().outputs();
  const std::span<const Output> outputs = session.run(inputs_);
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Output& output = outputs[i];
    if (infos[i].kind != ValueKind::tensor || infos[i].optional || infos[i].dtype == DType::string) continue;
    const size_t bytes = storage_bytes(output.dtype, output.elements());
    session.bind_output(output.name, allocate(bytes), bytes, Memory::device);
  }
}

ResidentIo::~ResidentIo() {
  for (const TensorInfo& output : session_.engine().outputs()) session_.bind_output(output.name, nullptr, 0);
}

void* ResidentIo::allocate(size_t bytes) { return memory_.emplace_back(*session_.impl().device).reserve(bytes); }

}  // namespace lathe::tools
