// Sums of table look-ups, normalised.
#include "graph/reference/families.h"
#include "graph/reference/norm.h"
#include "graph/token_packing.h"

namespace lathe::reference {
namespace {

// Adds the rows of `table` that `ids`, repeated to `sizes`, name.
void add_rows(std::vector<double>& sums, const Tensor& ids, const Tensor& table, std::span<const int64_t> sizes) {
  const int64_t rows = table.dims()[0], width = table.dims()[1];
  const std::vector<double> values = read_wide<double>(table);
  auto sum = sums.begin();
  for_each_offset(sizes, broadcast_strides(ids.dims(), sizes), 0, [&](int64_t offset) {
    const int64_t row = resolve_index(ids.read_int(offset), rows);
    for (int64_t i = 0; i < width; ++i) *sum++ += values[static_cast<size_t>(row * width + i)];
  });
}

// The rows that `picked` names.
std::vector<double> pick_rows(const std::vector<double>& rows, int64_t width, const Tensor& picked) {
  std::vector<double> result;
  const int64_t count = static_cast<int64_t>(rows.size()) / std::max<int64_t>(width, 1);
  for (int64_t i = 0; i < picked.elements(); ++i) {
    const auto row = rows.begin() + resolve_index(picked.read_int(i), count) * width;
    result.insert(result.end(), row, row + width);
  }
  return result;
}

}  // namespace

std::vector<RefValue> evaluate(const Embedding& op, const Call& call) {
  const auto tables = static_cast<size_t>(op.num_tables);
  const Tensor& first = call.tensor(1);
  Sizes sizes;
  for (size_t i = 0; i < tables; ++i) {
    const Tensor& table = call.tensor(2 * i + 1);
    if (table.rank() != 2 || table.dims()[1] != first.dims()[1])
      fail(ErrorCode::invalid_argument, "tables of shape {} and {} cannot be added", to_string(first.dims()),
           to_string(table.dims()));
    sizes = broadcast_sizes(sizes, call.tensor(2 * i).dims());
  }
  const Sizes row{first.dims()[1]};
  std::vector<double> sums(static_cast<size_t>(product_of(sizes) * row[0]), 0);
  for (size_t i = 0; i < tables; ++i) add_rows(sums, call.tensor(2 * i), call.tensor(2 * i + 1), sizes);
  if (const Tensor* picked = call.optional_tensor(picked_operand(op))) {
    sums = pick_rows(sums, row[0], *picked);
    sizes = picked->dims();
  }
  normalise_rows(op.kind, op.epsilon, sums, row[0]);
  scale_rows(sums, row, call.optional_tensor(2 * tables), call.optional_tensor(2 * tables + 1));
  sizes.push_back(row[0]);
  return {write_wide(call.tensor(2 * tables).dtype(), std::move(sizes), sums)};
}

}  // namespace lathe::reference
