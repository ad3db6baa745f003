#include "runtime/object_io.h"

#include <algorithm>

#include "base/error.h"
#include "graph/reference/evaluator.h"

namespace lathe {
namespace {

std::string_view describe(ValueKind kind) {
  switch (kind) {
    case ValueKind::tensor: return "a tensor";
    case ValueKind::sequence: return "a sequence";
    case ValueKind::nothing: return "nothing";
  }
  return "";
}

void check_kind(const Input& input, ValueKind wanted, std::string_view name) {
  if (input.kind != wanted)
    fail(ErrorCode::invalid_argument, "input '{}' must be {}, not {}", name, describe(wanted), describe(input.kind));
}

// What the model says of the sizes of an element, symbols aside: elements of one sequence may differ in these.
bool fits(const Shape& shape, std::span<const int64_t> dims) {
  return std::equal(shape.begin(), shape.end(), dims.begin(), dims.end(),
                    [](const Dim& size, int64_t given) { return !size.is_constant() || size.value() == given; });
}

Tensor copy_of(const Input& input, const Type& type, std::string_view name) {
  check_tensor(input, name);
  if (input.memory != Memory::host) fail(ErrorCode::invalid_argument, "input '{}' must lie with the host", name);
  if (input.dtype != type.dtype)
    fail(ErrorCode::invalid_argument, "input '{}' must be {}, not {}", name, to_string(type.dtype),
         to_string(input.dtype));
  if (type.ranked && !fits(type.shape, input.dims))
    fail(ErrorCode::invalid_argument, "input '{}' must have shape {}, not {}", name, to_string(type.shape),
         to_string(input.dims));
  if (input.dtype == DType::string) {
    const std::span strings(static_cast<const std::string*>(input.data),
                            static_cast<size_t>(element_count(input.dims)));
    return Tensor::of_strings(input.dims, {strings.begin(), strings.end()});
  }
  Tensor tensor(input.dtype, input.dims);
  const std::span<std::byte> bytes = tensor.mutable_bytes();
  std::copy_n(static_cast<const std::byte*>(input.data), bytes.size(), bytes.begin());
  return tensor;
}

void show_tensor(const Tensor& tensor, Output& output) {
  output.kind = ValueKind::tensor;
  output.dtype = tensor.dtype();
  output.dims = tensor.dims();
  output.data = tensor.dtype() == DType::string ? static_cast<const void*>(tensor.strings().data())
                                                : static_cast<const void*>(tensor.bytes().data());
}

}  // namespace

void check_tensor(const Input& input, std::string_view name) {
  check_kind(input, ValueKind::tensor, name);
  if (std::any_of(input.dims.begin(), input.dims.end(), [](int64_t size) { return size < 0; }))
    fail(ErrorCode::invalid_argument, "input '{}' has a negative size: {}", name, to_string(input.dims));
  const int64_t elements = element_count(input.dims);
  if (input.count >= 0 && input.count != elements)
    fail(ErrorCode::invalid_argument, "input '{}' has {} elements, its sizes {} say {}", name, input.count,
         to_string(input.dims), elements);
  if (input.data == nullptr && elements > 0)
    fail(ErrorCode::invalid_argument, "input '{}' of shape {} has no data", name, to_string(input.dims));
}

std::shared_ptr<const void> to_object(const Input& input, const Type& type) {
  const bool optional = type.kind == Type::Kind::optional || type.kind == Type::Kind::optional_sequence;
  if (optional && input.kind == ValueKind::nothing) return std::make_shared<const RefValue>();
  if (type.kind == Type::Kind::tensor || type.kind == Type::Kind::optional)
    return std::make_shared<const RefValue>(copy_of(input, type, input.name));
  check_kind(input, ValueKind::sequence, input.name);
  std::vector<Tensor> tensors;
  for (size_t i = 0; i < input.tensors.size(); ++i)
    tensors.push_back(copy_of(input.tensors[i], type, fmt::format("{}.{}", input.name, i)));
  return std::make_shared<const RefValue>(std::move(tensors));
}

void show_object(const void* object, Output& output) {
  const auto& value = *static_cast<const RefValue*>(object);
  output.tensors.clear();
  if (const auto* tensor = std::get_if<Tensor>(&value)) return show_tensor(*tensor, output);
  output.kind = ValueKind::nothing;
  output.dims = {};
  output.data = nullptr;
  const auto* sequence = std::get_if<std::vector<Tensor>>(&value);
  if (sequence == nullptr) return;
  output.kind = ValueKind::sequence;
  for (const Tensor& tensor : *sequence) {
    Output& element = output.tensors.emplace_back();
    element.name = output.name;
    show_tensor(tensor, element);
  }
}

}  // namespace lathe
