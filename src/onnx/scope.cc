#include "onnx/scope.h"

#include "base/error.h"

namespace lathe::onnx {
namespace {

Type type_of(const Tensor& tensor) {
  return Type::tensor(tensor.dtype(), Shape(tensor.dims().begin(), tensor.dims().end()));
}

}  // namespace

Binding Binding::of(std::string_view name, Value* value) {
  Binding b;
  b.name = name;
  b.type = value->type();
  b.value = value;
  return b;
}

Binding Binding::of(std::string_view name, Tensor constant) {
  Binding b;
  b.name = name;
  b.type = type_of(constant);
  b.constant = std::move(constant);
  return b;
}

Binding Binding::of(std::string_view name, SymbolicTensor symbolic) {
  Binding b;
  b.name = name;
  b.type = Type::tensor(symbolic.dtype, Shape(symbolic.dims.begin(), symbolic.dims.end()));
  b.symbolic = std::move(symbolic);
  return b;
}

Binding Binding::map_of(std::string_view name, Binding& keys, Binding& values) {
  Binding b;
  b.name = name;
  b.type = Type::unranked(DType::f32);
  b.keys = &keys;
  b.values = &values;
  return b;
}

Scope::Scope(Graph& region, Scope& enclosing, Captures& captures)
    : graph_(region), enclosing_(&enclosing), region_(this), captures_(&captures) {}

void Scope::adopt_captures() {
  while (adopted_ < captures_->size()) {
    Binding* outer = (*captures_)[adopted_++];
    inner(outer)->value = graph_.add_input(outer->name, outer->type);
  }
}

Binding* Scope::find(std::string_view name) {
  if (const auto it = names_.find(name); it != names_.end()) return it->second;
  if (enclosing_ == nullptr) return nullptr;
  Binding* found = enclosing_->find(name);
  return found == nullptr || captures_ == nullptr ? found : inner(found);
}

Binding* Scope::inner(Binding* outer) {
  Binding*& slot = inner_[outer];
  if (slot == nullptr) {
    Binding b = *outer;
    b.value = nullptr;
    b.outer = outer;
    if (outer->is_map()) {
      b.keys = inner(outer->keys);
      b.values = inner(outer->values);
    }
    slot = &bindings_.emplace_back(std::move(b));
  }
  return slot;
}

Binding* Scope::define(std::string_view name, Binding binding) {
  for (Binding** part : {&binding.keys, &binding.values})
    if (*part != nullptr) *part = &bindings_.emplace_back(**part);
  Binding* b = &bindings_.emplace_back(std::move(binding));
  alias(name, b);
  return b;
}

void Scope::alias(std::string_view name, Binding* binding) {
  if (!names_.emplace(name, binding).second)
    fail(ErrorCode::invalid_model, "the name '{}' is defined twice in one graph", name);
}

Value* Scope::value(Binding& binding) {
  if (binding.value != nullptr) return binding.value;
  if (binding.is_map())
    fail(ErrorCode::unsupported, "'{}' is a map, which only operators of ai.onnx.ml take", binding.name);
  if (!binding.constant && binding.symbolic) binding.constant = binding.symbolic->to_tensor();
  if (binding.constant)
    binding.value = graph_.emit(Constant{*binding.constant}, {});
  else if (binding.symbolic)
    binding.value = emit_symbolic(*binding.symbolic);
  else {
    LATHE_CHECK(region_ != nullptr && binding.outer != nullptr);
    binding.value = region_->capture(binding.outer);
  }
  if (binding.value->producer() != nullptr && !binding.name.empty()) graph_.rename(binding.value, binding.name);
  return binding.value;
}

Value* Scope::capture(Binding* outer) {
  Binding* const local = inner(outer);
  if (local->value == nullptr) {
    captures_->push_back(outer);
    adopt_captures();
  }
  return local->value;
}

// dims, then for floats a cast and the division by the denominators, then for other shapes than vectors a reshape.
Value* Scope::emit_symbolic(const SymbolicTensor& symbolic) {
  Shape numerators;
  std::vector<double> denominators;
  bool integral = true;
  for (const Element& e : symbolic.elements) {
    const auto number = e.number();
    numerators.push_back(e.is_real() ? Dim(0) : e.numerator());
    denominators.push_back(static_cast<double>(e.denominator()));
    integral = integral && !e.is_real() && e.denominator() == 1;
    if (e.is_real()) fail(ErrorCode::unsupported, "a tensor mixes sizes with the constant {}", *number);
  }
  const bool scalar = symbolic.dims.empty();
  Value* value = graph_.emit(Dims{numerators, scalar}, {});
  if (symbolic.dtype != DType::i64) value = graph_.emit(Map{cast_program(DType::i64, symbolic.dtype), {}}, {value});
  if (!integral) {
    Tensor divisor(symbolic.dtype, scalar ? std::vector<int64_t>{} : std::vector<int64_t>{symbolic.size()});
    for (size_t i = 0; i < denominators.size(); ++i) divisor.write_double(static_cast<int64_t>(i), denominators[i]);
    value = graph_.emit(Map{binary_program(MapOp::div, symbolic.dtype), {}},
                        {value, graph_.emit(Constant{std::move(divisor)}, {})});
  }
  if (symbolic.dims.size() > 1)
    value = graph_.emit(Reshape{Shape(symbolic.dims.begin(), symbolic.dims.end())}, {value});
  return value;
}

}  // namespace lathe::onnx
