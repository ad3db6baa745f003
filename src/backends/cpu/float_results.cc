// Products of floats whose epilogue ends in another type (bytes for the quantised layer behind it, the answer of a
// comparison): the kernels store f32 alone, so what comes after the last f32 number goes into a map.
#include <map>

#include "backends/cpu/legalize.h"
#include "graph/epilogue.h"

namespace lathe::cpu {
namespace {

// A part of a program, and the operands that it takes beside its first input.
struct Part {
  MapProgram program;
  std::vector<Value*> operands;
};

// What instruction `last` needs, up to `first`, which becomes the first input.
class Cutter {
 public:
  Cutter(const MapProgram& program, std::span<Value* const> extras, int first)
      : program_(program), extras_(extras), first_(first) {
    part_.program.set_num_inputs(1);
  }

  Part upto(int last) {
    part_.program.finish(copy(last));
    return std::move(part_);
  }

 private:
  int copy(int at) {
    const auto known = copies_.find(at);
    if (known != copies_.end()) return known->second;
    MapInstr instr = program_.code()[static_cast<size_t>(at)];
    int result = 0;
    if (at == first_) {
      result = part_.program.input(0, instr.type);
    } else if (instr.op == MapOp::input) {
      part_.operands.push_back(extras_[static_cast<size_t>(instr.args[0]) - 1]);
      result = part_.program.input(static_cast<int>(part_.operands.size()), instr.type);
    } else if (instr.op == MapOp::dim) {
      result = part_.program.dim(program_.dims()[static_cast<size_t>(instr.args[0])]);
    } else {
      for (int a = 0; a < arity(instr.op); ++a) {
        auto& arg = instr.args[static_cast<size_t>(a)];
        arg = copy(arg);
      }
      result = part_.program.push(instr);
    }
    copies_[at] = result;
    return result;
  }

  const MapProgram& program_;
  std::span<Value* const> extras_;
  int first_;
  Part part_;
  std::map<int, int> copies_;
};

std::optional<int> product_in(const MapProgram& program) {
  for (size_t i = 0; i < program.code().size(); ++i)
    if (program.code()[i].op == MapOp::input && program.code()[i].args[0] == 0) return static_cast<int>(i);
  return std::nullopt;
}

// The last f32 number on the only way to the result; where there are several ways, the product.
int last_float(const MapProgram& program, int product) {
  auto at = static_cast<int>(program.code().size()) - 1;
  while (program.code()[static_cast<size_t>(at)].type != DType::f32) {
    const MapInstr& instr = program.code()[static_cast<size_t>(at)];
    int way = -1;
    for (int a = 0; a < arity(instr.op); ++a) {
      const int arg = instr.args[static_cast<size_t>(a)];
      if (arity(program.code()[static_cast<size_t>(arg)].op) == 0 && arg != product) continue;
      if (way >= 0 && way != arg) return product;
      way = arg;
    }
    if (way < 0) return product;
    at = way;
  }
  return at;
}

bool split(Graph& graph, Node& node) {
  Op op = node.op();
  MapProgram* epilogue = epilogue_of(op);
  if (epilogue == nullptr || epilogue->empty() || node.output()->dtype() == DType::f32) return false;
  const MapProgram whole = *epilogue;
  const std::optional<int> product = product_in(whole);
  if (!product || whole.code()[static_cast<size_t>(*product)].type != DType::f32) return false;
  const auto extras = node.inputs().subspan(num_factors(node.op()));
  const int cut = last_float(whole, *product);
  Part head = Cutter(whole, extras, *product).upto(cut);
  Part tail = Cutter(whole, extras, cut).upto(static_cast<int>(whole.code().size()) - 1);
  *epilogue = head.program.is_identity() ? MapProgram() : std::move(head.program);
  std::vector<Value*> inputs(node.inputs().begin(), node.inputs().end() - static_cast<std::ptrdiff_t>(extras.size()));
  inputs.insert(inputs.end(), head.operands.begin(), head.operands.end());
  Value* floats = graph.insert_before(&node, std::move(op), std::move(inputs), 1, node.name())->output();
  tail.operands.insert(tail.operands.begin(), floats);
  Node* rest = graph.insert_before(&node, Map{std::move(tail.program), {}}, std::move(tail.operands), 1, node.name());
  graph.replace_uses(node.output(), rest->output());
  graph.erase(&node);
  return true;
}

}  // namespace

int leave_floats(Graph& graph) {
  int changed = 0;
  for (Node* node : snapshot(graph)) {
    for (Region* region : regions_of(node->mutable_op())) changed += leave_floats(region->graph());
    changed += split(graph, *node) ? 1 : 0;
  }
  return changed;
}

}  // namespace lathe::cpu
