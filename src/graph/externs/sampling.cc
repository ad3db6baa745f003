// Reading images between their pixels, at places that the data says: grid_sample, roi_align, deform_conv.
#include <algorithm>
#include <cmath>

#include "graph/externs/table.h"
#include "graph/reference/indexing.h"

namespace lathe::externs {
namespace {

using reference::Call;
using reference::read_wide;
using reference::Sizes;
using reference::write_wide;

enum class Mode : int64_t { nearest, linear, cubic };
enum class Padding : int64_t { zeros, border, reflection };

// How places between and outside of pixels are read.
struct Sampling {
  Mode mode = Mode::linear;
  Padding padding = Padding::zeros;
  bool align_corners = true;
};

struct Tap {
  int64_t offset;
  double weight;
};

// The pixel that stands for position i of an axis; negative: none.
int64_t padded(int64_t i, int64_t size, const Sampling& s) {
  if (i >= 0 && i < size) return i;
  if (s.padding == Padding::zeros || size == 0) return -1;
  if (s.padding == Padding::border) return i < 0 ? 0 : size - 1;
  if (size == 1) return 0;
  const int64_t period = s.align_corners ? 2 * (size - 1) : 2 * size;  // mirrored at pixels, or between them
  const int64_t phase = ((i % period) + period) % period;
  return phase < size ? phase : (s.align_corners ? period : period - 1) - phase;
}

// Cubic convolution (R. Keys, 1981) with coefficient -0.75.
double cubic_weight(double distance) {
  constexpr double a = -0.75;
  const double t = std::abs(distance);
  if (t <= 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  return t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a : 0;
}

// The pixels along one axis that make up position x; none where x is no number that a pixel could have.
std::vector<Tap> axis_taps(double x, int64_t size, const Sampling& s) {
  constexpr double kFarthest = 1e15;
  std::vector<Tap> taps;
  if (!(std::abs(x) < kFarthest)) return taps;
  const auto add = [&](int64_t i, double weight) {
    const int64_t pixel = padded(i, size, s);
    if (pixel >= 0 && weight != 0) taps.push_back({pixel, weight});
  };
  if (s.mode == Mode::nearest) {
    add(static_cast<int64_t>(std::nearbyint(x)), 1);
    return taps;
  }
  const auto below = static_cast<int64_t>(std::floor(x));
  const int64_t reach = s.mode == Mode::linear ? 1 : 2;
  for (int64_t i = below + 1 - reach; i <= below + reach; ++i) {
    const double distance = x - static_cast<double>(i);
    add(i, s.mode == Mode::linear ? 1 - std::abs(distance) : cubic_weight(distance));
  }
  return taps;
}

// The pixels that make up a point, as offsets into an image of row-major `sizes`.
std::vector<Tap> taps_at(std::span<const double> point, std::span<const int64_t> sizes, const Sampling& s) {
  std::vector<Tap> taps = {{0, 1}};
  for (size_t axis = 0; axis < sizes.size(); ++axis) {
    std::vector<Tap> next;
    const std::vector<Tap> along = axis_taps(point[axis], sizes[axis], s);
    for (const Tap& outer : taps)
      for (const Tap& inner : along)
        next.push_back({outer.offset * sizes[axis] + inner.offset, outer.weight * inner.weight});
    taps = std::move(next);
  }
  return taps;
}

double sample(const double* image, std::span<const Tap> taps) {
  double sum = 0;
  for (const Tap& tap : taps) sum += tap.weight * image[tap.offset];
  return sum;
}

// --- grid_sample: (x [N, C, spatial..], grid [N, out.., axes]) -> y [N, C, out..]. The grid holds a place for each
// element of y, last axis of x first, from -1 to 1. integers = [Mode, Padding, align corners]

Types infer_grid_sample(const Extern& op, InferContext& c) {
  c.expect_inputs(2, 2);
  expect_lists(op, c, 3, 0, 0);
  if (op.integers[0] < 0 || op.integers[0] > 2 || op.integers[1] < 0 || op.integers[1] > 2)
    c.fail("there is no such mode or padding");
  const Type &x = c.float_tensor(0), &grid = c.float_tensor(1);
  if (!x.ranked || !grid.ranked) return {Type::unranked(x.dtype)};
  if (x.rank() < 3 || grid.rank() != x.rank()) c.fail("an image with batch and channels, and a grid of its rank, fit");
  c.same(x.shape[0], grid.shape[0], "batch sizes");
  c.same(grid.shape.back(), x.rank() - 2, "coordinates of a place");
  Type y = x;
  std::copy(grid.shape.begin() + 1, grid.shape.end() - 1, y.shape.begin() + 2);
  return {y};
}

// A coordinate of the grid in pixels, as f32 arithmetic gives it: it decides what is nearest. A border is where what
// lies outside of the image's extent is moved to.
double pixel_of(double coordinate, int64_t pixels, const Sampling& s) {
  const auto g = static_cast<float>(coordinate), size = static_cast<float>(pixels);
  const float x = s.align_corners ? (g + 1) / 2 * (size - 1) : ((g + 1) * size - 1) / 2;
  const float margin = s.align_corners ? 0 : 0.5F;
  if (s.padding != Padding::border || (x >= -margin && x <= size - 1 + margin)) return x;
  return std::clamp(x, 0.0F, size - 1);
}

std::vector<RefValue> grid_sample(const Extern& op, const Call& call) {
  const Tensor &x = call.tensor(0), &grid = call.tensor(1);
  const Sampling s{static_cast<Mode>(op.integers[0]), static_cast<Padding>(op.integers[1]), op.integers[2] != 0};
  const size_t axes = x.dims().size() - 2;
  const std::span<const int64_t> spatial(x.dims().data() + 2, axes);
  Sizes sizes = x.dims();
  std::copy(grid.dims().begin() + 1, grid.dims().end() - 1, sizes.begin() + 2);
  const int64_t batch = sizes[0], channels = sizes[1], pixels = reference::product_of(spatial);
  const int64_t places = reference::product_of(std::span<const int64_t>(sizes.data() + 2, axes));
  if (grid.dims()[0] != batch || grid.dims().back() != static_cast<int64_t>(axes))
    fail(ErrorCode::invalid_argument, "a grid of shape {} does not fit an image of shape {}", to_string(grid.dims()),
         to_string(x.dims()));
  const std::vector<double> image = read_wide<double>(x), coordinates = read_wide<double>(grid);
  std::vector<double> y(static_cast<size_t>(batch * channels * places)), point(axes);
  for (int64_t n = 0; n < batch; ++n) {
    for (int64_t i = 0; i < places; ++i) {
      for (size_t a = 0; a < axes; ++a)
        point[a] = pixel_of(coordinates[static_cast<size_t>(n * places + i) * axes + (axes - 1 - a)], spatial[a], s);
      const std::vector<Tap> taps = taps_at(point, spatial, s);
      for (int64_t c = n * channels; c < (n + 1) * channels; ++c)
        y[static_cast<size_t>(c * places + i)] = sample(image.data() + c * pixels, taps);
    }
  }
  return {write_wide(x.dtype(), std::move(sizes), y)};
}

// --- roi_align: (x [N, C, H, W], rois [n, 4] of (x1, y1, x2, y2), batch index of each i64 [n]) -> y [n, C, height,
// width]: each bin of a region is the mean of samples in it, or the largest of their weighted pixels.
// integers = [largest, height, width, samples per bin and axis (0: as many as pixels), half pixel], numbers = [scale
// from regions to pixels]

Types infer_roi_align(const Extern& op, InferContext& c) {
  c.expect_inputs(3, 3);
  expect_lists(op, c, 5, 1, 0);
  if (op.integers[1] < 1 || op.integers[2] < 1 || op.integers[3] < 0) c.fail("the bins are not positive");
  const Type &x = c.float_tensor(0), &rois = c.float_tensor(1);
  c.index_tensor(2);
  c.expect_rank(0, 4);
  c.expect_rank(1, 2);
  c.expect_rank(2, 1);
  const Dim count = rois.ranked ? rois.shape[0] : c.fresh();
  return {Type::tensor(x.dtype, {count, x.ranked ? x.shape[1] : c.fresh(), op.integers[1], op.integers[2]})};
}

// One axis of a region: where its bins begin, and how they are sampled.
struct Bins {
  double start, size;
  int64_t samples;

  Bins(const Extern& op, double from, double to, int64_t count) {
    const bool half_pixel = op.integers[4] != 0;
    const double scale = op.numbers[0], shift = half_pixel ? 0.5 : 0;
    start = from * scale - shift;
    double extent = to * scale - shift - start;
    if (!half_pixel) extent = std::max(extent, 1.0);  // as the operator has always treated malformed regions
    size = extent / static_cast<double>(count);
    samples = op.integers[3] > 0 ? op.integers[3] : static_cast<int64_t>(std::clamp(std::ceil(size), 0.0, 1e6));
  }
  double at(int64_t bin, int64_t i) const {
    return start + size * (static_cast<double>(bin) + (static_cast<double>(i) + 0.5) / static_cast<double>(samples));
  }
};

// Beyond one pixel outside of the image there is nothing; nearer, the border stands.
std::vector<Tap> roi_taps(double y, double x, std::span<const int64_t> sizes) {
  const auto height = static_cast<double>(sizes[0]), width = static_cast<double>(sizes[1]);
  if (!(y >= -1 && y <= height && x >= -1 && x <= width)) return {};
  return taps_at(std::array{std::clamp(y, 0.0, height - 1), std::clamp(x, 0.0, width - 1)}, sizes,
                 {Mode::linear, Padding::border, true});
}

// The taps of all samples of a bin.
std::vector<std::vector<Tap>> bin_taps(const Bins& rows, const Bins& columns, int64_t row, int64_t column,
                                       std::span<const int64_t> sizes) {
  std::vector<std::vector<Tap>> samples;
  for (int64_t i = 0; i < rows.samples; ++i)
    for (int64_t k = 0; k < columns.samples; ++k)
      samples.push_back(roi_taps(rows.at(row, i), columns.at(column, k), sizes));
  return samples;
}

double mean_of(const double* image, const std::vector<std::vector<Tap>>& samples) {
  double sum = 0;
  for (const auto& taps : samples) sum += sample(image, taps);
  return samples.empty() ? 0 : sum / static_cast<double>(samples.size());
}

double largest_of(const double* image, const std::vector<std::vector<Tap>>& samples) {
  double largest = samples.empty() ? 0 : -INFINITY;
  for (const auto& taps : samples) {
    if (taps.size() < 4) largest = std::max(largest, 0.0);  // the pixels that have no weight
    for (const Tap& tap : taps) largest = std::max(largest, tap.weight * image[tap.offset]);
  }
  return largest;
}

std::vector<RefValue> roi_align(const Extern& op, const Call& call) {
  const Tensor &x = call.tensor(0), &rois = call.tensor(1);
  const std::span<const int64_t> image_sizes(x.dims().data() + 2, 2);
  const int64_t channels = x.dims()[1], pixels = image_sizes[0] * image_sizes[1];
  const int64_t height = op.integers[1], width = op.integers[2], count = rois.dims()[0];
  const std::vector<double> image = read_wide<double>(x), corners = read_wide<double>(rois);
  const std::vector<int64_t> batch = read_wide<int64_t>(call.tensor(2));
  if (rois.dims()[1] != 4 || static_cast<int64_t>(batch.size()) != count || pixels == 0)
    fail(ErrorCode::invalid_argument, "regions of shape {} and {} batch indices do not fit an image of shape {}",
         to_string(rois.dims()), batch.size(), to_string(x.dims()));
  std::vector<double> y(static_cast<size_t>(count * channels * height * width));
  for (int64_t n = 0; n < count; ++n) {
    const double* region = corners.data() + n * 4;
    const int64_t first = reference::resolve_index(batch[static_cast<size_t>(n)], x.dims()[0]) * channels;
    const Bins columns(op, region[0], region[2], width), rows(op, region[1], region[3], height);
    for (int64_t bin = 0; bin < height * width; ++bin) {
      const auto samples = bin_taps(rows, columns, bin / width, bin % width, image_sizes);
      for (int64_t c = 0; c < channels; ++c) {
        const double* plane = image.data() + (first + c) * pixels;
        y[static_cast<size_t>((n * channels + c) * height * width + bin)] =
            op.integers[0] != 0 ? largest_of(plane, samples) : mean_of(plane, samples);
      }
    }
  }
  return {write_wide(x.dtype(), {count, channels, height, width}, y)};
}

// --- deform_conv: (x [N, C, H, W], w [M, C / groups, kh, kw], offset [N, offset_groups * kh * kw * 2, H', W'], mask
// [N, offset_groups * kh * kw, H', W']?) -> y [N, M, H', W']: a convolution whose taps are moved by (y, x) offsets and
// weighted by the mask. integers = [groups, offset groups, strides x 2, dilations x 2, begin pads x 2]

Types infer_deform_conv(const Extern& op, InferContext& c) {
  c.expect_inputs(3, 4);
  expect_lists(op, c, 8, 0, 0);
  if (op.integers[0] < 1 || op.integers[1] < 1) c.fail("the groups are not positive");
  const Type &x = c.float_tensor(0), &w = c.float_tensor(1), &offset = c.float_tensor(2);
  for (size_t i = 0; i < c.count(); ++i)
    if (c.has(i)) c.expect_rank(i, 4);
  Type y = Type::tensor(x.dtype, {});
  y.shape.push_back(x.ranked ? x.shape[0] : c.fresh());
  y.shape.push_back(w.ranked ? w.shape[0] : c.fresh());
  for (size_t axis = 2; axis < 4; ++axis) y.shape.push_back(offset.ranked ? offset.shape[axis] : c.fresh());
  return {y};
}

class DeformConv {
 public:
  DeformConv(const Extern& op, const Call& call)
      : op_(op),
        x_(call.tensor(0)),
        w_(call.tensor(1)),
        image_(read_wide<double>(x_)),
        weight_(read_wide<double>(w_)),
        offset_(read_wide<double>(call.tensor(2))),
        out_(call.tensor(2).dims().begin() + 2, call.tensor(2).dims().end()),
        kernel_(w_.dims()[2] * w_.dims()[3]) {
    if (call.has(3)) mask_ = read_wide<double>(call.tensor(3));
    const Sizes &x = x_.dims(), &w = w_.dims();
    const int64_t places = x[0] * op.integers[1] * kernel_ * out_[0] * out_[1];
    if (w[1] * op.integers[0] != x[1] || w[0] % op.integers[0] != 0 || x[1] % op.integers[1] != 0 ||
        static_cast<int64_t>(offset_.size()) != 2 * places ||
        (call.has(3) && static_cast<int64_t>(mask_.size()) != places))
      fail(ErrorCode::invalid_argument, "an image of shape {}, a weight of shape {}, offsets and mask do not fit",
           to_string(x), to_string(w));
  }

  Tensor run() {
    const int64_t batch = x_.dims()[0], filters = w_.dims()[0], pixels = out_[0] * out_[1];
    std::vector<double> y(static_cast<size_t>(batch * filters * pixels));
    std::vector<double> columns(static_cast<size_t>(x_.dims()[1] * kernel_));
    for (int64_t n = 0; n < batch; ++n) {
      for (int64_t pixel = 0; pixel < pixels; ++pixel) {
        gather(n, pixel, columns);
        for (int64_t m = 0; m < filters; ++m)
          y[static_cast<size_t>((n * filters + m) * pixels + pixel)] = dot(m, columns);
      }
    }
    return write_wide(x_.dtype(), {batch, filters, out_[0], out_[1]}, y);
  }

 private:
  // What the taps of one output pixel read: [channels, kernel].
  void gather(int64_t n, int64_t pixel, std::vector<double>& columns) const {
    const std::span<const int64_t> spatial(x_.dims().data() + 2, 2);
    const int64_t channels = x_.dims()[1], groups = op_.integers[1], pixels = out_[0] * out_[1];
    const int64_t per_group = channels / groups;
    for (int64_t g = 0; g < groups; ++g) {
      for (int64_t k = 0; k < kernel_; ++k) {
        const int64_t place = (n * groups + g) * kernel_ + k;
        const std::array<int64_t, 2> at = {pixel / out_[1], pixel % out_[1]},
                                     tap = {k / w_.dims()[3], k % w_.dims()[3]};
        std::array<double, 2> point;
        for (size_t axis = 0; axis < 2; ++axis)
          point[axis] = static_cast<double>(at[axis] * op_.integers[2 + axis] + tap[axis] * op_.integers[4 + axis] -
                                            op_.integers[6 + axis]) +
                        offset_[static_cast<size_t>((2 * place + static_cast<int64_t>(axis)) * pixels + pixel)];
        const double weight = mask_.empty() ? 1 : mask_[static_cast<size_t>(place * pixels + pixel)];
        const std::vector<Tap> taps = taps_at(point, spatial, {});
        for (int64_t c = g * per_group; c < (g + 1) * per_group; ++c)
          columns[static_cast<size_t>(c * kernel_ + k)] =
              weight * sample(image_.data() + (n * channels + c) * spatial[0] * spatial[1], taps);
      }
    }
  }

  double dot(int64_t filter, const std::vector<double>& columns) const {
    const int64_t depth = w_.dims()[1] * kernel_, group = filter / (w_.dims()[0] / op_.integers[0]);
    double sum = 0;
    for (int64_t i = 0; i < depth; ++i)
      sum += weight_[static_cast<size_t>(filter * depth + i)] * columns[static_cast<size_t>(group * depth + i)];
    return sum;
  }

  const Extern& op_;
  const Tensor &x_, &w_;
  std::vector<double> image_, weight_, offset_, mask_;
  Sizes out_;
  int64_t kernel_;
};

std::vector<RefValue> deform_conv(const Extern& op, const Call& call) { return {DeformConv(op, call).run()}; }

constexpr Row kRows[] = {
    {"deform_conv", infer_deform_conv, deform_conv},
    {"grid_sample", infer_grid_sample, grid_sample},
    {"roi_align", infer_roi_align, roi_align},
};

}  // namespace

std::span<const Row> sampling_rows() { return kRows; }

}  // namespace lathe::externs
