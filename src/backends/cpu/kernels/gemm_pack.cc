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

}  // namespace

int64_t panel_count(int nr, int64_t n) { return (n + nr - 1) / nr; }

int64_t packed_b_floats(int nr, int64_t k, int64_t n) { return panel_count(nr, n) * k * nr; }

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
