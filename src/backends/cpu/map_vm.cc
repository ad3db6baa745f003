#include "backends/cpu/map_vm.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "graph/tensor.h"

namespace lathe::cpu {
namespace {

constexpr size_t kMaxAxes = 16;
constexpr int kMaxRegisters = 256;
constexpr int64_t kShortRow = 96;             // rows below this share blocks
constexpr int64_t kElementsPerThread = 8192;  // of one instruction; below, a fork costs more than it gains

DType register_type(DType type) { return is_half(type) ? DType::f32 : type; }

// The type that selects the kernel: that of the operands, or of the values for a select.
DType kernel_type(const MapProgram& program, const MapInstr& instr) {
  const int operand = instr.op == MapOp::select ? 1 : 0;
  return program.code()[static_cast<size_t>(instr.args[static_cast<size_t>(operand)])].type;
}

MapFn kernel_for(const MapProgram& program, const MapInstr& instr, const MapKernels& kernels) {
  if (instr.op == MapOp::cast || instr.op == MapOp::cast_sat)
    return kernels.convert(kernel_type(program, instr), instr.type, instr.op == MapOp::cast_sat);
  return kernels.find(instr.op, kernel_type(program, instr));
}

template <class T>
void fill(std::byte* out, int64_t n, T value) {
  auto* y = reinterpret_cast<T*>(out);
  std::fill(y, y + n, value);
}

// The bits of a constant in its register form.
uint64_t bits_of(const MapInstr& instr) {
  Tensor one(register_type(instr.type), {});
  if (is_float(instr.type))
    one.write_double(0, instr.real);
  else
    one.write_int(0, instr.integer);
  uint64_t bits = 0;
  std::memcpy(&bits, one.bytes().data(), one.bytes().size());
  return bits;
}

void fill_constant(std::byte* out, int64_t n, DType type, uint64_t bits) {
  switch (bit_width(register_type(type))) {
    case 64: return fill(out, n, bits);
    case 32: return fill(out, n, static_cast<uint32_t>(bits));
    case 16: return fill(out, n, static_cast<uint16_t>(bits));
    default: return fill(out, n, static_cast<uint8_t>(bits));
  }
}

// n elements, `stride` apart, to consecutive ones.
void gather_run(std::byte* out, const std::byte* in, int64_t stride, int64_t n, int bytes) {
  if (stride == 1) {
    std::memcpy(out, in, static_cast<size_t>(n * bytes));
    return;
  }
  const auto copy = [&]<class T>(T) {
    auto* y = reinterpret_cast<T*>(out);
    const auto* x = reinterpret_cast<const T*>(in);
    if (stride == 0)
      std::fill(y, y + n, *x);
    else
      for (int64_t i = 0; i < n; ++i) y[i] = x[i * stride];
  };
  switch (bytes) {
    case 8: return copy(uint64_t{});
    case 4: return copy(uint32_t{});
    case 2: return copy(uint16_t{});
    default: return copy(uint8_t{});
  }
}

}  // namespace

std::string MapCode::why_unsupported(const MapProgram& program, const MapKernels& kernels) {
  for (const MapInstr& instr : program.code()) {
    const int bits = bit_width(instr.type);
    const bool storable =
        bits >= 8 && instr.type <= DType::u8 && !(instr.type >= DType::f8e4m3 && instr.type <= DType::f4e2m1);
    if (!storable && instr.type != DType::boolean)
      return fmt::format("no kernel computes in {}", to_string(instr.type));
    if (arity(instr.op) > 0 && kernel_for(program, instr, kernels) == nullptr)
      return fmt::format("no kernel for {} on {}", to_string(instr.op), to_string(kernel_type(program, instr)));
  }
  return {};
}

MapCode::MapCode(const MapProgram& program, const MapKernels& kernels) : program_(program) {
  if (const std::string why = why_unsupported(program, kernels); !why.empty()) throw Error(ErrorCode::unsupported, why);
  assign_registers(kernels);
  if (num_registers_ > kMaxRegisters)
    fail(ErrorCode::unsupported, "a map program needs {} registers, {} are the limit", num_registers_, kMaxRegisters);
}

// Leaves and uniforms keep a register each; instructions share theirs by lifetime.
void MapCode::assign_registers(const MapKernels& kernels) {
  const auto& code = program_.code();
  const size_t last = code.size() - 1;
  std::vector<size_t> last_use(code.size(), 0);
  for (size_t i = 0; i < code.size(); ++i)
    for (int a = 0; a < arity(code[i].op); ++a) last_use[static_cast<size_t>(code[i].args[static_cast<size_t>(a)])] = i;
  std::vector<int> reg(code.size(), -1), free_registers;
  const auto is_leaf = [&](size_t i) { return arity(code[i].op) == 0; };
  const auto take = [&] {
    if (free_registers.empty()) return num_registers_++;
    const int r = free_registers.back();
    free_registers.pop_back();
    return r;
  };
  for (size_t i = 0; i < code.size(); ++i) {
    if (!is_leaf(i)) continue;
    reg[i] = num_registers_++;
    if (code[i].op == MapOp::input)
      leaves_.push_back({code[i].args[0], 0, reg[i], bit_width(code[i].type) / 8, kernels.load(code[i].type)});
    else if (code[i].op == MapOp::iota)
      leaves_.push_back({-1, code[i].args[0], reg[i], 8, nullptr});
    else
      uniforms_.push_back({reg[i], code[i]});
  }
  for (size_t i = 0; i < code.size(); ++i) {
    if (is_leaf(i)) continue;
    const MapInstr& instr = code[i];
    const auto operand = [&](int a) {
      return a < arity(instr.op) ? reg[static_cast<size_t>(instr.args[static_cast<size_t>(a)])] : -1;
    };
    const bool rounds =
        is_half(instr.type) && instr.op != MapOp::cast && instr.op != MapOp::cast_sat && instr.op != MapOp::select;
    result_direct_ = i == last && !is_half(instr.type);
    reg[i] = result_direct_ ? -1 : take();
    code_.push_back({kernel_for(program_, instr, kernels), reg[i], operand(0), operand(1), operand(2)});
    if (rounds) code_.push_back({kernels.convert(DType::f32, instr.type, false), reg[i], reg[i], -1, -1});
    for (int a = 0; a < arity(instr.op); ++a) {
      const auto arg = static_cast<size_t>(instr.args[static_cast<size_t>(a)]);
      const bool repeated = std::find(instr.args.begin(), instr.args.begin() + a, instr.args[static_cast<size_t>(a)]) !=
                            instr.args.begin() + a;
      if (!is_leaf(arg) && last_use[arg] == i && !repeated) free_registers.push_back(reg[arg]);
    }
  }
  result_ = reg[last];
  store_ = kernels.store(program_.result_type());
  out_bytes_ = bit_width(program_.result_type()) / 8;
}

MapPlan::MapPlan(const MapCode& code, std::span<const std::span<const int64_t>> input_dims,
                 std::span<const int64_t> out_dims, const SymbolBindings& symbols)
    : code_(code) {
  const size_t rank = out_dims.size();
  if (rank > kMaxAxes) fail(ErrorCode::unsupported, "more than {} axes", kMaxAxes);
  std::vector<std::vector<int64_t>> strides;
  for (const MapCode::Leaf& leaf : code.leaves_) {
    std::vector<int64_t>& s = strides.emplace_back(rank, 0);
    if (leaf.input < 0) {
      // An axis further out than the output's rank has size one: index 0 everywhere.
      if (static_cast<size_t>(-leaf.axis) <= rank) s[rank - static_cast<size_t>(-leaf.axis)] = 1;
      continue;
    }
    const std::span<const int64_t> dims = input_dims[static_cast<size_t>(leaf.input)];
    int64_t stride = 1;
    for (size_t back = 1; back <= dims.size(); ++back) {
      const int64_t size = dims[dims.size() - back];
      if (back > rank ? size != 1 : size != 1 && size != out_dims[rank - back])
        fail(ErrorCode::invalid_argument, "shape {} does not broadcast to {}", to_string(dims), to_string(out_dims));
      if (back <= rank && size != 1) s[rank - back] = stride;
      stride *= size;
    }
  }
  collapse(out_dims, std::move(strides));
  for (const MapCode::Uniform& uniform : code.uniforms_) {
    MapInstr instr = uniform.instr;
    if (instr.op == MapOp::dim)
      instr.integer = symbols.evaluate(code.program_.dims()[static_cast<size_t>(instr.args[0])]);
    uniform_bits_.push_back(bits_of(instr));
  }
  elements_ = element_count(out_dims);
  row_ = dims_.back();
  if (row_ < kShortRow && dims_.size() > 1) {
    row_ = elements_;  // blocks run across rows
    segment_ = kMapBlock;
  } else {
    const int64_t parts = std::max<int64_t>(1, (row_ + kMapBlock - 1) / kMapBlock);
    segment_ = std::min(kMapBlock, ((row_ + parts - 1) / parts + 15) / 16 * 16);
  }
  segments_per_row_ = segment_ == 0 ? 0 : (row_ + segment_ - 1) / segment_;
}

// Axes merge where every leaf steps over both as over one: stride[outer] == stride[inner] * size[inner].
void MapPlan::collapse(std::span<const int64_t> out_dims, std::vector<std::vector<int64_t>> strides) {
  leaves_.resize(strides.size());
  for (size_t axis = out_dims.size(); axis-- > 0;) {
    if (out_dims[axis] == 1) continue;
    const bool merges = !dims_.empty() && std::all_of(strides.begin(), strides.end(), [&](const auto& s) {
      const auto leaf = static_cast<size_t>(&s - strides.data());
      return s[axis] == leaves_[leaf].strides.front() * dims_.front();
    });
    if (merges) {
      dims_.front() *= out_dims[axis];
      continue;
    }
    dims_.insert(dims_.begin(), out_dims[axis]);
    for (size_t leaf = 0; leaf < strides.size(); ++leaf)
      leaves_[leaf].strides.insert(leaves_[leaf].strides.begin(), strides[leaf][axis]);
  }
  if (dims_.empty()) {
    dims_.push_back(1);
    for (LeafStrides& leaf : leaves_) leaf.strides.push_back(0);
  }
  for (LeafStrides& leaf : leaves_)
    leaf.uniform = std::all_of(leaf.strides.begin(), leaf.strides.end(), [](int64_t s) { return s == 0; });
}

MapPlan::Position MapPlan::position_of(int64_t element) const {
  Position p;
  for (size_t axis = dims_.size(); axis-- > 0;) {
    p.coordinates[axis] = element % dims_[axis];
    element /= dims_[axis];
  }
  return p;
}

void MapPlan::start(std::byte* scratch) const {
  for (size_t i = 0; i < code_.uniforms_.size(); ++i) {
    const MapCode::Uniform& uniform = code_.uniforms_[i];
    fill_constant(scratch + static_cast<size_t>(uniform.reg) * MapCode::kRegisterBytes,
                  std::min(kMapBlock, std::max<int64_t>(elements_, 1)), uniform.instr.type, uniform_bits_[i]);
  }
}

void MapPlan::run(ThreadTeam& team, std::span<const void* const> inputs, void* out, void* workspace) const {
  if (elements_ == 0) return;
  const int64_t blocks = elements_ / row_ * segments_per_row_;
  const auto work = [&](int64_t begin, int64_t end, int thread) {
    std::byte* scratch = static_cast<std::byte*>(workspace) + static_cast<size_t>(thread) * code_.scratch_bytes();
    start(scratch);
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block % segments_per_row_ * segment_;
      const int64_t element = block / segments_per_row_ * row_ + first;
      run_block(inputs, nullptr, static_cast<std::byte*>(out) + element * code_.out_bytes_, element,
                std::min(segment_, row_ - first), scratch);
    }
  };
  const auto cost = elements_ * static_cast<int64_t>(code_.code_.size() + 1);
  if (cost < 2 * kElementsPerThread || team.size() == 1)
    work(0, blocks, 0);
  else
    team.parallel_for(blocks, work);
}

void MapPlan::run_range(std::span<const void* const> inputs, const void* first_input, void* out, int64_t begin,
                        int64_t end, std::byte* scratch) const {
  const auto leaf =
      std::find_if(code_.leaves_.begin(), code_.leaves_.end(), [](const MapCode::Leaf& l) { return l.input == 0; });
  const int64_t first_bytes = leaf == code_.leaves_.end() ? 0 : leaf->element_bytes;
  for (int64_t element = begin; element < end; element += kMapBlock) {
    const int64_t offset = element - begin;
    const void* first =
        first_input == nullptr ? nullptr : static_cast<const std::byte*>(first_input) + offset * first_bytes;
    run_block(inputs, first, static_cast<std::byte*>(out) + offset * code_.out_bytes_, element,
              std::min(kMapBlock, end - element), scratch);
  }
}

// Copies a leaf's n elements from `position` on, row by row of the innermost axis.
void MapPlan::gather(size_t index, const std::byte* base, Position p, int64_t n, std::byte* target) const {
  const auto& strides = leaves_[index].strides;
  const MapCode::Leaf& leaf = code_.leaves_[index];
  const size_t inner = dims_.size() - 1;
  while (n > 0) {
    int64_t offset = 0;
    for (size_t axis = 0; axis <= inner; ++axis) offset += p.coordinates[axis] * strides[axis];
    const int64_t run = std::min(n, dims_[inner] - p.coordinates[inner]);
    if (leaf.input < 0) {
      auto* out = reinterpret_cast<int64_t*>(target);
      for (int64_t i = 0; i < run; ++i) out[i] = offset + i * strides[inner];
    } else {
      gather_run(target, base + offset * leaf.element_bytes, strides[inner], run, leaf.element_bytes);
    }
    target += run * leaf.element_bytes;
    n -= run;
    p.coordinates[inner] += run;
    for (size_t axis = inner; axis > 0 && p.coordinates[axis] == dims_[axis]; --axis) {
      p.coordinates[axis] = 0;
      ++p.coordinates[axis - 1];
    }
  }
}

// The leaf's values for a block, in register form: memory itself where it is contiguous there, else the filled
// register.
const void* MapPlan::leaf_block(size_t index, const std::byte* base, const Position& p, int64_t n,
                                std::byte* scratch) const {
  const MapCode::Leaf& leaf = code_.leaves_[index];
  const auto& strides = leaves_[index].strides;
  std::byte* reg = scratch + static_cast<size_t>(leaf.reg) * MapCode::kRegisterBytes;
  const size_t inner = dims_.size() - 1;
  const bool contiguous = leaf.input >= 0 && strides[inner] == 1 && p.coordinates[inner] + n <= dims_[inner];
  const std::byte* source = nullptr;
  if (contiguous) {
    int64_t offset = 0;
    for (size_t axis = 0; axis <= inner; ++axis) offset += p.coordinates[axis] * strides[axis];
    source = base + offset * leaf.element_bytes;
  } else {
    // 16-bit values go to the upper half of the register first: widening then reads ahead of what it writes.
    std::byte* target = leaf.load == nullptr ? reg : reg + MapCode::kRegisterBytes / 2;
    gather(index, base, p, n, target);
    source = target;
  }
  if (leaf.load == nullptr) return source;
  leaf.load(reg, source, nullptr, nullptr, n);
  return reg;
}

void MapPlan::run_block(std::span<const void* const> inputs, const void* first_input, void* out, int64_t begin,
                        int64_t n, std::byte* scratch) const {
  const void* registers[kMaxRegisters];
  const auto memory = [&](int reg) { return scratch + static_cast<size_t>(reg) * MapCode::kRegisterBytes; };
  for (int r = 0; r < code_.num_registers_; ++r) registers[r] = memory(r);
  const Position position = position_of(begin);
  for (size_t i = 0; i < code_.leaves_.size(); ++i) {
    const MapCode::Leaf& leaf = code_.leaves_[i];
    if (leaf.input == 0 && first_input != nullptr) {
      registers[leaf.reg] = first_input;
      if (leaf.load == nullptr) continue;
      leaf.load(memory(leaf.reg), first_input, nullptr, nullptr, n);
      registers[leaf.reg] = memory(leaf.reg);
    } else {
      const void* base = leaf.input < 0 ? nullptr : inputs[static_cast<size_t>(leaf.input)];
      registers[leaf.reg] = leaf_block(i, static_cast<const std::byte*>(base), position, n, scratch);
    }
  }
  for (const MapCode::Instr& instr : code_.code_) {
    const auto operand = [&](int reg) { return reg < 0 ? nullptr : registers[reg]; };
    instr.fn(instr.out < 0 ? out : memory(instr.out), operand(instr.a), operand(instr.b), operand(instr.c), n);
  }
  if (code_.result_direct_) return;
  if (code_.store_ != nullptr)
    code_.store_(out, registers[code_.result_], nullptr, nullptr, n);
  else if (registers[code_.result_] != out)
    std::memcpy(out, registers[code_.result_], static_cast<size_t>(n * code_.out_bytes_));
}

}  // namespace lathe::cpu
