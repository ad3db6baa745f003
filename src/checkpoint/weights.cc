#include "checkpoint/weights.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "checkpoint/spellings.h"
#include "graph/build.h"

namespace lathe::checkpoint {
namespace {

bool is_weight_type(DType type) {
  return type == DType::f64 || type == DType::f32 || type == DType::f16 || type == DType::bf16;
}

}  // namespace

Weights::Weights(Graph& graph, const Checkpoint& checkpoint, DType compute, std::string_view roots,
                 std::string_view probe)
    : graph_(graph), checkpoint_(checkpoint), compute_(compute), root_(first_spelling(roots)) {
  const auto found = find_spelling(
      roots, [&](std::string_view root) { return checkpoint.contains(std::string(root) + std::string(probe)); });
  if (found)
    root_ = *found;
  else if (checkpoint.contains(probe))
    root_.clear();
}

std::string Weights::found_name(std::string_view names) const {
  const auto found =
      find_spelling(names, [&](std::string_view name) { return contains(std::string(name) + ".weight"); });
  return std::string(found.value_or(first_spelling(names)));
}

std::vector<int64_t> Weights::dims(const std::string& name, std::vector<int64_t> dims) const {
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
  Value* stored = table(name, {rows, columns});
  const bool widened_later = compute_ == DType::f32 && stored->dtype() == DType::f16;
  return widened_later ? stored : cast(graph_, stored, compute_);
}

Value* Weights::vector(const std::string& name, int64_t size) { return cast(graph_, table(name, {size}), compute_); }

Value* Weights::f32(const std::string& name, std::vector<int64_t> dims) {
  return cast(graph_, table(name, std::move(dims)), DType::f32);
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
