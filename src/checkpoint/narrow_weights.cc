#include "checkpoint/narrow_weights.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>

#include "base/error.h"

namespace lathe::checkpoint {
namespace {

constexpr int64_t kRowsAtOnce = 16;  // whose words share cache lines
// Twice the numbers that four bits of MXFP4 stand for, and how many share a scale.
constexpr std::array<int8_t, 16> kFp4 = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
constexpr int64_t kFp4Block = 32;
constexpr std::array<int64_t, 8> kAwqPlace = {0, 4, 1, 5, 2, 6, 3, 7};  // of a row within a word

int64_t ceil_of(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Level `index` of a stream of levels of some bits, the first in the lowest bits of the first word; the words lie
// `stride` apart. Of 3 bits, some begin in one word and end in the next.
uint32_t level_at(const int32_t* words, int64_t stride, int64_t index, int bits) {
  const int64_t word = index * bits / 32, shift = index * bits % 32;
  uint32_t level = static_cast<uint32_t>(words[word * stride]) >> shift;
  if (shift + bits > 32) level |= static_cast<uint32_t>(words[(word + 1) * stride]) << (32 - shift);
  return level & ((1U << bits) - 1);
}

// What is stored narrower is held in 4 bits.
int held_bits(int bits) { return std::max(bits, 4); }

// The levels level(row, column), unsigned, packed as a tensor. Column j is made of column order[j].
template <class Level>
Tensor collect(int64_t rows, int64_t columns, int bits, std::span<const int32_t> order, ThreadTeam& team,
               const Level& level) {
  Tensor result(bits == 4 ? DType::u4 : DType::u8, {rows, columns});
  auto* out = reinterpret_cast<uint8_t*>(result.mutable_bytes().data());
  team.parallel_for(ceil_of(rows, kRowsAtOnce), [&](int64_t begin, int64_t end, int) {
    std::vector<uint8_t> levels(static_cast<size_t>(kRowsAtOnce * columns));
    for (int64_t first = begin * kRowsAtOnce; first < std::min(end * kRowsAtOnce, rows); first += kRowsAtOnce) {
      const int64_t count = std::min(kRowsAtOnce, rows - first);
      for (int64_t j = 0; j < columns; ++j) {
        const int64_t column = order.empty() ? j : order[static_cast<size_t>(j)];
        for (int64_t i = 0; i < count; ++i)
          levels[static_cast<size_t>(i * columns + j)] = static_cast<uint8_t>(level(first + i, column));
      }
      const int64_t base = first * columns, elements = count * columns;
      if (bits == 8) {
        std::copy_n(levels.begin(), elements, out + base);
        continue;
      }
      for (int64_t at = 0; at + 1 < elements; at += 2)  // `base` is even, as the rows before are
        out[(base + at) / 2] =
            static_cast<uint8_t>(levels[static_cast<size_t>(at)] | levels[static_cast<size_t>(at) + 1] << 4);
      if (elements % 2 != 0) out[(base + elements) / 2] = levels[static_cast<size_t>(elements) - 1];
    }
  });
  return result;
}

class Reader {
 public:
  Reader(const Checkpoint& checkpoint, const Quantization& quantization, std::string name, int64_t n, int64_t k,
         ThreadTeam* team)
      : checkpoint_(checkpoint), quantization_(quantization), name_(std::move(name)), n_(n), k_(k), team_(team) {}

  NarrowWeight read() {
    if (checkpoint_.contains(name_ + ".weight_packed")) return read_packed();
    if (checkpoint_.contains(name_ + std::string(kMxfp4Levels))) return read_mxfp4();
    if (!checkpoint_.contains(name_ + ".qweight")) return read_bytes();
    if (quantization_.method == QuantMethod::gptq) return read_gptq();
    if (quantization_.method == QuantMethod::awq) return read_awq();
    fail(ErrorCode::invalid_model, "'{}.qweight' is there, but no config that says how it was quantised", name_);
  }

 private:
  const StoredTensor& part(const std::string& suffix) const {
    const StoredTensor* stored = checkpoint_.find(name_ + suffix);
    if (stored == nullptr) fail(ErrorCode::invalid_model, "'{}{}' is missing", name_, suffix);
    return *stored;
  }
  const StoredTensor& part(const std::string& suffix, DType dtype, const std::vector<int64_t>& dims) const {
    const StoredTensor& stored = part(suffix);
    if (stored.dtype != dtype || stored.dims != dims)
      fail(ErrorCode::invalid_model, "'{}{}' is {} {}, but must be {} {}", name_, suffix, to_string(stored.dtype),
           to_string(stored.dims), to_string(dtype), to_string(dims));
    return stored;
  }
  Tensor words(const std::string& suffix, const std::vector<int64_t>& dims) const {
    part(suffix, DType::i32, dims);
    return checkpoint_.tensor(name_ + suffix).aligned();
  }
  const StoredTensor& scales_part(const std::string& suffix) const {
    const StoredTensor& scales = part(suffix);
    if (scales.dtype != DType::f32 && !is_half(scales.dtype))
      fail(ErrorCode::invalid_model, "'{}{}' holds {}, not floats of 16 or 32 bits", name_, suffix,
           to_string(scales.dtype));
    return scales;
  }

  // The columns that share one of `groups` scales of a row.
  int64_t block_of(int64_t groups, int bits) const {
    if (groups == 1) return std::max<int64_t>(k_, 1);
    for (const Quantization::Scheme& scheme : quantization_.schemes)
      if (scheme.bits == bits && scheme.group > 0 && ceil_of(k_, scheme.group) == groups) return scheme.group;
    fail(ErrorCode::invalid_model,
         "'{}' has {} columns and {} scales a row, which is none of the group sizes of its config", name_, k_, groups);
  }

  // The order that brings the columns of a group together; none where they are. `indices` tell each column's group.
  std::optional<Tensor> order_of(const std::string& suffix, int64_t block, int64_t groups) const {
    if (!checkpoint_.contains(name_ + suffix)) return std::nullopt;
    const Tensor indices = words(suffix, {k_});
    const auto group = indices.as<int32_t>();
    std::vector<int32_t> order(static_cast<size_t>(k_));
    std::iota(order.begin(), order.end(), 0);
    const auto in = [&](int32_t column) { return group[static_cast<size_t>(column)]; };
    if (std::all_of(group.begin(), group.end(), [](int32_t g) { return g == -1; })) return std::nullopt;
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return in(a) < in(b); });
    for (int64_t j = 0; j < k_; ++j)
      if (in(order[static_cast<size_t>(j)]) != j / block)
        fail(ErrorCode::unsupported, "'{}{}' does not give each of {} groups {} columns", name_, suffix, groups, block);
    if (std::is_sorted(order.begin(), order.end())) return std::nullopt;
    return Tensor::of<int32_t>({k_}, std::span<const int32_t>(order));
  }

  // [N, G]: that of a row and a group lies at [row * row_stride + group * group_stride].
  Tensor strided_scales(int64_t groups, int64_t row_stride, int64_t group_stride) const {
    const StoredTensor& stored = part(".scales");
    if (team_ == nullptr) return Tensor::deferred(stored.dtype, {n_, groups}, 0);
    const Tensor source = checkpoint_.tensor(name_ + ".scales");
    const size_t width = storage_bytes(stored.dtype, 1);
    Tensor result(stored.dtype, {n_, groups});
    for (int64_t row = 0; row < n_; ++row)
      for (int64_t g = 0; g < groups; ++g)
        std::memcpy(result.mutable_bytes().data() + static_cast<size_t>(row * groups + g) * width,
                    source.bytes().data() + static_cast<size_t>(row * row_stride + g * group_stride) * width, width);
    return result;
  }

  template <class Level>
  Tensor levels(int64_t columns, int bits, const std::optional<Tensor>& order, const Level& level) const {
    if (team_ == nullptr) return Tensor::deferred(bits == 4 ? DType::u4 : DType::u8, {n_, columns}, 0);
    return collect(n_, columns, bits, order ? order->as<int32_t>() : std::span<const int32_t>(), *team_, level);
  }
  // None where all of them are the middle, which is what their absence stands for.
  template <class Level>
  std::optional<Tensor> zeros(int64_t groups, int bits, const Level& level) const {
    const uint32_t middle = 1U << (bits - 1);
    bool plain = true;
    for (int64_t row = 0; row < n_ && plain; ++row)
      for (int64_t g = 0; g < groups && plain; ++g) plain = level(row, g) == middle;
    if (plain) return std::nullopt;
    return levels(groups, bits, std::nullopt, level);
  }

  // The scale's sizes [G, N] tell the number of groups.
  int64_t groups_of_columns(int bits) const {
    const StoredTensor& scales = scales_part(".scales");
    if (scales.dims.size() != 2 || scales.dims[1] != n_ || n_ * bits % 32 != 0)
      fail(ErrorCode::invalid_model, "'{}.scales' {} does not fit {} rows of {} bits", name_, to_string(scales.dims),
           n_, bits);
    return scales.dims[0];
  }

  NarrowWeight read_gptq() {
    const int bits = quantization_.schemes.at(0).bits;
    const int64_t groups = groups_of_columns(bits), row_words = n_ * bits / 32;
    const uint32_t mask = (1U << bits) - 1, missing = static_cast<uint32_t>(quantization_.zero_offset);
    NarrowWeight weight;
    weight.block = block_of(groups, bits);
    weight.order = order_of(".g_idx", weight.block, groups);
    const Tensor q = words(".qweight", {ceil_of(k_ * bits, 32), n_}), z = words(".qzeros", {groups, row_words});
    const int32_t *q_words = q.as<int32_t>().data(), *z_words = z.as<int32_t>().data();
    weight.q = levels(k_, held_bits(bits), weight.order,
                      [=, n = n_](int64_t row, int64_t column) { return level_at(q_words + row, n, column, bits); });
    weight.scales = strided_scales(groups, 1, n_);
    weight.zeros = zeros(groups, held_bits(bits), [=](int64_t row, int64_t g) {
      return (level_at(z_words + g * row_words, 1, row, bits) + missing) & mask;
    });
    return weight;
  }

  // AWQ's layout "gemv": rows along columns, and what belongs to the groups of a row fills whole words.
  NarrowWeight read_awq_rows() {
    constexpr int64_t kPer = 8;
    const int64_t group = quantization_.schemes.at(0).group, groups = group > 0 ? ceil_of(k_, group) : 1;
    const StoredTensor& stored = scales_part(".scales");
    if (stored.dims.size() != 2 || stored.dims[0] != n_ || stored.dims[1] < groups || stored.dims[1] % kPer != 0)
      fail(ErrorCode::invalid_model, "'{}.scales' {} does not fit {} rows of {} groups", name_, to_string(stored.dims),
           n_, groups);
    const int64_t row_words = ceil_of(k_, kPer), zero_words = stored.dims[1] / kPer;
    NarrowWeight weight;
    weight.block = block_of(groups, 4);
    const Tensor q = words(".qweight", {n_, row_words}), z = words(".qzeros", {n_, zero_words});
    const int32_t *q_words = q.as<int32_t>().data(), *z_words = z.as<int32_t>().data();
    weight.q = levels(k_, 4, std::nullopt,
                      [=](int64_t row, int64_t column) { return level_at(q_words + row * row_words, 1, column, 4); });
    weight.scales = strided_scales(groups, stored.dims[1], 1);
    weight.zeros =
        zeros(groups, 4, [=](int64_t row, int64_t g) { return level_at(z_words + row * zero_words, 1, g, 4); });
    return weight;
  }

  NarrowWeight read_awq() {
    if (quantization_.along_columns) return read_awq_rows();
    constexpr int64_t kPer = 8;
    const int64_t groups = groups_of_columns(4);
    NarrowWeight weight;
    weight.block = block_of(groups, 4);
    const auto level_in = [n = n_](const int32_t* data) {
      return [=](int64_t row, int64_t column) {
        const auto word = static_cast<uint32_t>(data[column * (n / kPer) + row / kPer]);
        return word >> (4 * kAwqPlace[static_cast<size_t>(row % kPer)]) & 15;
      };
    };
    const Tensor q = words(".qweight", {k_, n_ / kPer});
    weight.q = levels(k_, 4, std::nullopt, level_in(q.as<int32_t>().data()));
    weight.scales = strided_scales(groups, 1, n_);
    if (!checkpoint_.contains(name_ + ".qzeros")) return weight;
    const Tensor z = words(".qzeros", {groups, n_ / kPer});
    weight.zeros = zeros(groups, 4, level_in(z.as<int32_t>().data()));
    return weight;
  }

  // [N, G], where one scale for all or one for each row may have fewer axes.
  Tensor scales_of_rows() const {
    const StoredTensor& stored = scales_part(".weight_scale");
    if (stored.dims.size() == 2 && stored.dims[0] == n_) return checkpoint_.tensor(name_ + ".weight_scale");
    const Tensor scales = checkpoint_.tensor(name_ + ".weight_scale");
    if (stored.dims == std::vector<int64_t>{n_}) return scales.reshaped({n_, 1});
    if (scales.elements() != 1)
      fail(ErrorCode::invalid_model, "'{}.weight_scale' {} does not fit {} rows", name_, to_string(stored.dims), n_);
    Tensor repeated(stored.dtype, {n_, 1});
    for (int64_t row = 0; row < n_; ++row) repeated.write_double(row, scales.read_double(0));
    return repeated;
  }

  int packed_bits() const {
    const StoredTensor& packed = part(".weight_packed");
    for (const Quantization::Scheme& scheme : quantization_.schemes)
      if (packed.dims == std::vector<int64_t>{n_, ceil_of(k_, 32 / scheme.bits)}) return scheme.bits;
    fail(ErrorCode::invalid_model, "'{}.weight_packed' {} does not hold {} rows of {} columns", name_,
         to_string(packed.dims), n_, k_);
  }

  NarrowWeight read_packed() {
    const int bits = packed_bits();
    const int64_t row_words = ceil_of(k_ * bits, 32);
    NarrowWeight weight;
    weight.scales = scales_of_rows();
    const int64_t groups = weight.scales.dims()[1];
    weight.block = block_of(groups, bits);
    weight.order = order_of(".weight_g_idx", weight.block, groups);
    const Tensor q = words(".weight_packed", {n_, row_words});
    const int32_t* q_words = q.as<int32_t>().data();
    weight.q = levels(k_, bits, weight.order, [=](int64_t row, int64_t column) {
      return level_at(q_words + row * row_words, 1, column, bits);
    });
    weight.zeros = packed_zeros(groups, bits);
    return weight;
  }

  std::optional<Tensor> packed_zeros(int64_t groups, int bits) const {
    const std::string suffix = ".weight_zero_point";
    if (!checkpoint_.contains(name_ + suffix)) return std::nullopt;
    if (part(suffix).dtype == DType::i8) {
      part(suffix, DType::i8, {n_, groups});
      const Tensor z = checkpoint_.tensor(name_ + suffix);
      const int8_t* bytes = z.as<int8_t>().data();
      return zeros(groups, bits, [=](int64_t row, int64_t g) {
        return static_cast<uint32_t>(bytes[row * groups + g] + (1 << (bits - 1))) & ((1U << bits) - 1);
      });
    }
    const Tensor z = words(suffix, {ceil_of(n_ * bits, 32), groups});
    const int32_t* z_words = z.as<int32_t>().data();
    return zeros(groups, bits, [=](int64_t row, int64_t g) { return level_at(z_words + g, groups, row, bits); });
  }

  NarrowWeight read_mxfp4() {
    const int64_t groups = k_ / kFp4Block;
    if (k_ % kFp4Block != 0) fail(ErrorCode::invalid_model, "'{}': {} columns are no blocks of fp4", name_, k_);
    part(std::string(kMxfp4Levels), DType::u8, {n_, groups, kFp4Block / 2});
    part(std::string(kMxfp4Scales), DType::u8, {n_, groups});
    NarrowWeight weight;
    weight.block = kFp4Block;
    if (team_ == nullptr) {
      weight.q = Tensor::deferred(DType::i8, {n_, k_}, 0);
      weight.scales = Tensor::deferred(DType::bf16, {n_, groups}, 0);
      return weight;
    }
    const Tensor pairs = checkpoint_.tensor(name_ + std::string(kMxfp4Levels)),
                 powers = checkpoint_.tensor(name_ + std::string(kMxfp4Scales));
    weight.q = Tensor(DType::i8, {n_, k_});
    weight.scales = Tensor(DType::bf16, {n_, groups});
    const uint8_t* from = pairs.as<uint8_t>().data();
    int8_t* to = weight.q.mutable_as<int8_t>().data();
    team_->parallel_for(n_ * k_ / 2, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        to[2 * i] = kFp4[from[i] & 15];
        to[2 * i + 1] = kFp4[from[i] >> 4];
      }
    });
    constexpr int kNan = 255, kOne = 128;  // of levels that are twice the numbers
    for (int64_t i = 0; i < powers.elements(); ++i) {
      const auto power = static_cast<int>(powers.read_int(i));
      weight.scales.write_double(i, power == kNan ? std::nan("") : std::ldexp(1.0, power - kOne));
    }
    return weight;
  }

  NarrowWeight read_bytes() {
    part(".weight", DType::i8, {n_, k_});
    NarrowWeight weight;
    weight.q = checkpoint_.tensor(name_ + ".weight");
    weight.scales = scales_of_rows();
    weight.block = block_of(weight.scales.dims()[1], 8);
    if (!checkpoint_.contains(name_ + ".weight_zero_point")) return weight;
    part(".weight_zero_point", DType::i8, weight.scales.dims());
    weight.zeros = checkpoint_.tensor(name_ + ".weight_zero_point");
    return weight;
  }

  const Checkpoint& checkpoint_;
  const Quantization& quantization_;
  std::string name_;
  int64_t n_, k_;
  ThreadTeam* team_;
};

}  // namespace

bool is_narrow(const Checkpoint& checkpoint, const std::string& name) {
  const StoredTensor* plain = checkpoint.find(name + ".weight");
  return checkpoint.contains(name + ".qweight") || checkpoint.contains(name + std::string(kMxfp4Levels)) ||
         checkpoint.contains(name + ".weight_packed") || (plain != nullptr && plain->dtype == DType::i8);
}

std::vector<std::string> parts_of_matrix(const std::string& name) {
  std::vector<std::string> parts;
  for (const char* suffix : {".qweight", ".qzeros", ".scales", ".g_idx", ".weight", ".weight_packed", ".weight_scale",
                             ".weight_scale_inv", ".weight_shape", ".weight_zero_point", ".weight_g_idx",
                             ".input_scale", ".input_zero_point", "_blocks", "_scales"})
    parts.push_back(name + suffix);
  return parts;
}

NarrowWeight read_narrow(const Checkpoint& checkpoint, const Quantization& quantization, const std::string& name,
                         int64_t n, int64_t k, ThreadTeam* team) {
  return Reader(checkpoint, quantization, name, n, k, team).read();
}

}  // namespace lathe::checkpoint
