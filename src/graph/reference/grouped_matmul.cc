// Products in which every row chooses its matrix: each row on its own.
#include "graph/reference/families.h"
#include "graph/reference/matmul_nbits.h"
#include "graph/reference/numbers.h"

namespace lathe::reference {
namespace {

struct Sides {
  size_t n, k;
};

// The operands of the matrix that begins at `first`, as rows [N, K] of doubles.
class GroupMatrix {
 public:
  GroupMatrix(const GroupedMatMul& op, const Call& call, size_t first) : op_(op), stored_(call.tensor(first)) {
    const Sizes& dims = stored_.dims();
    if (dims.size() != 2) fail(ErrorCode::invalid_argument, "operand {} has {} axes, not 2", first, dims.size());
    const bool rows_first = op.block > 0 || op.trans_b;
    sides_ = {static_cast<size_t>(dims[rows_first ? 0 : 1]), static_cast<size_t>(dims[rows_first ? 1 : 0])};
    if (op.block == 0) return;
    const Sizes blocks = {dims[0], (dims[1] + op.block - 1) / op.block};
    for (const size_t i : {first + 1, first + 2})
      if (call.has(i) && call.tensor(i).dims() != blocks)
        fail(ErrorCode::invalid_argument, "operand {} has shape {}, expected {}", i, to_string(call.tensor(i).dims()),
             to_string(blocks));
    scales_ = &call.tensor(first + 1);
    zeros_ = call.optional_tensor(first + 2);
    order_ = call.optional_tensor(first + 3);
  }

  Sides sides() const { return sides_; }

  void read_row(size_t row, std::span<double> out) const {
    if (op_.block > 0)
      return NBitsWeights{stored_, *scales_, zeros_, op_.block}.read_row(static_cast<int64_t>(row), out);
    const size_t step = op_.trans_b ? 1 : sides_.n, start = op_.trans_b ? row * sides_.k : row;
    for (size_t i = 0; i < sides_.k; ++i) out[i] = stored_.read_double(static_cast<int64_t>(start + i * step));
  }
  // The column of the activations that column i of a row meets.
  size_t column(size_t i) const {
    return order_ == nullptr ? i : static_cast<size_t>(order_->read_int(static_cast<int64_t>(i)));
  }

 private:
  const GroupedMatMul& op_;
  const Tensor& stored_;
  const Tensor *scales_ = nullptr, *zeros_ = nullptr, *order_ = nullptr;
  Sides sides_{};
};

}  // namespace

std::vector<RefValue> evaluate(const GroupedMatMul& op, const Call& call) {
  const Tensor &a = call.tensor(0), &chosen = call.tensor(1);
  const size_t each = operands_of_group(op);
  const auto groups = static_cast<int64_t>((call.inputs.size() - kGroupedOperands) / each);
  const Sides sides = GroupMatrix(op, call, kGroupedOperands).sides();
  const int64_t tokens = chosen.dims().at(0), choices = chosen.dims().at(1), rows_each = a.dims().at(1);
  if (a.dims().size() != 3 || a.dims()[0] != tokens || (rows_each != 1 && rows_each != choices) ||
      a.dims()[2] != static_cast<int64_t>(sides.k))
    fail(ErrorCode::invalid_argument, "{} rows of {} terms for choices {}", to_string(a.dims()), sides.k,
         to_string(chosen.dims()));
  const std::vector<double> x = read_wide<double>(a);
  std::vector<double> y(static_cast<size_t>(tokens * choices) * sides.n), w(sides.k);
  for (int64_t row = 0; row < tokens * choices; ++row) {
    const int64_t group = chosen.read_int(row);
    if (group < 0 || group >= groups) fail(ErrorCode::invalid_argument, "matrix {} of {} is chosen", group, groups);
    const GroupMatrix matrix(op, call, kGroupedOperands + static_cast<size_t>(group) * each);
    const double* terms = x.data() + static_cast<size_t>(rows_each == 1 ? row / choices : row) * sides.k;
    for (size_t n = 0; n < sides.n; ++n) {
      matrix.read_row(n, w);
      double& sum = y[static_cast<size_t>(row) * sides.n + n];
      for (size_t i = 0; i < sides.k; ++i) sum += terms[matrix.column(i)] * w[i];
    }
  }
  return {write_wide(a.dtype(), {tokens, choices, static_cast<int64_t>(sides.n)}, y)};
}

}  // namespace lathe::reference
