// Decides how an image is resampled: a row of the output first combines the rows around it, whole, then picks its
// columns from the combined row. A column is one float channels-first and all channels channels-last.
#include "backends/cpu/kernels/resize.h"

#include <algorithm>
#include <cstring>

#include "backends/cpu/kernels/pool_kernels.h"

namespace lathe::cpu {
namespace {

size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

// The memory of one thread.
struct Scratch {
  float* row;          // the combined input row
  const float** taps;  // rows, or columns, to combine
  float* weights;

  static size_t row_bytes(const Resize& r) {
    return aligned(static_cast<size_t>(r.axes[2].input * (r.nchw ? 1 : r.channels)) * sizeof(float));
  }
  static size_t tap_count(const Resize& r) {
    return static_cast<size_t>(std::max(r.axes[0].taps * r.axes[1].taps, r.axes[2].taps));
  }
  static size_t bytes(const Resize& r) {
    return row_bytes(r) + aligned(tap_count(r) * sizeof(const float*)) + aligned(tap_count(r) * sizeof(float));
  }
  Scratch(const Resize& r, std::byte* memory)
      : row(reinterpret_cast<float*>(memory)),
        taps(reinterpret_cast<const float**>(memory + row_bytes(r))),
        weights(reinterpret_cast<float*>(memory + row_bytes(r) + aligned(tap_count(r) * sizeof(const float*)))) {}
};

class RowResizer {
 public:
  RowResizer(const Resize& resize, const PoolKernels& kernels, Scratch scratch)
      : r_(resize), kernels_(kernels), scratch_(scratch), column_(resize.nchw ? 1 : resize.channels) {}

  // Output row (d, h) of the image at `input` to `out`.
  void run(const float* input, int64_t d, int64_t h, float* out) {
    const bool outside = r_.axes[0].outside[static_cast<size_t>(d)] || r_.axes[1].outside[static_cast<size_t>(h)];
    if (outside) {
      std::fill_n(out, r_.axes[2].output * column_, r_.extrapolation);
      return;
    }
    const float* row = combine_rows(input, d, h);
    column_ == 1 ? pick_floats(row, out) : pick_columns(row, out);
  }

 private:
  const float* combine_rows(const float* input, int64_t d, int64_t h) {
    const ResizeAxis &depth = r_.axes[0], &height = r_.axes[1];
    const int64_t row_size = r_.axes[2].input * column_;
    int64_t count = 0;
    for (int64_t i = d * depth.taps; i < (d + 1) * depth.taps; ++i) {
      for (int64_t j = h * height.taps; j < (h + 1) * height.taps; ++j) {
        const float weight = depth.weight[static_cast<size_t>(i)] * height.weight[static_cast<size_t>(j)];
        if (weight == 0.0f) continue;
        const int64_t row = static_cast<int64_t>(depth.index[static_cast<size_t>(i)]) * height.input +
                            height.index[static_cast<size_t>(j)];
        scratch_.taps[count] = input + row * row_size;
        scratch_.weights[count++] = weight;
      }
    }
    if (count == 1 && scratch_.weights[0] == 1.0f) return scratch_.taps[0];
    kernels_.weighted_rows(scratch_.taps, scratch_.weights, count, row_size, scratch_.row);
    return scratch_.row;
  }

  void pick_floats(const float* row, float* out) const {
    const ResizeAxis& width = r_.axes[2];
    const int32_t* index = width.index.data();
    const float* weight = width.weight.data();
    if (width.taps == 1) {
      for (int64_t w = 0; w < width.output; ++w) out[w] = row[index[w]];
    } else if (width.taps == 2) {
      for (int64_t w = 0; w < width.output; ++w) {
        out[w] = row[index[2 * w]] * weight[2 * w] + row[index[2 * w + 1]] * weight[2 * w + 1];
      }
    } else {
      for (int64_t w = 0; w < width.output; ++w) {
        float sum = 0.0f;
        for (int64_t t = w * width.taps; t < (w + 1) * width.taps; ++t) sum += row[index[t]] * weight[t];
        out[w] = sum;
      }
    }
    for (int64_t w = 0; w < width.output; ++w) {
      if (width.outside[static_cast<size_t>(w)]) out[w] = r_.extrapolation;
    }
  }

  void pick_columns(const float* row, float* out) {
    const ResizeAxis& width = r_.axes[2];
    for (int64_t w = 0; w < width.output; ++w, out += column_) {
      if (width.outside[static_cast<size_t>(w)]) {
        std::fill_n(out, column_, r_.extrapolation);
        continue;
      }
      const auto first = static_cast<size_t>(w * width.taps);
      if (width.taps == 1) {
        std::memcpy(out, row + width.index[first] * column_, static_cast<size_t>(column_) * sizeof(float));
        continue;
      }
      for (size_t t = 0; t < static_cast<size_t>(width.taps); ++t) {
        scratch_.taps[t] = row + width.index[first + t] * column_;
      }
      kernels_.weighted_rows(scratch_.taps, &width.weight[first], width.taps, column_, out);
    }
  }

  const Resize& r_;
  const PoolKernels& kernels_;
  Scratch scratch_;
  int64_t column_;
};

}  // namespace

size_t resize_workspace_bytes(const Resize& resize, int threads) {
  return Scratch::bytes(resize) * static_cast<size_t>(threads);
}

void resize(ThreadTeam& team, const KernelTable& kernels, const Resize& r, const float* input, float* output,
            std::byte* workspace) {
  const int64_t images = r.nchw ? r.batch * r.channels : r.batch, column = r.nchw ? 1 : r.channels;
  const int64_t depth = r.axes[0].output, height = r.axes[1].output;
  const int64_t in_size = r.axes[0].input * r.axes[1].input * r.axes[2].input * column;
  const int64_t out_row = r.axes[2].output * column;
  if (out_row == 0) return;
  team.parallel_for(images * depth * height, [&](int64_t begin, int64_t end, int thread) {
    RowResizer resizer(r, kernels.pool, Scratch(r, workspace + static_cast<size_t>(thread) * Scratch::bytes(r)));
    for (int64_t line = begin; line < end; ++line) {
      resizer.run(input + line / height / depth * in_size, line / height % depth, line % height,
                  output + line * out_row);
    }
  });
}

}  // namespace lathe::cpu
