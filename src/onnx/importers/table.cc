#include "onnx/importers/table.h"

namespace lathe::onnx {
namespace {

using Family = std::span<const OpRow> (*)();

constexpr Family kFamilies[] = {
    activation_ops,
    attention_ops,
    contrib_attention_ops,
    control_ops,
    conv_ops,
    einsum_ops,
    decision_tree_ops,
    embedding_ops,
    fourier_ops,
    fused_ops,
    gather_ops,
    group_query_attention_ops,
    learned_ops,
    linear_attention_ops,
    loss_ops,
    math_ops,
    matmul_nbits_ops,
    matmul_ops,
    movement_ops,
    norm_ops,
    pool_ops,
    quantize_ops,
    quantized_math_ops,
    random_ops,
    reduce_ops,
    resize_ops,
    rnn_ops,
    sampling_ops,
    select_ops,
    sequence_ops,
    shape_ops,
    signal_ops,
    slice_ops,
    softmax_ops,
    string_ops,
    support_vector_ops,
    training_ops,
};

}  // namespace

const OpRow* find_row(std::string_view domain, std::string_view op, int64_t opset, bool& known) {
  const OpRow* best = nullptr;
  known = false;
  for (const Family family : kFamilies) {
    for (const OpRow& row : family()) {
      if (row.op != op || row.domain != domain) continue;
      known = true;
      if (row.since <= opset && (best == nullptr || row.since > best->since)) best = &row;
    }
  }
  return best;
}

}  // namespace lathe::onnx
