#include "backends/cpu/kernels/conv_int8.h"

#include <algorithm>
#include <cstring>

#include "backends/cpu/kernels/conv_internal.h"
#include "backends/cpu/kernels/conv_tiles.h"
#include "backends/cpu/kernels/gemm_split.h"

namespace lathe::cpu {
namespace {

constexpr int64_t kQuad = 4;
constexpr int kOffset = 128;
constexpr int kMaxPanel = 32, kMaxTileRows = std::max(kInt8MaxRows, kAmxRows);
constexpr int64_t kWeightBlockBytes = 256 * 1024;  // weights that stay in a core's L2 while pixels stream past

using Tiles = ConvTiles<int32_t>;

int64_t volume(const Size3& size) { return size[0] * size[1] * size[2]; }
int64_t group_inputs(const ConvShape& s) { return s.in_channels / s.groups; }
int64_t group_quads(const ConvShape& s) { return ceil_div(group_inputs(s), kQuad); }
size_t aligned(int64_t bytes) { return static_cast<size_t>(ceil_div(bytes, 64) * 64); }

bool is_depthwise(const ConvShape& shape) { return conv_algorithm(shape) == ConvAlgorithm::depthwise; }

bool needs_copy(const ConvShape& shape, const ConvInt8Args& args) {
  return args.input_signed || group_inputs(shape) % kQuad != 0 || needs_padded_copy(shape, false);
}

// The convolution as the tiles see it: quads of channels, padding within the copy if there is one.
ConvShape in_quads(const ConvShape& shape, bool copied) {
  ConvShape quads = copied ? padded_shape(shape) : shape;
  quads.in_channels = group_quads(shape) * shape.groups;
  return quads;
}

// Of the packed weights of one output channel.
int64_t packed_depth(const ConvShape& s) { return volume(s.kernel) * group_quads(s) * kQuad; }

struct Packing {
  int64_t group_out, panels, depth, panel_bytes;
  Packing(const ConvShape& s, int nr)
      : group_out(s.out_channels / s.groups),
        panels(ceil_div(group_out, nr)),
        depth(packed_depth(s)),
        panel_bytes(int8_panel_bytes(nr, depth)) {}
};

// Calls visit(index of a weight, index of it among the packed bytes, column of its panel, first byte of the panel).
template <class Visit>
void for_each_weight(const ConvShape& s, int nr, Visit visit) {
  const Packing packing(s, nr);
  const int64_t taps = volume(s.kernel), inputs = group_inputs(s);
  for (int64_t out = 0; out < s.out_channels; ++out) {
    const int64_t in_group = out % packing.group_out, column = in_group % nr;
    const int64_t panel = (out / packing.group_out * packing.panels + in_group / nr) * packing.panel_bytes;
    for (int64_t in = 0; in < inputs; ++in) {
      for (int64_t tap = 0; tap < taps; ++tap) {
        const int64_t quad = tap * group_quads(s) + in / kQuad;
        visit((out * inputs + in) * taps + tap, panel + (quad * nr + column) * kQuad + in % kQuad, column, panel);
      }
    }
  }
}

// The input with its channels padded to quads, its padding around it, and its sign turned.
void copy_image(ThreadTeam& team, const ConvShape& shape, const ConvInt8Args& args, uint8_t* copy) {
  const Size3 from = shape.input, to = padded_shape(shape).input;
  const int64_t inputs = group_inputs(shape), padded = group_quads(shape) * kQuad, pixel = padded * shape.groups;
  const auto flip = static_cast<uint8_t>(args.input_signed ? kOffset : 0);
  const auto around = static_cast<uint8_t>(args.pad_value ^ flip);
  const auto* input = static_cast<const uint8_t*>(args.input);
  team.parallel_for(shape.batch * to[0] * to[1], [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      uint8_t* out = copy + row * to[2] * pixel;
      std::fill_n(out, to[2] * pixel, around);
      const int64_t h = row % to[1] - shape.pad[1], d = row / to[1] % to[0] - shape.pad[0];
      if (h < 0 || h >= from[1] || d < 0 || d >= from[0]) continue;
      const int64_t image = row / to[1] / to[0];
      const int64_t first = std::max<int64_t>(0, shape.pad[2]), last = std::min(to[2], shape.pad[2] + from[2]);
      for (int64_t w = first; w < last; ++w) {
        const int64_t source = ((image * from[0] + d) * from[1] + h) * from[2] + w - shape.pad[2];
        for (int64_t g = 0; g < shape.groups; ++g) {
          const uint8_t* a = input + source * shape.in_channels + g * inputs;
          uint8_t* b = out + w * pixel + g * padded;
          for (int64_t c = 0; c < inputs; ++c) b[c] = static_cast<uint8_t>(a[c] ^ flip);
        }
      }
    }
  });
}

// Between the gathered rows of a tile, which should not lie powers of two apart.
int64_t row_distance(int64_t depth) { return (ceil_div(depth, kAmxDepth) + 1) * kAmxDepth; }

// What lies where in the workspace.
struct Scratch {
  uint8_t* copy = nullptr;
  uint8_t* rows = nullptr;  // gathered, of a tile, per thread
  uint8_t* padding = nullptr;
  const int32_t** inputs = nullptr;
  int64_t* offsets = nullptr;
  int64_t segments = 0;
  size_t bytes = 0;

  Scratch(const ConvShape& shape, const ConvInt8Args& args, int threads) {
    const bool copied = needs_copy(shape, args);
    const ConvShape quads = in_quads(shape, copied);
    segments = Tiles::max_segments(quads);
    const auto take = [&](int64_t size) {
      std::byte* piece = args.workspace == nullptr ? nullptr : args.workspace + bytes;
      bytes += aligned(size);
      return piece;
    };
    if (copied) copy = reinterpret_cast<uint8_t*>(take(quads.batch * volume(quads.input) * quads.in_channels * kQuad));
    if (args.tiles != nullptr)
      rows = reinterpret_cast<uint8_t*>(take(threads * kAmxRows * row_distance(packed_depth(shape))));
    padding = reinterpret_cast<uint8_t*>(take(Tiles::max_run(quads) * kQuad));
    inputs = reinterpret_cast<const int32_t**>(
        take(threads * segments * kMaxTileRows * static_cast<int64_t>(sizeof(int32_t*))));
    offsets = reinterpret_cast<int64_t*>(take(threads * segments * static_cast<int64_t>(sizeof(int64_t))));
  }
};

struct DirectConv {
  const Int8Kernels& kernels;
  const ConvShape& shape;  // in quads
  const ConvInt8Args& args;
  const Scratch& scratch;
  const Tiles& tiles;
  const int32_t* input;
  Packing packing;

  void run(Range my_tiles, Range my_panels, int thread) const;
  void gather(const TilePixels& pixels, const int32_t* const* inputs, uint8_t* rows) const;
  void run_tile(const TilePixels& pixels, int64_t panel, const int32_t* const* inputs, const int64_t* offsets,
                const uint8_t* rows) const;
};

// Panels of one group whose weights fit the cache together pass over all tiles, then the next such panels.
void DirectConv::run(Range my_tiles, Range my_panels, int thread) const {
  const int64_t block = std::max<int64_t>(1, kWeightBlockBytes / packing.panel_bytes);
  const int32_t** inputs = scratch.inputs + thread * scratch.segments * kMaxTileRows;
  int64_t* offsets = scratch.offsets + thread * scratch.segments;
  uint8_t* rows = args.tiles == nullptr ? nullptr : scratch.rows + thread * kAmxRows * row_distance(packing.depth);
  if (args.tiles != nullptr) args.tiles->begin();
  for (int64_t panel = my_panels.begin; panel < my_panels.end;) {
    const int64_t group = panel / packing.panels;
    const int64_t end = std::min({panel + block, (group + 1) * packing.panels, my_panels.end});
    const auto* padding = reinterpret_cast<const int32_t*>(scratch.padding);
    for (int64_t t = my_tiles.begin; t < my_tiles.end; ++t) {
      const TilePixels pixels =
          tiles.fill(t, input + group * (shape.in_channels / shape.groups), padding, inputs, offsets);
      for (int s = 0; s < pixels.segments; ++s) offsets[s] *= kQuad;  // from quads to bytes
      if (rows != nullptr) gather(pixels, inputs, rows);
      for (int64_t p = panel; p < end && pixels.rows > 0; ++p) run_tile(pixels, p, inputs, offsets, rows);
    }
    panel = end;
  }
  if (args.tiles != nullptr) args.tiles->end();
}

// No segment is ever left out, so that the row of a pixel goes with a panel from its first byte to its last.
void DirectConv::gather(const TilePixels& pixels, const int32_t* const* inputs, uint8_t* rows) const {
  const auto bytes = static_cast<size_t>(pixels.run * kQuad);
  for (int r = 0; r < pixels.rows; ++r) {
    uint8_t* to = rows + r * row_distance(packing.depth);
    for (int s = 0; s < pixels.segments; ++s, to += bytes) std::memcpy(to, inputs[s * pixels.rows + r], bytes);
  }
}

void DirectConv::run_tile(const TilePixels& pixels, int64_t panel, const int32_t* const* inputs, const int64_t* offsets,
                          const uint8_t* rows) const {
  alignas(64) int32_t sums[kMaxTileRows * kMaxPanel];
  const int8_t* weights = static_cast<const int8_t*>(args.weights) + panel * packing.panel_bytes;
  if (rows != nullptr)  // those beyond the tile's may hold anything
    args.tiles->product({rows, row_distance(packing.depth), std::max(pixels.rows, kAmxLeastRows), packing.depth,
                         weights, sums, nullptr, 0});
  else
    kernels.tile[pixels.rows]({reinterpret_cast<const uint8_t* const*>(inputs), offsets, pixels.segments, pixels.run,
                               weights, sums, nullptr, 0});
  const int64_t nr = kernels.nr, in_group = panel % packing.panels * nr;
  const auto* col_sums = reinterpret_cast<const int32_t*>(weights + packing.panel_bytes) - nr;
  finish_int8(kernels, args.epilogue,
              {sums, nr, pixels.first_pixel, pixels.rows, panel / packing.panels * packing.group_out + in_group,
               std::min(nr, packing.group_out - in_group), shape.out_channels, nullptr, col_sums,
               args.input_signed ? -kOffset : 0});
}

// Pixels are shared where they are the larger part of what is read.
GemmSplit choose_parts(const ConvShape& quads, const Packing& packing, int threads) {
  const int64_t pixels = quads.batch * volume(quads.output), panels = quads.groups * packing.panels;
  const bool by_pixels = quads.batch * volume(quads.input) * quads.in_channels * kQuad > panels * packing.panel_bytes;
  if (by_pixels && pixels >= int64_t{threads} * kInt8MaxRows) return {1, threads};
  return choose_split(threads, pixels, panels, kInt8MaxRows);
}

void direct_conv(ThreadTeam& team, const Int8Kernels& kernels, const ConvShape& shape, const ConvInt8Args& args) {
  const Scratch scratch(shape, args, team.size());
  const ConvShape quads = in_quads(shape, scratch.copy != nullptr);
  const void* input = args.input;
  if (scratch.copy != nullptr) {
    copy_image(team, shape, args, scratch.copy);
    input = scratch.copy;
  }
  std::fill_n(scratch.padding, Tiles::max_run(quads) * kQuad, static_cast<uint8_t>(args.pad_value));
  const Packing packing(shape, kernels.nr);
  const GemmSplit parts = choose_parts(quads, packing, team.size());
  const int max_rows = args.tiles != nullptr ? kAmxRows : kernels.max_rows;
  const Tiles tiles(quads, quads.in_channels, kernels.nr, max_rows, static_cast<int>(parts.rows));
  const DirectConv conv{kernels, quads, args, scratch, tiles, static_cast<const int32_t*>(input), packing};
  team.parallel_for(parts.panels * parts.rows, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t part = begin; part < end; ++part) {
      conv.run(even_part(tiles.count(), part % parts.rows, parts.rows),
               even_part(shape.groups * packing.panels, part / parts.rows, parts.panels), thread);
    }
  });
}

// --- depthwise: float sums of x - pad_value, finished as integers

struct DepthwiseFinish {
  const Int8Kernels& kernels;
  const Int8Epilogue& epilogue;
  const int32_t* add;  // what pad_value took off each channel's sums
  int64_t channels;
};

void finish_depthwise(void* context, const ConvBlock& block) noexcept {
  const auto& f = *static_cast<const DepthwiseFinish*>(context);
  constexpr int64_t kColumns = 64;
  for (int64_t r = 0; r < block.rows; ++r) {
    for (int64_t first = 0; first < block.columns; first += kColumns) {
      int32_t sums[kColumns];
      const int64_t columns = std::min(kColumns, block.columns - first);
      const float* from = block.data + r * block.row_stride + first;
      for (int64_t c = 0; c < columns; ++c) sums[c] = static_cast<int32_t>(from[c]);
      const int64_t channel = block.first_channel + first;
      finish_int8(f.kernels, f.epilogue,
                  {sums, kColumns, block.first_pixel + r * block.pixel_step, 1, channel, columns, f.channels, nullptr,
                   f.add + channel, 1});
    }
  }
}

struct DepthwiseScratch {
  float *input, *output;
  int32_t* add;
  std::byte* kernel;
  size_t bytes = 0;

  DepthwiseScratch(const KernelTable& kernels, const ConvShape& s, std::byte* workspace, int threads) {
    const auto take = [&](size_t size) {
      std::byte* piece = workspace == nullptr ? nullptr : workspace + bytes;
      bytes += aligned(static_cast<int64_t>(size));
      return piece;
    };
    const auto floats = [&](int64_t n) {
      return reinterpret_cast<float*>(take(static_cast<size_t>(n) * sizeof(float)));
    };
    input = floats(s.batch * volume(s.input) * s.in_channels);
    output = floats(s.batch * volume(s.output) * s.out_channels);
    add = reinterpret_cast<int32_t*>(floats(s.out_channels));
    kernel = take(conv_workspace_bytes(kernels, s, false, threads));
  }
};

void depthwise(ThreadTeam& team, const KernelTable& kernels, const ConvShape& s, const ConvInt8Args& args) {
  const DepthwiseScratch scratch(kernels, s, args.workspace, team.size());
  const auto pad = static_cast<float>(args.pad_value);
  team.parallel_for(s.batch * volume(s.input), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin * s.in_channels; i < end * s.in_channels; ++i) {
      scratch.input[i] = (args.input_signed ? static_cast<float>(static_cast<const int8_t*>(args.input)[i])
                                            : static_cast<float>(static_cast<const uint8_t*>(args.input)[i])) -
                         pad;
    }
  });
  // Panels of vec_width channels, [taps][vec_width] each.
  const int64_t width = conv_vec_width(kernels), taps = volume(s.kernel);
  const auto* weights = static_cast<const float*>(args.weights);
  for (int64_t c = 0; c < s.out_channels; ++c) {
    float sum = 0;
    for (int64_t t = 0; t < taps; ++t) sum += weights[c / width * width * taps + t * width + c % width];
    scratch.add[c] = static_cast<int32_t>(sum) * args.pad_value;
  }
  DepthwiseFinish finish{kernels.int8, args.epilogue, scratch.add, s.out_channels};
  ConvArgs floats;
  floats.input = scratch.input;
  floats.weights = weights;
  floats.output = scratch.output;
  floats.workspace = scratch.kernel;
  floats.epilogue.post = finish_depthwise;
  floats.epilogue.post_context = &finish;
  conv(team, kernels, s, floats);
}

}  // namespace

int64_t conv_int8_packed_bytes(const ConvShape& shape, int nr) {
  const Packing packing(shape, nr);
  return shape.groups * packing.panels * packing.panel_bytes;
}

void conv_int8_pack(const ConvShape& shape, int nr, const int8_t* weights, int8_t* packed) {
  const int64_t sums_at = Packing(shape, nr).panel_bytes - nr * static_cast<int64_t>(sizeof(int32_t));
  std::fill_n(packed, conv_int8_packed_bytes(shape, nr), int8_t{0});
  for_each_weight(shape, nr, [&](int64_t from, int64_t to, int64_t column, int64_t panel) {
    packed[to] = weights[from];
    reinterpret_cast<int32_t*>(packed + panel + sums_at)[column] += weights[from];
  });
}

void conv_int8_unpack(const ConvShape& shape, int nr, const int8_t* packed, int8_t* weights) {
  for_each_weight(shape, nr, [&](int64_t from, int64_t to, int64_t, int64_t) { weights[from] = packed[to]; });
}

size_t conv_int8_workspace_bytes(const KernelTable& kernels, const ConvShape& shape, const ConvInt8Args& args,
                                 int threads) {
  ConvInt8Args sizes = args;
  sizes.workspace = nullptr;
  return is_depthwise(shape) ? DepthwiseScratch(kernels, shape, nullptr, threads).bytes
                             : Scratch(shape, sizes, threads).bytes;
}

void conv_int8(ThreadTeam& team, const KernelTable& kernels, const ConvShape& shape, const ConvInt8Args& args) {
  if (shape.batch * volume(shape.output) * shape.out_channels == 0) return;
  if (is_depthwise(shape)) return depthwise(team, kernels, shape, args);
  direct_conv(team, kernels.int8, shape, args);
}

}  // namespace lathe::cpu
