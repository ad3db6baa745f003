#include "checkpoint/weight_rows.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/small_float.h"

namespace lathe::checkpoint {
namespace {

constexpr float kLargestHalf = 65504;

bool is_small_float(DType type) { return type == DType::f8e4m3 || type == DType::f8e5m2; }

int64_t ceil_of(int64_t a, int64_t b) { return (a + b - 1) / b; }

uint16_t rounded(float value, DType type) {
  return type == DType::f16 ? Half::from_float(value) : BFloat16::from_float(value);
}

// The float that each byte stands for.
std::array<float, 256> values_of(DType type) {
  std::array<float, 256> values{};
  for (size_t bits = 0; bits < values.size(); ++bits)
    values[bits] = small_float_to_float(type, static_cast<uint8_t>(bits));
  return values;
}

}  // namespace

bool is_fp8(const Checkpoint& checkpoint, const std::string& name) {
  const StoredTensor* stored = checkpoint.find(name + ".weight");
  return stored != nullptr && is_small_float(stored->dtype);
}

WeightRows::WeightRows(const Checkpoint& checkpoint, const Quantization& quantization, const std::string& name,
                       int64_t n, int64_t k, bool transposed)
    : checkpoint_(checkpoint), name_(name), n_(n), k_(k), transposed_(transposed) {
  const StoredTensor* stored = checkpoint.find(name + ".weight");
  const std::vector<int64_t> dims = transposed ? std::vector{k, n} : std::vector{n, k};
  if (stored == nullptr) fail(ErrorCode::invalid_model, "'{}.weight' {} is missing", name, to_string(dims));
  if (stored->dims != dims)
    fail(ErrorCode::invalid_model, "'{}.weight' is {}, but must be {}", name, to_string(stored->dims), to_string(dims));
  const bool fp8 = is_small_float(stored->dtype) && !transposed;
  if (!fp8 && stored->dtype != DType::f32 && !is_half(stored->dtype))
    fail(ErrorCode::invalid_model, "'{}.weight' has elements of type {}, not floats of 16 or 32 bits", name,
         to_string(stored->dtype));
  stored_ = checkpoint.tensor(name + ".weight");
  if (fp8) find_scales(quantization);
}

void WeightRows::find_scales(const Quantization& quantization) {
  const std::string inverse = name_ + ".weight_scale_inv", plain = name_ + ".weight_scale";
  const std::string& found = checkpoint_.contains(inverse) ? inverse : plain;
  const StoredTensor* stored = checkpoint_.find(found);
  if (stored == nullptr) fail(ErrorCode::invalid_model, "'{}' is missing, the scales of an fp8 weight", plain);
  if (stored->dtype != DType::f32 && !is_half(stored->dtype))
    fail(ErrorCode::invalid_model, "'{}' holds {}, not floats of 16 or 32 bits", found, to_string(stored->dtype));
  const Tensor given = checkpoint_.tensor(found);
  block_rows_ = std::max<int64_t>(n_, 1);
  block_columns_ = std::max<int64_t>(k_, 1);
  std::vector<int64_t> dims = {1, 1};
  if (given.rank() > 0 && given.elements() != 1) {
    const bool rows = given.dims()[0] == n_ && given.elements() == n_;
    block_rows_ = rows ? 1 : quantization.block_rows;
    block_columns_ = rows ? block_columns_ : quantization.block_columns;
    dims = {ceil_of(n_, block_rows_), ceil_of(k_, block_columns_)};
  }
  if (given.elements() != dims[0] * dims[1] || (dims[1] > 1 && given.dims() != dims))
    fail(ErrorCode::invalid_model, "'{}' {} fits neither the weight, nor its rows, nor blocks of {} x {}", found,
         to_string(given.dims()), block_rows_, block_columns_);
  scales_ = Tensor(DType::f32, dims);
  float largest = 0;
  for (int64_t i = 0; i < scales_.elements(); ++i) {
    scales_.write_double(i, given.read_double(i));
    largest = std::max(largest, std::fabs(scales_.as<float>()[static_cast<size_t>(i)]));
  }
  const float most = stored_.dtype() == DType::f8e4m3 ? 448.0F : 57344.0F;
  if (largest * most > kLargestHalf) wide_ = DType::bf16;
}

// A scale and a byte have 256 products, so the stretches of rows that share a scale are looked up.
void WeightRows::widen(int64_t begin, int64_t end, std::span<std::byte> out) const {
  const std::array<float, 256> values = values_of(stored_.dtype());
  const auto* source = reinterpret_cast<const uint8_t*>(stored_.bytes().data());
  auto* to = reinterpret_cast<uint16_t*>(out.data());
  const int64_t scale_columns = scales_.dims()[1];
  std::array<uint16_t, 256> table{};
  for (int64_t first = 0; first < k_; first += block_columns_) {
    const int64_t count = std::min(block_columns_, k_ - first);
    int64_t table_block = -1;
    for (int64_t row = begin; row < end; ++row) {
      const int64_t block = row / block_rows_;
      if (block != table_block) {
        const float scale = scales_.as<float>()[static_cast<size_t>(block * scale_columns + first / block_columns_)];
        for (size_t bits = 0; bits < table.size(); ++bits) table[bits] = rounded(values[bits] * scale, wide_);
        table_block = block;
      }
      const uint8_t* bytes = source + row * k_ + first;
      uint16_t* stretch = to + (row - begin) * k_ + first;
      for (int64_t i = 0; i < count; ++i) stretch[i] = table[bytes[i]];
    }
  }
}

Tensor WeightRows::widened(ThreadTeam& team) const {
  Tensor result(wide_, {n_, k_});
  const std::span<std::byte> out = result.mutable_bytes();
  const size_t row_bytes = storage_bytes(wide_, k_);
  team.parallel_for(n_, [&](int64_t begin, int64_t end, int) {
    widen(begin, end, out.subspan(static_cast<size_t>(begin) * row_bytes));
  });
  release(n_);
  return result;
}

Tensor WeightRows::gathered(int64_t begin, int64_t end) const {
  const size_t width = storage_bytes(stored_.dtype(), 1);
  Tensor result(stored_.dtype(), {end - begin, k_});
  std::byte* out = result.mutable_bytes().data();
  for (int64_t column = 0; column < k_; ++column) {
    const std::byte* source = stored_.bytes().data() + static_cast<size_t>(column * n_ + begin) * width;
    for (int64_t row = 0; row < end - begin; ++row)
      std::memcpy(out + static_cast<size_t>(row * k_ + column) * width, source + static_cast<size_t>(row) * width,
                  width);
  }
  return result;
}

Tensor WeightRows::read(int64_t begin, int64_t end) const {
  if (is_fp8()) {
    Tensor result(wide_, {end - begin, k_});
    widen(begin, end, result.mutable_bytes());
    return result;
  }
  if (transposed_) return gathered(begin, end);
  const size_t row_bytes = storage_bytes(stored_.dtype(), k_);
  const auto bytes =
      stored_.bytes().subspan(static_cast<size_t>(begin) * row_bytes, static_cast<size_t>(end - begin) * row_bytes);
  return Tensor::view(stored_.dtype(), {end - begin, k_}, bytes, std::make_shared<Tensor>(stored_));
}

void WeightRows::release(int64_t end) const {
  if (transposed_ && end < n_) return;
  checkpoint_.release(name_ + ".weight", storage_bytes(stored_.dtype(), end * k_));
}

}  // namespace lathe::checkpoint
