// The table of importers: one row per op and version from which the importer applies. Each family file holds its rows.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace lathe::onnx {

class Context;

struct OpRow {
  std::string_view domain;  // "" is the standard one
  std::string_view op;
  int64_t since;  // the row serves this version of the domain and later ones, up to the next row of the op
  void (*import)(Context&);
};

inline constexpr std::string_view kMicrosoft = "com.microsoft";
inline constexpr std::string_view kMachineLearning = "ai.onnx.ml";

// The row for an op, or null. `known` tells whether any version of the op has one.
const OpRow* find_row(std::string_view domain, std::string_view op, int64_t opset, bool& known);

// One per file importers/<family>.cc.
std::span<const OpRow> activation_ops();
std::span<const OpRow> attention_ops();
std::span<const OpRow> contrib_attention_ops();
std::span<const OpRow> control_ops();
std::span<const OpRow> conv_ops();
std::span<const OpRow> einsum_ops();
std::span<const OpRow> decision_tree_ops();
std::span<const OpRow> embedding_ops();
std::span<const OpRow> fourier_ops();
std::span<const OpRow> fused_ops();
std::span<const OpRow> gather_ops();
std::span<const OpRow> group_query_attention_ops();
std::span<const OpRow> learned_ops();
std::span<const OpRow> linear_attention_ops();
std::span<const OpRow> loss_ops();
std::span<const OpRow> math_ops();
std::span<const OpRow> matmul_nbits_ops();
std::span<const OpRow> matmul_ops();
std::span<const OpRow> movement_ops();
std::span<const OpRow> norm_ops();
std::span<const OpRow> pool_ops();
std::span<const OpRow> quantize_ops();
std::span<const OpRow> quantized_math_ops();
std::span<const OpRow> random_ops();
std::span<const OpRow> reduce_ops();
std::span<const OpRow> resize_ops();
std::span<const OpRow> rnn_ops();
std::span<const OpRow> sampling_ops();
std::span<const OpRow> select_ops();
std::span<const OpRow> sequence_ops();
std::span<const OpRow> shape_ops();
std::span<const OpRow> signal_ops();
std::span<const OpRow> slice_ops();
std::span<const OpRow> softmax_ops();
std::span<const OpRow> string_ops();
std::span<const OpRow> support_vector_ops();
std::span<const OpRow> training_ops();

}  // namespace lathe::onnx
