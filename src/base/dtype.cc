#include "base/dtype.h"

#include <array>

#include "base/error.h"

namespace lathe {
namespace {

struct Info {
  std::string_view name;
  int bits;
};

constexpr std::array<Info, kDTypeCount> kInfo = {{
    {"f64", 64},       {"f32", 32},   {"f16", 16},   {"bf16", 16}, {"f8e4m3", 8}, {"f8e5m2", 8}, {"f8e4m3fnuz", 8},
    {"f8e5m2fnuz", 8}, {"f8e8m0", 8}, {"f4e2m1", 4}, {"i64", 64},  {"i32", 32},   {"i16", 16},   {"i8", 8},
    {"i4", 4},         {"i2", 2},     {"u64", 64},   {"u32", 32},  {"u16", 16},   {"u8", 8},     {"u4", 4},
    {"u2", 2},         {"bool", 8},   {"string", 0}, {"c64", 64},  {"c128", 128},
}};

}  // namespace

std::string_view to_string(DType type) { return kInfo[static_cast<size_t>(type)].name; }

std::optional<DType> dtype_from_string(std::string_view name) {
  for (int i = 0; i < kDTypeCount; ++i)
    if (kInfo[static_cast<size_t>(i)].name == name) return static_cast<DType>(i);
  return std::nullopt;
}

int bit_width(DType type) { return kInfo[static_cast<size_t>(type)].bits; }

size_t storage_bytes(DType type, int64_t count) {
  const int bits = bit_width(type);
  if (bits == 0) fail(ErrorCode::invalid_argument, "string tensors have no fixed storage size");
  int64_t total = 0;
  if (count < 0 || __builtin_mul_overflow(count, static_cast<int64_t>(bits), &total))
    fail(ErrorCode::invalid_argument, "a tensor of {} {} elements is too large", count, to_string(type));
  return (static_cast<size_t>(total) + 7) / 8;
}

bool is_float(DType type) { return type <= DType::f4e2m1; }
bool is_signed_int(DType type) { return type >= DType::i64 && type <= DType::i2; }
bool is_unsigned_int(DType type) { return type >= DType::u64 && type <= DType::u2; }

}  // namespace lathe
