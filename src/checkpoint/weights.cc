#include "checkpoint/weights.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "checkpoint/narrow_weights.h"
#include "checkpoint/spellings.h"
#include "checkpoint/weight_rows.h"
#include "graph/build.h"
#include "graph/weight_rounding.h"

namespace lathe::checkpoint {
namespace {

bool is_weight_type(DType type) {
  return type == DType::f64 || type == DType::f32 || type == DType::f16 || type == DType::bf16;
}

// Both absent, or of one type.
bool are_alike(const Value* a, const Value* b) {
  return a == nullptr || b == nullptr ? a == b : a->dtype() == b->dtype();
}

// Elements that are wide in memory at a time.
constexpr int64_t kSlice = int64_t{1} << 22;
constexpr int64_t kGroup = 128;

}  // namespace

Weights::Weights(Graph& graph, const Checkpoint& checkpoint, DType compute, std::string_view roots,
                 std::string_view probe, const WeightOptions& options)
    : graph_(graph),
      checkpoint_(checkpoint),
      compute_(compute),
      options_(options),
      quantization_(read_quantization(checkpoint)),
      root_(first_spelling(roots)) {
  if (options.bits != 0 && options.bits != 4 && options.bits != 8)
    fail(ErrorCode::invalid_argument, "weights are rounded to 4 or 8 bits, not {}", options.bits);
  if (options.group < 0) fail(ErrorCode::invalid_argument, "groups of {} columns", options.group);
  const auto found = find_spelling(
      roots, [&](std::string_view root) { return checkpoint.contains(std::string(root) + std::string(probe)); });
  if (found)
    root_ = *found;
  else if (checkpoint.contains(probe))
    root_.clear();
}

std::string Weights::found_name(std::string_view names) const {
  const auto found = find_spelling(names, [&](std::string_view name) {
    return contains(std::string(name) + ".weight") || is_narrow(checkpoint_, std::string(name));
  });
  return std::string(found.value_or(first_spelling(names)));
}

std::vector<int64_t> Weights::dims(const std::string& name, const std::vector<int64_t>& dims) const {
  const StoredTensor* stored = checkpoint_.find(name);
  const auto significant = [](std::vector<int64_t> sizes) {
    sizes.erase(std::remove(sizes.begin(), sizes.end(), 1), sizes.end());
    return sizes;
  };
  return stored != nullptr && significant(stored->dims) == significant(dims) ? stored->dims : dims;
}

Value* Weights::table(const std::string& name, std::vector<int64_t> dims) {
  if (const auto found = constants_.find(name); found != constants_.end()) return found->second;
  Node* node = graph_.append(Constant{load(name, std::move(dims))}, {}, 1, name);
  return constants_.emplace(name, node->output()).first->second;
}

Tensor Weights::load(const std::string& name, std::vector<int64_t> dims) {
  const StoredTensor* stored = checkpoint_.find(name);
  if (stored == nullptr)
    faults_.push_back(fmt::format("'{}' {} is missing", name, to_string(dims)));
  else if (stored->dims != dims)
    faults_.push_back(fmt::format("'{}' is {}, but must be {}", name, to_string(stored->dims), to_string(dims)));
  else if (!is_weight_type(stored->dtype))
    faults_.push_back(
        fmt::format("'{}' has elements of type {}, not floats of 16 or 32 bits", name, to_string(stored->dtype)));
  else
    return checkpoint_.tensor(name);
  return Tensor::deferred(compute_, std::move(dims), 0);  // only a type, so that all faults can be found
}

Value* Weights::matrix(const std::string& name, int64_t rows, int64_t columns) {
  return of_products(table(name, {rows, columns}));
}

Value* Weights::of_products(Value* stored) {
  const bool widened_later = compute_ == DType::f32 && stored->dtype() == DType::f16;
  return widened_later ? stored : cast(graph_, stored, compute_);
}

Value* Weights::vector(const std::string& name, int64_t size) { return cast(graph_, table(name, {size}), compute_); }

Value* Weights::f32(const std::string& name, std::vector<int64_t> dims) {
  return cast(graph_, table(name, std::move(dims)), DType::f32);
}

ThreadTeam& Weights::team() {
  if (team_ == nullptr) team_ = std::make_unique<ThreadTeam>(std::max(options_.threads, 1));
  return *team_;
}

// A tensor without elements, unlike any other.
Tensor Weights::absent(DType dtype, std::vector<int64_t> dims) {
  return Tensor::deferred(dtype, std::move(dims), next_absent_++);
}

// What the weights of this matrix are to be rounded to; 0: nothing.
int Weights::bits_for(const Matrix& matrix) const {
  if (matrix.role == MatrixRole::router || (matrix.role == MatrixRole::head && options_.wide_head)) return 0;
  return matrix.role == MatrixRole::head && options_.bits != 0 ? 8 : options_.bits;
}

NarrowWeight Weights::round(const Matrix& matrix, int bits) {
  const WeightRows rows(checkpoint_, quantization_, matrix.name, matrix.out, matrix.in, matrix.transposed);
  const int64_t usual = bits == 4 ? kGroup : 0,
                group = bits == options_.bits && options_.group > 0 ? options_.group : usual;
  const int64_t block = group == 0 || group > matrix.in ? std::max<int64_t>(matrix.in, 1) : group;
  NarrowWeight result;
  result.block = block;
  if (options_.sizes_only) {
    result.q = Tensor::deferred(bits == 4 ? DType::i4 : DType::i8, {matrix.out, matrix.in}, 0);
    result.scales = Tensor::deferred(DType::f16, {matrix.out, (matrix.in + block - 1) / block}, 0);
    return result;
  }
  WeightRounder rounder(matrix.out, matrix.in, {bits, block, DType::f16});
  const int64_t step = std::max<int64_t>(kSlice / std::max<int64_t>(matrix.in, 1), 1);
  for (int64_t row = 0; row < matrix.out; row += step) {
    const int64_t end = std::min(row + step, matrix.out);
    rounder.add_rows(rows.read(row, end), team());
    rows.release(end);
  }
  RoundedWeight rounded = std::move(rounder).finish();
  result.q = std::move(rounded.q);
  result.scales = std::move(rounded.scales);
  return result;
}

NarrowWeight Weights::read_narrow_weight(const Matrix& matrix, int bits) {
  if (!is_narrow(checkpoint_, matrix.name)) return round(matrix, bits);
  if (bits != 0)
    throw Error(ErrorCode::invalid_argument, "the weights of this checkpoint have been rounded before")
        .in_file(checkpoint_.folder().string())
        .remedy("Leave out --int8 or --int4, or use the checkpoint that it was made from");
  NarrowWeight weight = read_narrow(checkpoint_, quantization_, matrix.name, matrix.out, matrix.in,
                                    options_.sizes_only ? nullptr : &team());
  for (const std::string& part : parts_of_matrix(matrix.name))
    if (const StoredTensor* stored = checkpoint_.find(part)) checkpoint_.release(part, stored->bytes.size());
  return weight;
}

// Null where the matrix is wide and stays so.
const Weights::Narrow* Weights::narrow(const Matrix& matrix) {
  if (const auto found = narrow_.find(matrix.name); found != narrow_.end()) return &found->second;
  const int bits = bits_for(matrix);
  if (bits == 0 && !is_narrow(checkpoint_, matrix.name)) return nullptr;
  NarrowWeight weight;
  try {
    weight = read_narrow_weight(matrix, bits);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::invalid_model) throw;
    faults_.push_back(error.message());
    weight.block = std::max<int64_t>(matrix.in, 1);
    weight.q = Tensor::deferred(DType::i8, {matrix.out, matrix.in}, 0);  // only types, so that all faults can be found
    weight.scales = Tensor::deferred(DType::f16, {matrix.out, 1}, 0);
  }
  for (const std::string& part : parts_of_matrix(matrix.name)) ignore(part);
  const auto add = [&](std::optional<Tensor> part, std::string_view suffix) -> Value* {
    if (!part) return nullptr;
    if (part->is_deferred()) part = absent(part->dtype(), part->dims());
    return graph_.append(Constant{std::move(*part)}, {}, 1, matrix.name + std::string(suffix))->output();
  };
  const Narrow operands{add(std::move(weight.q), ".levels"), add(std::move(weight.scales), ".scales"),
                        add(std::move(weight.zeros), ".zeros"), add(std::move(weight.order), ".order"), weight.block};
  return &narrow_.emplace(matrix.name, operands).first->second;
}

// Of fp8 with scales, in 16 bits.
Value* Weights::widened(const Matrix& matrix) {
  const std::string name = matrix.name + ".weight";
  if (const auto found = constants_.find(name); found != constants_.end()) return found->second;
  for (const std::string& part : parts_of_matrix(matrix.name)) ignore(part);
  Tensor wide = absent(DType::f16, {matrix.out, matrix.in});
  try {
    const WeightRows rows(checkpoint_, quantization_, matrix.name, matrix.out, matrix.in, matrix.transposed);
    wide = options_.sizes_only ? absent(rows.wide_type(), wide.dims()) : rows.widened(team());
  } catch (const Error& error) {
    if (error.code() != ErrorCode::invalid_model) throw;
    faults_.push_back(error.message());
  }
  Node* node = graph_.append(Constant{std::move(wide)}, {}, 1, name);
  return constants_.emplace(name, node->output()).first->second;
}

// Stacks are called as if they were a module's parameter rather than a module: their endings differ.
void Weights::unstack(const std::string& name, int64_t count) {
  if (!unstacked_.insert(name).second) return;
  const auto split = [&](std::string_view from, std::string_view to) {
    return checkpoint_.split(name + std::string(from), count, name + ".", to);
  };
  const bool found = split("", ".weight") || split(".weight", ".weight") || split(kMxfp4Levels, kMxfp4Levels);
  if (!found)
    faults_.push_back(fmt::format("'{}', a stack of {} matrices, is missing or cannot be taken apart", name, count));
  split(kMxfp4Scales, kMxfp4Scales);
  split("_bias", ".bias");
}

Value* Weights::product(Value* x, const Matrix& matrix) {
  if (const Narrow* weight = narrow(matrix)) {
    if (weight->order != nullptr) x = graph_.emit(Gather{1}, {x, weight->order});
    MatMulNBits product;
    product.block = weight->block;
    product.round_rows = options_.round_activations;
    return graph_.emit(product, {x, weight->q, weight->scales, weight->zeros}, matrix.name);
  }
  MatMul product;
  product.trans_b = !matrix.transposed;
  return graph_.emit(product, {x, wide(matrix)}, matrix.name);
}

// As it is stored, unless its elements are not floats.
Value* Weights::wide(const Matrix& matrix) {
  if (is_fp8(checkpoint_, matrix.name)) return of_products(widened(matrix));
  const std::string name = matrix.name + ".weight";
  return matrix.transposed ? this->matrix(name, matrix.in, matrix.out) : this->matrix(name, matrix.out, matrix.in);
}

Value* Weights::grouped_product(Value* x, Value* chosen, const std::vector<Matrix>& matrices) {
  GroupedMatMul product;
  std::vector<Value*> operands = {x, chosen}, first;
  for (const Matrix& matrix : matrices) {
    const Narrow* rounded = narrow(matrix);
    const int64_t block = rounded != nullptr ? rounded->block : 0;
    std::vector<Value*> group;
    if (rounded != nullptr)
      group = {rounded->q, rounded->scales, rounded->zeros, rounded->order};
    else
      group = {wide(matrix)};
    if (first.empty()) {
      first = group;
      product.block = block;
    } else if (block != product.block || !std::equal(group.begin(), group.end(), first.begin(), are_alike)) {
      faults_.push_back(fmt::format("'{}' is stored in another way than '{}'", matrix.name, matrices.front().name));
      group = first;  // so that the graph can be made, and all faults can be found
    }
    operands.insert(operands.end(), group.begin(), group.end());
  }
  product.trans_b = product.block == 0 && !matrices.front().transposed;
  product.round_rows = product.block > 0 && options_.round_activations;
  return graph_.emit(product, std::move(operands), matrices.front().name);
}

void Weights::expect_complete() const {
  constexpr size_t kListed = 20;
  if (faults_.empty()) return;
  std::string list;
  for (size_t i = 0; i < std::min(faults_.size(), kListed); ++i) list += (i == 0 ? "" : "; ") + faults_[i];
  if (faults_.size() > kListed) list += fmt::format("; and {} more", faults_.size() - kListed);
  throw Error(ErrorCode::invalid_model,
              fmt::format("{} of the weights that config.json asks for do not fit: {}", faults_.size(), list))
      .in_file(checkpoint_.folder().string())
      .remedy("Check that config.json and all weight files belong to the same model");
}

std::vector<std::string> Weights::unused(std::string_view buffers) const {
  std::vector<std::string> result;
  for (const std::string& name : checkpoint_.names()) {
    const auto is_end = [&](std::string_view end) { return name.ends_with(end); };
    if (constants_.count(name) == 0 && ignored_.count(name) == 0 && !find_spelling(buffers, is_end))
      result.push_back(name);
  }
  return result;
}

}  // namespace lathe::checkpoint
