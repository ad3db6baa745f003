// Packing of weights into panels and back. Build-time code: plain loops, any source type.
#include <algorithm>

#include "backends/cpu/kernels/gemm.h"
#include "base/error.h"
#include "base/half.h"

namespace lathe::cpu {
namespace {

// A few k at a time, so that both a row-major and a transposed source are read a cache line at a time.
constexpr int64_t kBlock = 16;

template <class T>
void pack_panels(int nr, const T* b, int64_t stride_k, int64_t stride_n, int64_t k, int64_t n, Range panels,
                 float* packed) {
  for (int64_t panel = panels.begin; panel < panels.end; ++panel) {
    const T* source = b + panel * nr * stride_n;
    const int64_t cols = std::min<int64_t>(nr, n - panel * nr);
    float* out = packed + (panel - panels.begin) * k * nr;
    for (int64_t block = 0; block < k; block += kBlock) {
      const int64_t end = std::min(k, block + kBlock);
      for (int64_t j = 0; j < nr; ++j)
        for (int64_t i = block; i < end; ++i)
          out[i * nr + j] = j < cols ? static_cast<float>(source[i * stride_k + j * stride_n]) : 0.0f;
    }
  }
}

// Panels of 16 bits: [k / group][nr][group].
struct HalfPanels {
  int nr, group;
  int64_t k, n;

  HalfPanels(PanelType type, int panel, int64_t rows, int64_t columns)
      : nr(panel), group(type == PanelType::bf16 ? 2 : 1), k(rows), n(columns) {}
  int64_t depth() const { return (k + group - 1) / group * group; }
  // Calls visit(i, j, position) for each element and, with j == n or i == k, for the padding.
  template <class F>
  void for_each(F visit) const {
    for (int64_t panel = 0; panel < panel_count(nr, n); ++panel) {
      const int64_t cols = std::min<int64_t>(nr, n - panel * nr);
      for (int64_t block = 0; block < depth(); block += kBlock) {
        const int64_t end = std::min(depth(), block + kBlock);
        for (int64_t j = 0; j < nr; ++j)
          for (int64_t i = block; i < end; ++i)
            visit(std::min(i, k), j < cols ? panel * nr + j : n,
                  panel * depth() * nr + (i / group * nr + j) * group + i % group);
      }
    }
  }
};

}  // namespace

int64_t panel_count(int nr, int64_t n) { return (n + nr - 1) / nr; }

int64_t packed_b_floats(int nr, int64_t k, int64_t n) { return panel_count(nr, n) * k * nr; }

int64_t packed_b_bytes(PanelType type, int nr, int64_t k, int64_t n) {
  if (type == PanelType::f32) return packed_b_floats(nr, k, n) * static_cast<int64_t>(sizeof(float));
  return panel_count(nr, n) * HalfPanels(type, nr, k, n).depth() * nr * static_cast<int64_t>(sizeof(uint16_t));
}

void pack_half_b(PanelType type, int nr, const SourceB& b, int64_t k, int64_t n, uint16_t* packed) {
  LATHE_CHECK(b.type == (type == PanelType::bf16 ? DType::bf16 : DType::f16));
  const auto* source = static_cast<const uint16_t*>(b.data);
  HalfPanels(type, nr, k, n).for_each([&](int64_t i, int64_t j, int64_t position) {
    packed[position] = i < k && j < n ? source[i * b.stride_k + j * b.stride_n] : uint16_t{0};
  });
}

void unpack_half_b(PanelType type, int nr, const uint16_t* packed, int64_t k, int64_t n, uint16_t* out,
                   int64_t stride_k, int64_t stride_n) {
  HalfPanels(type, nr, k, n).for_each([&](int64_t i, int64_t j, int64_t position) {
    if (i < k && j < n) out[i * stride_k + j * stride_n] = packed[position];
  });
}

void pack_b(int nr, const SourceB& b, int64_t k, int64_t n, Range panels, float* packed) {
  const auto pack = [&]<class T>(const T* data) {
    pack_panels(nr, data, b.stride_k, b.stride_n, k, n, panels, packed);
  };
  switch (b.type) {
    case DType::f32: return pack(static_cast<const float*>(b.data));
    case DType::f64: return pack(static_cast<const double*>(b.data));
    case DType::f16: return pack(static_cast<const Half*>(b.data));
    case DType::bf16: return pack(static_cast<const BFloat16*>(b.data));
    default: fail(ErrorCode::unsupported, "weights of type {} cannot be packed as floats", to_string(b.type));
  }
}

void unpack_b(int nr, const float* packed, int64_t k, int64_t n, float* out, int64_t stride_k, int64_t stride_n) {
  for (int64_t j = 0; j < n; ++j) {
    const float* panel = packed + j / nr * k * nr + j % nr;
    for (int64_t i = 0; i < k; ++i) out[i * stride_k + j * stride_n] = panel[i * nr];
  }
}

}  // namespace lathe::cpu
