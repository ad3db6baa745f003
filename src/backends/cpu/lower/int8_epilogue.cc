#include "backends/cpu/lower/int8_epilogue.h"

namespace lathe::cpu {

std::unique_ptr<Int8EpilogueCode> Int8EpilogueCode::make(const MapProgram& program,
                                                         const std::function<Extent(int)>& extent_of,
                                                         const MapKernels& kernels) {
  auto form = match_int8_epilogue(program, extent_of);
  if (!form) return nullptr;
  std::unique_ptr<Int8EpilogueCode> code(new Int8EpilogueCode(std::move(*form)));
  code->input_extents_.push_back(Extent::tensor);
  for (int i = 1; i < program.num_inputs(); ++i) code->input_extents_.push_back(extent_of(i));
  return code->add_parts(kernels) ? std::move(code) : nullptr;
}

bool Int8EpilogueCode::add_parts(const MapKernels& kernels) {
  const auto ints = [](const void* p) { return static_cast<const int32_t*>(p); };
  const auto reals = [](const void* p) { return static_cast<const float*>(p); };
  static constexpr auto number = [](const void* p) { return *static_cast<const float*>(p); };
  using E = Int8Epilogue;
  const Int8Form& f = form_;
  bool good = add(f.col_add, Extent::column, kernels, [=](E& e, const void* p) { e.col_add = ints(p); }) &&
              add(f.row_scale, Extent::row, kernels, [=](E& e, const void* p) { e.row_scale = reals(p); }) &&
              add(f.col_scale, Extent::column, kernels, [=](E& e, const void* p) { e.col_scale = reals(p); }) &&
              add(f.bias, Extent::column, kernels, [=](E& e, const void* p) { e.bias = reals(p); });
  for (size_t k = 0; k < 2; ++k) {
    good = good &&
           add(f.row_factors[k], Extent::row, kernels, [=](E& e, const void* p) { e.row_factors[k] = ints(p); }) &&
           add(f.col_factors[k], Extent::column, kernels, [=](E& e, const void* p) { e.col_factors[k] = ints(p); });
  }
  if (f.middle) {
    good = good &&
           add(f.middle->scale, Extent::scalar, kernels, [](E& e, const void* p) { e.middle.scale = number(p); }) &&
           add(f.middle->zero, Extent::scalar, kernels, [](E& e, const void* p) { e.middle.zero = number(p); }) &&
           add(f.middle_scale, Extent::scalar, kernels, [](E& e, const void* p) { e.middle_scale = number(p); });
  }
  return good &&
         add(f.last.scale, Extent::scalar, kernels, [](E& e, const void* p) { e.requantize.scale = number(p); }) &&
         add(f.last.zero, Extent::scalar, kernels, [](E& e, const void* p) { e.requantize.zero = number(p); }) &&
         add(f.residual_scale, Extent::scalar, kernels, [](E& e, const void* p) { e.residual_scale = number(p); }) &&
         add(f.residual_zero, Extent::scalar, kernels, [](E& e, const void* p) { e.residual_zero = number(p); });
}

bool Int8EpilogueCode::add(int instruction, Extent extent, const MapKernels& kernels, Place place) {
  if (instruction < 0) return true;
  Part part{extent, -1, nullptr, std::move(place)};
  const MapInstr& instr = form_.program.code()[static_cast<size_t>(instruction)];
  if (instr.op == MapOp::input && input_extents_[static_cast<size_t>(instr.args[0])] == extent) {
    part.input = instr.args[0];
  } else {
    MapProgram program = form_.program;
    program.finish(instruction);
    if (!MapCode::why_unsupported(program, kernels).empty()) return false;
    part.code = std::make_unique<MapCode>(program, kernels);
  }
  parts_.push_back(std::move(part));
  return true;
}

Int8EpilogueCode::State Int8EpilogueCode::prepare(const StepIo& io, int64_t rows, int64_t columns) const {
  // Operands as vectors: what extends over rows or columns is one of them, whatever its rank.
  const int64_t row[] = {rows}, column[] = {columns};
  std::vector<std::span<const int64_t>> dims;
  for (const Extent extent : input_extents_) {
    dims.emplace_back();
    if (extent == Extent::row) dims.back() = row;
    if (extent == Extent::column) dims.back() = column;
  }
  State state;
  for (const Part& part : parts_) {
    const int64_t out[] = {length(part.extent, rows, columns)};
    state.plans.emplace_back();
    if (part.code != nullptr) state.plans.back().emplace(*part.code, dims, out, *io.symbols);
  }
  return state;
}

Int8EpilogueCode::Memory Int8EpilogueCode::cut(Workspace& workspace, int64_t rows, int64_t columns) const {
  Memory memory;
  size_t scratch = 0;
  for (const Part& part : parts_) {
    memory.vectors.push_back(
        part.code == nullptr ? nullptr : workspace.take(static_cast<size_t>(length(part.extent, rows, columns)) * 4));
    if (part.code != nullptr) scratch = std::max(scratch, part.code->scratch_bytes());
  }
  memory.scratch = workspace.take(scratch);
  return memory;
}

Int8Epilogue Int8EpilogueCode::evaluate(const StepIo& io, const State& state, const Memory& memory, int64_t rows,
                                        int64_t columns) const {
  const void* inputs[kMaxMapInputs] = {};
  for (size_t i = 1; i < input_extents_.size(); ++i) inputs[i] = io.inputs[i + 1].data;
  Int8Epilogue e;
  e.activation = form_.activation;
  e.round_trip = form_.middle.has_value();
  const auto limits = [](const Int8Form::Bytes& bytes) {
    return Int8Requantize{1, 0, static_cast<float>(bytes.low), static_cast<float>(bytes.high)};
  };
  if (form_.middle) e.middle = limits(*form_.middle);
  e.requantize = limits(form_.last);
  e.residual_type = form_.residual_type;
  if (form_.residual >= 0) e.residual = inputs[form_.residual];
  e.residual_last = form_.residual_last;
  e.last_activation = form_.last_activation;
  e.result = form_.result;
  for (size_t i = 0; i < parts_.size(); ++i) {
    const Part& part = parts_[i];
    if (part.code == nullptr) {
      part.place(e, inputs[part.input]);
      continue;
    }
    state.plans[i]->start(memory.scratch);
    state.plans[i]->run_range({inputs, input_extents_.size()}, nullptr, memory.vectors[i], 0,
                              length(part.extent, rows, columns), memory.scratch);
    part.place(e, memory.vectors[i]);
  }
  return e;
}

}  // namespace lathe::cpu
