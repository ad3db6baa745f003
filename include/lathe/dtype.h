// Element types of tensors. Sub-byte types are stored packed, low nibble (or low bit pair) first, as ONNX stores them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace lathe {

enum class DType : uint8_t {
  f64,
  f32,
  f16,
  bf16,
  f8e4m3,
  f8e5m2,
  f8e4m3fnuz,
  f8e5m2fnuz,
  f8e8m0,
  f4e2m1,
  i64,
  i32,
  i16,
  i8,
  i4,
  i2,
  u64,
  u32,
  u16,
  u8,
  u4,
  u2,
  boolean,
  string,
  c64,
  c128,
};
inline constexpr int kDTypeCount = static_cast<int>(DType::c128) + 1;

// "f32", "i64", "bool", ...: the names used by the text form, the tools and the documentation.
std::string_view to_string(DType type);
std::optional<DType> dtype_from_string(std::string_view name);

// Bits of one element; 0 for string, which has no fixed size.
int bit_width(DType type);

// Bytes that `count` elements take when stored contiguously (sub-byte types round up). Throws Error(invalid_argument)
// when the product does not fit in 63 bits or the type is string.
size_t storage_bytes(DType type, int64_t count);

bool is_float(DType type);  // f64 down to the 8- and 4-bit floats
inline bool is_half(DType type) { return type == DType::f16 || type == DType::bf16; }
bool is_signed_int(DType type);  // i64 .. i2
bool is_unsigned_int(DType type);
inline bool is_integer(DType type) { return is_signed_int(type) || is_unsigned_int(type); }

}  // namespace lathe
