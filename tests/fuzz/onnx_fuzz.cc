// Any bytes, read as an ONNX model, give a graph that passes the verifier, or an Error.
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.h"
#include "graph/verifier.h"
#include "onnx/importer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto graph = lathe::onnx::import_model(std::as_bytes(std::span(data, size)), nullptr);
    lathe::verify(*graph);
  } catch (const lathe::Error& error) {
    if (error.code() == lathe::ErrorCode::internal) throw;
  }
  return 0;
}
