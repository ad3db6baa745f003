// Composes map programs across nodes: reads values as operands, inlines the programs of maps, and ends with a program
// and the operands that it takes.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "graph/graph.h"

namespace lathe::passes {

class MapWriter {
 public:
  MapWriter() = default;
  // The program's first inputs stand for something that is no operand (a product, a score); they are kept even if
  // unused.
  explicit MapWriter(const std::vector<DType>& leading);

  MapProgram& program() { return program_; }
  int leading(int which) { return program_.input(which, leading_[static_cast<size_t>(which)]); }
  // The instruction that reads an operand; equal operands are read once.
  int operand(Value* value);
  // Inlines `program`; read(value) says which instruction gives each of its operands.
  int inlined(const MapProgram& program, std::span<Value* const> operands, const std::function<int(Value*)>& read);
  int inlined(const MapProgram& program, std::span<Value* const> operands) {
    return inlined(program, operands, [this](Value* v) { return operand(v); });
  }

  struct Result {
    MapProgram program;
    std::vector<Value*> operands;  // without the leading inputs
  };
  // Makes `result` the result, and drops the operands that it does not need.
  Result finish(int result);

 private:
  MapProgram program_;
  std::vector<DType> leading_;
  std::vector<Value*> operands_;
};

// The program with algebraic identities applied and constant parts computed; it takes the same inputs. Integer and
// float rules are exact, but for the sign of a zero that is added to zero.
MapProgram simplify_program(const MapProgram& program);

// The program without the inputs that it does not read; `kept` receives which ones are left, in order. The first
// `leading` inputs stay.
MapProgram drop_unused_inputs(const MapProgram& program, int leading, std::vector<int>& kept);

// How an instruction counts when work is moved: 0 for leaves, 1 for arithmetic, more for functions.
int cost(MapOp op);
int cost(const MapProgram& program);

// For a map that `outer` reads as an operand: its program means the same in the index space of `outer`.
bool iotas_agree(const Node& map, const Shape& outer);

}  // namespace lathe::passes
