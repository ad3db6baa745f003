// Any bytes, read as a safetensors file, give tensors that lie inside of them, or an Error.
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.h"
#include "checkpoint/safetensors.h"
#include "graph/tensor.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  try {
    for (const lathe::checkpoint::StoredTensor& tensor : lathe::checkpoint::parse_safetensors(file)) {
      LATHE_CHECK(tensor.bytes.size() == lathe::storage_bytes(tensor.dtype, lathe::element_count(tensor.dims)));
      LATHE_CHECK(tensor.bytes.empty() || (tensor.bytes.data() >= file.data() &&
                                           tensor.bytes.data() + tensor.bytes.size() <= file.data() + file.size()));
    }
  } catch (const lathe::Error& error) {
    if (error.code() == lathe::ErrorCode::internal) throw;
  }
  return 0;
}
