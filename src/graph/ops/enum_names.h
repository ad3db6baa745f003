// Names of the enumerations that op fields use, for the text form and serialisation: one table each, in enumerator
// order.
#pragma once

#include <array>
#include <string_view>

#include "graph/ops/attention.h"
#include "graph/ops/gather.h"
#include "graph/ops/movement.h"
#include "graph/ops/norm.h"
#include "graph/ops/pool.h"
#include "graph/ops/reduce.h"
#include "graph/ops/resize.h"
#include "graph/ops/rnn.h"
#include "graph/ops/sequence.h"

namespace lathe {

template <class E>
inline constexpr std::array<std::string_view, 0> kEnumNames = {};

template <>
inline constexpr auto kEnumNames<ReduceKind> = std::to_array<std::string_view>({"sum", "mean", "max", "min", "prod",
                                                                                "l1", "l2", "log_sum", "log_sum_exp",
                                                                                "sum_square"});
template <>
inline constexpr auto kEnumNames<CumulativeKind> = std::to_array<std::string_view>({"sum", "prod"});
template <>
inline constexpr auto kEnumNames<PoolKind> = std::to_array<std::string_view>({"max", "average", "lp"});
template <>
inline constexpr auto kEnumNames<NormKind> = std::to_array<std::string_view>({"layer", "rms"});
template <>
inline constexpr auto kEnumNames<HeadOrder> = std::to_array<std::string_view>({"token_major", "seq_major", "head_major",
                                                                               "transposed"});
template <>
inline constexpr auto kEnumNames<PadMode> = std::to_array<std::string_view>({"constant", "reflect", "edge", "wrap"});
template <>
inline constexpr auto kEnumNames<ScatterReduction> = std::to_array<std::string_view>({"none", "add", "mul", "max",
                                                                                      "min"});
template <>
inline constexpr auto kEnumNames<ResizeMode> = std::to_array<std::string_view>({"nearest", "linear", "cubic"});
template <>
inline constexpr auto kEnumNames<ResizeCoordinates> = std::to_array<std::string_view>(
    {"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize"});
template <>
inline constexpr auto kEnumNames<ResizeNearest> =
    std::to_array<std::string_view>({"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"});
template <>
inline constexpr auto kEnumNames<RnnKind> = std::to_array<std::string_view>({"rnn", "gru", "lstm"});
template <>
inline constexpr auto kEnumNames<RnnDirection> = std::to_array<std::string_view>({"forward", "reverse",
                                                                                  "bidirectional"});
template <>
inline constexpr auto kEnumNames<RnnActivation> = std::to_array<std::string_view>({"relu", "tanh", "sigmoid", "affine",
                                                                                   "leaky_relu", "thresholded_relu",
                                                                                   "scaled_tanh", "hard_sigmoid", "elu",
                                                                                   "softsign", "softplus"});
template <>
inline constexpr auto kEnumNames<SequenceKind> = std::to_array<std::string_view>({"construct", "insert", "erase", "at",
                                                                                  "length", "split", "concat",
                                                                                  "optional_make", "optional_has",
                                                                                  "optional_get"});

}  // namespace lathe
