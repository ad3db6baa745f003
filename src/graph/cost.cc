#include "graph/cost.h"

#include <algorithm>
#include <numeric>

namespace lathe {
namespace {

using Operands = std::span<const SizedType>;

double product(std::span<const int64_t> dims) {
  return std::accumulate(dims.begin(), dims.end(), 1.0, [](double a, int64_t b) { return a * static_cast<double>(b); });
}

double elements(const SizedType& type) { return type.present ? product(type.dims) : 0; }

double bytes(const SizedType& type) { return elements(type) * bit_width(type.dtype) / 8; }

double total_bytes(Operands operands) {
  return std::accumulate(operands.begin(), operands.end(), 0.0,
                         [](double sum, const SizedType& t) { return sum + bytes(t); });
}

double dim(const SizedType& type, int64_t axis_from_end) {
  const auto axis = static_cast<size_t>(axis_from_end);
  return axis <= type.dims.size() ? static_cast<double>(type.dims[type.dims.size() - axis]) : 1;
}

// Arithmetic instructions of a program: leaves and casts are free.
double instructions(const MapProgram& program) {
  return static_cast<double>(std::count_if(program.code().begin(), program.code().end(),
                                           [](const MapInstr& i) { return i.op > MapOp::cast_sat; }));
}

double outer_elements(const SizedType& type, size_t from) {
  return product(type.dims.subspan(std::min(from, type.dims.size())));
}

// One overload per op that computes something.
struct Flops {
  Operands in, out;

  double operator()(const Map& op) const { return instructions(op.program) * elements(out[0]); }
  double operator()(const Reduce&) const { return elements(in[0]); }
  double operator()(const ArgReduce&) const { return elements(in[0]); }
  double operator()(const Cumulative&) const { return elements(in[0]); }
  double operator()(const MatMul& op) const {
    return elements(out[0]) * (2 * dim(in[0], op.trans_a ? 2 : 1) + instructions(op.epilogue));
  }
  double operator()(const MatMulNBits& op) const {
    return elements(out[0]) * (2 * dim(in[0], 1) + instructions(op.epilogue));
  }
  double operator()(const GroupedMatMul&) const { return elements(out[0]) * 2 * dim(in[0], 1); }
  // w holds, per output channel, the taps of all input channels that it sees.
  double operator()(const Conv& op) const {
    return elements(out[0]) * (2 * outer_elements(in[1], 1) + instructions(op.epilogue));
  }
  double operator()(const ConvTranspose& op) const {
    return 2 * elements(in[0]) * outer_elements(in[1], 1) + elements(out[0]) * instructions(op.epilogue);
  }
  double operator()(const Pool& op) const { return elements(out[0]) * product(op.kernel); }
  // Mean, variance, scale and shift: two passes and a multiply-add.
  double operator()(const Norm& op) const { return elements(out[0]) * (7 + instructions(op.prologue)); }
  double operator()(const GroupNorm&) const { return 7 * elements(out[0]); }
  double operator()(const Softmax&) const { return 4 * elements(out[0]); }  // max, exp, sum, division
  double operator()(const Attention& op) const { return attention(op); }
  // As if every context filled its row of the block table: how long it is, only the run knows.
  double operator()(const PagedAttention& op) const {
    const double keys = dim(in[7], 1) * static_cast<double>(op.block_size);
    return dim(in[0], 2) * static_cast<double>(op.heads) * keys *
           (2 * static_cast<double>(op.head_dim + op.value_dim) + 4);
  }
  double operator()(const DynamicQuantize&) const { return 5 * elements(out[0]); }  // both ends; divide, round, shift
  double operator()(const Rotary&) const { return 3 * elements(out[0]); }
  double operator()(const Embedding& op) const { return elements(out[0]) * (6 + static_cast<double>(op.num_tables)); }
  double operator()(const Resize& op) const {
    const double taps = op.mode == ResizeMode::nearest ? 0 : op.mode == ResizeMode::linear ? 2 : 4;
    return 2 * taps * static_cast<double>(op.axes.size()) * elements(out[0]);
  }
  // Per step and direction, the products of every gate with the input and with the state: w [dirs, gates * hidden,
  // input], r [dirs, gates * hidden, hidden].
  double operator()(const Rnn&) const {
    const double steps = dim(in[0], 3) * dim(in[0], 2);
    return 2 * steps * (elements(in[1]) + elements(in[2]));
  }
  template <class Other>
  double operator()(const Other&) const {
    return 0;
  }

 private:
  // Tokens per batch row and head of an operand, whatever its order.
  static double tokens(const SizedType& operand, HeadOrder order, double rows) {
    const double all = elements(operand);
    const double columns = order == HeadOrder::token_major || order == HeadOrder::seq_major
                               ? dim(operand, 1)
                               : (order == HeadOrder::head_major ? dim(operand, 1) : dim(operand, 2)) * dim(operand, 3);
    return columns > 0 && rows > 0 ? all / columns / rows : 0;
  }

  double attention(const Attention& op) const {
    const double batch =
        op.q_order == HeadOrder::seq_major ? dim(in[0], 2) : dim(in[0], static_cast<int64_t>(in[0].dims.size()));
    const double queries = tokens(in[0], op.q_order, batch);
    // Of packed tokens as if all sequences had the same length.
    const double keys = op.packed ? queries / std::max(elements(in[3]) - 2, 1.0) : tokens(in[1], op.k_order, batch);
    // A causal mask hides a triangle: the last query sees all keys.
    const double hidden = op.causal ? std::min(queries, keys) * (queries - 1) / 2 : 0;
    const double pairs = batch * static_cast<double>(op.heads) * (queries * keys - hidden);
    return pairs * (2 * static_cast<double>(op.head_dim + op.value_dim) + 4 + instructions(op.score));
  }
};

// Ops that read only part of an operand.
struct Traffic {
  Operands in, out;

  double operator()(const Constant&) const { return 0; }
  double operator()(const Reshape&) const { return 0; }
  double operator()(const Gather&) const { return 2 * bytes(out[0]) + bytes(in[1]); }
  double operator()(const GatherElements&) const { return 2 * bytes(out[0]) + bytes(in[1]); }
  double operator()(const GatherNd&) const { return 2 * bytes(out[0]) + bytes(in[1]); }
  double operator()(const Slice&) const { return 2 * bytes(out[0]); }
  // Of as many matrices as rows can choose.
  double operator()(const GroupedMatMul& op) const {
    const size_t groups = (in.size() - kGroupedOperands) / operands_of_group(op);
    const double share = std::min(elements(in[1]) / static_cast<double>(groups), 1.0);
    return total_bytes(in.first(kGroupedOperands)) + share * total_bytes(in.subspan(kGroupedOperands)) +
           total_bytes(out);
  }
  // Of the pool only the blocks that the table names.
  double operator()(const PagedAttention& op) const {
    const double rows = elements(in[7]) * static_cast<double>(op.kv_heads * op.block_size);
    const double row_bytes = static_cast<double>((op.head_dim + op.value_dim) * bit_width(in[3].dtype)) / 8;
    return total_bytes(in.first(3)) + rows * row_bytes + total_bytes(out);
  }
  double operator()(const Embedding& op) const {
    double sum = total_bytes(out);
    for (int64_t i = 0; i < op.num_tables; ++i) sum += bytes(in[static_cast<size_t>(2 * i)]) + bytes(out[0]);
    return sum;
  }
  template <class Other>
  double operator()(const Other&) const {
    return total_bytes(in) + total_bytes(out);
  }
};

}  // namespace

Cost cost_of(const Op& op, std::span<const SizedType> inputs, std::span<const SizedType> outputs) {
  if (!regions_of(op).empty()) return {};
  return {std::visit(Flops{inputs, outputs}, op), std::visit(Traffic{inputs, outputs}, op)};
}

}  // namespace lathe
