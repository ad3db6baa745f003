// A host tensor with known sizes: weights, folded constants, and the values of the reference evaluator. Elements are
// contiguous, row-major. Storage is shared and copied on write; a view keeps the mapped file that it points into alive,
// so importing a model never copies its weights.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/error.h"
#include "base/half.h"

namespace lathe {

// The DType that a C++ element type stands for.
template <class T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, double>)
    return DType::f64;
  else if constexpr (std::is_same_v<T, float>)
    return DType::f32;
  else if constexpr (std::is_same_v<T, Half>)
    return DType::f16;
  else if constexpr (std::is_same_v<T, BFloat16>)
    return DType::bf16;
  else if constexpr (std::is_same_v<T, bool>)
    return DType::boolean;
  else if constexpr (std::is_same_v<T, int64_t>)
    return DType::i64;
  else if constexpr (std::is_same_v<T, int32_t>)
    return DType::i32;
  else if constexpr (std::is_same_v<T, int16_t>)
    return DType::i16;
  else if constexpr (std::is_same_v<T, int8_t>)
    return DType::i8;
  else if constexpr (std::is_same_v<T, uint64_t>)
    return DType::u64;
  else if constexpr (std::is_same_v<T, uint32_t>)
    return DType::u32;
  else if constexpr (std::is_same_v<T, uint16_t>)
    return DType::u16;
  else if constexpr (std::is_same_v<T, uint8_t>)
    return DType::u8;
  else
    static_assert(sizeof(T) == 0, "no DType stands for this C++ type");
}

// Calls f.template operator()<T>() with the C++ type of a byte-sized, natively held element type. Throws
// Error(unsupported) for strings, complex numbers and the sub-byte and 8-bit float types (see read_element).
template <class F>
decltype(auto) visit_native(DType type, F&& f) {
  switch (type) {
    case DType::f64: return f.template operator()<double>();
    case DType::f32: return f.template operator()<float>();
    case DType::f16: return f.template operator()<Half>();
    case DType::bf16: return f.template operator()<BFloat16>();
    case DType::i64: return f.template operator()<int64_t>();
    case DType::i32: return f.template operator()<int32_t>();
    case DType::i16: return f.template operator()<int16_t>();
    case DType::i8: return f.template operator()<int8_t>();
    case DType::u64: return f.template operator()<uint64_t>();
    case DType::u32: return f.template operator()<uint32_t>();
    case DType::u16: return f.template operator()<uint16_t>();
    case DType::u8: return f.template operator()<uint8_t>();
    case DType::boolean: return f.template operator()<bool>();
    default: fail(ErrorCode::unsupported, "element type {} has no native representation", to_string(type));
  }
}

class Tensor {
 public:
  Tensor() : Tensor(DType::f32, std::vector<int64_t>{0}) {}
  // Zero-filled (empty strings for string tensors). Throws Error when a size is negative or the tensor is absurdly
  // large.
  Tensor(DType dtype, std::vector<int64_t> dims);

  // Points into memory that `owner` keeps alive; `bytes` must have exactly the tensor's size, else
  // Error(invalid_model).
  static Tensor view(DType dtype, std::vector<int64_t> dims, std::span<const std::byte> bytes,
                     std::shared_ptr<const void> owner);
  // Stands for a weight whose elements are elsewhere (packed in a plan): type and sizes are known, reading elements is
  // an internal error. `id` tells its owner which one it is.
  static Tensor deferred(DType dtype, std::vector<int64_t> dims, int64_t id);
  static Tensor of_strings(std::vector<int64_t> dims, std::vector<std::string> strings);
  template <class T>
  static Tensor of(std::vector<int64_t> dims, std::span<const T> values);
  template <class T>
  static Tensor of(std::vector<int64_t> dims, std::initializer_list<T> values) {
    return of<T>(std::move(dims), std::span<const T>(values.begin(), values.size()));
  }
  template <class T>
  static Tensor scalar(T value) {
    return of<T>({}, {value});
  }

  DType dtype() const { return dtype_; }
  const std::vector<int64_t>& dims() const { return dims_; }
  int64_t rank() const { return static_cast<int64_t>(dims_.size()); }
  int64_t elements() const { return elements_; }

  bool is_deferred() const { return deferred_id_ >= 0; }
  int64_t deferred_id() const { return deferred_id_; }

  std::span<const std::byte> bytes() const {
    LATHE_CHECK(!is_deferred());
    return bytes_;
  }
  std::span<std::byte> mutable_bytes();  // copies first when the storage is shared or a view

  // Typed access; T must match dtype(). The data must be aligned: views of a file may not be, see aligned().
  template <class T>
  std::span<const T> as() const;
  template <class T>
  std::span<T> mutable_as();

  std::span<const std::string> strings() const;
  std::span<std::string> mutable_strings();

  // This tensor, or a copy when its bytes are not aligned for its element type.
  Tensor aligned() const;
  // The same elements under other sizes (equal element count).
  Tensor reshaped(std::vector<int64_t> dims) const;

  // Any numeric element (sub-byte and 8-bit floats too) read as a double or, exactly, as an integer.
  double read_double(int64_t index) const;
  int64_t read_int(int64_t index) const;
  // Stores a number, rounded (to nearest even) and saturated or wrapped as C++ converts it; floats overflow to
  // infinity.
  void write_double(int64_t index, double value);
  void write_int(int64_t index, int64_t value);

  // Same type, sizes and bits.
  friend bool operator==(const Tensor& a, const Tensor& b);

 private:
  void check_type(DType type, size_t alignment) const;

  DType dtype_;
  std::vector<int64_t> dims_;
  int64_t elements_ = 0;
  std::span<const std::byte> bytes_;
  std::shared_ptr<std::byte> owned_;   // writable storage, null for views
  std::shared_ptr<const void> owner_;  // of a view
  int64_t deferred_id_ = -1;
  std::shared_ptr<std::vector<std::string>> strings_;  // for DType::string
};

// Number of elements of sizes; throws Error(invalid_model) on negative sizes or overflow.
int64_t element_count(std::span<const int64_t> dims);
std::string to_string(std::span<const int64_t> dims);  // "[2, 3]"

template <class T>
std::span<const T> Tensor::as() const {
  check_type(dtype_of<T>(), alignof(T));
  return {reinterpret_cast<const T*>(bytes_.data()), static_cast<size_t>(elements_)};
}

template <class T>
std::span<T> Tensor::mutable_as() {
  check_type(dtype_of<T>(), 1);
  return {reinterpret_cast<T*>(mutable_bytes().data()), static_cast<size_t>(elements_)};
}

template <class T>
Tensor Tensor::of(std::vector<int64_t> dims, std::span<const T> values) {
  Tensor t(dtype_of<T>(), std::move(dims));
  LATHE_CHECK(static_cast<size_t>(t.elements()) == values.size());
  std::span<T> out = t.template mutable_as<T>();
  for (size_t i = 0; i < values.size(); ++i) out[i] = values[i];
  return t;
}

}  // namespace lathe
