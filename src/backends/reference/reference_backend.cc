#include "backends/reference/reference_backend.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "graph/reference/evaluator.h"

namespace lathe {
namespace {

class HostContext : public DeviceContext {
 public:
  void* allocate(size_t bytes) override {
    const size_t rounded = (bytes + 63) / 64 * 64;
    void* memory = rounded < bytes ? nullptr : std::aligned_alloc(64, rounded);
    if (memory == nullptr) fail(ErrorCode::out_of_memory, "cannot allocate {} bytes", bytes);
    return memory;
  }
  void release(void* memory) noexcept override { std::free(memory); }
  void upload(void* device, std::span<const std::byte> host) override { copy(device, host.data(), host.size()); }
  void download(std::span<std::byte> host, const void* device) override { copy(host.data(), device, host.size()); }
  void copy(void* destination, const void* source, size_t bytes) override {
    if (bytes > 0) std::memcpy(destination, source, bytes);
  }
  bool host_memory() const override { return true; }
};

RefValue to_value(const TensorRef& ref) {
  if (ref.object != nullptr) return *static_cast<const RefValue*>(ref.object);
  const auto bytes = storage_bytes(ref.dtype, element_count(ref.dims));
  return Tensor::view(ref.dtype, {ref.dims.begin(), ref.dims.end()}, {static_cast<const std::byte*>(ref.data), bytes},
                      nullptr)
      .aligned();
}

// A sequence outlives the step that makes it, and the memory of the tensors that it is made of.
bool gives_objects(const Node& node) {
  return std::any_of(node.outputs().begin(), node.outputs().end(),
                     [](const Value* v) { return !v->type().is_tensor(); });
}

class ReferenceStep : public Step {
 public:
  explicit ReferenceStep(const Node& node) : op_(node.op()), copies_operands_(gives_objects(node)) {}

  void run(const StepIo& io, const StepState*, void*, DeviceContext&) const override {
    std::vector<RefValue> values;
    values.reserve(io.inputs.size());
    std::vector<const RefValue*> inputs;
    for (const TensorRef& input : io.inputs) {
      inputs.push_back(input.present ? &values.emplace_back(to_value(input)) : nullptr);
      if (copies_operands_ && input.present && input.object == nullptr)
        std::get<Tensor>(values.back()).mutable_bytes();  // of a view, a copy
    }
    SymbolBindings symbols = *io.symbols;
    std::vector<RefValue> results = evaluate_op(op_, inputs, io.outputs.size(), symbols);
    for (size_t i = 0; i < io.outputs.size(); ++i) deliver(io, i, std::move(results[i]));
    const std::span<const size_t> written = written_operands(op_);
    for (size_t i = 0; i < written.size(); ++i)
      update(io.inputs[written[i]], std::get<Tensor>(results[io.outputs.size() + i]));
  }

 private:
  static void update(const TensorRef& state, const Tensor& contents) {
    if (!contents.bytes().empty()) std::memcpy(state.data, contents.bytes().data(), contents.bytes().size());
  }

  static void deliver(const StepIo& io, size_t output, RefValue result) {
    const auto* tensor = std::get_if<Tensor>(&result);
    if (tensor == nullptr || tensor->dtype() == DType::string) {
      if (io.allocator == nullptr) fail(ErrorCode::internal, "a result that is no plain tensor needs an allocator");
      return io.allocator->set_object(output, std::make_shared<const RefValue>(std::move(result)));
    }
    const TensorRef& ref = io.outputs[output];
    void* memory = ref.data;
    if (memory == nullptr)
      memory = io.allocator->allocate(output, tensor->dtype(), tensor->dims());
    else if (tensor->dtype() != ref.dtype || !std::ranges::equal(tensor->dims(), ref.dims))
      fail(ErrorCode::internal, "the result is {}{}, {}{} was inferred", to_string(tensor->dtype()),
           to_string(tensor->dims()), to_string(ref.dtype), to_string(ref.dims));
    if (!tensor->bytes().empty()) std::memcpy(memory, tensor->bytes().data(), tensor->bytes().size());
  }

  const Op& op_;
  const bool copies_operands_;
};

class ReferenceBackend : public Backend {
 public:
  std::string_view name() const override { return "reference"; }
  std::string target() const override { return "reference"; }
  std::vector<Candidate> candidates(const Node& node) const override {
    return {{"reference", {}, [&node] { return Lowered{std::make_unique<ReferenceStep>(node), {}}; }}};
  }
  PrecisionSupport precision_support() const override {
    return {.types = {DType::f16, DType::bf16, DType::f8e4m3, DType::i8},
            .narrow_activations = true,
            .asymmetric_bytes = true,
            .quantized_convolutions = true};
  }
  std::unique_ptr<DeviceContext> make_context(const ContextOptions&) const override {
    return std::make_unique<HostContext>();
  }
  size_t packed_bytes(const WeightLayout& layout, DType, std::span<const int64_t>) const override { refuse(layout); }
  void pack(const WeightLayout& layout, const Tensor&, std::span<std::byte>) const override { refuse(layout); }
  Tensor unpack(const WeightLayout& layout, DType, std::span<const int64_t>,
                std::span<const std::byte>) const override {
    refuse(layout);
  }

 private:
  [[noreturn]] static void refuse(const WeightLayout& layout) {
    fail(ErrorCode::invalid_model, "the reference backend reads plain weights only, not layout '{}'", layout.scheme);
  }
};

}  // namespace

std::unique_ptr<Backend> make_reference_backend() { return std::make_unique<ReferenceBackend>(); }

}  // namespace lathe
