#include "passes/map_writer.h"

#include <algorithm>

namespace lathe::passes {

MapWriter::MapWriter(const std::vector<DType>& leading) : leading_(leading) {
  for (size_t i = 0; i < leading.size(); ++i) program_.input(static_cast<int>(i), leading[i]);
}

int MapWriter::operand(Value* value) {
  const auto it = std::find(operands_.begin(), operands_.end(), value);
  const auto index = static_cast<int>(it - operands_.begin());
  if (it == operands_.end()) operands_.push_back(value);
  return program_.input(static_cast<int>(leading_.size()) + index, value->dtype());
}

int MapWriter::inlined(const MapProgram& program, std::span<Value* const> operands,
                       const std::function<int(Value*)>& read) {
  std::vector<int> instructions;
  for (Value* v : operands) instructions.push_back(read(v));
  return program_.inline_program(program, instructions);
}

MapWriter::Result MapWriter::finish(int result) {
  program_.finish(result);
  std::vector<int> kept;
  const int leading = static_cast<int>(leading_.size());
  Result r{drop_unused_inputs(simplify_program(program_), leading, kept), {}};
  for (const int which : kept)
    if (which >= leading) r.operands.push_back(operands_[static_cast<size_t>(which - leading)]);
  return r;
}

MapProgram drop_unused_inputs(const MapProgram& program, int leading, std::vector<int>& kept) {
  std::vector<bool> used(static_cast<size_t>(program.num_inputs()), false);
  std::vector<DType> types(used.size(), DType::f32);
  for (const MapInstr& in : program.code())
    if (in.op == MapOp::input) {
      used[static_cast<size_t>(in.args[0])] = true;
      types[static_cast<size_t>(in.args[0])] = in.type;
    }
  MapProgram result;
  std::vector<int> instructions(used.size(), -1);
  kept.clear();
  for (size_t i = 0; i < used.size(); ++i) {
    if (!used[i] && i >= static_cast<size_t>(leading)) continue;
    if (used[i]) instructions[i] = result.input(static_cast<int>(kept.size()), types[i]);
    kept.push_back(static_cast<int>(i));
  }
  const int last = result.inline_program(program, instructions);
  result.finish(last);
  result.set_num_inputs(static_cast<int>(kept.size()));
  return result;
}

int cost(MapOp op) {
  if (arity(op) == 0 || op == MapOp::cast || op == MapOp::cast_sat) return 0;
  switch (op) {
    case MapOp::sqrt:
    case MapOp::reciprocal:
    case MapOp::div:
    case MapOp::floor_mod:
    case MapOp::trunc_mod: return 3;
    case MapOp::pow:
    case MapOp::atan2: return 8;
    default: break;
  }
  if (op >= MapOp::exp && op <= MapOp::hard_swish && op != MapOp::relu && op != MapOp::hard_swish) return 8;
  return 1;
}

int cost(const MapProgram& program) {
  int total = 0;
  for (const MapInstr& in : program.code()) total += cost(in.op);
  return total;
}

bool iotas_agree(const Node& map, const Shape& outer) {
  const Shape& inner = map.output()->shape();
  for (const MapInstr& in : map.as<Map>()->program.code()) {
    if (in.op != MapOp::iota) continue;
    const auto from_end = static_cast<size_t>(-in.args[0]);
    if (from_end > inner.size() || from_end > outer.size()) return false;
    if (!(inner[inner.size() - from_end] == outer[outer.size() - from_end])) return false;
  }
  return true;
}

}  // namespace lathe::passes
