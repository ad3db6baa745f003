// A small expression program over broadcast inputs: what the `map` op computes for each output element, and what
// matmul, convolution, norm and attention apply as prologue, epilogue or score function. Straight-line SSA: an
// instruction names earlier ones, the last one is the result.
//
// Typing: arithmetic takes operands of one type and gives that type; comparisons and logic give bool; `select` takes a
// bool and two operands of one type; `cast` is the only conversion. `iota` and `dim` are i64. Floats narrower than f32
// are computed in f32 and rounded by each instruction. Integers wrap; integer division by zero gives 0, as does INT_MIN
// / -1 wrap. NaN: min and max return NaN if either operand is NaN, comparisons are false, round is half to even.
//
// Text form, also accepted by parse(): "(x0, x1) => add(mul(x0, x1), 2.5:f32)". A value used more than once has a name
// of its own:
// "(x0) => { t0 = exp(x0); div(t0, add(t0, 1:f32)) }". Leaves: xI (input I), NUMBER:TYPE, iota(AXIS) with AXIS counted
// from the last axis (-1), dim(EXPRESSION). Casts are written cast<TYPE>(x), saturating ones cast_sat<TYPE>(x).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "graph/dim.h"
#include "graph/map_op.h"

namespace lathe {

std::string_view to_string(MapOp op);
int arity(MapOp op);  // number of instruction operands: 0 for leaves
bool is_comparison(MapOp op);
bool is_commutative(MapOp op);

struct MapInstr {
  MapOp op = MapOp::constant;
  DType type = DType::f32;                                       // of the result
  std::array<int32_t, 3> args{};                                 // instruction indices, or as the leaf says
  double real = 0;                                               // constant of a float type
  int64_t integer = 0;                                           // constant of an integer type or bool
  friend bool operator==(const MapInstr& a, const MapInstr& b);  // constants compare by bits (NaN equals itself)
};

class MapProgram {
 public:
  MapProgram() = default;  // empty: stands for "none" where a program is optional

  bool empty() const { return code_.empty(); }
  const std::vector<MapInstr>& code() const { return code_; }
  const std::vector<Dim>& dims() const { return dims_; }
  int num_inputs() const { return num_inputs_; }
  DType result_type() const { return code_.back().type; }
  // True for "(x0) => x0": a plain copy or broadcast.
  bool is_identity() const { return code_.size() == 1 && code_[0].op == MapOp::input && code_[0].args[0] == 0; }
  bool uses_iota() const;

  // Building. Each returns the index of the new instruction (an equal, earlier instruction is reused).
  void set_num_inputs(int n) { num_inputs_ = n; }
  int input(int which, DType type);  // grows num_inputs when needed
  int constant(double value, DType type);
  int constant_int(int64_t value, DType type);
  int iota(int axis_from_end);
  int dim(Dim value);
  int cast(int a, DType type);  // returns `a` itself when it already has the type
  int unary(MapOp op, int a);
  int binary(MapOp op, int a, int b);
  int select(int condition, int a, int b);
  int push(MapInstr instr);  // any instruction, type already right
  // Makes `index` the result: drops instructions that it does not need and puts the others in the order in which the
  // result asks for them, so that programs which print alike are equal. Call once, last.
  void finish(int index);

  // Appends `other` with its inputs replaced by instructions of this program; returns the index of other's result.
  int inline_program(const MapProgram& other, const std::vector<int>& inputs);

  // Structural checks: operand order, arities, operand types, input types. Throws Error(invalid_model).
  // input_types.size() must equal num_inputs().
  void verify(const std::vector<DType>& input_types) const;

  std::string to_string() const;
  // Input types are not in the text; they come from the operands.
  static MapProgram parse(std::string_view text, const std::vector<DType>& input_types);

  friend bool operator==(const MapProgram& a, const MapProgram& b) = default;

 private:
  std::vector<MapInstr> code_;
  std::vector<Dim> dims_;
  int num_inputs_ = 0;
};

// One-instruction programs, the common cases.
MapProgram unary_program(MapOp op, DType type);
MapProgram binary_program(MapOp op, DType type);
MapProgram cast_program(DType from, DType to);
MapProgram identity_program(DType type);

}  // namespace lathe
