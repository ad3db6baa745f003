// Weights that others have rounded to 4 or 8 bits, as the operands of MatMulNBits, level for level: GPTQ's and AWQ's
// words along columns and rows, those of compressed-tensors, and plain bytes with scales.
//
//   GPTQ                qweight i32 [K / p, N], p = 32 / bits: level k of a column in word k / p, lowest first
//                       qzeros i32 [G, N / p] along rows, less zero_offset; scales [G, N]; g_idx i32 [K]
//   AWQ                 qweight i32 [K, N / 8], qzeros i32 [G, N / 8]: the levels of 8 rows in a word, in the order
//                       0 2 4 6 1 3 5 7 from the lowest; scales [G, N]
//   compressed-tensors  weight_packed i32 [N, ceil(K / p)] of levels + 2^(bits - 1), weight_scale [N, G], weight_shape,
//                       weight_zero_point i32 [ceil(N / p), G] or i8 [N, G], weight_g_idx i32 [K]
//   bytes               weight i8 [N, K], weight_scale [N, G]
//   MXFP4               _blocks u8 [N, K / 32, 16] of pairs of fp4, the first lowest; _scales u8 [N, K / 32], powers of
//                       two: levels here are twice the numbers, in 8 bits, which keeps all of them
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_team.h"
#include "checkpoint/quantization.h"
#include "graph/tensor.h"

namespace lathe::checkpoint {

// Endings of the names of such weights, which no ".weight" comes before.
inline constexpr std::string_view kMxfp4Levels = "_blocks", kMxfp4Scales = "_scales";

struct NarrowWeight {
  Tensor q;                     // [N, K], u4, u8 or i8
  Tensor scales;                // [N, ceil(K / block)]
  std::optional<Tensor> zeros;  // none: the middle of the range
  std::optional<Tensor> order;  // i32 [K]: column j of q belongs to column order[j] of the activations
  int64_t block = 0;
};

// Whether the weight "name" is stored in one of these ways.
bool is_narrow(const Checkpoint& checkpoint, const std::string& name);
// The names of all tensors, there or not, that may belong to a matrix in these ways or in fp8.
std::vector<std::string> parts_of_matrix(const std::string& name);

// Without a team, tensors are deferred: their types and sizes alone. Throws Error(invalid_model) for parts that are
// missing or do not fit, Error(unsupported) for what the op cannot express.
NarrowWeight read_narrow(const Checkpoint& checkpoint, const Quantization& quantization, const std::string& name,
                         int64_t n, int64_t k, ThreadTeam* team);

}  // namespace lathe::checkpoint
