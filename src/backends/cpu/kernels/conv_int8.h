// Convolution of bytes with exact 32-bit sums, any stride, dilation, padding and groups, on the tile kernel and the
// epilogue of integer products (gemm_int8.h). Activations are [batch, d, h, w, channels] without gaps, u8 or s8;
// weights are s8.
//
// The kernel takes four channels at a time, so input channels of a group that are no multiple of four are padded: in
// the packed weights, and in a copy of the input, which then holds the padding around the image too. Signed activations
// take that copy as well.
//
// For matrix tiles the input of a tile's pixels is gathered first, all taps of a pixel one after the other as its
// weights are.
//
// Depthwise convolution, which has a single channel to sum over, runs on the float kernel: all its sums are integers
// below 2^24, which floats hold exactly. Its weights are those of kernels/conv.h.
#pragma once

#include <cstddef>

#include "backends/cpu/kernels/conv.h"
#include "backends/cpu/kernels/gemm_int8.h"

namespace lathe::cpu {

// More taps than this, and the sums of a depthwise convolution may not be exact in floats: 255 * 128 * taps < 2^24.
inline constexpr int64_t kConvInt8MaxDepthwiseTaps = 514;

// [group][panel][tap][channels / 4][nr][4], each panel followed by nr sums as in gemm_int8_kernels.h.
int64_t conv_int8_packed_bytes(const ConvShape& shape, int nr);
void conv_int8_pack(const ConvShape& shape, int nr, const int8_t* weights, int8_t* packed);
void conv_int8_unpack(const ConvShape& shape, int nr, const int8_t* packed, int8_t* weights);

struct ConvInt8Args {
  const void* input = nullptr;
  bool input_signed = false;
  int pad_value = 0;              // what stands around the input
  const void* weights = nullptr;  // packed
  Int8Epilogue epilogue;          // rows are output pixels, columns output channels
  std::byte* workspace = nullptr;
  const AmxInt8Kernels* tiles = nullptr;  // may be null
};
size_t conv_int8_workspace_bytes(const KernelTable& kernels, const ConvShape& shape, const ConvInt8Args& args,
                                 int threads);
void conv_int8(ThreadTeam& team, const KernelTable& kernels, const ConvShape& shape, const ConvInt8Args& args);

}  // namespace lathe::cpu
