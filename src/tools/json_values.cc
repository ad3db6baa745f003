#include "tools/json_values.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tools/named_values.h"

namespace lathe::tools {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxRank = 32;

// ---- reading

template <class T>
std::optional<T> parse(const std::string& text) {
  T number = {};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(number) : std::nullopt;
}

[[noreturn]] void refuse(const Json& value, DType dtype) {
  fail(ErrorCode::invalid_argument, "{} is no {}", value.dump().substr(0, 40), lathe::to_string(dtype));
}

void set_element(Tensor& tensor, int64_t index, const Json& value) {
  const DType dtype = tensor.dtype();
  if (dtype == DType::string) {
    if (!value.is_string()) refuse(value, dtype);
    tensor.mutable_strings()[static_cast<size_t>(index)] = value.get<std::string>();
  } else if (is_float(dtype)) {
    const auto special = value.is_string() ? parse<double>(value.get<std::string>()) : std::nullopt;
    if (!value.is_number() && !special) refuse(value, dtype);
    tensor.write_double(index, special ? *special : value.get<double>());
  } else {
    const bool fits = dtype == DType::boolean ? value.is_boolean() : value.is_number_integer();
    if (!fits) refuse(value, dtype);
    tensor.write_int(index, value.is_boolean() ? value.get<bool>() : value.get<int64_t>());
    if (!value.is_boolean() && tensor.read_int(index) != value.get<int64_t>()) refuse(value, dtype);
  }
}

void fill(Tensor& tensor, const Json& value, size_t axis, int64_t& index) {
  if (axis == tensor.dims().size()) return set_element(tensor, index++, value);
  if (!value.is_array() || static_cast<int64_t>(value.size()) != tensor.dims()[axis])
    fail(ErrorCode::invalid_argument, "its lists are not all of shape {}", lathe::to_string(tensor.dims()));
  for (const Json& part : value) fill(tensor, part, axis + 1, index);
}

Tensor read_tensor(const Json& value, DType dtype) {
  std::vector<int64_t> dims;
  for (const Json* level = &value; level->is_array(); level = &level->front()) {
    dims.push_back(static_cast<int64_t>(level->size()));
    if (level->empty()) break;
    if (dims.size() > kMaxRank) fail(ErrorCode::invalid_argument, "its lists nest deeper than any tensor");
  }
  Tensor tensor(dtype, std::move(dims));
  int64_t index = 0;
  fill(tensor, value, 0, index);
  return tensor;
}

Tensor read_keys(const Json& object, DType dtype) {
  Tensor keys(dtype, {static_cast<int64_t>(object.size())});
  int64_t index = 0;
  for (const auto& [key, value] : object.items()) {
    const auto number = dtype == DType::string ? std::nullopt : parse<int64_t>(key);
    if (dtype != DType::string && !number) refuse(key, dtype);
    set_element(keys, index++, number ? Json(*number) : Json(key));
  }
  return keys;
}

Tensor read_values(const Json& object, DType dtype) {
  Tensor values(dtype, {static_cast<int64_t>(object.size())});
  int64_t index = 0;
  for (const Json& value : object) set_element(values, index++, value);
  return values;
}

const Value* find(const Graph& graph, std::string_view name) {
  const Value* input = find_input(graph, name);
  return input != nullptr && input->name() == name ? input : nullptr;
}

void read_input(const Graph& graph, const std::string& name, const Json& value, Tensors& tensors) {
  const Value* input = find(graph, name);
  if (input == nullptr) {
    for (const Value* values : graph.inputs()) {
      const Value* keys = map_of_values(values->name()) == name ? find(graph, keys_name(name)) : nullptr;
      if (keys == nullptr) continue;
      if (!value.is_object()) fail(ErrorCode::invalid_argument, "a map is an object in JSON");
      tensors[keys->name()] = read_keys(value, keys->dtype());
      tensors[values->name()] = read_values(value, values->dtype());
      return;
    }
    fail(ErrorCode::invalid_argument, "the model has no such input");
  }
  if (is_optional(input->type()) && value.is_null()) return;
  if (!is_sequence(input->type())) {
    tensors[name] = read_tensor(value, input->dtype());
    return;
  }
  if (!value.is_array()) fail(ErrorCode::invalid_argument, "a sequence is a list in JSON");
  tensors[length_name(name)] = Tensor::scalar(static_cast<int64_t>(value.size()));
  for (size_t i = 0; i < value.size(); ++i) tensors[element_name(name, i)] = read_tensor(value[i], input->dtype());
}

// ---- writing

Json element(const Tensor& tensor, int64_t index) {
  if (tensor.dtype() == DType::string) return tensor.strings()[static_cast<size_t>(index)];
  if (tensor.dtype() == DType::boolean) return tensor.read_int(index) != 0;
  if (tensor.dtype() == DType::u64) return static_cast<uint64_t>(tensor.read_int(index));
  if (!is_float(tensor.dtype())) return tensor.read_int(index);
  const double value = tensor.read_double(index);
  if (!std::isfinite(value)) return fmt::format("{}", value);
  // The shortest digits that mean this float: 0.1, not 0.10000000149011612.
  return tensor.dtype() == DType::f64 ? value : *parse<double>(fmt::format("{}", static_cast<float>(value)));
}

Json write_tensor(const Tensor& tensor, size_t axis, int64_t& index) {
  if (axis == tensor.dims().size()) return element(tensor, index++);
  Json list = Json::array();
  for (int64_t i = 0; i < tensor.dims()[axis]; ++i) list.push_back(write_tensor(tensor, axis + 1, index));
  return list;
}

Json write_tensor(const Tensor& tensor) {
  int64_t index = 0;
  return write_tensor(tensor, 0, index);
}

Json write_map(const Tensor& keys, const Tensor& values, int64_t from) {
  Json object = Json::object();
  for (int64_t i = 0; i < keys.elements(); ++i) {
    const Json key = element(keys, i);
    object[key.is_string() ? key.get<std::string>() : key.dump()] = element(values, from + i);
  }
  return object;
}

bool are_maps(const Tensor& keys, const Tensor& values) {
  return keys.rank() == 1 && (values.rank() == 1 || values.rank() == 2) && values.dims().back() == keys.elements();
}

Json write_maps(const Tensor& keys, const Tensor& values) {
  if (values.rank() == 1) return write_map(keys, values, 0);
  Json list = Json::array();
  for (int64_t row = 0; row < values.dims()[0]; ++row) list.push_back(write_map(keys, values, row * keys.elements()));
  return list;
}

Json write_sequence(const std::string& name, size_t length, const Tensors& tensors) {
  Json list = Json::array();
  for (size_t i = 0; i < length; ++i) list.push_back(write_tensor(tensors.at(element_name(name, i))));
  return list;
}

}  // namespace

void load_json(const Graph& graph, const std::filesystem::path& path, const std::string& input, Tensors& tensors) {
  std::ifstream file(path);
  if (!file) throw Error(ErrorCode::not_found, "there is no such file").in_file(path.string());
  std::string name = input;
  try {
    const Json document = Json::parse(file);
    if (!input.empty()) return read_input(graph, input, document, tensors);
    if (!document.is_object()) fail(ErrorCode::invalid_argument, "it holds no object");
    for (const auto& [key, value] : document.items()) read_input(graph, name = key, value, tensors);
  } catch (const Json::exception& error) {
    throw Error(ErrorCode::invalid_argument, fmt::format("this is no JSON: {}", error.what())).in_file(path.string());
  } catch (const Error& error) {
    const std::string place = name.empty() ? "" : fmt::format("input '{}': ", name);
    throw Error(error.code(), place + error.message()).in_file(path.string());
  }
}

nlohmann::json to_json(std::span<const TensorInfo> infos, const Tensors& tensors) {
  Json object = Json::object();
  for (const TensorInfo& info : infos) {
    const auto tensor = tensors.find(info.name);
    const std::string map = map_of_values(info.name);
    const auto keys = map.empty() ? tensors.end() : tensors.find(keys_name(map));
    if (info.kind == ValueKind::sequence) {
      const auto length = length_of(info.name, tensors);
      object[info.name] = length ? write_sequence(info.name, *length, tensors) : Json();
    } else if (keys != tensors.end() && tensor != tensors.end() && are_maps(keys->second, tensor->second)) {
      object.erase(keys->first);
      object[map] = write_maps(keys->second, tensor->second);
    } else {
      object[info.name] = tensor == tensors.end() ? Json() : write_tensor(tensor->second);
    }
  }
  return object;
}

}  // namespace lathe::tools
