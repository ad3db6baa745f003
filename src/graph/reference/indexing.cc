#include "graph/reference/indexing.h"

#include <array>
#include <cstring>
#include <numeric>

namespace lathe::reference {
namespace {

// Calls f.template operator()<T>() with a trivially copyable T of the element's size.
template <class F>
void visit_element_size(int bits, F&& f) {
  switch (bits) {
    case 8: return f.template operator()<std::array<std::byte, 1>>();
    case 16: return f.template operator()<std::array<std::byte, 2>>();
    case 32: return f.template operator()<std::array<std::byte, 4>>();
    case 64: return f.template operator()<std::array<std::byte, 8>>();
    case 128: return f.template operator()<std::array<std::byte, 16>>();
    default: fail(ErrorCode::unsupported, "no data movement for elements of {} bits", bits);
  }
}

bool is_packed(DType type) { return type != DType::string && bit_width(type) < 8; }

}  // namespace

Sizes row_major_strides(std::span<const int64_t> sizes) {
  Sizes strides(sizes.size());
  int64_t stride = 1;
  for (size_t i = sizes.size(); i-- > 0;) {
    strides[i] = stride;
    stride *= sizes[i];
  }
  return strides;
}

int64_t product_of(std::span<const int64_t> sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), int64_t{1}, std::multiplies<>());
}

Sizes broadcast_sizes(std::span<const int64_t> a, std::span<const int64_t> b) {
  if (a.size() < b.size()) return broadcast_sizes(b, a);
  Sizes result(a.begin(), a.end());
  const size_t shift = a.size() - b.size();
  for (size_t i = 0; i < b.size(); ++i) {
    int64_t& size = result[shift + i];
    if (size == 1)
      size = b[i];
    else if (b[i] != 1 && b[i] != size)
      fail(ErrorCode::invalid_argument, "shapes {} and {} do not broadcast", to_string(a), to_string(b));
  }
  return result;
}

Sizes broadcast_strides(std::span<const int64_t> from, std::span<const int64_t> to) {
  const auto refuse = [&] {
    fail(ErrorCode::invalid_argument, "shape {} does not broadcast to {}", to_string(from), to_string(to));
  };
  if (from.size() > to.size()) refuse();
  const Sizes strides = row_major_strides(from);
  const size_t shift = to.size() - from.size();
  Sizes result(to.size(), 0);
  for (size_t i = 0; i < from.size(); ++i) {
    if (from[i] == to[shift + i])
      result[shift + i] = strides[i];
    else if (from[i] != 1)
      refuse();
  }
  return result;
}

size_t resolve_axis(int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank) fail(ErrorCode::invalid_model, "axis {} of a tensor of rank {}", axis, rank);
  return static_cast<size_t>(axis < 0 ? axis + rank : axis);
}

int64_t resolve_index(int64_t index, int64_t size) {
  if (index < -size || index >= size)
    fail(ErrorCode::invalid_argument, "index {} is outside an axis of {} elements", index, size);
  return index < 0 ? index + size : index;
}

std::vector<int64_t> offsets(std::span<const int64_t> sizes, std::span<const int64_t> strides, int64_t start) {
  std::vector<int64_t> result;
  result.reserve(static_cast<size_t>(product_of(sizes)));
  for_each_offset(sizes, strides, start, [&](int64_t offset) { result.push_back(offset); });
  return result;
}

Tensor pick(const Tensor& x, Sizes sizes, std::span<const int64_t> source, const Tensor* fill) {
  Tensor y(x.dtype(), std::move(sizes));
  LATHE_CHECK(static_cast<size_t>(y.elements()) == source.size());
  if (fill != nullptr && (fill->dtype() != x.dtype() || fill->elements() != 1))
    fail(ErrorCode::invalid_argument, "the fill value is {}{}, expected one {}", to_string(fill->dtype()),
         to_string(fill->dims()), to_string(x.dtype()));
  if (x.dtype() == DType::string) {
    const std::span<std::string> out = y.mutable_strings();
    const std::string filler = fill == nullptr ? "" : fill->strings()[0];
    for (size_t i = 0; i < source.size(); ++i)
      out[i] = source[i] == kFill ? filler : x.strings()[static_cast<size_t>(source[i])];
  } else if (is_packed(x.dtype())) {
    const double filler = fill == nullptr ? 0 : fill->read_double(0);
    for (size_t i = 0; i < source.size(); ++i)
      y.write_double(static_cast<int64_t>(i), source[i] == kFill ? filler : x.read_double(source[i]));
  } else {
    visit_element_size(bit_width(x.dtype()), [&]<class T>() {
      T filler{};
      if (fill != nullptr) std::memcpy(&filler, fill->bytes().data(), sizeof(T));
      const auto* in = reinterpret_cast<const T*>(x.bytes().data());
      auto* out = reinterpret_cast<T*>(y.mutable_bytes().data());
      for (size_t i = 0; i < source.size(); ++i) out[i] = source[i] == kFill ? filler : in[source[i]];
    });
  }
  return y;
}

void put(Tensor& out, std::span<const int64_t> target, const Tensor& x) {
  if (x.dtype() != out.dtype() || static_cast<size_t>(x.elements()) != target.size())
    fail(ErrorCode::invalid_argument, "{} elements of type {} do not fit into {} places of type {}", x.elements(),
         to_string(x.dtype()), target.size(), to_string(out.dtype()));
  if (x.dtype() == DType::string) {
    const std::span<std::string> to = out.mutable_strings();
    for (size_t i = 0; i < target.size(); ++i) to[static_cast<size_t>(target[i])] = x.strings()[i];
  } else if (is_packed(x.dtype())) {
    for (size_t i = 0; i < target.size(); ++i) out.write_double(target[i], x.read_double(static_cast<int64_t>(i)));
  } else {
    visit_element_size(bit_width(x.dtype()), [&]<class T>() {
      const auto* from = reinterpret_cast<const T*>(x.bytes().data());
      auto* to = reinterpret_cast<T*>(out.mutable_bytes().data());
      for (size_t i = 0; i < target.size(); ++i) to[target[i]] = from[i];
    });
  }
}

AxisSplit::AxisSplit(std::span<const int64_t> sizes, size_t axis)
    : outer(product_of(sizes.first(axis))), size(sizes[axis]), inner(product_of(sizes.subspan(axis + 1))) {}

std::vector<double> read_broadcast(const Tensor& x, std::span<const int64_t> sizes) {
  const std::vector<double> values = read_wide<double>(x);
  std::vector<double> result;
  result.reserve(static_cast<size_t>(product_of(sizes)));
  for_each_offset(sizes, broadcast_strides(x.dims(), sizes), 0,
                  [&](int64_t offset) { result.push_back(values[static_cast<size_t>(offset)]); });
  return result;
}

}  // namespace lathe::reference
