// Products in which every row chooses its matrix: rows are brought together by matrix, and the product of each such
// group is the step that an ordinary product with that matrix would be, kernel, layout of weights and all. What no row
// has chosen is not read. Groups follow one another; the threads share each of them evenly. How many rows a group has
// is known to the run alone, so the product must be one that prepares nothing for them.
#include <algorithm>
#include <array>
#include <memory>

#include "backends/cpu/lower/lower.h"
#include "base/error.h"
#include "graph/build.h"

namespace lathe::cpu {
namespace {

constexpr size_t kMostFactors = 3;  // operands of a matrix that its product takes: q, scales, zeros

struct Sizes {
  int64_t tokens, choices, groups, k, n;
  bool shared;  // all choices of a token are for the same row
  int64_t rows() const { return tokens * choices; }
};

// What a step keeps in its workspace.
struct Room {
  int64_t* ends;   // of each group in `order`
  int64_t* order;  // rows of the result, group by group
  float *a, *y;    // of the product, in that order
  std::byte* product = nullptr;

  Room(Workspace& workspace, const Sizes& s)
      : ends(reinterpret_cast<int64_t*>(workspace.take(static_cast<size_t>(s.groups) * sizeof(int64_t)))),
        order(reinterpret_cast<int64_t*>(workspace.take(static_cast<size_t>(s.rows()) * sizeof(int64_t)))),
        a(workspace.floats(s.rows() * s.k)),
        y(workspace.floats(s.rows() * s.n)) {}
};

int64_t choice(const TensorRef& chosen, int64_t row) {
  return chosen.dtype == DType::i64 ? chosen.as<const int64_t>()[row] : chosen.as<const int32_t>()[row];
}

void sort_rows(const TensorRef& chosen, const Sizes& s, const Room& room) {
  std::fill_n(room.ends, s.groups, 0);
  for (int64_t row = 0; row < s.rows(); ++row) {
    const int64_t group = choice(chosen, row);
    if (group < 0 || group >= s.groups) fail(ErrorCode::invalid_argument, "matrix {} of {} is chosen", group, s.groups);
    ++room.ends[group];
  }
  int64_t begin = 0;
  for (int64_t g = 0; g < s.groups; ++g) std::swap(begin, room.ends[g]), begin += room.ends[g];
  for (int64_t row = 0; row < s.rows(); ++row) room.order[room.ends[choice(chosen, row)]++] = row;
}

// The operands of the product of one group.
class GroupIo {
 public:
  // `weights` are those of the matrix; rows `first` and up of the sorted ones.
  GroupIo(const StepIo& io, std::span<const TensorRef> weights, const Sizes& s, const Room& room, int64_t first,
          int64_t rows)
      : a_dims_{rows, s.k}, y_dims_{rows, s.n} {
    refs_[0] = {room.a == nullptr ? nullptr : room.a + first * s.k, DType::f32, a_dims_, true};
    std::copy(weights.begin(), weights.end(), refs_.begin() + 1);
    y_ = {room.y == nullptr ? nullptr : room.y + first * s.n, DType::f32, y_dims_, true};
    io_ = {{refs_.data(), 1 + weights.size()}, {&y_, 1}, io.symbols, io.threads, nullptr};
  }
  GroupIo(const GroupIo&) = delete;
  GroupIo& operator=(const GroupIo&) = delete;
  const StepIo& io() const { return io_; }

 private:
  std::array<int64_t, 2> a_dims_, y_dims_;
  std::array<TensorRef, 1 + kMostFactors> refs_;
  TensorRef y_;
  StepIo io_;
};

class GroupedMatMulStep : public Step {
 public:
  GroupedMatMulStep(const lathe::GroupedMatMul& op, std::unique_ptr<Step> product)
      : each_(operands_of_group(op)), trans_b_(op.trans_b || op.block > 0), product_(std::move(product)) {}

  // That of a product grows with its rows, which are all at most.
  size_t workspace_bytes(const StepIo& io) const override {
    const Sizes s = sizes_of(io);
    Workspace workspace;
    const Room room(workspace, s);
    workspace.take(product_->workspace_bytes(GroupIo(io, factors(io, 0), s, room, 0, s.rows()).io()));
    return workspace.used();
  }

  void run(const StepIo& io, const StepState*, void* memory, DeviceContext& device) const override {
    const Sizes s = sizes_of(io);
    if (s.rows() == 0 || s.n == 0) return;
    Workspace workspace(memory);
    Room room(workspace, s);
    room.product = workspace.take(0);
    sort_rows(io.inputs[1], s, room);
    ThreadTeam& team = team_of(device);
    team.parallel_for(s.rows(), [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) gather(io, s, room, i);
    });
    for (int64_t g = 0, first = 0; g < s.groups; first = room.ends[g++]) {
      if (room.ends[g] == first) continue;
      const GroupIo group(io, factors(io, g), s, room, first, room.ends[g] - first);
      product_->run(group.io(), nullptr, room.product, device);
    }
    team.parallel_for(s.rows(), [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i)
        std::copy_n(room.y + i * s.n, s.n, io.outputs[0].as<float>() + room.order[i] * s.n);
    });
  }

 private:
  Sizes sizes_of(const StepIo& io) const {
    const auto &a = io.inputs[0].dims, &chosen = io.inputs[1].dims, &b = io.inputs[kGroupedOperands].dims;
    const auto groups = static_cast<int64_t>((io.inputs.size() - kGroupedOperands) / each_);
    return {chosen[0], chosen[1], groups, a[2], b[trans_b_ ? 0 : 1], a[1] == 1};
  }

  std::span<const TensorRef> operands(const StepIo& io, int64_t group) const {
    return io.inputs.subspan(kGroupedOperands + static_cast<size_t>(group) * each_, each_);
  }
  std::span<const TensorRef> factors(const StepIo& io, int64_t group) const {
    return operands(io, group).first(std::min(each_, kMostFactors));
  }

  void gather(const StepIo& io, const Sizes& s, const Room& room, int64_t i) const {
    const int64_t row = room.order[i];
    const float* from = io.inputs[0].as<const float>() + (s.shared ? row / s.choices : row) * s.k;
    float* to = room.a + i * s.k;
    const std::span<const TensorRef> parts = operands(io, choice(io.inputs[1], row));
    if (parts.size() <= kMostFactors || !parts.back().present) {
      std::copy_n(from, s.k, to);
      return;
    }
    const auto* order = parts.back().as<const int32_t>();
    for (int64_t column = 0; column < s.k; ++column) to[column] = from[order[column]];
  }

  size_t each_;
  bool trans_b_;
  std::unique_ptr<Step> product_;
};

std::string why_not(const Node& node) {
  for (const Value* value : {node.input(0), node.output()})
    if (value->dtype() != DType::f32) return "computes in f32 only, not " + to_string(value->type());
  const auto weights = node.inputs().subspan(kGroupedOperands);
  const bool constant = std::all_of(weights.begin(), weights.end(),
                                    [](const Value* value) { return value == nullptr || is_constant(value); });
  return constant ? "" : "the weights are not constant";
}

// The product of some rows with the first matrix, which has the types and sizes of all.
std::shared_ptr<Graph> product_of_group(const lathe::GroupedMatMul& op, const Node& node) {
  auto graph = std::make_shared<Graph>();
  const Type& a = node.input(0)->type();
  std::vector<Value*> operands = {graph->add_input("a", Type::tensor(a.dtype, {Dim::symbol("rows"), a.shape[2]}))};
  for (size_t i = 0; i < std::min(operands_of_group(op), kMostFactors); ++i) {
    const Value* part = node.input(kGroupedOperands + i);
    operands.push_back(part == nullptr ? nullptr : constant(*graph, part->producer()->as<Constant>()->value));
  }
  if (op.block == 0) {
    lathe::MatMul product;
    product.trans_b = op.trans_b;
    graph->add_output(graph->emit(std::move(product), std::move(operands)), "y");
  } else {
    lathe::MatMulNBits product;
    product.block = op.block;
    product.round_rows = op.round_rows;
    graph->add_output(graph->emit(std::move(product), std::move(operands)), "y");
  }
  return graph;
}

// Layouts of all matrices, as the product wants those of one.
std::vector<WeightLayout> layouts_of_all(const lathe::GroupedMatMul& op, const Node& node,
                                         std::span<const WeightLayout> of_product) {
  const size_t each = operands_of_group(op);
  std::vector<WeightLayout> layouts(node.inputs().size());
  for (size_t i = kGroupedOperands; i < layouts.size(); ++i) {
    const size_t factor = 1 + (i - kGroupedOperands) % each;
    if (factor < of_product.size()) layouts[i] = of_product[factor];
  }
  return layouts;
}

}  // namespace

Candidates lower(const lathe::GroupedMatMul& op, const Node& node, const Target& target) {
  if (const std::string why = why_not(node); !why.empty()) return {decline("grouped_matmul", why)};
  const std::shared_ptr<Graph> graph = product_of_group(op, node);
  Candidates candidates;
  for (Candidate& of_group : candidates_for(*graph->outputs()[0]->producer(), target)) {
    const std::string kernel = "grouped_" + of_group.kernel;
    if (of_group.kernel == "gemm_batched") of_group.declined = "what it prepares depends on the rows of a group";
    if (!of_group.declined.empty()) {
      candidates.push_back(decline(kernel, of_group.declined));
      continue;
    }
    candidates.push_back(accept(kernel, [&op, &node, graph, make = std::move(of_group.make)] {
      Lowered product = make();
      return Lowered{std::make_unique<GroupedMatMulStep>(op, std::move(product.step)),
                     layouts_of_all(op, node, product.operand_layouts)};
    }));
  }
  return candidates;
}

}  // namespace lathe::cpu
