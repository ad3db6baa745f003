// Products with weights of a few bits: the weights widened, then a plain product.
#include <cmath>

#include "graph/reference/product.h"

namespace lathe::reference {
namespace {

// The weights as numbers, [n, k].
std::vector<double> dequantized(const MatMulNBits& op, const Call& call) {
  const Tensor &q = call.tensor(1), &scales = call.tensor(2);
  const Tensor* zeros = call.optional_tensor(3);
  const double middle = is_unsigned_int(q.dtype()) ? std::ldexp(1.0, bit_width(q.dtype()) - 1) : 0;
  const int64_t n = q.dims()[0], k = q.dims()[1], blocks = scales.dims()[1];
  std::vector<double> w;
  w.reserve(static_cast<size_t>(q.elements()));
  for (int64_t row = 0; row < n; ++row) {
    for (int64_t i = 0; i < k; ++i) {
      const int64_t at = row * blocks + i / op.block;
      const double zero = zeros != nullptr ? zeros->read_double(at) : middle;
      w.push_back((q.read_double(row * k + i) - zero) * scales.read_double(at));
    }
  }
  return w;
}

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
  const std::vector<double> a = read_wide<double>(call.tensor(0)), w = dequantized(op, call);
  const int64_t n = call.tensor(1).dims()[0], k = call.tensor(1).dims()[1];
  Sizes dims = call.tensor(0).dims();
  dims.back() = n;
  std::vector<double> y(static_cast<size_t>(element_count(dims)));
  for (size_t i = 0; i < y.size(); ++i) {
    const double *row = a.data() + static_cast<int64_t>(i) / n * k, *column = w.data() + static_cast<int64_t>(i) % n * k;
    for (int64_t j = 0; j < k; ++j) y[i] += row[j] * column[j];
  }
  Tensor product = write_wide(call.tensor(0).dtype(), std::move(dims), y);
  return {apply_epilogue(op.epilogue, std::move(product), call, kNBitsOperands)};
}

}  // namespace lathe::reference
