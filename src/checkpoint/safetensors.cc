#include "checkpoint/safetensors.h"

#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "graph/tensor.h"

namespace lathe::checkpoint {
namespace {

using nlohmann::json;

constexpr size_t kLengthBytes = 8;

constexpr std::array<std::pair<std::string_view, DType>, 18> kTypes{{
    {"F64", DType::f64},
    {"F32", DType::f32},
    {"F16", DType::f16},
    {"BF16", DType::bf16},
    {"F8_E4M3", DType::f8e4m3},
    {"F8_E5M2", DType::f8e5m2},
    {"F8_E8M0", DType::f8e8m0},
    {"F4", DType::f4e2m1},
    {"I64", DType::i64},
    {"I32", DType::i32},
    {"I16", DType::i16},
    {"I8", DType::i8},
    {"U64", DType::u64},
    {"U32", DType::u32},
    {"U16", DType::u16},
    {"U8", DType::u8},
    {"BOOL", DType::boolean},
    {"C64", DType::c64},
}};

DType parse_dtype(const std::string& name, const json& entry) {
  const auto field = entry.find("dtype");
  if (field == entry.end() || !field->is_string())
    fail(ErrorCode::invalid_model, "tensor '{}' has no element type", name);
  const auto& text = field->get_ref<const std::string&>();
  for (const auto& [spelling, dtype] : kTypes)
    if (text == spelling) return dtype;
  fail(ErrorCode::unsupported, "tensor '{}' has the element type '{}', which Lathe does not know", name, text);
}

// A list of sizes or offsets, none of which may be negative.
std::vector<int64_t> parse_sizes(const std::string& name, const json& entry, const char* key) {
  const auto field = entry.find(key);
  bool good = field != entry.end() && field->is_array();
  std::vector<int64_t> sizes;
  if (good)
    for (const json& size : *field) {
      good = good && size.is_number_unsigned() && size.get<uint64_t>() <= uint64_t{INT64_MAX};
      if (good) sizes.push_back(size.get<int64_t>());
    }
  if (!good) fail(ErrorCode::invalid_model, "tensor '{}': its '{}' is not a list of sizes", name, key);
  return sizes;
}

StoredTensor parse_entry(const std::string& name, const json& entry, std::span<const std::byte> data) {
  if (!entry.is_object()) fail(ErrorCode::invalid_model, "tensor '{}' has no description", name);
  StoredTensor tensor;
  tensor.name = name;
  tensor.dtype = parse_dtype(name, entry);
  tensor.dims = parse_sizes(name, entry, "shape");
  const std::vector<int64_t> place = parse_sizes(name, entry, "data_offsets");
  if (place.size() != 2 || place[0] > place[1])
    fail(ErrorCode::invalid_model, "tensor '{}': its 'data_offsets' are not a begin and an end", name);
  const auto begin = static_cast<size_t>(place[0]), end = static_cast<size_t>(place[1]);
  if (end > data.size())
    throw Error(ErrorCode::invalid_model,
                fmt::format("tensor '{}' ends at byte {} of the data, which has only {}", name, end, data.size()))
        .remedy("The file was cut off: download or copy it again");
  const size_t needed = storage_bytes(tensor.dtype, element_count(tensor.dims));
  if (end - begin != needed)
    fail(ErrorCode::invalid_model, "tensor '{}', a {}{}, takes {} bytes, but {} are given", name,
         to_string(tensor.dtype), to_string(tensor.dims), needed, end - begin);
  tensor.bytes = data.subspan(begin, needed);
  return tensor;
}

}  // namespace

std::vector<StoredTensor> parse_safetensors(std::span<const std::byte> file) {
  uint64_t header_size = 0;
  if (file.size() < kLengthBytes)
    fail(ErrorCode::invalid_model, "not a safetensors file: it has only {} bytes", file.size());
  std::memcpy(&header_size, file.data(), kLengthBytes);
  const auto rest = file.subspan(kLengthBytes);
  if (header_size > rest.size())
    throw Error(ErrorCode::invalid_model,
                fmt::format("the header would have {} bytes, the file has {}", header_size, file.size()))
        .remedy("Either this is not a safetensors file, or it was cut off: download or copy it again");
  const auto header = rest.first(static_cast<size_t>(header_size));
  const auto* text = reinterpret_cast<const char*>(header.data());
  const json document = json::parse(text, text + header.size(), nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) fail(ErrorCode::invalid_model, "the header is not a JSON object");
  std::vector<StoredTensor> tensors;
  for (const auto& [name, entry] : document.items())
    if (name != "__metadata__") tensors.push_back(parse_entry(name, entry, rest.subspan(header.size())));
  return tensors;
}

}  // namespace lathe::checkpoint
