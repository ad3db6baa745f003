#include "backends/cuda/program_code.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

namespace lathe::cuda {
namespace {

// As in kernel sources; bytes that are floats are results only.
std::string_view storage_type(DType type) { return type == DType::f8e4m3 ? "e4m3" : cuda_type(type); }

// The type in which values are computed.
std::string_view register_type(DType type) {
  return type == DType::f16 || type == DType::bf16 ? "float" : storage_type(type);
}

std::string literal(const MapInstr& instr) {
  if (!is_float(instr.type)) {
    if (instr.type == DType::boolean) return instr.integer != 0 ? "true" : "false";
    if (instr.type == DType::u64) return fmt::format("{}ull", static_cast<uint64_t>(instr.integer));
    if (instr.integer == std::numeric_limits<int64_t>::min()) return "(-9223372036854775807ll - 1)";
    return fmt::format("{}({}ll)", cuda_type(instr.type), instr.integer);
  }
  const std::string_view type = register_type(instr.type);
  if (std::isnan(instr.real)) return fmt::format("{}(__int_as_float(0x7fc00000))", type);
  if (std::isinf(instr.real))
    return fmt::format("{}(__int_as_float(0x{}))", type, instr.real < 0 ? "ff800000" : "7f800000");
  return instr.type == DType::f64 ? fmt::format("{:a}", instr.real)
                                  : fmt::format("{:a}f", static_cast<double>(static_cast<float>(instr.real)));
}

size_t operand(const MapInstr& instr, int i) { return static_cast<size_t>(instr.args[static_cast<size_t>(i)]); }

bool is_cast(const MapInstr& instr) { return instr.op == MapOp::cast || instr.op == MapOp::cast_sat; }

// Errors of an operand relative to its size stay as small relative to the result.
bool keeps_precision(MapOp op) {
  switch (op) {
    case MapOp::neg:
    case MapOp::abs:
    case MapOp::relu:
    case MapOp::mul:
    case MapOp::div:
    case MapOp::min:
    case MapOp::max:
    case MapOp::round: return true;
    default: return false;
  }
}

// Which values are rounded to 16 or 8 bits before anything else becomes of them.
std::vector<bool> rounded_values(const MapProgram& program) {
  const auto& code = program.code();
  std::vector<bool> rounded(code.size(), true);
  rounded.back() = bit_width(code.back().type) <= 16;
  for (size_t i = code.size(); i-- > 0;) {
    const MapInstr& instr = code[i];
    const bool narrow = bit_width(instr.type) <= 16;
    rounded[i] = narrow || rounded[i];
    const bool rounds = is_cast(instr) ? narrow : rounded[i] && keeps_precision(instr.op);
    for (int a = 0; a < arity(instr.op); ++a) {
      const size_t of = operand(instr, a);
      rounded[of] = rounded[of] && rounds;
    }
  }
  return rounded;
}

// Activations have faster versions (narrow_exp for op_exp) for results that are rounded afterwards.
std::string_view function_prefix(const MapInstr& instr, bool rounded) {
  const bool narrow = rounded && is_float(instr.type) && instr.type != DType::f64;
  switch (instr.op) {
    case MapOp::exp:
    case MapOp::sigmoid:
    case MapOp::silu:
    case MapOp::gelu_erf:
    case MapOp::gelu_tanh: return narrow ? "narrow" : "op";
    default: return "op";
  }
}

// A conversion to integers that takes the rounding before it along.
bool converts_rounded(const MapProgram& program, const MapInstr& instr) {
  if (!is_cast(instr) || !is_integer(instr.type)) return false;
  const MapInstr& from = program.code()[operand(instr, 0)];
  return from.op == MapOp::round && from.type == DType::f32;
}

std::string expression(const MapProgram& program, const MapInstr& instr, bool rounded) {
  if (converts_rounded(program, instr))
    return fmt::format("saturate_rounded<{}>(t{})", register_type(instr.type),
                       program.code()[operand(instr, 0)].args[0]);
  switch (instr.op) {
    case MapOp::input: return fmt::format("r.x{}", instr.args[0]);
    case MapOp::constant: return literal(instr);
    case MapOp::iota: return fmt::format("where.iota({}, element)", instr.args[0]);
    case MapOp::dim: return fmt::format("dims[{}]", instr.args[0]);
    case MapOp::cast:
    case MapOp::cast_sat: {
      const std::string_view kind = instr.op == MapOp::cast ? "plain" : "saturating";
      return fmt::format("Cast<{}>::{}(t{})", register_type(instr.type), kind, instr.args[0]);
    }
    default: break;
  }
  std::string text = fmt::format("{}_{}(", function_prefix(instr, rounded), to_string(instr.op));
  for (int i = 0; i < arity(instr.op); ++i)
    text += fmt::format("{}t{}", i == 0 ? "" : ", ", instr.args[static_cast<size_t>(i)]);
  return text + ")";
}

std::string round(const MapInstr& instr, std::string text) {
  if (instr.op == MapOp::input || instr.op == MapOp::constant) return text;
  if (instr.type == DType::f16) return "round_f16(" + text + ")";
  if (instr.type == DType::bf16) return "round_bf16(" + text + ")";
  return text;
}

}  // namespace

std::string_view cuda_type(DType type) {
  switch (type) {
    case DType::f64: return "double";
    case DType::f32: return "float";
    case DType::f16: return "f16";
    case DType::bf16: return "bf16";
    case DType::i64: return "i64";
    case DType::i32: return "i32";
    case DType::i16: return "i16";
    case DType::i8: return "i8";
    case DType::u64: return "u64";
    case DType::u32: return "u32";
    case DType::u16: return "u16";
    case DType::u8: return "u8";
    case DType::boolean: return "bool";
    default: return "";
  }
}

std::string why_unsupported(const MapProgram& program, const std::vector<DType>& input_types) {
  const auto unknown = [](DType type) { return cuda_type(type).empty(); };
  for (const DType type : input_types)
    if (unknown(type)) return fmt::format("CUDA kernels do not compute with {}", to_string(type));
  for (const MapInstr& instr : program.code()) {
    const bool is_result = &instr == &program.code().back() && is_cast(instr);
    if (is_result && instr.type == DType::f8e4m3 && program.code()[operand(instr, 0)].type != DType::f64) continue;
    if (unknown(instr.type)) return fmt::format("CUDA kernels do not compute with {}", to_string(instr.type));
  }
  return {};
}

std::string program_code(const MapProgram& program, const std::vector<DType>& input_types, Rounding rounding) {
  std::string registers, reads, body;
  const std::vector<bool> rounded = rounded_values(program);
  for (size_t i = 0; i < input_types.size(); ++i) {
    const std::string_view type = cuda_type(input_types[i]);
    registers += fmt::format("    {} x{};\n", register_type(input_types[i]), i);
    reads += fmt::format(
        "    if constexpr (First <= {0}) {{\n"
        "      const Pack<{1}, N> pack = reader.template load<{1}, N>({0});\n"
        "      for (int i = 0; i < N; ++i) r[i].x{0} = to_register(pack[i]);\n"
        "    }}\n",
        i, type);
  }
  for (size_t i = 0; i < program.code().size(); ++i) {
    const MapInstr& instr = program.code()[i];
    const bool rounds = rounding == Rounding::everywhere || (is_cast(instr) && i + 1 < program.code().size());
    const std::string value = expression(program, instr, rounded[i]);
    body += fmt::format("    const {} t{} = {};\n", register_type(instr.type), i, rounds ? round(instr, value) : value);
  }
  return fmt::format(
      "struct Program {{\n"
      "  using Output = {};\n"
      "  struct Registers {{\n{}  }};\n"
      "  template <int First, int N, class Reader>\n"
      "  static __device__ void read(const Reader& reader, Registers (&r)[N]) {{\n{}  }}\n"
      "  template <class Where>\n"
      "  static __device__ {} evaluate(const Registers& r, const Where& where, int element, const i64* dims) {{\n"
      "{}    return t{};\n  }}\n"
      "}};\n",
      storage_type(program.result_type()), registers, reads, register_type(program.result_type()), body,
      program.code().size() - 1);
}

}  // namespace lathe::cuda
