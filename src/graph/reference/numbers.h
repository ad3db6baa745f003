// Numbers in the wide types that the reference evaluator computes in: floats as double, u64 as uint64_t, all other
// integers and bool as int64_t; and the way back, which rounds or wraps to the element type.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "graph/tensor.h"

namespace lathe::reference {

using Sizes = std::vector<int64_t>;

// Calls f.template operator()<W>() with the wide type of an element type. Throws Error(unsupported) for strings and
// complex numbers.
template <class F>
decltype(auto) visit_wide(DType type, F&& f) {
  if (is_float(type)) return f.template operator()<double>();
  if (type == DType::u64) return f.template operator()<uint64_t>();
  if (is_integer(type) || type == DType::boolean) return f.template operator()<int64_t>();
  fail(ErrorCode::unsupported, "no arithmetic on {} elements", to_string(type));
}

// W is double, int64_t or uint64_t; integers may be read as double too.
template <class W>
std::vector<W> read_wide(const Tensor& x);
// Reads elements [first, first + out.size()).
template <class W>
void read_wide(const Tensor& x, int64_t first, std::span<W> out);

// Rounds floats (to f16 and bf16 through f32), wraps integers.
template <class W>
Tensor write_wide(DType type, Sizes dims, std::span<const W> values);
template <class W>
Tensor write_wide(DType type, Sizes dims, const std::vector<W>& values) {
  return write_wide(type, std::move(dims), std::span<const W>(values));
}

// The value that is nearest in a float type; what is too large becomes the largest finite value if `saturate`.
double round_to(DType type, double value, bool saturate = false);
// The value that an integer type (or bool) holds after a wrapping conversion. u64 values are their bits as int64_t.
int64_t wrap_to(DType type, int64_t value);

// Sums and products in a wide type; integers wrap.
template <class W>
W plus(W a, W b) {
  if constexpr (std::is_integral_v<W>)
    return static_cast<W>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
  else
    return a + b;
}
template <class W>
W times(W a, W b) {
  if constexpr (std::is_integral_v<W>)
    return static_cast<W>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
  else
    return a * b;
}

struct IntRange {
  int64_t low;
  uint64_t high;
};
IntRange range_of(DType integer);

}  // namespace lathe::reference
