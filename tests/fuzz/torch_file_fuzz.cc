// Any bytes, read as a weights file of PyTorch and as the pickle in it, give tensors inside of them, or an Error.
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.h"
#include "checkpoint/pickle.h"
#include "checkpoint/torch_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  try {
    for (const lathe::checkpoint::StoredTensor& tensor : lathe::checkpoint::parse_torch_file(file))
      LATHE_CHECK(tensor.bytes.empty() || (tensor.bytes.data() >= file.data() &&
                                           tensor.bytes.data() + tensor.bytes.size() <= file.data() + file.size()));
  } catch (const lathe::Error& error) {
    if (error.code() == lathe::ErrorCode::internal) throw;
  }
  try {
    lathe::checkpoint::Pickle::read(file);
  } catch (const lathe::Error& error) {
    if (error.code() == lathe::ErrorCode::internal) throw;
  }
  return 0;
}
