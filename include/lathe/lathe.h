// Lathe's C++ interface: open a model or plan, run it.
//
//   auto session = lathe::Session::open("bert.plan");
//   std::vector<int64_t> ids = {2, 1695, 2906, 3};
//   auto outputs = session.run({{"input_ids", ids, {1, 4}}});
//   std::span<const float> logits = outputs[0].as<float>();
//
// An Engine holds weights and kernels and is immutable; any number of Sessions share one, from any threads, one thread
// per session at a time. Tensors are row-major and contiguous. Inputs are read where they lie; outputs are written into
// memory bound by the caller, or into memory of the session that stays valid until its next run. Every failure is a
// lathe::Error.
//
// Elements of a tensor of strings are std::string, in UTF-8. A sequence is its tensors. A map of an ONNX model (what
// DictVectorizer takes, what ZipMap gives) is two tensors, NAME.keys [n] and NAME.values [n]; where an output is a
// sequence of maps, they all have the same keys, and NAME.values is [maps, n].
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "lathe/dtype.h"
#include "lathe/error.h"

namespace lathe {

// The element type that a C++ type stands for; f16 and bf16 have none and are given by their bytes.
template <class T>
constexpr DType element_type();
template <>
constexpr DType element_type<float>() {
  return DType::f32;
}
template <>
constexpr DType element_type<double>() {
  return DType::f64;
}
template <>
constexpr DType element_type<int64_t>() {
  return DType::i64;
}
template <>
constexpr DType element_type<int32_t>() {
  return DType::i32;
}
template <>
constexpr DType element_type<int16_t>() {
  return DType::i16;
}
template <>
constexpr DType element_type<int8_t>() {
  return DType::i8;
}
template <>
constexpr DType element_type<uint64_t>() {
  return DType::u64;
}
template <>
constexpr DType element_type<uint32_t>() {
  return DType::u32;
}
template <>
constexpr DType element_type<uint16_t>() {
  return DType::u16;
}
template <>
constexpr DType element_type<uint8_t>() {
  return DType::u8;
}
template <>
constexpr DType element_type<bool>() {
  return DType::boolean;
}
template <>
constexpr DType element_type<std::string>() {
  return DType::string;
}

// Where memory is: with the host, or on the device that the session runs on. On a CPU both are the same.
enum class Memory { host, device };

// What is given or comes out under a name; nothing: an optional without value.
enum class ValueKind { tensor, sequence, nothing };

// An input of a run: a name, sizes, and elements that the caller keeps alive during the run. Strings and sequences are
// copied, and always lie with the host.
struct Input {
  std::string_view name;
  DType dtype = DType::f32;
  std::vector<int64_t> dims;
  const void* data = nullptr;

  // Elements on the device are read in place; they must be complete when the run starts. What an input that is state
  // (TensorInfo::state) points to is written by the run, so it must be memory that may be written, on the device that
  // the session runs on; nothing of it is copied.
  Input(std::string_view input_name, DType type, std::vector<int64_t> sizes, const void* elements,
        Memory where = Memory::host)
      : name(input_name), dtype(type), dims(std::move(sizes)), data(elements), memory(where) {}
  // From any contiguous range of a plain element type; its length is checked against the sizes when the run starts.
  template <class Range>
  Input(std::string_view input_name, const Range& values, std::vector<int64_t> sizes)
      : name(input_name),
        dtype(element_type<std::remove_cv_t<std::remove_reference_t<decltype(*std::data(values))>>>()),
        dims(std::move(sizes)),
        data(std::data(values)),
        count(static_cast<int64_t>(std::size(values))) {}
  // A sequence of tensors, whose own names do not matter.
  static Input sequence(std::string_view name, std::vector<Input> tensors);
  // An optional without value. One that has a value is given as that.
  static Input nothing(std::string_view name);

  int64_t count = -1;  // elements behind data; -1: the caller vouches for the sizes
  Memory memory = Memory::host;
  ValueKind kind = ValueKind::tensor;
  std::vector<Input> tensors = {};  // of a sequence
};

// An output of a run. `data` is valid until the session's next run, or as long as the caller's own memory if bound.
struct Output {
  std::string_view name;
  DType dtype = DType::f32;
  std::span<const int64_t> dims;
  const void* data = nullptr;
  Memory memory = Memory::host;  // on the device only where it was bound there
  ValueKind kind = ValueKind::tensor;
  std::vector<Output> tensors = {};  // of a sequence

  int64_t elements() const;
  // Throws Error(invalid_argument) when this is no tensor, or its elements are not of type T, or not with the host.
  template <class T>
  std::span<const T> as() const {
    check_type(element_type<T>());
    return {static_cast<const T*>(data), static_cast<size_t>(elements())};
  }

 private:
  void check_type(DType wanted) const;
};

// What a model takes or gives. A size is a number or an expression over named symbols, such as "batch" or "2*seq + 1".
struct TensorInfo {
  std::string name;
  DType dtype = DType::f32;
  std::vector<std::string> dims;
  bool state = false;                  // an input that runs update in place, such as a cache of keys
  ValueKind kind = ValueKind::tensor;  // a sequence's type and sizes are those of its tensors
  bool optional = false;               // may also be nothing
  bool ranked = true;                  // false: `dims` is empty, as any number of them is possible
};

struct EngineOptions {
  std::string device = "cpu";  // "cpu", "cuda", "cuda:1" (the second GPU) or "reference" (slow, exact; for checking)
  std::string isa;  // instruction set of the CPU kernels: "generic", "avx2", "avx512"; empty: the best there is
  std::string kernel_cache;  // folder where kernels compiled for a GPU are kept between processes; empty: nowhere
  bool tf32 = false;         // on a GPU, products of f32 may round their operands to TF32, which is faster
  // Whether models that take a padded batch and its mask leave the padding out: "auto" where no output changes, "on"
  // also where outputs show tokens (those that are padding are 0 then), "off" nowhere. Plans were built one way.
  std::string packing = "auto";
};

struct SessionOptions {
  int threads = 0;     // 0: one per physical core
  bool graphs = true;  // replay runs with the addresses of the last one as CUDA graphs
};

class Engine {
 public:
  // A .onnx file is built in memory; a .plan file is mapped, checked and, if made for another instruction set, lowered
  // again.
  static std::shared_ptr<const Engine> open(const std::string& path, const EngineOptions& options = {});

  const std::vector<TensorInfo>& inputs() const;
  const std::vector<TensorInfo>& outputs() const;

  ~Engine();
  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

class Session {
 public:
  static Session open(const std::string& path, const SessionOptions& options = {}, const EngineOptions& engine = {});
  explicit Session(std::shared_ptr<const Engine> engine, const SessionOptions& options = {});
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();

  const Engine& engine() const;

  // Inputs in any order, by name; all must be given. The outputs come in the model's order.
  //
  // After the first run with given sizes, further runs with them allocate nothing. Two things can change that. Memory
  // of values whose sizes depend on data (positions of non-zeros, what a loop makes) grows when a run needs more of it
  // than any before, and never shrinks. And a step that only the reference evaluator can do, which `lathe build` lists
  // as a fallback, allocates in every run. The sizes of the last 256 different sets are remembered, for each region of
  // control flow as well. When a plan has profiles, memory for their largest sizes is set aside when the session
  // starts, as far as the device has it, and runs with smaller ones only prepare their steps.
  std::span<const Output> run(std::span<const Input> inputs);
  std::span<const Output> run(std::initializer_list<Input> inputs) {
    return run(std::span<const Input>(inputs.begin(), inputs.size()));
  }

  // Lets an output be written straight into the caller's memory from the next run on; nullptr undoes it. A run throws
  // Error(invalid_argument) when the output needs more than `bytes`. Memory on the device is complete when run()
  // returns; nothing is copied. Strings, sequences and optionals cannot be bound.
  void bind_output(std::string_view name, void* memory, size_t bytes, Memory where = Memory::host);

  // Gives back what the session holds on its device, and the weights there once every session of the engine is evicted.
  // The outputs of the last run are gone. restore(), or the next run, brings it all back from the host, where weights
  // stay mapped: nothing is built again. On a CPU only the session's own memory is given back.
  void evict();
  void restore();

  struct Impl;
  Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace lathe
