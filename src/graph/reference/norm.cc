// Layer, RMS, group and instance normalisation.
#include "graph/reference/norm.h"

#include <cmath>

#include "graph/reference/families.h"
#include "graph/reference/map.h"

namespace lathe::reference {

void normalise_rows(NormKind kind, double epsilon, std::span<double> values, int64_t width) {
  const auto n = static_cast<size_t>(width);
  for (size_t first = 0; n > 0 && first < values.size(); first += n) {
    const std::span<double> row = values.subspan(first, n);
    double mean = 0, square = 0;
    if (kind == NormKind::layer) {
      for (const double x : row) mean += x;
      mean /= static_cast<double>(n);
    }
    for (const double x : row) square += (x - mean) * (x - mean);
    const double deviation = std::sqrt(square / static_cast<double>(n) + epsilon);
    for (double& x : row) x = (x - mean) / deviation;
  }
}

void scale_rows(std::span<double> values, std::span<const int64_t> row, const Tensor* scale, const Tensor* bias) {
  const auto width = static_cast<size_t>(product_of(row));
  if (scale != nullptr) {
    const std::vector<double> factors = read_broadcast(*scale, row);
    for (size_t i = 0; i < values.size(); ++i) values[i] *= factors[i % width];
  }
  if (bias != nullptr) {
    const std::vector<double> terms = read_broadcast(*bias, row);
    for (size_t i = 0; i < values.size(); ++i) values[i] += terms[i % width];
  }
}

std::vector<RefValue> evaluate(const Norm& op, const Call& call) {
  const auto num_x = static_cast<size_t>(op.num_x);
  Sizes sizes;
  std::vector<const Tensor*> inputs;
  for (size_t i = 0; i < num_x; ++i) {
    inputs.push_back(&call.tensor(i));
    sizes = broadcast_sizes(sizes, inputs.back()->dims());
  }
  const Tensor v = op.prologue.empty() ? *inputs.at(0) : run_program(op.prologue, inputs, sizes, call.symbols);
  const std::span<const int64_t> row = std::span(v.dims()).subspan(resolve_axis(op.axis, v.rank()));
  std::vector<double> values = read_wide<double>(v);
  normalise_rows(op.kind, op.epsilon, values, product_of(row));
  scale_rows(values, row, call.optional_tensor(num_x), call.optional_tensor(num_x + 1));
  std::vector<RefValue> results{write_wide(v.dtype(), v.dims(), values)};
  if (call.num_outputs > 1) results.emplace_back(v);
  for (const bool floating : {false, true}) {
    if (results.size() >= call.num_outputs) break;
    const RefValue y = results[0];
    const RefValue* const operand = &y;
    const DynamicQuantize rows{.axis = op.axis, .symmetric = true, .floating = floating};
    for (RefValue& value : evaluate(rows, {{&operand, 1}, 2, call.symbols})) results.push_back(std::move(value));
  }
  results.resize(call.num_outputs);
  return results;
}

std::vector<RefValue> evaluate(const GroupNorm& op, const Call& call) {
  const Tensor& x = call.tensor(0);
  if (x.rank() < 2) fail(ErrorCode::invalid_model, "shape {} has no channels", to_string(x.dims()));
  const int64_t channels = x.dims()[1], groups = op.groups == 0 ? channels : op.groups;
  if (groups < 1 || channels % groups != 0)
    fail(ErrorCode::invalid_argument, "{} channels do not divide into {} groups", channels, groups);
  const std::span<const int64_t> image = std::span(x.dims()).subspan(1);
  std::vector<double> values = read_wide<double>(x);
  normalise_rows(NormKind::layer, op.epsilon, values, product_of(image) / groups);
  Sizes per_channel(image.size(), 1);  // [C] stands for [C, 1, ..]
  per_channel[0] = channels;
  const Tensor scale = call.tensor(1).reshaped(per_channel), bias = call.tensor(2).reshaped(per_channel);
  scale_rows(values, image, &scale, &bias);
  return {write_wide(x.dtype(), x.dims(), values)};
}

}  // namespace lathe::reference
