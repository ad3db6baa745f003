// NumPy's .npy format: a header that gives element type, shape and order, then the elements. Fortran order is turned
// into row-major on reading; what is written is always row-major, little-endian, format version 1.0. Element types:
// floats, integers, bool and complex as they are; bf16 as '<V2', which is how ml_dtypes saves it; strings
// ('<U', fixed-width UTF-32 in the file) as UTF-8. Big-endian, pickled and structured arrays are refused by name.
// Sizes are checked against the file before memory is allocated. Faults of a file are Error(invalid_model or
// unsupported).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/dtype.h"

namespace lathe {

// A row-major array that owns its elements. `bytes` holds them unless dtype is string, then `strings` does.
struct NpyArray {
  DType dtype = DType::f32;
  std::vector<int64_t> dims;
  std::vector<std::byte> bytes;
  std::vector<std::string> strings;

  bool operator==(const NpyArray&) const = default;
};

// The same without owning, for writing tensors where they are.
struct NpyView {
  NpyView(DType type, std::span<const int64_t> shape, std::span<const std::byte> content)
      : dtype(type), dims(shape), bytes(content) {}
  NpyView(std::span<const int64_t> shape, std::span<const std::string> content)
      : dtype(DType::string), dims(shape), strings(content) {}
  NpyView(const NpyArray& array)  // NOLINT(google-explicit-constructor): an array is writable wherever a view is
      : dtype(array.dtype), dims(array.dims), bytes(array.bytes), strings(array.strings) {}

  DType dtype;
  std::span<const int64_t> dims;
  std::span<const std::byte> bytes;
  std::span<const std::string> strings;
};

// Hands out the next bytes of a file: fills the span or throws.
using ByteSource = std::function<void(std::span<std::byte>)>;

// Reads one array from a source that holds exactly `size` bytes. With it the .npz reader serves packed members too.
NpyArray read_npy(const ByteSource& source, uint64_t size);

NpyArray read_npy(std::span<const std::byte> file);
NpyArray read_npy(const std::filesystem::path& path);

// What a file must hold for `array`: the pieces in order. Keeps a span into the array's bytes.
class NpyEncoding {
 public:
  // Throws Error(unsupported) for element types that NumPy cannot express and Error(invalid_argument) when the number
  // of elements contradicts the shape.
  explicit NpyEncoding(const NpyView& array);
  NpyEncoding(const NpyEncoding&) = delete;
  NpyEncoding& operator=(const NpyEncoding&) = delete;

  std::span<const std::byte> header() const { return std::as_bytes(std::span(header_)); }
  std::span<const std::byte> content() const { return content_; }

 private:
  std::string header_;
  std::u32string characters_;  // the content of a string array
  std::span<const std::byte> content_;
};

}  // namespace lathe
