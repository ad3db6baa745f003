#include "backends/cpu/kernels/conv_tiles.h"

#include <algorithm>
#include <type_traits>

#include "base/thread_team.h"

namespace lathe::cpu {
namespace {

// As many rows as any tile has.
constexpr int kMaxTileRows = 32;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

bool is_pointwise(const ConvShape& s) {
  const Size3 ones = {1, 1, 1}, zeros = {0, 0, 0};
  return !s.transposed && s.kernel == ones && s.stride == ones && s.pad == zeros && s.input == s.output;
}

bool in_range(int64_t index, int64_t size) { return static_cast<uint64_t>(index) < static_cast<uint64_t>(size); }

// The first input position of an output pixel's window; image points to that pixel's image.
template <class T>
struct Origin {
  const T* image;
  int64_t d, h, w;
};

// Input coordinate that tap `tap` of transposed convolution reads for output coordinate `out`, or -1.
int64_t transposed_source(const ConvShape& s, size_t axis, int64_t out, int64_t tap) {
  const int64_t scaled = out + s.pad[axis] - tap * s.dilation[axis];
  if (scaled < 0 || scaled % s.stride[axis] != 0) return -1;
  const int64_t source = scaled / s.stride[axis];
  return source < s.input[axis] ? source : -1;
}

// Appends segments to the lists that a tile kernel reads.
template <class T>
class SegmentWriter {
 public:
  SegmentWriter(int rows, const T** inputs, int64_t* weight_offsets)
      : rows_(rows), inputs_(inputs), weight_offsets_(weight_offsets) {}

  // pointer_of(row) is null where the tap lies in the padding. A segment that is all padding is dropped where padding
  // is zero; around bytes stands their zero point.
  template <class PointerOf>
  void add(int64_t weight_offset, const T* zeros, PointerOf pointer_of) {
    const T** segment = inputs_ + static_cast<int64_t>(count_) * rows_;
    bool used = !std::is_same_v<T, float>;
    for (int r = 0; r < rows_; ++r) {
      const T* pointer = pointer_of(r);
      used = used || pointer != nullptr;
      segment[r] = pointer != nullptr ? pointer : zeros;
    }
    if (used) weight_offsets_[count_++] = weight_offset;
  }

  int count() const { return count_; }

 private:
  int rows_;
  const T** inputs_;
  int64_t* weight_offsets_;
  int count_ = 0;
};

}  // namespace

template <class T>
ConvTiles<T>::ConvTiles(const ConvShape& shape, int64_t input_stride, int vec_width, int max_rows, int parts)
    : shape_(shape),
      input_stride_(input_stride),
      group_channels_(shape.in_channels / shape.groups),
      tap_size_(group_channels_ * vec_width),
      pixels_(shape.batch * shape.output[0] * shape.output[1] * shape.output[2]),
      chunks_(0),
      pointwise_(is_pointwise(shape)) {
  if (shape.transposed) {
    chunks_ = ceil_div(ceil_div(shape.output[2], shape.stride[2]), max_rows);
    const int64_t phases = std::min(shape.stride[2], shape.output[2]);
    count_ = shape.batch * shape.output[0] * shape.output[1] * phases * chunks_;
  } else {
    count_ = ceil_div(pixels_, max_rows);
    if (count_ >= parts) count_ = ceil_div(count_, parts) * parts;
  }
}

template <class T>
int64_t ConvTiles<T>::max_segments(const ConvShape& shape) {
  return shape.kernel[0] * shape.kernel[1] * shape.kernel[2];
}

template <class T>
int64_t ConvTiles<T>::max_run(const ConvShape& shape) {
  return shape.kernel[2] * (shape.in_channels / shape.groups);
}

template <class T>
TilePixels ConvTiles<T>::fill(int64_t tile, const T* input, const T* zeros, const T** inputs,
                              int64_t* weight_offsets) const {
  if (pointwise_) return fill_pointwise(tile, input, inputs, weight_offsets);
  if (shape_.transposed) return fill_transposed(tile, input, zeros, inputs, weight_offsets);
  return fill_direct(tile, input, zeros, inputs, weight_offsets);
}

template <class T>
TilePixels ConvTiles<T>::fill_pointwise(int64_t tile, const T* input, const T** inputs, int64_t* weight_offsets) const {
  const Range pixels = even_part(pixels_, tile, count_);
  const int rows = static_cast<int>(pixels.size());
  for (int r = 0; r < rows; ++r) inputs[r] = input + (pixels.begin + r) * input_stride_;
  weight_offsets[0] = 0;
  return {rows, 1, group_channels_, pixels.begin, 1};
}

template <class T>
TilePixels ConvTiles<T>::fill_direct(int64_t tile, const T* input, const T* zeros, const T** inputs,
                                     int64_t* weight_offsets) const {
  const ConvShape& s = shape_;
  const Range pixels = even_part(pixels_, tile, count_);
  const int rows = static_cast<int>(pixels.size());
  const int64_t image_size = s.input[0] * s.input[1] * s.input[2] * input_stride_;
  Origin<T> origins[kMaxTileRows];
  int64_t ow = pixels.begin % s.output[2], rest = pixels.begin / s.output[2];
  int64_t oh = rest % s.output[1];
  rest /= s.output[1];
  int64_t od = rest % s.output[0], image = rest / s.output[0];
  // With nothing between the taps of a filter row, the row is one run: as long as no pixel's window leaves the image.
  bool whole_rows = s.dilation[2] == 1 && group_channels_ == input_stride_;
  for (int r = 0; r < rows; ++r) {
    const int64_t left = ow * s.stride[2] - s.pad[2];
    origins[r] = {input + image * image_size, od * s.stride[0] - s.pad[0], oh * s.stride[1] - s.pad[1], left};
    whole_rows = whole_rows && left >= 0 && left + s.kernel[2] <= s.input[2];
    if (++ow < s.output[2]) continue;
    ow = 0;
    if (++oh < s.output[1]) continue;
    oh = 0;
    if (++od < s.output[0]) continue;
    od = 0;
    ++image;
  }
  const int64_t taps_per_run = whole_rows ? s.kernel[2] : 1;
  SegmentWriter<T> segments(rows, inputs, weight_offsets);
  const int64_t line_size = s.input[2] * input_stride_;
  for (int64_t kd = 0; kd < s.kernel[0]; ++kd) {
    for (int64_t kh = 0; kh < s.kernel[1]; ++kh) {
      // The line of the image that this filter row reads, by pixel; -1 outside.
      int64_t lines[kMaxTileRows];
      for (int r = 0; r < rows; ++r) {
        const int64_t id = origins[r].d + kd * s.dilation[0], ih = origins[r].h + kh * s.dilation[1];
        const bool inside = in_range(id, s.input[0]) && in_range(ih, s.input[1]);
        lines[r] = inside ? (id * s.input[1] + ih) * line_size : -1;
      }
      for (int64_t kw = 0; kw < s.kernel[2]; kw += taps_per_run) {
        const int64_t tap = (kd * s.kernel[1] + kh) * s.kernel[2] + kw, shift = kw * s.dilation[2];
        segments.add(tap * tap_size_, zeros, [&](int r) -> const T* {
          const int64_t iw = origins[r].w + shift;
          const bool inside = (lines[r] >= 0) & in_range(iw, s.input[2]);
          return inside ? origins[r].image + lines[r] + iw * input_stride_ : nullptr;
        });
      }
    }
  }
  return {rows, segments.count(), taps_per_run * group_channels_, pixels.begin, 1};
}

template <class T>
TilePixels ConvTiles<T>::fill_transposed(int64_t tile, const T* input, const T* zeros, const T** inputs,
                                         int64_t* weight_offsets) const {
  // A tile lies in one output row and one phase (output column modulo stride): its pixels use the same taps, and their
  // sources are neighbours.
  const ConvShape& s = shape_;
  const int64_t phases = std::min(s.stride[2], s.output[2]);
  const int64_t chunk = tile % chunks_, phase = tile / chunks_ % phases, line = tile / chunks_ / phases;
  const int64_t oh = line % s.output[1], od = line / s.output[1] % s.output[0],
                image = line / s.output[1] / s.output[0];
  const Range columns = even_part(ceil_div(s.output[2] - phase, s.stride[2]), chunk, chunks_);
  const int rows = static_cast<int>(columns.size());
  const T* base = input + image * s.input[0] * s.input[1] * s.input[2] * input_stride_;
  SegmentWriter<T> segments(rows, inputs, weight_offsets);
  for (int64_t kd = 0; kd < s.kernel[0]; ++kd) {
    const int64_t id = transposed_source(s, 0, od, kd);
    if (id < 0) continue;
    for (int64_t kh = 0; kh < s.kernel[1]; ++kh) {
      const int64_t ih = transposed_source(s, 1, oh, kh);
      if (ih < 0) continue;
      for (int64_t kw = 0; kw < s.kernel[2]; ++kw) {
        const int64_t scaled = phase + s.pad[2] - kw * s.dilation[2];
        if (scaled % s.stride[2] != 0) continue;
        const int64_t first = scaled / s.stride[2] + columns.begin;
        const int64_t tap = (kd * s.kernel[1] + kh) * s.kernel[2] + kw;
        segments.add(tap * tap_size_, zeros, [&](int r) -> const T* {
          const int64_t iw = first + r;
          return in_range(iw, s.input[2]) ? base + ((id * s.input[1] + ih) * s.input[2] + iw) * input_stride_ : nullptr;
        });
      }
    }
  }
  const int64_t first_pixel = line * s.output[2] + phase + columns.begin * s.stride[2];
  return {rows, segments.count(), group_channels_, first_pixel, s.stride[2]};
}

template class ConvTiles<float>;
template class ConvTiles<int32_t>;

}  // namespace lathe::cpu
