// Products with weights of a few bits: the weights widened, then a plain product.
#include "graph/reference/matmul_nbits.h"

#include <cmath>

#include "graph/reference/product.h"

namespace lathe {

void NBitsWeights::read_row(int64_t row, std::span<double> out) const {
  const double middle = is_unsigned_int(q.dtype()) ? std::ldexp(1.0, bit_width(q.dtype()) - 1) : 0;
  const int64_t first = row * static_cast<int64_t>(out.size()), blocks = scales.dims()[1];
  for (size_t i = 0; i < out.size(); ++i) {
    const int64_t at = row * blocks + static_cast<int64_t>(i) / block;
    const double zero = zeros != nullptr ? zeros->read_double(at) : middle;
    out[i] = (q.read_double(first + static_cast<int64_t>(i)) - zero) * scales.read_double(at);
  }
}

namespace reference {
namespace {

void check_sizes(const MatMulNBits& op, const Call& call) {
  const Sizes &a = call.tensor(0).dims(), &q = call.tensor(1).dims();
  if (a.empty() || q.size() != 2 || a.back() != q[1])
    fail(ErrorCode::invalid_argument, "inner sizes differ: {} times the transpose of {}", to_string(a), to_string(q));
  const Sizes expected = {q[0], (q[1] + op.block - 1) / op.block};
  for (const size_t i : {size_t{2}, size_t{3}}) {
    const Tensor* parameters = call.optional_tensor(i);
    if (parameters != nullptr && parameters->dims() != expected)
      fail(ErrorCode::invalid_argument, "operand {} has shape {}, expected {}", i, to_string(parameters->dims()),
           to_string(expected));
  }
}

}  // namespace

std::vector<RefValue> evaluate(const MatMulNBits& op, const Call& call) {
  check_sizes(op, call);
  const std::vector<double> a = read_wide<double>(call.tensor(0));
  const size_t n = static_cast<size_t>(call.tensor(1).dims()[0]), k = static_cast<size_t>(call.tensor(1).dims()[1]);
  Sizes dims = call.tensor(0).dims();
  dims.back() = static_cast<int64_t>(n);
  std::vector<double> y(static_cast<size_t>(element_count(dims))), w(k);
  const NBitsWeights weights{call.tensor(1), call.tensor(2), call.optional_tensor(3), op.block};
  for (size_t column = 0; column < n; ++column) {
    weights.read_row(static_cast<int64_t>(column), w);
    for (size_t row = 0; row * n < y.size(); ++row)
      for (size_t i = 0; i < k; ++i) y[row * n + column] += a[row * k + i] * w[i];
  }
  Tensor product = write_wide(call.tensor(0).dtype(), std::move(dims), y);
  return {apply_epilogue(op.epilogue, std::move(product), call, kNBitsOperands)};
}

}  // namespace reference
}  // namespace lathe
