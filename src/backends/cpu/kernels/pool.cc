// Decides how a pool is walked: channels-last, each output pixel combines rows of channels found through pointers, as
// in convolution; channels-first and the rare kinds go window by window.
#include "backends/cpu/kernels/pool.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "backends/cpu/kernels/pool_kernels.h"

namespace lathe::cpu {
namespace {

using Size3 = std::array<int64_t, 3>;

int64_t volume(const Size3& size) { return size[0] * size[1] * size[2]; }

// The taps of one window along one axis that lie inside the input, and how many inside the padded input.
struct Span {
  int64_t first, step, count, padded;
};

Span span_of(const PoolShape& s, size_t axis, int64_t out) {
  const int64_t start = out * s.stride[axis] - s.pad_begin[axis], step = s.dilation[axis], taps = s.kernel[axis];
  const auto taps_below = [&](int64_t end) {  // taps at positions below `end`
    return std::clamp<int64_t>((end - start + step - 1) / step, 0, taps);
  };
  const int64_t skipped = start < 0 ? taps_below(0) : 0;
  const int64_t inside = s.input[axis] > start ? taps_below(s.input[axis]) : 0;
  const int64_t padded_end = s.input[axis] + s.pad_end[axis];
  return {start + skipped * step, step, std::max<int64_t>(0, inside - skipped),
          padded_end > start ? taps_below(padded_end) : 0};
}

// One output pixel's window.
struct Window {
  Span d, h, w;
  int64_t count() const { return d.count * h.count * w.count; }
  int64_t padded() const { return d.padded * h.padded * w.padded; }

  // Calls visit(d, h, w) for each tap inside the input, in order.
  template <class Visit>
  void for_each(Visit visit) const {
    for (int64_t i = 0, at_d = d.first; i < d.count; ++i, at_d += d.step)
      for (int64_t j = 0, at_h = h.first; j < h.count; ++j, at_h += h.step)
        for (int64_t k = 0, at_w = w.first; k < w.count; ++k, at_w += w.step) visit(at_d, at_h, at_w);
  }
};

Window window_of(const PoolShape& s, int64_t pixel) {
  const Size3& out = s.output;
  return {span_of(s, 0, pixel / out[2] / out[1]), span_of(s, 1, pixel / out[2] % out[1]),
          span_of(s, 2, pixel % out[2])};
}

float average_scale(const PoolShape& s, const Window& window) {
  const int64_t divisor = s.count_include_pad ? window.padded() : window.count();
  return divisor == 0 ? 0.0f : 1.0f / static_cast<float>(divisor);
}

// --- Channels-last ---

void combine_rows(const PoolKernels& kernels, const PoolShape& s, const Window& window, const float* const* rows,
                  float* out) {
  const int64_t count = window.count(), n = s.channels;
  if (s.kind == PoolKind::average) return kernels.sum_rows(rows, count, n, average_scale(s, window), out);
  if (s.kind == PoolKind::max) {
    if (count > 0) return kernels.max_rows(rows, count, n, out);
    std::fill_n(out, n, -std::numeric_limits<float>::infinity());
  } else if (s.p == 1.0f) {
    kernels.abs_sum_rows(rows, count, n, 1.0f, out);
  } else if (s.p == 2.0f) {
    kernels.square_sum_rows(rows, count, n, 1.0f, out);
    for (int64_t c = 0; c < n; ++c) out[c] = std::sqrt(out[c]);
  } else {
    for (int64_t c = 0; c < n; ++c) {
      double sum = 0;
      for (int64_t r = 0; r < count; ++r) sum += std::pow(std::abs(static_cast<double>(rows[r][c])), s.p);
      out[c] = static_cast<float>(std::pow(sum, 1.0 / static_cast<double>(s.p)));
    }
  }
}

// combine(window, output) is called when `rows` holds the pixels of the window.
template <class T, class Combine>
void pool_last(const PoolShape& s, const T* input, T* output, Range pixels, const T** rows, Combine combine) {
  const int64_t out_pixels = volume(s.output), in_pixels = volume(s.input);
  Window window{};
  for (int64_t pixel = pixels.begin; pixel < pixels.end; ++pixel) {
    const T* image = input + pixel / out_pixels * in_pixels * s.channels;
    // Along a row of the output only the last span changes.
    const int64_t column = pixel % s.output[2];
    if (pixel == pixels.begin || column == 0)
      window = window_of(s, pixel % out_pixels);
    else
      window.w = span_of(s, 2, column);
    int64_t count = 0;
    window.for_each([&](int64_t d, int64_t h, int64_t w) {
      rows[count++] = image + ((d * s.input[1] + h) * s.input[2] + w) * s.channels;
    });
    combine(window, output + pixel * s.channels);
  }
}

// --- Channels-first ---

float combine_window(const PoolShape& s, const Window& window, const float* plane) {
  const auto at = [&](int64_t d, int64_t h, int64_t w) { return plane[(d * s.input[1] + h) * s.input[2] + w]; };
  if (s.kind == PoolKind::max) {
    float best = -std::numeric_limits<float>::infinity();
    bool first = true;
    window.for_each([&](int64_t d, int64_t h, int64_t w) {
      const float x = at(d, h, w);
      if (first || x > best || std::isnan(x)) best = std::isnan(best) ? best : x;
      first = false;
    });
    return best;
  }
  double sum = 0;
  if (s.kind == PoolKind::average) {
    window.for_each([&](int64_t d, int64_t h, int64_t w) { sum += static_cast<double>(at(d, h, w)); });
    return static_cast<float>(sum * static_cast<double>(average_scale(s, window)));
  }
  if (s.p == 2.0f) {
    window.for_each([&](int64_t d, int64_t h, int64_t w) { sum += static_cast<double>(at(d, h, w)) * at(d, h, w); });
    return static_cast<float>(std::sqrt(sum));
  }
  window.for_each(
      [&](int64_t d, int64_t h, int64_t w) { sum += std::pow(std::abs(static_cast<double>(at(d, h, w))), s.p); });
  return static_cast<float>(std::pow(sum, 1.0 / static_cast<double>(s.p)));
}

void pool_first(const PoolShape& s, const float* input, float* output, Range elements) {
  const int64_t out_pixels = volume(s.output), in_pixels = volume(s.input);
  for (int64_t i = elements.begin; i < elements.end; ++i) {
    output[i] = combine_window(s, window_of(s, i % out_pixels), input + i / out_pixels * in_pixels);
  }
}

// --- Indices ---

void find_indices(const PoolShape& s, const float* input, PoolIndices indices, Range elements) {
  const int64_t out_pixels = volume(s.output), in_pixels = volume(s.input);
  for (int64_t i = elements.begin; i < elements.end; ++i) {
    const int64_t pixel = s.nchw ? i % out_pixels : i / s.channels % out_pixels;
    const int64_t channel = s.nchw ? i / out_pixels % s.channels : i % s.channels;
    const int64_t image = i / out_pixels / s.channels;
    const float* plane =
        input + (s.nchw ? (image * s.channels + channel) * in_pixels : image * in_pixels * s.channels + channel);
    const int64_t step = s.nchw ? 1 : s.channels;
    float best = 0;
    int64_t found = -1;
    window_of(s, pixel).for_each([&](int64_t d, int64_t h, int64_t w) {
      const float x = plane[((d * s.input[1] + h) * s.input[2] + w) * step];
      if (found >= 0 && !(x > best) && !(std::isnan(x) && !std::isnan(best))) return;
      best = x;
      const int64_t in_plane = indices.column_major ? d * s.input[1] * s.input[2] + w * s.input[1] + h
                                                    : (d * s.input[1] + h) * s.input[2] + w;
      found = (image * s.channels + channel) * in_pixels + in_plane;
    });
    indices.out[i] = found;
  }
}

}  // namespace

size_t pool_workspace_bytes(const PoolShape& shape, int threads) {
  return shape.nchw ? 0 : static_cast<size_t>(volume(shape.kernel) * threads) * sizeof(const float*);
}

void max_pool_bytes(ThreadTeam& team, const KernelTable& kernels, const PoolShape& shape, const uint8_t* input,
                    bool is_signed, uint8_t* output, std::byte* workspace) {
  const auto lowest = static_cast<uint8_t>(is_signed ? 0x80 : 0);
  const int64_t taps = volume(shape.kernel);
  team.parallel_for(shape.batch * volume(shape.output), [&](int64_t begin, int64_t end, int thread) {
    const uint8_t** rows = reinterpret_cast<const uint8_t**>(workspace) + thread * taps;
    pool_last(shape, input, output, {begin, end}, rows, [&](const Window& window, uint8_t* out) {
      if (window.count() == 0)
        std::fill_n(out, shape.channels, lowest);
      else
        kernels.pool.max_byte_rows(rows, window.count(), shape.channels, is_signed, out);
    });
  });
}

void pool(ThreadTeam& team, const KernelTable& kernels, const PoolShape& shape, const float* input, float* output,
          std::byte* workspace, PoolIndices indices) {
  const int64_t pixels = shape.batch * volume(shape.output), elements = pixels * shape.channels;
  if (shape.nchw) {
    team.parallel_for(elements, [&](int64_t begin, int64_t end, int) {
      pool_first(shape, input, output, {begin, end});
    });
  } else {
    const int64_t taps = volume(shape.kernel);
    team.parallel_for(pixels, [&](int64_t begin, int64_t end, int thread) {
      const float** rows = reinterpret_cast<const float**>(workspace) + thread * taps;
      pool_last(shape, input, output, {begin, end}, rows,
                [&](const Window& window, float* out) { combine_rows(kernels.pool, shape, window, rows, out); });
    });
  }
  if (indices.out == nullptr) return;
  team.parallel_for(elements, [&](int64_t begin, int64_t end, int) {
    find_indices(shape, input, indices, {begin, end});
  });
}

}  // namespace lathe::cpu
