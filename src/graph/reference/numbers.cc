#include "graph/reference/numbers.h"

#include <limits>

#include "base/small_float.h"

namespace lathe::reference {
namespace {

bool is_small_float(DType type) { return type >= DType::f8e4m3 && type <= DType::f4e2m1; }
// Held by a C++ type of its own, as visit_native wants it.
bool is_native(DType type) { return !is_small_float(type) && bit_width(type) >= 8; }

template <class W, class T>
W widen(T value) {
  if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>)
    return static_cast<W>(static_cast<float>(value));
  else
    return static_cast<W>(value);
}

template <class T, class W>
T narrow(W value) {
  if constexpr (std::is_same_v<T, bool>)
    return value != 0;
  else if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>)
    return T(static_cast<float>(value));
  else
    return static_cast<T>(value);
}

}  // namespace

template <class W>
void read_wide(const Tensor& x, int64_t first, std::span<W> out) {
  if (!is_native(x.dtype())) {
    for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<W>(x.read_double(first + static_cast<int64_t>(i)));
    return;
  }
  visit_native(x.dtype(), [&]<class T>() {
    const T* values = x.as<T>().data() + first;
    for (size_t i = 0; i < out.size(); ++i) out[i] = widen<W>(values[i]);
  });
}

template <class W>
std::vector<W> read_wide(const Tensor& x) {
  std::vector<W> values(static_cast<size_t>(x.elements()));
  read_wide<W>(x, 0, values);
  return values;
}

template <class W>
Tensor write_wide(DType type, Sizes dims, std::span<const W> values) {
  Tensor y(type, std::move(dims));
  LATHE_CHECK(static_cast<size_t>(y.elements()) == values.size());
  if (is_native(type)) {
    visit_native(type, [&]<class T>() {
      // Only integers come as integers and only floats as double, so no conversion here is out of range.
      const std::span<T> out = y.mutable_as<T>();
      for (size_t i = 0; i < out.size(); ++i) out[i] = narrow<T>(values[i]);
    });
  } else if (is_small_float(type) && bit_width(type) == 8) {
    const std::span<std::byte> out = y.mutable_bytes();
    for (size_t i = 0; i < out.size(); ++i)
      out[i] = static_cast<std::byte>(small_float_from_float(type, static_cast<float>(values[i]), /*saturate=*/false));
  } else {
    for (size_t i = 0; i < values.size(); ++i) {
      if (is_float(type))
        y.write_double(static_cast<int64_t>(i), static_cast<double>(values[i]));
      else
        y.write_int(static_cast<int64_t>(i), static_cast<int64_t>(values[i]));
    }
  }
  return y;
}

template std::vector<double> read_wide<double>(const Tensor&);
template std::vector<int64_t> read_wide<int64_t>(const Tensor&);
template std::vector<uint64_t> read_wide<uint64_t>(const Tensor&);
template void read_wide<double>(const Tensor&, int64_t, std::span<double>);
template void read_wide<int64_t>(const Tensor&, int64_t, std::span<int64_t>);
template void read_wide<uint64_t>(const Tensor&, int64_t, std::span<uint64_t>);
template Tensor write_wide<double>(DType, Sizes, std::span<const double>);
template Tensor write_wide<int64_t>(DType, Sizes, std::span<const int64_t>);
template Tensor write_wide<uint64_t>(DType, Sizes, std::span<const uint64_t>);

double round_to(DType type, double value, bool saturate) {
  switch (type) {
    case DType::f64: return value;
    case DType::f32: return static_cast<float>(value);
    case DType::f16: return static_cast<float>(Half(static_cast<float>(value)));
    case DType::bf16: return static_cast<float>(BFloat16(static_cast<float>(value)));
    default: return small_float_to_float(type, small_float_from_float(type, static_cast<float>(value), saturate));
  }
}

int64_t wrap_to(DType type, int64_t value) {
  if (type == DType::boolean) return value != 0 ? 1 : 0;
  const int unused = 64 - bit_width(type);
  const uint64_t shifted = static_cast<uint64_t>(value) << unused;
  if (is_unsigned_int(type)) return static_cast<int64_t>(shifted >> unused);
  return static_cast<int64_t>(shifted) >> unused;
}

IntRange range_of(DType integer) {
  if (integer == DType::boolean) return {0, 1};
  const int bits = bit_width(integer);
  const uint64_t all = std::numeric_limits<uint64_t>::max() >> (64 - bits);
  if (is_unsigned_int(integer)) return {0, all};
  return {-static_cast<int64_t>(all / 2) - 1, all / 2};
}

}  // namespace lathe::reference
