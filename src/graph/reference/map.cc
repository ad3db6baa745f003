// Drives expression programs: instruction by instruction over stretches of the index space that fit into a cache, so
// that each instruction is a plain loop.
#include "graph/reference/map.h"

#include <algorithm>

#include "graph/reference/families.h"
#include "graph/reference/indexing.h"

namespace lathe::reference {
namespace {

constexpr int64_t kStretch = 4096;

Register make_register(DType type, int64_t elements) {
  const auto n = static_cast<size_t>(elements);
  if (type == DType::string) return std::vector<const std::string*>(n);
  if (is_float(type)) return std::vector<double>(n);
  return std::vector<int64_t>(n);
}

int64_t length(const Register& values) {
  return std::visit([](const auto& v) { return static_cast<int64_t>(v.size()); }, values);
}

// Fills `out` with the elements of a tensor from flat position `first` on.
void read_elements(const Tensor& tensor, int64_t first, Register& out) {
  if (auto* floats = std::get_if<std::vector<double>>(&out)) return read_wide<double>(tensor, first, *floats);
  if (auto* ints = std::get_if<std::vector<int64_t>>(&out)) return read_wide<int64_t>(tensor, first, *ints);
  auto& strings = std::get<std::vector<const std::string*>>(out);
  for (size_t i = 0; i < strings.size(); ++i) strings[i] = &tensor.strings()[static_cast<size_t>(first) + i];
}

// A tensor seen from an index space that it broadcasts to.
class BroadcastReader {
 public:
  BroadcastReader(const Tensor& tensor, std::span<const int64_t> sizes)
      : tensor_(tensor), sizes_(sizes), strides_(broadcast_strides(tensor.dims(), sizes)) {
    if (tensor.elements() == product_of(sizes)) return;
    repeated_ = make_register(tensor.dtype(), tensor.elements());
    read_elements(tensor, 0, repeated_);
  }

  // Fills `out` with the elements at the flat positions of the index space from `first` on.
  void read(int64_t first, Register& out) const {
    if (length(repeated_) == 0) return read_elements(tensor_, first, out);
    std::visit([&](auto& to) { read_repeated(first, std::get<std::decay_t<decltype(to)>>(repeated_), to); }, out);
  }

 private:
  template <class V>
  void read_repeated(int64_t first, const V& from, V& to) const {
    const auto count = static_cast<int64_t>(to.size());
    const int64_t inner = sizes_.empty() ? 1 : sizes_.back();
    const int64_t step = sizes_.empty() ? 0 : strides_.back();
    for (int64_t done = 0; done < count;) {  // a row, or what the stretch has of it, at a time
      const int64_t column = (first + done) % inner;
      const int64_t start = row_offset((first + done) / inner) + column * step;
      const int64_t end = done + std::min(inner - column, count - done);
      for (int64_t offset = start; done < end; ++done, offset += step)
        to[static_cast<size_t>(done)] = from[static_cast<size_t>(offset)];
    }
  }

  int64_t row_offset(int64_t row) const {
    int64_t offset = 0;
    for (size_t axis = sizes_.size(); axis-- > 1;) {
      offset += row % sizes_[axis - 1] * strides_[axis - 1];
      row /= sizes_[axis - 1];
    }
    return offset;
  }

  const Tensor& tensor_;
  std::span<const int64_t> sizes_;
  Sizes strides_;
  Register repeated_;  // all elements; empty when the tensor has the sizes of the index space
};

// One run of a program: its registers and the tensors that it reads.
class ProgramRun {
 public:
  ProgramRun(const MapProgram& program, std::span<const Tensor* const> inputs, const Sizes& sizes,
             const SymbolBindings& symbols)
      : program_(program), sizes_(sizes), strides_(row_major_strides(sizes)) {
    if (static_cast<size_t>(program.num_inputs()) != inputs.size())
      fail(ErrorCode::invalid_model, "the program takes {} inputs, {} are given", program.num_inputs(), inputs.size());
    std::vector<DType> types;
    for (const Tensor* input : inputs) {
      types.push_back(input->dtype());
      readers_.emplace_back(*input, sizes_);
    }
    program.verify(types);
    for (const Dim& dim : program.dims()) dims_.push_back(symbols.evaluate(dim));
  }

  Tensor operator()() {
    const int64_t total = product_of(sizes_);
    if (program_.result_type() == DType::string) return collect<const std::string*>(total);
    if (is_float(program_.result_type())) return collect<double>(total);
    return collect<int64_t>(total);
  }

 private:
  template <class W>
  Tensor collect(int64_t total) {
    std::vector<W> result;
    result.reserve(static_cast<size_t>(total));
    for (int64_t first = 0; first < total; first += kStretch) {
      run_stretch(first, std::min(kStretch, total - first));
      const auto& last = std::get<std::vector<W>>(registers_.back());
      result.insert(result.end(), last.begin(), last.end());
    }
    if constexpr (std::is_pointer_v<W>) {
      std::vector<std::string> strings;
      for (const std::string* s : result) strings.push_back(*s);
      return Tensor::of_strings(sizes_, std::move(strings));
    } else {
      return write_wide(program_.result_type(), sizes_, result);
    }
  }

  void run_stretch(int64_t first, int64_t count) {
    const std::vector<MapInstr>& code = program_.code();
    registers_.resize(code.size());
    for (size_t i = 0; i < code.size(); ++i) {
      if (length(registers_[i]) != count || first == 0) registers_[i] = make_register(code[i].type, count);
      if (arity(code[i].op) == 0) {
        leaf(code[i], first, registers_[i]);
        continue;
      }
      std::vector<const Register*> operands;
      for (int a = 0; a < arity(code[i].op); ++a) operands.push_back(&registers_[operand(code[i], a)]);
      apply_instruction(code[i], code[operand(code[i], 0)].type, operands, registers_[i]);
    }
  }

  static size_t operand(const MapInstr& instr, int a) {
    return static_cast<size_t>(instr.args[static_cast<size_t>(a)]);
  }

  void leaf(const MapInstr& instr, int64_t first, Register& out) const {
    switch (instr.op) {
      case MapOp::input: return readers_[static_cast<size_t>(instr.args[0])].read(first, out);
      case MapOp::iota: return iota(instr.args[0], first, std::get<std::vector<int64_t>>(out));
      case MapOp::dim: return fill(out, dims_[static_cast<size_t>(instr.args[0])]);
      default: break;
    }
    if (is_float(instr.type))
      fill(out, round_to(instr.type, instr.real));
    else
      fill(out, wrap_to(instr.type, instr.integer));
  }

  template <class W>
  static void fill(Register& out, W value) {
    auto& values = std::get<std::vector<W>>(out);
    std::fill(values.begin(), values.end(), value);
  }

  void iota(int64_t axis_from_end, int64_t first, std::vector<int64_t>& out) const {
    const size_t axis = resolve_axis(axis_from_end, static_cast<int64_t>(sizes_.size()));
    for (size_t i = 0; i < out.size(); ++i) out[i] = (first + static_cast<int64_t>(i)) / strides_[axis] % sizes_[axis];
  }

  const MapProgram& program_;
  const Sizes& sizes_;
  Sizes strides_;
  std::vector<BroadcastReader> readers_;
  std::vector<int64_t> dims_;
  std::vector<Register> registers_;  // by instruction
};

}  // namespace

Tensor run_program(const MapProgram& program, std::span<const Tensor* const> inputs, const Sizes& sizes,
                   const SymbolBindings& symbols) {
  if (program.is_identity() && inputs.size() == 1 && inputs[0]->dims() == sizes) return *inputs[0];
  return ProgramRun(program, inputs, sizes, symbols)();
}

std::vector<RefValue> evaluate(const Map& op, const Call& call) {
  const std::vector<const Tensor*> inputs = call.tensors_from(0);
  Sizes sizes;
  if (op.shape)
    sizes = call.symbols.evaluate(*op.shape);
  else
    for (const Tensor* input : inputs) sizes = broadcast_sizes(sizes, input->dims());
  return {run_program(op.program, inputs, sizes, call.symbols)};
}

}  // namespace lathe::reference
