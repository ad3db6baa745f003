// Matrix products.
#include <algorithm>

#include "graph/reference/indexing.h"
#include "graph/reference/movement.h"
#include "graph/reference/product.h"

namespace lathe::reference {
namespace {

bool gives_i32(DType type) {
  return type == DType::i8 || type == DType::u8 || type == DType::i16 || type == DType::i32;
}

struct MatrixSizes {
  size_t m, n, k;
};

// y [m, n] = a [m, k] * b [k, n]; row by row, so that the inner loop runs along memory.
template <class W>
void multiply(const MatrixSizes& sizes, const W* a, const W* b, W* y) {
  for (size_t i = 0; i < sizes.m; ++i) {
    W* row = y + i * sizes.n;
    std::fill(row, row + sizes.n, W{0});
    for (size_t k = 0; k < sizes.k; ++k) {
      const W factor = a[i * sizes.k + k];
      const W* other = b + k * sizes.n;
      for (size_t j = 0; j < sizes.n; ++j) row[j] = plus(row[j], times(factor, other[j]));
    }
  }
}

Tensor swap_last_axes(const Tensor& x) {
  std::vector<int64_t> perm;
  for (int64_t axis = 0; axis < x.rank(); ++axis) perm.push_back(axis);
  std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
  return transpose(x, perm);
}

template <class W>
Tensor multiply(const Tensor& a, const Tensor& b, DType type) {
  const auto leading = [](const Tensor& x) { return std::span(x.dims()).first(x.dims().size() - 2); };
  const MatrixSizes sizes{static_cast<size_t>(a.dims()[a.dims().size() - 2]), static_cast<size_t>(b.dims().back()),
                          static_cast<size_t>(a.dims().back())};
  Sizes dims = broadcast_sizes(leading(a), leading(b));
  const std::vector<int64_t> a_matrices = offsets(dims, broadcast_strides(leading(a), dims));
  const std::vector<int64_t> b_matrices = offsets(dims, broadcast_strides(leading(b), dims));
  dims.push_back(static_cast<int64_t>(sizes.m));
  dims.push_back(static_cast<int64_t>(sizes.n));
  const std::vector<W> left = read_wide<W>(a), right = read_wide<W>(b);
  std::vector<W> y(static_cast<size_t>(product_of(dims)));
  for (size_t i = 0; i < a_matrices.size(); ++i)
    multiply(sizes, left.data() + static_cast<size_t>(a_matrices[i]) * sizes.m * sizes.k,
             right.data() + static_cast<size_t>(b_matrices[i]) * sizes.k * sizes.n, y.data() + i * sizes.m * sizes.n);
  return write_wide(type, std::move(dims), y);
}

}  // namespace

DType product_type(const Tensor& a, const Tensor& b) {
  if (gives_i32(a.dtype()) && gives_i32(b.dtype())) return DType::i32;
  if (a.dtype() == DType::f32 && is_half(b.dtype())) return DType::f32;
  if (a.dtype() != b.dtype())
    fail(ErrorCode::invalid_model, "no product of {} and {}", to_string(a.dtype()), to_string(b.dtype()));
  if (a.dtype() == DType::f8e4m3) return DType::f32;
  return a.dtype();
}

Tensor apply_epilogue(const MapProgram& epilogue, Tensor product, const Call& call, size_t first_extra) {
  if (epilogue.empty()) return product;
  std::vector<const Tensor*> inputs = call.tensors_from(first_extra);
  inputs.insert(inputs.begin(), &product);
  return run_program(epilogue, inputs, product.dims(), call.symbols);
}

std::vector<RefValue> evaluate(const MatMul& op, const Call& call) {
  const Tensor &x = call.tensor(0), &w = call.tensor(1);
  if (x.rank() < 2 || w.rank() < 2)
    fail(ErrorCode::invalid_model, "operands of shape {} and {} are not matrices", to_string(x.dims()),
         to_string(w.dims()));
  const Tensor a = op.trans_a ? swap_last_axes(x) : x;
  const Tensor b = op.trans_b ? swap_last_axes(w) : w;
  if (a.dims().back() != b.dims()[b.dims().size() - 2])
    fail(ErrorCode::invalid_argument, "inner sizes differ: {} times {}", to_string(a.dims()), to_string(b.dims()));
  const DType type = product_type(a, b);
  Tensor product = visit_wide(a.dtype(), [&]<class W>() { return multiply<W>(a, b, type); });
  return {apply_epilogue(op.epilogue, std::move(product), call)};
}

}  // namespace lathe::reference
