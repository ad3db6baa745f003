#include "onnx/tensor_data.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/error.h"
#include "onnx/wire.h"

namespace lathe::onnx {
namespace {

std::span<const std::byte> as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

void check_count(const TensorProto& proto, int64_t needed, size_t given) {
  if (static_cast<size_t>(needed) != given)
    fail(ErrorCode::invalid_model, "tensor '{}' of shape {} holds {} elements, {} expected", proto.name,
         to_string(proto.dims), given, needed);
}

// The int32_data field holds integers up to 32 bits, bool, and the bits of the 16-, 8- and 4-bit floats; types below a
// byte are packed, one byte to an entry.
Tensor from_int32_data(const TensorProto& proto, DType dtype, const std::vector<int32_t>& data) {
  Tensor t(dtype, proto.dims);
  const std::span<std::byte> out = t.mutable_bytes();
  const size_t width = static_cast<size_t>(std::max(1, bit_width(dtype) / 8));
  check_count(proto, static_cast<int64_t>(out.size() / width), data.size());
  for (size_t i = 0; i < data.size(); ++i) {
    const int32_t value = dtype == DType::boolean ? data[i] != 0 : data[i];
    std::memcpy(out.data() + i * width, &value, width);
  }
  return t;
}

template <class Stored, class T>
Tensor from_numbers(const TensorProto& proto, DType dtype, const std::vector<T>& data, size_t parts = 1) {
  Tensor t(dtype, proto.dims);
  check_count(proto, t.elements() * static_cast<int64_t>(parts), data.size());
  const std::span<std::byte> out = t.mutable_bytes();
  for (size_t i = 0; i < data.size(); ++i) {
    const Stored value = static_cast<Stored>(data[i]);
    std::memcpy(out.data() + i * sizeof(Stored), &value, sizeof(Stored));
  }
  return t;
}

struct TypedData {
  std::vector<float> floats;
  std::vector<int32_t> int32s;
  std::vector<std::string> strings;
  std::vector<int64_t> int64s;
  std::vector<double> doubles;
  std::vector<uint64_t> uint64s;
};

TypedData decode_typed(std::string_view message) {
  TypedData data;
  Fields fields(message);
  fields.each([&](uint32_t tag) {
    switch (tag) {
      case 4: fields.append_fixed(data.floats); break;
      case 5: fields.append_integers(data.int32s); break;
      case 6: data.strings.emplace_back(fields.bytes()); break;
      case 7: fields.append_integers(data.int64s); break;
      case 10: fields.append_fixed(data.doubles); break;
      case 11: fields.append_integers(data.uint64s); break;
      default: fields.skip();
    }
  });
  return data;
}

// Sizes are checked against the data before memory is allocated, so that a few hostile bytes cannot ask for gigabytes.
Tensor typed_tensor(const TensorProto& proto, DType dtype) {
  const int64_t count = element_count(proto.dims);
  if (count > static_cast<int64_t>(proto.message.size()) * 8)
    fail(ErrorCode::invalid_model, "tensor '{}' of shape {} has no data for its size", proto.name,
         to_string(proto.dims));
  TypedData data = decode_typed(proto.message);
  switch (dtype) {
    case DType::f32: return from_numbers<float>(proto, dtype, data.floats);
    case DType::c64: return from_numbers<float>(proto, dtype, data.floats, 2);
    case DType::f64: return from_numbers<double>(proto, dtype, data.doubles);
    case DType::c128: return from_numbers<double>(proto, dtype, data.doubles, 2);
    case DType::i64: return from_numbers<int64_t>(proto, dtype, data.int64s);
    case DType::u64: return from_numbers<uint64_t>(proto, dtype, data.uint64s);
    case DType::u32: return from_numbers<uint32_t>(proto, dtype, data.uint64s);
    case DType::string:
      check_count(proto, count, data.strings.size());
      return Tensor::of_strings(proto.dims, std::move(data.strings));
    default: return from_int32_data(proto, dtype, data.int32s);
  }
}

// A bool whose byte is neither 0 nor 1 would be undefined behaviour to read.
Tensor with_clean_bools(Tensor t) {
  const auto bytes = t.bytes();
  if (t.dtype() != DType::boolean ||
      std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return static_cast<int>(b) <= 1; }))
    return t;
  for (std::byte& b : t.mutable_bytes()) b = static_cast<std::byte>(b != std::byte{0});
  return t;
}

DType checked_dtype(const TensorProto& proto) {
  const auto dtype = dtype_from_onnx(proto.data_type);
  if (!dtype)
    fail(ErrorCode::invalid_model, "tensor '{}' has an unknown element type ({})", proto.name, proto.data_type);
  return *dtype;
}

size_t parse_size(const TensorProto& proto, std::string_view key, std::string_view text) {
  size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    fail(ErrorCode::invalid_model, "tensor '{}': the {} '{}' of its external data is not a size", proto.name, key,
         text);
  return value;
}

}  // namespace

Tensor ModelSource::tensor(const TensorProto& proto) {
  const DType dtype = checked_dtype(proto);
  if (proto.external) return with_clean_bools(external_tensor(proto, dtype));
  if (!proto.raw_data || dtype == DType::string) return typed_tensor(proto, dtype);
  const size_t needed = storage_bytes(dtype, element_count(proto.dims));
  // Writers leave raw_data empty when they use a typed field.
  if (proto.raw_data->empty() && needed != 0) return typed_tensor(proto, dtype);
  if (proto.raw_data->size() != needed)
    fail(ErrorCode::invalid_model, "tensor '{}', a {}{}, has {} bytes of data, {} expected", proto.name,
         to_string(dtype), to_string(proto.dims), proto.raw_data->size(), needed);
  return with_clean_bools(Tensor::view(dtype, proto.dims, as_bytes(*proto.raw_data), owner_));
}

Tensor ModelSource::external_tensor(const TensorProto& proto, DType dtype) {
  std::string_view location;
  size_t offset = 0;
  std::optional<size_t> length;
  for (const auto& [key, value] : proto.external_data) {
    if (key == "location")
      location = value;
    else if (key == "offset")
      offset = parse_size(proto, key, value);
    else if (key == "length")
      length = parse_size(proto, key, value);
  }
  const std::shared_ptr<const MappedFile> file = map(location);
  const size_t needed = storage_bytes(dtype, element_count(proto.dims));
  const size_t size = file->bytes().size();
  if (length.value_or(needed) != needed || offset > size || needed > size - offset)
    fail(ErrorCode::invalid_model, "tensor '{}', a {}{}, needs {} bytes at {} of '{}', which has {} (length given: {})",
         proto.name, to_string(dtype), to_string(proto.dims), needed, offset, location, size, length.value_or(needed));
  return Tensor::view(dtype, proto.dims, file->bytes().subspan(offset, needed), file);
}

std::shared_ptr<const MappedFile> ModelSource::map(std::string_view location) {
  if (const auto it = files_.find(location); it != files_.end()) return it->second;
  if (!folder_)
    throw Error(ErrorCode::invalid_argument, fmt::format("the model's data is in another file, '{}'", location))
        .remedy("Give the model as a path, not as bytes");
  const std::filesystem::path relative = std::filesystem::path(location).lexically_normal();
  if (location.empty() || relative.is_absolute() || *relative.begin() == "..")
    fail(ErrorCode::invalid_model, "external data '{}' is not inside the model's folder", location);
  auto file = MappedFile::open(*folder_ / relative);
  files_.emplace(location, file);
  return file;
}

Tensor ModelSource::tensor(const SparseTensorProto& proto) {
  const Tensor values = tensor(proto.values), indices = tensor(proto.indices);
  const int64_t rank = static_cast<int64_t>(proto.dims.size());
  const int64_t count = values.elements();
  const bool linear = indices.rank() == 1;
  if (values.dtype() == DType::string || indices.dtype() != DType::i64 ||
      indices.elements() != (linear ? count : count * rank))
    fail(ErrorCode::invalid_model, "sparse tensor '{}' has {} values and indices of shape {}", proto.values.name, count,
         to_string(indices.dims()));
  constexpr int64_t kMaxDense = int64_t{1} << 32;
  if (element_count(proto.dims) > kMaxDense)
    fail(ErrorCode::unsupported, "sparse tensor '{}' is too large to be stored densely", proto.values.name);
  Tensor dense(values.dtype(), proto.dims);
  for (int64_t i = 0; i < count; ++i) {
    int64_t at = 0;
    bool inside = true;
    for (int64_t axis = 0; linear ? axis < 1 : axis < rank; ++axis) {
      const int64_t index = indices.read_int(linear ? i : i * rank + axis);
      const int64_t size = linear ? dense.elements() : proto.dims[static_cast<size_t>(axis)];
      inside = inside && index >= 0 && index < size;
      at = at * size + index;
    }
    if (!inside) fail(ErrorCode::invalid_model, "sparse tensor '{}' has an index out of range", proto.values.name);
    if (is_float(dense.dtype()))
      dense.write_double(at, values.read_double(i));
    else
      dense.write_int(at, values.read_int(i));
  }
  return dense;
}

}  // namespace lathe::onnx
