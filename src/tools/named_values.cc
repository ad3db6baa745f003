#include "tools/named_values.h"

#include <algorithm>
#include <set>

#include "base/error.h"

namespace lathe::tools {
namespace {

constexpr std::string_view kLength = ".length", kKeys = ".keys", kValues = ".values";

bool is_part(std::string_view name, std::string_view sequence) {
  if (!name.starts_with(sequence)) return false;
  name.remove_prefix(sequence.size());
  if (name == kLength) return true;
  return name.size() > 1 && name.front() == '.' &&
         std::all_of(name.begin() + 1, name.end(), [](char c) { return c >= '0' && c <= '9'; });
}

Input as_input(std::string_view name, const Tensor& tensor) {
  const void* data = tensor.dtype() == DType::string ? static_cast<const void*>(tensor.strings().data())
                                                     : static_cast<const void*>(tensor.bytes().data());
  return {name, tensor.dtype(), tensor.dims(), data};
}

Tensor to_tensor(const Output& output) {
  std::vector<int64_t> dims(output.dims.begin(), output.dims.end());
  if (output.dtype == DType::string) {
    const auto strings = output.as<std::string>();
    return Tensor::of_strings(std::move(dims), {strings.begin(), strings.end()});
  }
  Tensor tensor(output.dtype, std::move(dims));
  const std::span<std::byte> target = tensor.mutable_bytes();
  std::copy_n(static_cast<const std::byte*>(output.data), target.size(), target.begin());
  return tensor;
}

}  // namespace

bool is_sequence(const Type& type) {
  return type.kind == Type::Kind::sequence || type.kind == Type::Kind::optional_sequence;
}
bool is_optional(const Type& type) {
  return type.kind == Type::Kind::optional || type.kind == Type::Kind::optional_sequence;
}

std::string element_name(std::string_view sequence, size_t index) { return fmt::format("{}.{}", sequence, index); }
std::string length_name(std::string_view sequence) { return std::string(sequence).append(kLength); }
std::string keys_name(std::string_view map) { return std::string(map).append(kKeys); }

std::string map_of_values(std::string_view name) {
  return name.ends_with(kValues) ? std::string(name.substr(0, name.size() - kValues.size())) : std::string();
}

std::optional<size_t> length_of(std::string_view sequence, const Tensors& tensors) {
  size_t given = 0;
  while (tensors.contains(element_name(sequence, given))) ++given;
  const auto said = tensors.find(length_name(sequence));
  if (said == tensors.end()) return given > 0 ? std::optional(given) : std::nullopt;
  if (said->second.elements() != 1 || said->second.read_int(0) != static_cast<int64_t>(given))
    fail(ErrorCode::invalid_argument, "'{}' does not say {}, which is how many tensors '{}' has", said->first, given,
         sequence);
  return given;
}

const Value* find_input(const Graph& graph, std::string_view name) {
  for (const Value* input : graph.inputs())
    if (input->name() == name || (is_sequence(input->type()) && is_part(name, input->name()))) return input;
  return nullptr;
}

std::vector<Input> as_inputs(const Engine& engine, const Tensors& tensors) {
  std::vector<Input> inputs;
  std::set<std::string> parts;
  for (const TensorInfo& info : engine.inputs()) {
    const bool sequence = info.kind == ValueKind::sequence;
    const auto length = sequence ? length_of(info.name, tensors) : std::nullopt;
    if (info.optional && !length && !tensors.contains(info.name)) inputs.push_back(Input::nothing(info.name));
    if (!length) continue;
    std::vector<Input> elements;
    for (size_t i = 0; i < *length; ++i) {
      const std::string name = element_name(info.name, i);
      elements.push_back(as_input(info.name, tensors.at(name)));
      parts.insert(name);
    }
    parts.insert(length_name(info.name));
    inputs.push_back(Input::sequence(info.name, std::move(elements)));
  }
  for (const auto& [name, tensor] : tensors)
    if (!parts.contains(name)) inputs.push_back(as_input(name, tensor));
  return inputs;
}

Tensors to_tensors(std::span<const Output> outputs) {
  Tensors tensors;
  for (const Output& output : outputs) {
    const std::string name(output.name);
    if (output.kind == ValueKind::tensor) tensors.emplace(name, to_tensor(output));
    if (output.kind != ValueKind::sequence) continue;
    tensors.emplace(length_name(name), Tensor::scalar(static_cast<int64_t>(output.tensors.size())));
    for (size_t i = 0; i < output.tensors.size(); ++i)
      tensors.emplace(element_name(name, i), to_tensor(output.tensors[i]));
  }
  return tensors;
}

}  // namespace lathe::tools
