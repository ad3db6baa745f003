#include "tools/random_inputs.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "tools/input_roles.h"

namespace lathe::tools {
namespace {

constexpr int64_t kUnknownTable = 2;  // rows assumed for indices into nothing we can see: 0 and 1 nearly always fit

// FNV-1a.
uint64_t hash(std::string_view text) {
  uint64_t value = 0xcbf29ce484222325;
  for (const char c : text) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return value;
}

int64_t longest_axis(const Sizes& sizes) {
  int64_t longest = 1;
  for (const auto& [name, dims] : sizes)
    if (dims.size() == 2) longest = std::max(longest, dims.back());
  return longest;
}

void fill_values(Tensor& tensor, Random& random) {
  if (tensor.dtype() == DType::string) {  // which are texts, and numbers as well
    for (std::string& text : tensor.mutable_strings()) text = std::to_string(random.below(10));
    return;
  }
  if (tensor.dtype() == DType::f32) {
    for (float& value : tensor.mutable_as<float>()) value = static_cast<float>(random.normal());
    return;
  }
  for (int64_t i = 0; i < tensor.elements(); ++i) tensor.write_double(i, random.normal());
}

// Evenly spread from a few to all of `longest`, in any order: half of it on average, however few they are.
std::vector<int64_t> half_lengths(int64_t count, int64_t longest, Random& random) {
  std::vector<int64_t> lengths;
  for (int64_t i = 0; i < count; ++i)
    lengths.push_back(std::max<int64_t>(1, ((2 * i + 1) * longest + count) / (2 * count)));
  for (int64_t i = count - 1; i > 0; --i)
    std::swap(lengths[static_cast<size_t>(i)], lengths[static_cast<size_t>(random.below(i + 1))]);
  return lengths;
}

std::vector<int64_t> few_lengths(int64_t count, int64_t longest) {
  std::vector<int64_t> lengths;
  for (int64_t i = 0, length = 1; i < count; ++i, length = std::min(2 * length, longest)) lengths.push_back(length);
  return lengths;
}

void fill_mask(Tensor& tensor, uint64_t seed, Lengths lengths) {
  Random random(seed);
  const int64_t size = tensor.rank() == 0 ? 1 : tensor.dims().back(),
                rows = tensor.elements() / std::max<int64_t>(size, 1);
  const std::vector<int64_t> ends = lengths == Lengths::half  ? half_lengths(rows, size, random)
                                    : lengths == Lengths::few ? few_lengths(rows, size)
                                                              : std::vector<int64_t>(static_cast<size_t>(rows), size);
  for (int64_t i = 0; i < tensor.elements(); ++i)
    tensor.write_double(i, i % size < ends[static_cast<size_t>(i / size)] ? 1 : 0);
}

}  // namespace

uint64_t Random::next() {  // splitmix64 (Steele, Lea and Flood, 2014)
  uint64_t z = (state_ += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

double Random::uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

int64_t Random::below(int64_t bound) { return static_cast<int64_t>(next() % static_cast<uint64_t>(bound)); }

double Random::normal() {  // Box and Muller
  const double radius = std::sqrt(-2 * std::log(1 - uniform()));
  return radius * std::cos(2 * std::numbers::pi * uniform());
}

Tensor random_input(const Value& input, const std::vector<int64_t>& dims, const Sizes& all, uint64_t seed,
                    Lengths lengths) {
  Tensor tensor(input.dtype(), dims);
  Random random(seed ^ hash(input.name()));
  const std::optional<int64_t> rows = indexed_rows(input);
  switch (role_of(input)) {
    case InputRole::values: fill_values(tensor, random); break;
    case InputRole::mask: fill_mask(tensor, seed, lengths); break;
    case InputRole::token_types: break;
    case InputRole::lengths:
      for (int64_t i = 0; i < tensor.elements(); ++i) tensor.write_int(i, longest_axis(all));
      break;
    case InputRole::positions: {
      const int64_t period = std::max<int64_t>(1, dims.empty() ? 1 : dims.back());
      for (int64_t i = 0; i < tensor.elements(); ++i) tensor.write_int(i, i % std::min(period, rows.value_or(period)));
      break;
    }
    case InputRole::token_ids: {
      const int64_t bound = std::max<int64_t>(1, rows.value_or(kUnknownTable));
      for (int64_t i = 0; i < tensor.elements(); ++i) tensor.write_int(i, random.below(bound));
      break;
    }
  }
  return tensor;
}

}  // namespace lathe::tools
