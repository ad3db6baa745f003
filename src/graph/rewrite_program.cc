#include "graph/rewrite_program.h"

namespace lathe {

MapProgram rewrite_program(const MapProgram& program,
                           const std::function<std::optional<int>(const ProgramRewrite&)>& replace) {
  if (program.empty()) return program;
  MapProgram out;
  out.set_num_inputs(program.num_inputs());
  std::vector<int> index;
  for (MapInstr instr : program.code()) {
    for (int a = 0; a < arity(instr.op); ++a) {
      auto& arg = instr.args[static_cast<size_t>(a)];
      arg = index[static_cast<size_t>(arg)];
    }
    if (const auto replaced = replace({out, static_cast<int>(index.size()), instr, index}))
      index.push_back(*replaced);
    else
      index.push_back(instr.op == MapOp::dim ? out.dim(program.dims()[static_cast<size_t>(instr.args[0])])
                                             : out.push(instr));
  }
  out.finish(index.back());
  return out;
}

}  // namespace lathe
