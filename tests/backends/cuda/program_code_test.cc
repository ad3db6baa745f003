// Every instruction of a map and every cast compile through NVRTC, without a GPU.
#include "backends/cuda/program_code.h"

#include <gtest/gtest.h>

#include "backends/cuda/compiler/kernel_compiler.h"

namespace lathe::cuda {
namespace {

bool is_bitwise(MapOp op) { return op == MapOp::bit_not || (op >= MapOp::bit_and && op <= MapOp::shift_right); }
bool is_logical(MapOp op) { return op == MapOp::logical_not || (op >= MapOp::logical_and && op <= MapOp::logical_xor); }
bool is_transcendental(MapOp op) {
  const bool activation = op >= MapOp::silu && op <= MapOp::hard_swish;
  return (op >= MapOp::sqrt && op <= MapOp::softplus) || activation || op == MapOp::atan2;
}
bool defined_on(MapOp op, DType type) {
  if (is_logical(op) || type == DType::boolean) return is_logical(op) && type == DType::boolean;
  return is_float(type) ? !is_bitwise(op) : !is_transcendental(op);
}

// Every instruction has an overload in map_ops.cuh for the types that it is defined on.
TEST(ProgramCode, EveryInstructionCompiles) {
  const KernelCompiler compiler("sm_80");
  for (const DType type : {DType::f32, DType::f64, DType::f16, DType::bf16, DType::i64, DType::i32, DType::i16,
                           DType::i8, DType::u64, DType::u32, DType::u16, DType::u8, DType::boolean}) {
    SCOPED_TRACE(to_string(type));
    MapProgram all;
    const int x = all.input(0, type), y = all.input(1, type);
    int sum = all.select(all.binary(MapOp::eq, x, y), all.cast(x, DType::f32), all.constant(1, DType::f32));
    int instructions = 0;
    for (int i = 0; i < kMapOpCount; ++i) {
      const auto op = static_cast<MapOp>(i);
      if (arity(op) < 1 || arity(op) > 2 || op == MapOp::cast || op == MapOp::cast_sat || !defined_on(op, type))
        continue;
      const int result = arity(op) == 1 ? all.unary(op, x) : all.binary(op, x, y);
      sum = all.binary(MapOp::add, sum, all.cast(result, DType::f32));
      ++instructions;
    }
    all.finish(sum);
    EXPECT_GE(instructions, type == DType::boolean ? 4 : 20);
    EXPECT_NO_THROW(
        compiler.compile({"map.cu", "map", {"RANK=1", "VECTOR=1", "INDEX=u32"}, program_code(all, {type, type})}));
  }
}

TEST(ProgramCode, EveryCastCompiles) {
  const KernelCompiler compiler("sm_80");
  const std::vector<DType> types = {DType::f32, DType::f64, DType::f16, DType::bf16,   DType::i64,
                                    DType::i8,  DType::u64, DType::u32, DType::boolean};
  for (const DType from : types) {
    MapProgram all;
    const int x = all.input(0, from);
    int sum = all.constant(0, DType::f32);
    for (const DType to : types)
      for (const MapOp op : {MapOp::cast, MapOp::cast_sat}) {
        MapInstr cast;
        cast.op = op;
        cast.type = to;
        cast.args[0] = x;
        if (from != to) sum = all.binary(MapOp::add, sum, all.cast(all.push(cast), DType::f32));
      }
    all.finish(sum);
    EXPECT_NO_THROW(
        compiler.compile({"map.cu", "map", {"RANK=1", "VECTOR=1", "INDEX=u32"}, program_code(all, {from})}));
  }
}

}  // namespace
}  // namespace lathe::cuda
