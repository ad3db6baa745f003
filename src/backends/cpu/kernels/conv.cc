// Decides how a convolution is cut: into register tiles, into blocks of channels whose weights stay in the second-level
// cache, and over the threads.
#include "backends/cpu/kernels/conv.h"

#include <algorithm>
#include <limits>

#include "backends/cpu/kernels/conv_internal.h"
#include "backends/cpu/kernels/conv_kernels.h"
#include "backends/cpu/kernels/conv_tiles.h"
#include "base/error.h"

namespace lathe::cpu {
namespace {

// Weights of one block of channels; with the pixels that stream past they fit a second-level cache of 1 MB.
constexpr int64_t kWeightBlockBytes = 384 * 1024;
constexpr size_t kAlignment = 64;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// Consecutive pieces of the caller's workspace; without memory, only their sum.
class Workspace {
 public:
  explicit Workspace(std::byte* memory) : memory_(memory) {}
  template <class T>
  T* take(int64_t count) {
    T* piece = memory_ == nullptr ? nullptr : reinterpret_cast<T*>(memory_ + used_);
    used_ += aligned(static_cast<size_t>(count) * sizeof(T));
    return piece;
  }
  size_t used() const { return used_; }

 private:
  std::byte* memory_;
  size_t used_ = 0;
};

// The pointer lists of one thread, and zeros that all share.
struct Scratch {
  float* padded;  // null when the input is read where it lies
  float* zeros;
  const float** inputs;
  int64_t* weight_offsets;
  int64_t inputs_per_thread, segments;
};

// Read in place of pixels in the padding, by all groups of channels through the same pointers.
int64_t zeros_count(const ConvShape& shape) { return ConvTiles<float>::max_run(shape) + shape.in_channels; }

Scratch lay_out(const ConvShape& shape, bool input_nchw, int max_rows, int threads, Workspace& workspace) {
  Scratch scratch = {};
  if (needs_padded_copy(shape, input_nchw)) {
    const Size3 size = padded_shape(shape).input;
    scratch.padded = workspace.take<float>(shape.batch * size[0] * size[1] * size[2] * shape.in_channels);
  }
  scratch.zeros = workspace.take<float>(zeros_count(shape));
  scratch.segments = ConvTiles<float>::max_segments(shape);
  scratch.inputs_per_thread = scratch.segments * max_rows;
  scratch.inputs = workspace.take<const float*>(scratch.inputs_per_thread * threads);
  scratch.weight_offsets = workspace.take<int64_t>(scratch.segments * threads);
  return scratch;
}

// Output channels in units of one tile's width; no unit crosses a group.
struct Units {
  int64_t per_group, count, channels, panel_floats, bytes;
  Units(const ConvShape& shape, const ConvKernels& kernels)
      : per_group(ceil_div(shape.out_channels / shape.groups, kernels.max_panels * kernels.vec_width)),
        count(per_group * shape.groups),
        channels(static_cast<int64_t>(kernels.max_panels) * kernels.vec_width),
        panel_floats(ConvTiles<float>::max_segments(shape) * (shape.in_channels / shape.groups) * kernels.vec_width),
        bytes(panel_floats * kernels.max_panels * static_cast<int64_t>(sizeof(float))) {}
};

// How many parts the pixels are cut into; the units are cut into threads / pixel_parts. Balance counts most; between
// equals, the cut that makes each core read less memory wins.
int choose_pixel_parts(const ConvShape& shape, const Units& units, int max_rows, int threads) {
  const int64_t pixels = shape.batch * shape.output[0] * shape.output[1] * shape.output[2];
  const int64_t input_bytes = shape.batch * shape.input[0] * shape.input[1] * shape.input[2] * shape.in_channels *
                              static_cast<int64_t>(sizeof(float));
  // A tile's time in terms of the bytes a core reads meanwhile: two FMAs of a vector per cycle, some 8 bytes from afar.
  const double bytes_per_tile = static_cast<double>(units.bytes) * max_rows / 16.0;
  int best = 1;
  double best_cost = std::numeric_limits<double>::infinity();
  for (int parts = threads; parts >= 1; --parts) {
    if (threads % parts != 0) continue;
    const int64_t unit_parts = threads / parts;
    const double tiles_in_turn = static_cast<double>(ceil_div(ceil_div(pixels, parts), max_rows));
    const double units_in_turn = static_cast<double>(ceil_div(units.count, unit_parts));
    const double traffic = static_cast<double>(units.count * units.bytes) / static_cast<double>(unit_parts) +
                           static_cast<double>(input_bytes) / parts;
    const double cost = tiles_in_turn * units_in_turn * bytes_per_tile + traffic;
    if (cost < best_cost) {
      best_cost = cost;
      best = parts;
    }
  }
  return best;
}

// One run of a direct convolution, with all defaults filled in.
struct DirectConv {
  const ConvShape& shape;
  const ConvArgs& args;
  const KernelTable& kernels;
  const Scratch& scratch;
  const ConvTiles<float>& tiles;
  const Units& units;
  KernelEpilogue epilogue;

  void run(Range my_tiles, Range my_units, int thread) const;

 private:
  void run_block(Range my_tiles, Range block, Range next, int thread) const;
  void run_unit(int64_t unit, const TilePixels& pixels, ConvTile& tile) const;
  const float* weights_of(int64_t unit) const;
};

void DirectConv::run(Range my_tiles, Range my_units, int thread) const {
  const int64_t block_units = std::max<int64_t>(1, kWeightBlockBytes / std::max<int64_t>(1, units.bytes));
  for (int64_t unit = my_units.begin; unit < my_units.end;) {
    const int64_t end = std::min(unit + block_units, my_units.end);
    run_block(my_tiles, {unit, end}, {end, std::min(end + block_units, my_units.end)}, thread);
    unit = end;
  }
}

const float* DirectConv::weights_of(int64_t unit) const {
  const int vec_width = kernels.conv.vec_width;
  const int64_t panels_per_group = ceil_div(shape.out_channels / shape.groups, vec_width);
  const int64_t panel = unit / units.per_group * panels_per_group + unit % units.per_group * kernels.conv.max_panels;
  return args.weights + panel * units.panel_floats;
}

// Goes over the tiles with one block of channels, which may span groups; meanwhile each tile fetches its share of the
// next block's weights.
void DirectConv::run_block(Range my_tiles, Range block, Range next, int thread) const {
  ConvTile tile = {};
  const float** inputs = scratch.inputs + thread * scratch.inputs_per_thread;
  int64_t* weight_offsets = scratch.weight_offsets + thread * scratch.segments;
  tile.inputs = inputs;
  tile.weight_offsets = weight_offsets;
  tile.panel_stride = units.panel_floats;
  tile.lower = epilogue.lower;
  tile.upper = epilogue.upper;
  const int64_t bytes_per_k = units.channels * static_cast<int64_t>(sizeof(float));
  for (int64_t t = my_tiles.begin; t < my_tiles.end; ++t) {
    const TilePixels pixels = tiles.fill(t, args.input, scratch.zeros, inputs, weight_offsets);
    if (pixels.rows == 0) continue;
    tile.rows = pixels.rows;
    tile.segments = pixels.segments;
    tile.run = pixels.run;
    for (int64_t unit = block.begin; unit < block.end; ++unit) {
      const int64_t ahead = unit - block.begin + next.begin;
      const Range share = even_part(units.bytes, t - my_tiles.begin, my_tiles.size());
      const bool fetch = ahead < next.end;
      tile.input_offset = unit / units.per_group * (shape.in_channels / shape.groups);
      tile.weights = weights_of(unit);
      tile.prefetch =
          reinterpret_cast<const char*>(fetch ? weights_of(ahead) : tile.weights) + (fetch ? share.begin : 0);
      tile.prefetch_step = fetch ? ceil_div(bytes_per_k, my_tiles.size()) : 0;
      run_unit(unit, pixels, tile);
    }
  }
}

void DirectConv::run_unit(int64_t unit, const TilePixels& pixels, ConvTile& tile) const {
  const int64_t group_out = shape.out_channels / shape.groups;
  const int64_t in_group = unit % units.per_group * units.channels;
  const int64_t channel = unit / units.per_group * group_out + in_group;
  tile.channels = static_cast<int>(std::min(units.channels, group_out - in_group));
  tile.bias = epilogue.bias == nullptr ? nullptr : epilogue.bias + channel;
  tile.residual = epilogue.residual == nullptr
                      ? nullptr
                      : epilogue.residual + pixels.first_pixel * epilogue.residual_stride + channel;
  tile.residual_stride = pixels.pixel_step * epilogue.residual_stride;
  tile.out = args.output + pixels.first_pixel * args.output_stride + channel;
  tile.out_stride = pixels.pixel_step * args.output_stride;
  kernels.conv.tile(tile);
  finish_block(args.epilogue, epilogue,
               {tile.out, tile.rows, tile.channels, tile.out_stride, pixels.first_pixel, pixels.pixel_step, channel},
               kernels);
}

void direct_conv(ThreadTeam& team, const KernelTable& kernels, const ConvShape& caller_shape,
                 const ConvArgs& caller_args) {
  Workspace workspace(caller_args.workspace);
  const int max_rows = kernels.conv.max_rows;
  const Scratch scratch = lay_out(caller_shape, caller_args.input_nchw, max_rows, team.size(), workspace);
  ConvShape shape = caller_shape;
  ConvArgs args = caller_args;
  if (scratch.padded != nullptr) {
    copy_padded(team, caller_shape, caller_args, scratch.padded);
    shape = padded_shape(caller_shape);
    args.input = scratch.padded;
    args.input_stride = shape.in_channels;
  }
  std::fill_n(scratch.zeros, zeros_count(shape), 0.0f);
  const Units units(shape, kernels.conv);
  const int pixel_parts = choose_pixel_parts(shape, units, max_rows, team.size());
  const ConvTiles<float> tiles(shape, args.input_stride, kernels.conv.vec_width, max_rows, pixel_parts);
  const DirectConv conv = {
      shape, args, kernels, scratch, tiles, units, kernel_epilogue(args.epilogue, shape.out_channels)};
  team.run([&](int thread, int threads) {
    const int unit_parts = threads / pixel_parts;
    conv.run(even_part(tiles.count(), thread / unit_parts, pixel_parts),
             even_part(units.count, thread % unit_parts, unit_parts), thread);
  });
}

}  // namespace

int conv_vec_width(const KernelTable& kernels) { return kernels.conv.vec_width; }

size_t conv_workspace_bytes(const KernelTable& kernels, const ConvShape& shape, bool input_nchw, int threads) {
  if (conv_algorithm(shape) == ConvAlgorithm::depthwise) return depthwise_workspace_bytes(shape);
  Workspace workspace(nullptr);
  lay_out(shape, input_nchw, kernels.conv.max_rows, threads, workspace);
  return workspace.used();
}

void conv(ThreadTeam& team, const KernelTable& kernels, const ConvShape& shape, const ConvArgs& args) {
  const Size3& out = shape.output;
  if (shape.batch * out[0] * out[1] * out[2] * shape.out_channels == 0) return;
  ConvArgs filled = args;
  if (filled.input_stride == 0) filled.input_stride = shape.in_channels;
  if (filled.output_stride == 0) filled.output_stride = shape.out_channels;
  const bool depthwise = conv_algorithm(shape) == ConvAlgorithm::depthwise;
  LATHE_CHECK(!args.input_nchw || (!depthwise && !shape.transposed && shape.groups == 1));
  if (depthwise) {
    depthwise_conv(team, kernels, shape, filled);
  } else {
    direct_conv(team, kernels, shape, filled);
  }
}

}  // namespace lathe::cpu
