// Register tiles of products with weights of a few bits (graph/ops/matmul_nbits.h). Single-threaded parts; nothing here
// allocates or throws. matmul_nbits.h has the driver, and the packing.
//
// Weights come as panels of `nr` columns (rows of q), in steps: a step is a run of consecutive terms (columns of q) of
// one block, all of it or a part of a long one (NBitsShape). A step is padded to octets of eight terms, each [4-term
// half][nr][4] bytes; nibbles have the second half in the upper four bits of the first's bytes. Bytes are unsigned:
// signed weights are moved up by half of their range. Scales and zeros are [block][nr] each in a panel of its own.
#pragma once

#include <cstdint>

namespace lathe::cpu {

// How scales and zeros are stored.
enum class NBitsParameter : uint8_t { f32, f16, bf16, u8 };

// The terms of a row: cut into blocks, which are cut into steps; the last of each may be shorter.
struct NBitsShape {
  int64_t k, block, step;
};

// One panel's weights.
struct NBitsPanel {
  NBitsShape shape;
  const uint8_t* weights;
  const void* scales;
  NBitsParameter scale_type;
  const void* zeros;  // null: `middle` is the zero of all
  NBitsParameter zero_type;
  int32_t middle;     // of the unsigned weights
  float zero_offset;  // what zeros, as stored, lack to those of unsigned weights
};

// out[r][j] = sum over k of a[r][k] * w[j][k], for rows that were rounded to bytes: a holds octets of the steps as
// [half][rows][4] signed bytes; `scales` and `sums` are [step][rows]. `sums` are those of the bytes, and times -middle
// where the weights have no zeros. All nr columns are computed.
struct NBitsTile {
  const int8_t* a;
  const float* scales;
  const int32_t* sums;
  float* out;  // [rows][nr]
};
// The same for rows as they are, at a + r * lda.
struct NBitsFloatTile {
  const float* a;
  int64_t lda;
  float* out;
};

inline constexpr int kNBitsMaxRows = 12, kNBitsMaxFloatRows = 4;

struct MatMulNBitsKernels {
  int nr;        // columns of a panel
  int max_rows;  // of a rounded tile, at most kNBitsMaxRows
  // By nibbles (1) or bytes (0), and by rows from 1.
  void (*rounded[2][kNBitsMaxRows + 1])(const NBitsPanel& panel, const NBitsTile& tile) noexcept;
  void (*floats[2][kNBitsMaxFloatRows + 1])(const NBitsPanel& panel, const NBitsFloatTile& tile) noexcept;
  // The weights themselves, [k][nr].
  void (*widen[2])(const NBitsPanel& panel, float* out) noexcept;
  // The greatest |x|; NaN when any is NaN.
  float (*greatest)(const float* x, int64_t n) noexcept;
  // y[i] = x[i] * inverse_scale, rounded half to even; n bytes, and zeros up to the next multiple of eight. Returns
  // the sum.
  int32_t (*round)(const float* x, int64_t n, float inverse_scale, int8_t* y) noexcept;
};

}  // namespace lathe::cpu
