#include "graph/tensor.h"

#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

#include "base/small_float.h"

namespace lathe {
namespace {

constexpr size_t kAlignment = 64;

// Storage from here on is the system's again as soon as it is freed. A heap would keep it, in holes between tensors
// that live longer: a model that is converted weight by weight would take twice its size.
constexpr size_t kMappedBytes = size_t{1} << 20;

std::shared_ptr<std::byte> map_zeros(size_t bytes) {
  void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) fail(ErrorCode::out_of_memory, "cannot allocate {} bytes for a tensor", bytes);
  return {static_cast<std::byte*>(p), [bytes](std::byte* q) { ::munmap(q, bytes); }};
}

std::shared_ptr<std::byte> allocate(size_t bytes) {
  if (bytes >= kMappedBytes) return map_zeros(bytes);
  const size_t rounded = (std::max<size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  void* p = std::aligned_alloc(kAlignment, rounded);
  if (p == nullptr) fail(ErrorCode::out_of_memory, "cannot allocate {} bytes for a tensor", rounded);
  std::memset(p, 0, rounded);
  return {static_cast<std::byte*>(p), [](std::byte* q) { std::free(q); }};
}

// Sub-byte element `index` of width `bits`, low bits first.
uint8_t read_packed(std::span<const std::byte> bytes, int64_t index, int bits) {
  const int64_t per_byte = 8 / bits;
  const auto byte = static_cast<uint8_t>(bytes[static_cast<size_t>(index / per_byte)]);
  return static_cast<uint8_t>((byte >> ((index % per_byte) * bits)) & ((1 << bits) - 1));
}

void write_packed(std::span<std::byte> bytes, int64_t index, int bits, uint8_t value) {
  const int64_t per_byte = 8 / bits;
  auto& byte = bytes[static_cast<size_t>(index / per_byte)];
  const int shift = static_cast<int>(index % per_byte) * bits;
  const int mask = ((1 << bits) - 1) << shift;
  byte = static_cast<std::byte>((static_cast<int>(byte) & ~mask) | ((value << shift) & mask));
}

int64_t sign_extend(uint8_t value, int bits) {
  return (value & (1 << (bits - 1))) != 0 ? static_cast<int64_t>(value) - (1 << bits) : value;
}

bool is_packed_int(DType t) { return t == DType::i4 || t == DType::u4 || t == DType::i2 || t == DType::u2; }
bool is_small_float(DType t) { return t >= DType::f8e4m3 && t <= DType::f4e2m1; }

template <class T>
T load(const std::byte* p) {
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
}

// C++ leaves the conversion of an out-of-range double to an integer undefined; here it saturates, and NaN becomes 0.
template <class T>
T saturating_cast(double value) {
  if (std::isnan(value)) return T{0};
  const double low = static_cast<double>(std::numeric_limits<T>::min());
  const double high = static_cast<double>(std::numeric_limits<T>::max());
  if (value <= low) return std::numeric_limits<T>::min();
  if (value >= high) return std::numeric_limits<T>::max();
  return static_cast<T>(value);
}

}  // namespace

int64_t element_count(std::span<const int64_t> dims) {
  int64_t count = 1;
  bool empty = false;
  for (const int64_t d : dims) {
    if (d < 0) fail(ErrorCode::invalid_model, "shape {} has a negative size", to_string(dims));
    if (d == 0)
      empty = true;
    else if (__builtin_mul_overflow(count, d, &count))
      fail(ErrorCode::invalid_model, "shape {} is too large", to_string(dims));
  }
  return empty ? 0 : count;
}

std::string to_string(std::span<const int64_t> dims) {
  std::string text = "[";
  for (const int64_t d : dims) text += (text.size() > 1 ? ", " : "") + std::to_string(d);
  return text + "]";
}

Tensor::Tensor(DType dtype, std::vector<int64_t> dims)
    : dtype_(dtype), dims_(std::move(dims)), elements_(element_count(dims_)) {
  if (dtype == DType::string) {
    strings_ = std::make_shared<std::vector<std::string>>(static_cast<size_t>(elements_));
    return;
  }
  const size_t bytes = storage_bytes(dtype, elements_);
  owned_ = allocate(bytes);
  bytes_ = {owned_.get(), bytes};
}

Tensor Tensor::view(DType dtype, std::vector<int64_t> dims, std::span<const std::byte> bytes,
                    std::shared_ptr<const void> owner) {
  Tensor t;
  t.dtype_ = dtype;
  t.elements_ = element_count(dims);
  t.dims_ = std::move(dims);
  if (bytes.size() != storage_bytes(dtype, t.elements_))
    fail(ErrorCode::invalid_model, "a {}{} tensor needs {} bytes, {} are given", to_string(dtype), to_string(t.dims_),
         storage_bytes(dtype, t.elements_), bytes.size());
  t.bytes_ = bytes;
  t.owned_ = nullptr;
  t.owner_ = std::move(owner);
  return t;
}

Tensor Tensor::deferred(DType dtype, std::vector<int64_t> dims, int64_t id) {
  Tensor t;
  t.dtype_ = dtype;
  t.elements_ = element_count(dims);
  t.dims_ = std::move(dims);
  t.bytes_ = {};
  t.owned_ = nullptr;
  t.deferred_id_ = id;
  return t;
}

Tensor Tensor::of_strings(std::vector<int64_t> dims, std::vector<std::string> strings) {
  Tensor t(DType::string, std::move(dims));
  if (strings.size() != static_cast<size_t>(t.elements_))
    fail(ErrorCode::invalid_model, "a string tensor of shape {} cannot hold {} strings", to_string(t.dims_),
         strings.size());
  *t.strings_ = std::move(strings);
  return t;
}

std::span<std::byte> Tensor::mutable_bytes() {
  LATHE_CHECK(!is_deferred());
  if (owned_ == nullptr || owned_.use_count() > 1) {
    std::shared_ptr<std::byte> copy = allocate(bytes_.size());
    if (!bytes_.empty()) std::memcpy(copy.get(), bytes_.data(), bytes_.size());
    bytes_ = {copy.get(), bytes_.size()};
    owned_ = std::move(copy);
    owner_ = nullptr;
  }
  return {owned_.get(), bytes_.size()};
}

std::span<const std::string> Tensor::strings() const {
  check_type(DType::string, 1);
  return *strings_;
}

std::span<std::string> Tensor::mutable_strings() {
  check_type(DType::string, 1);
  if (strings_.use_count() > 1) strings_ = std::make_shared<std::vector<std::string>>(*strings_);
  return *strings_;
}

void Tensor::check_type(DType type, size_t alignment) const {
  LATHE_CHECK(!is_deferred());
  if (type != dtype_) fail(ErrorCode::internal, "a {} tensor was read as {}", to_string(dtype_), to_string(type));
  // A view of no bytes may lie anywhere.
  LATHE_CHECK(bytes_.empty() || reinterpret_cast<uintptr_t>(bytes_.data()) % alignment == 0);
}

Tensor Tensor::aligned() const {
  Tensor t = *this;
  if (reinterpret_cast<uintptr_t>(bytes_.data()) % 16 != 0 && !bytes_.empty()) t.mutable_bytes();
  return t;
}

Tensor Tensor::reshaped(std::vector<int64_t> dims) const {
  Tensor t = *this;
  if (element_count(dims) != elements_)
    fail(ErrorCode::invalid_argument, "cannot reshape {} to {}", to_string(dims_), to_string(dims));
  t.dims_ = std::move(dims);
  return t;
}

double Tensor::read_double(int64_t index) const {
  if (is_small_float(dtype_)) {
    const uint8_t bits = dtype_ == DType::f4e2m1 ? read_packed(bytes_, index, 4)
                                                 : static_cast<uint8_t>(bytes_[static_cast<size_t>(index)]);
    return small_float_to_float(dtype_, bits);
  }
  if (is_packed_int(dtype_)) return static_cast<double>(read_int(index));
  return visit_native(dtype_, [&]<class T>() {
    const T value = load<T>(bytes_.data() + static_cast<size_t>(index) * sizeof(T));
    if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>)
      return static_cast<double>(static_cast<float>(value));
    else
      return static_cast<double>(value);
  });
}

int64_t Tensor::read_int(int64_t index) const {
  if (is_packed_int(dtype_)) {
    const int bits = bit_width(dtype_);
    const uint8_t raw = read_packed(bytes_, index, bits);
    return is_signed_int(dtype_) ? sign_extend(raw, bits) : raw;
  }
  if (is_float(dtype_)) return saturating_cast<int64_t>(read_double(index));
  return visit_native(dtype_, [&]<class T>() {
    const T value = load<T>(bytes_.data() + static_cast<size_t>(index) * sizeof(T));
    if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>)
      return saturating_cast<int64_t>(static_cast<float>(value));
    else
      return static_cast<int64_t>(value);
  });
}

void Tensor::write_double(int64_t index, double value) {
  std::span<std::byte> out = mutable_bytes();
  if (is_small_float(dtype_)) {
    const uint8_t bits = small_float_from_float(dtype_, static_cast<float>(value), /*saturate=*/true);
    if (dtype_ == DType::f4e2m1)
      write_packed(out, index, 4, bits);
    else
      out[static_cast<size_t>(index)] = static_cast<std::byte>(bits);
    return;
  }
  if (is_packed_int(dtype_)) return write_int(index, saturating_cast<int64_t>(value));
  visit_native(dtype_, [&]<class T>() {
    T stored;
    if constexpr (std::is_same_v<T, bool>)
      stored = value != 0;
    else if constexpr (std::is_integral_v<T>)
      stored = saturating_cast<T>(value);
    else if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>)
      stored = T(static_cast<float>(value));
    else
      stored = static_cast<T>(value);
    std::memcpy(out.data() + static_cast<size_t>(index) * sizeof(T), &stored, sizeof(T));
  });
}

void Tensor::write_int(int64_t index, int64_t value) {
  if (is_packed_int(dtype_))
    return write_packed(mutable_bytes(), index, bit_width(dtype_), static_cast<uint8_t>(value));
  if (is_float(dtype_)) return write_double(index, static_cast<double>(value));
  std::span<std::byte> out = mutable_bytes();
  visit_native(dtype_, [&]<class T>() {
    if constexpr (std::is_integral_v<T>) {
      const T stored = std::is_same_v<T, bool> ? static_cast<T>(value != 0) : static_cast<T>(value);
      std::memcpy(out.data() + static_cast<size_t>(index) * sizeof(T), &stored, sizeof(T));
    }
  });
}

bool operator==(const Tensor& a, const Tensor& b) {
  if (a.dtype_ != b.dtype_ || a.dims_ != b.dims_ || a.deferred_id_ != b.deferred_id_) return false;
  if (a.dtype_ == DType::string) return *a.strings_ == *b.strings_;
  return a.bytes_.size() == b.bytes_.size() &&
         (a.bytes_.empty() || std::memcmp(a.bytes_.data(), b.bytes_.data(), a.bytes_.size()) == 0);
}

}  // namespace lathe
