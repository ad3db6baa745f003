#include "precision/smooth.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "passes/passes.h"
#include "passes/rewrite.h"
#include "precision/run.h"

namespace lathe::precision {
namespace {

bool is_byte_layer(const Layer& layer) { return layer.ladder.front().compute == DType::i8; }

int64_t columns_of(const Node& norm) {
  const Dim& last = norm.output()->shape().back();
  return last.is_constant() ? last.value() : 0;
}

bool is_row(const Value* parameter, int64_t columns) {
  const Tensor* tensor = passes::constant_tensor(parameter);
  return tensor != nullptr && tensor->dtype() == DType::f32 && tensor->elements() == columns;
}

// A norm over the last axis whose result only these products read, as their left operand.
bool can_smooth(const Node& node, const std::set<const Node*>& products) {
  const Norm* norm = node.as<Norm>();
  if (norm == nullptr || node.output()->is_output() || node.output()->users().empty()) return false;
  const auto rank = static_cast<int64_t>(node.output()->shape().size());
  const int64_t columns = columns_of(node);
  const auto scale = static_cast<size_t>(norm->num_x);
  if (norm->axis != rank - 1 || columns == 0 || !is_row(node.input(scale), columns)) return false;
  if (node.input(scale + 1) != nullptr && !is_row(node.input(scale + 1), columns)) return false;
  return std::all_of(node.output()->users().begin(), node.output()->users().end(), [&](const Node* user) {
    return products.count(user) > 0 && user->input(0) == node.output() && user->input(1) != node.output() &&
           !is_half_constant(user->input(1));
  });
}

// Index into a matrix [K, N], or [N, K] when transposed.
size_t at(int64_t k, int64_t n, int64_t rows, int64_t columns, bool transposed) {
  return static_cast<size_t>(transposed ? n * rows + k : k * columns + n);
}

struct Matrix {
  Node* product;
  int64_t rows, columns;  // of the weights: summed over, kept
  bool transposed;
};

Matrix matrix_of(Node* product) {
  const auto& dims = passes::constant_tensor(product->input(1))->dims();
  const bool transposed = product->as<MatMul>()->trans_b;
  return {product, dims[transposed ? 1 : 0], dims[transposed ? 0 : 1], transposed};
}

std::vector<float> largest_by_row(const Matrix& matrix) {
  const Tensor tensor = passes::constant_tensor(matrix.product->input(1))->aligned();
  const auto values = tensor.as<float>();
  std::vector<float> most(static_cast<size_t>(matrix.rows));
  for (int64_t k = 0; k < matrix.rows; ++k)
    for (int64_t n = 0; n < matrix.columns; ++n) {
      float& m = most[static_cast<size_t>(k)];
      m = std::max(m, std::abs(values[at(k, n, matrix.rows, matrix.columns, matrix.transposed)]));
    }
  return most;
}

void scale_rows(Graph& graph, const Matrix& matrix, const std::vector<float>& factors) {
  Tensor scaled = passes::constant_tensor(matrix.product->input(1))->aligned();
  const auto values = scaled.mutable_as<float>();
  for (int64_t k = 0; k < matrix.rows; ++k)
    for (int64_t n = 0; n < matrix.columns; ++n)
      values[at(k, n, matrix.rows, matrix.columns, matrix.transposed)] *= factors[static_cast<size_t>(k)];
  graph.set_input(matrix.product, 1, passes::insert(graph, matrix.product, Constant{std::move(scaled)}, {}));
}

void divide(Graph& graph, Node* norm, size_t parameter, const std::vector<float>& factors) {
  Tensor divided = passes::constant_tensor(norm->input(parameter))->aligned();
  const auto values = divided.mutable_as<float>();
  for (size_t i = 0; i < values.size(); ++i) values[i] /= factors[i];
  graph.set_input(norm, parameter, passes::insert(graph, norm, Constant{std::move(divided)}, {}));
}

std::vector<float> factors_for(const std::vector<float>& activations, const std::vector<Matrix>& matrices,
                               double exponent) {
  std::vector<float> weights(activations.size());
  for (const Matrix& matrix : matrices) {
    const auto most = largest_by_row(matrix);
    for (size_t j = 0; j < weights.size(); ++j) weights[j] = std::max(weights[j], most[j]);
  }
  std::vector<float> factors(activations.size(), 1.0f);
  for (size_t j = 0; j < factors.size(); ++j) {
    const double factor = std::pow(activations[j], exponent) / std::pow(weights[j], 1 - exponent);
    constexpr double kLeast = 1e-3, kMost = 1e3;  // columns that never speak stay as they are
    if (std::isfinite(factor) && factor > kLeast && factor < kMost) factors[j] = static_cast<float>(factor);
  }
  return factors;
}

}  // namespace

int smooth(Graph& graph, const std::vector<Layer>& layers, const RunOptions& options, const Batches& batches,
           double exponent, const Ranges& fixed, ColumnMaxima& columns) {
  const std::vector<Node*> nodes = nodes_of(graph);
  std::set<const Node*> products;
  for (const Layer& layer : layers)
    if (is_byte_layer(layer) && nodes[layer.node]->is<MatMul>()) products.insert(nodes[layer.node]);
  std::vector<Node*> norms;
  std::vector<std::string> unknown;
  for (Node* node : nodes) {
    if (!can_smooth(*node, products)) continue;
    const std::string& name = node->output()->name();
    const auto known = columns.find(name);
    const bool fits = known != columns.end() && known->second.size() == static_cast<size_t>(columns_of(*node));
    if (!fits && fixed.count(name) > 0) continue;
    norms.push_back(node);
    if (!fits) unknown.push_back(name);
  }
  if (norms.empty()) return 0;
  if (!unknown.empty())
    for (auto& [name, maxima] : column_maxima(graph, options, batches, unknown)) columns[name] = std::move(maxima);
  for (Node* norm : norms) {
    std::vector<Matrix> matrices;
    for (Node* user : norm->output()->users()) matrices.push_back(matrix_of(user));
    const auto factors = factors_for(columns.at(norm->output()->name()), matrices, exponent);
    for (const Matrix& matrix : matrices) scale_rows(graph, matrix, factors);
    const auto scale = static_cast<size_t>(norm->as<Norm>()->num_x);
    divide(graph, norm, scale, factors);
    if (norm->input(scale + 1) != nullptr) divide(graph, norm, scale + 1, factors);
  }
  passes::dead_code(graph);
  return static_cast<int>(norms.size());
}

}  // namespace lathe::precision
