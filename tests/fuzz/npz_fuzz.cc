// Any bytes, read as .npy and as .npz, give arrays that fit their shape, or an Error.
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.h"
#include "base/npz.h"

namespace {

void check(const lathe::NpyArray& array) {
  const lathe::NpyEncoding encoding(array);  // throws when shape and content contradict each other
  LATHE_CHECK(!encoding.header().empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    check(lathe::read_npy(bytes));
  } catch (const lathe::Error& error) {
    if (error.code() == lathe::ErrorCode::internal) throw;
  }
  try {
    const lathe::NpzReader reader(bytes);
    for (const auto& name : reader.names()) check(reader.read(name));
  } catch (const lathe::Error& error) {
    if (error.code() == lathe::ErrorCode::internal) throw;
  }
  return 0;
}
