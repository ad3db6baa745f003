// Resampling of 1 to 3 spatial axes as ONNX's Resize defines it. Everything about coordinates is decided beforehand,
// per axis: for each output position the input positions it reads and their weights. The run then only combines rows.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "backends/cpu/kernels/kernel_table.h"
#include "base/thread_team.h"

namespace lathe::cpu {

enum class ResizeMode : uint8_t { nearest, linear, cubic };
enum class ResizeCoordinates : uint8_t {
  half_pixel,
  half_pixel_symmetric,
  pytorch_half_pixel,
  align_corners,
  asymmetric,
  tf_half_pixel_for_nn,
  tf_crop_and_resize,
};
enum class ResizeRounding : uint8_t { round_prefer_floor, round_prefer_ceil, floor, ceil };

struct ResizeOptions {
  ResizeMode mode = ResizeMode::nearest;
  ResizeCoordinates coordinates = ResizeCoordinates::half_pixel;
  ResizeRounding rounding = ResizeRounding::round_prefer_floor;
  float cubic_a = -0.75f;
  bool exclude_outside = false;
  bool antialias = false;
  float extrapolation = 0.0f;  // of tf_crop_and_resize, beyond the input
};

// One axis. Output position i reads input positions index[i * taps + t] with weight[i * taps + t], t < taps; taps with
// weight 0 pad the lists. Where `outside` is set, the output is the extrapolation value instead.
struct ResizeAxis {
  int64_t input = 1, output = 1;
  int64_t taps = 1;
  std::vector<int32_t> index;
  std::vector<float> weight;
  std::vector<uint8_t> outside;
};

// `scale` is output / input as the model gives it (it need not be the quotient of the sizes); roi is used by
// tf_crop_and_resize only. Throws Error(invalid_argument) for an empty input or a scale that is not positive.
ResizeAxis make_resize_axis(const ResizeOptions& options, int64_t input, int64_t output, double scale,
                            double roi_start = 0.0, double roi_end = 1.0);

struct Resize {
  bool nchw = false;
  int64_t batch = 1, channels = 1;
  std::array<ResizeAxis, 3> axes;  // depth, height, width; an axis that stays is made with scale 1
  float extrapolation = 0.0f;
};
size_t resize_workspace_bytes(const Resize& resize, int threads);
void resize(ThreadTeam& team, const KernelTable& kernels, const Resize& resize, const float* input, float* output,
            std::byte* workspace);

}  // namespace lathe::cpu
