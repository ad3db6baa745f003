// Max, average and Lp pooling over 1 to 3 spatial axes, channels-last or channels-first. A global pool is one whose
// kernel is the whole input. Windows may hang over the padded input at the end (ceil mode): the output size says so.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "backends/cpu/kernels/kernel_table.h"
#include "base/thread_team.h"

namespace lathe::cpu {

enum class PoolKind : uint8_t { max, average, lp };

struct PoolShape {
  PoolKind kind = PoolKind::max;
  bool nchw = false;
  int64_t batch = 1, channels = 1;
  std::array<int64_t, 3> input = {1, 1, 1}, output = {1, 1, 1};  // depth, height, width
  std::array<int64_t, 3> kernel = {1, 1, 1}, stride = {1, 1, 1}, dilation = {1, 1, 1};
  std::array<int64_t, 3> pad_begin = {0, 0, 0}, pad_end = {0, 0, 0};
  bool count_include_pad = false;  // average divides by the window inside the padded input, else inside the input
  float p = 2.0f;                  // of lp: (sum |x|^p)^(1/p)
};

// Optional second result of max pooling, dense in the order of the output's layout: the position of the first maximum
// in the flat input [batch, channels, d, h, w] (whatever the layout). With `column_major` the last spatial axis but one
// varies fastest, as ONNX's storage_order 1 has it.
struct PoolIndices {
  int64_t* out = nullptr;
  bool column_major = false;
};

size_t pool_workspace_bytes(const PoolShape& shape, int threads);
// NaN wins every maximum. A window without any input gives -infinity (max) or 0.
void pool(ThreadTeam& team, const KernelTable& kernels, const PoolShape& shape, const float* input, float* output,
          std::byte* workspace, PoolIndices indices = {});

// Max pooling of bytes, channels-last. A window without any input gives the lowest byte.
void max_pool_bytes(ThreadTeam& team, const KernelTable& kernels, const PoolShape& shape, const uint8_t* input,
                    bool is_signed, uint8_t* output, std::byte* workspace);

}  // namespace lathe::cpu
