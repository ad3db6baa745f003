#include "graph/tensor_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <numbers>
#include <random>

#include "base/small_float.h"

namespace lathe {
namespace {

// A text of a few characters must not ask for more than this.
constexpr int64_t kMaxFilledElements = int64_t{1} << 28;

template <class T>
T number(TextCursor& cursor) {
  const size_t position = cursor.position();
  const std::string_view text = cursor.number();
  T value{};
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc() || end != text.data() + text.size() || text.empty())
    cursor.error_at(position, fmt::format("'{}' is not a number of this type", text));
  return value;
}

std::vector<int64_t> sizes(TextCursor& cursor) {
  std::vector<int64_t> dims;
  cursor.expect("[");
  while (!cursor.accept("]")) {
    if (!dims.empty()) cursor.expect(",");
    dims.push_back(number<int64_t>(cursor));
  }
  return dims;
}

void element(TextCursor& cursor, Tensor& tensor, int64_t i) {
  const DType type = tensor.dtype();
  if (type == DType::string) {
    tensor.mutable_strings()[static_cast<size_t>(i)] = cursor.quoted_string();
  } else if (type == DType::boolean) {
    const bool value = cursor.accept("true");
    if (!value) cursor.expect("false");
    tensor.write_int(i, value ? 1 : 0);
  } else if (is_float(type) && bit_width(type) == 8) {  // write_double would saturate an infinity
    const auto value = static_cast<float>(number<double>(cursor));
    tensor.mutable_bytes()[static_cast<size_t>(i)] = std::byte{small_float_from_float(type, value, /*saturate=*/false)};
  } else if (is_float(type)) {
    tensor.write_double(i, number<double>(cursor));
  } else if (type == DType::u64) {
    tensor.write_int(i, static_cast<int64_t>(number<uint64_t>(cursor)));
  } else {
    tensor.write_int(i, number<int64_t>(cursor));
  }
}

Tensor listed(TextCursor& cursor, DType type, std::vector<int64_t> dims) {
  const int64_t count = element_count(dims);
  if (static_cast<uint64_t>(count) > cursor.remaining()) cursor.error(fmt::format("{} elements expected", count));
  Tensor tensor(type, std::move(dims));
  for (int64_t i = 0; i < count; ++i) {
    if (i > 0) cursor.expect(",");
    element(cursor, tensor, i);
  }
  cursor.expect("]");
  return tensor;
}

// Copies of one element.
Tensor splat(TextCursor& cursor, DType type, std::vector<int64_t> dims) {
  Tensor tensor(type, std::move(dims)), one(type, {1});
  element(cursor, one, 0);
  cursor.expect(")");
  const auto width = static_cast<size_t>(bit_width(type) / 8);
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    if (type == DType::string)
      tensor.mutable_strings()[static_cast<size_t>(i)] = one.strings()[0];
    else if (width > 0)
      std::memcpy(&tensor.mutable_bytes()[static_cast<size_t>(i) * width], one.bytes().data(), width);
    else
      tensor.write_double(i, one.read_double(0));  // less than a byte: a double holds any of them exactly
  }
  return tensor;
}

// Normally distributed, scaled so that products with it keep their size; the same on every machine.
Tensor random(TextCursor& cursor, DType type, std::vector<int64_t> dims) {
  if (!is_float(type)) cursor.error("only floating-point numbers can be random");
  const double scale = 1 / std::sqrt(static_cast<double>(std::max<int64_t>(dims.empty() ? 1 : dims.back(), 1)));
  std::mt19937_64 generator(number<uint64_t>(cursor));
  cursor.expect(")");
  const auto uniform = [&] { return (static_cast<double>(generator() >> 11) + 0.5) * 0x1p-53; };
  Tensor tensor(type, std::move(dims));
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    const double radius = std::sqrt(-2 * std::log(uniform()));  // Box and Muller's method
    tensor.write_double(i, scale * radius * std::cos(2 * std::numbers::pi * uniform()));
  }
  return tensor;
}

Tensor raw(TextCursor& cursor, DType type, std::vector<int64_t> dims) {
  const std::string_view digits = cursor.word();
  const int64_t count = element_count(dims);
  const size_t bytes = storage_bytes(type, count);
  if (digits.size() != 2 * bytes + 2 || digits.substr(0, 2) != "0x")
    cursor.error(fmt::format("0x and {} hexadecimal digits expected", 2 * bytes));
  Tensor tensor(type, std::move(dims));
  std::span<std::byte> out = tensor.mutable_bytes();
  for (size_t i = 0; i < bytes; ++i) {
    unsigned value = 0;
    const char* begin = digits.data() + 2 + 2 * i;
    if (std::from_chars(begin, begin + 2, value, 16).ptr != begin + 2) cursor.error("hexadecimal digits expected");
    out[i] = static_cast<std::byte>(value);
  }
  return tensor;
}

}  // namespace

Tensor parse_tensor(TextCursor& cursor, DType type) {
  const size_t position = cursor.position();
  std::vector<int64_t> dims = sizes(cursor);
  int64_t count = 0;
  cursor.located(position, [&] { count = element_count(dims); });
  if (cursor.starts_with('#')) cursor.error("a shortened tensor cannot be read back");
  if (type == DType::c64 || type == DType::c128) return raw(cursor, type, std::move(dims));
  if (cursor.accept("[")) return listed(cursor, type, std::move(dims));
  if (count > kMaxFilledElements) cursor.error_at(position, "the tensor is too large");
  const bool is_splat = cursor.accept("splat");
  if (!is_splat) cursor.expect("random");
  cursor.expect("(");
  return is_splat ? splat(cursor, type, std::move(dims)) : random(cursor, type, std::move(dims));
}

}  // namespace lathe
