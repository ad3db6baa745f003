// A well-typed graph in which every op of the closed set occurs, fields away from their defaults where that is
// possible. Tests that must see each op (text form, serialisation, hashes, verifier) share it; every_op_test.cc checks
// that none is missing.
#pragma once

#include <string_view>

namespace lathe::test {

inline constexpr std::string_view kEveryOp = R"(
graph every-op(%x: f32[batch, 4], %image: f32[n, 8, h, w], %ids: i64[batch, seq], %flag: bool[], %tokens: f32[batch, seq, 64],
      %trips: i64[], %steps: f32[seq, batch, 16], %boxes: f32[1, 10, 4], %scores: f32[1, 3, 10], %"odd \"name\"\n": i32[2],
      %key_cache: f16[blocks, 2, 16, 8], %value_cache: f16[blocks, 2, 16, 4], %rows_now: f32[rows, 64], %starts: i32[seqs + 1],
      %contexts: i32[seqs], %block_table: i32[seqs, width]) {
  %weight = constant {value = f32[4, 2] [1, 2.5, -3, 0.1, inf, -inf, nan, -0]} @ "layer 1/weight"
  %half = constant {value = f16[16] splat(0.333251953125)}
  %bytes = constant {value = u8[3] [0, 127, 255]}
  %wide = constant {value = u64[2] [18446744073709551615, 0]}
  %nibbles = constant {value = i4[3] [-8, 7, 1]}
  %logical = constant {value = bool[2] [true, false]}
  %strings = constant {value = string[2] ["a, b", "\"\\\x01"]}
  %small = constant {value = f8e5m2[3] [inf, 0.5, -57344]}
  %none = constant {value = f32[0, 3] []}
  %sizes = dims {values = [batch, 2*seq + 1, 3]}
  %size = dims {values = [floor_div(h, 2)], scalar = true}
  bind(%"odd \"name\"\n") {symbols = ["$0", "$1"]}
  %bias = constant {value = f32[2] [0.5, -0.5]}
  %weight_row = constant {value = f32[1, 4] [1, 2, 3, 4]}
  %ids_nd = constant {value = i64[1, 1] [2]}
  %position = constant {value = i64[1, 2] [0, 3]}
  %update = constant {value = f32[1] [9]}
  %zero = constant {value = f32[1, 16] splat(0)}
  %affine = map(%x, %weight_row) {program = (x0, x1) => { t0 = exp(x0); div(t0, add(t0, mul(x1, 2.5:f32))) }}
  %range = map {program = () => mul(iota(-1), dim(seq)), shape = [seq, max($0, 0)]}
  %sum = reduce(%image) {kind = log_sum_exp, axes = [2, 3], keep_dims = false}
  %best = arg_reduce(%x) {largest = false, axis = 1, keep_dims = false, select_last = true}
  %running = cumulative(%x) {kind = prod, axis = 1, exclusive = true, reverse = true}
  %product = matmul(%x, %weight, %bias) {epilogue = (x0, x1) => relu(add(x0, x1))} : f32[batch, 2] @ "layer 1"
  %levels4 = constant {value = u4[3, 4] [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15]}
  %steps4 = constant {value = f16[3, 2] splat(0.5)}
  %bias4 = constant {value = f32[3] [1, 2, 3]}
  %middles4 = constant {value = u4[3, 2] [8, 7, 8, 9, 0, 15]}
  %few_bits = matmul_nbits(%x, %levels4, %steps4, %middles4, %bias4) {block = 3, round_rows = true, epilogue = (x0, x1) => relu(add(x0, x1))}
  %levels64 = constant {value = u4[2, 64] splat(9)}
  %steps64 = constant {value = f16[2, 4] splat(0.5)}
  %experts = grouped_matmul(%tokens, %ids, %levels64, %steps64, _, _, %levels64, %steps64, _, _) {trans_b = true, block = 16, round_rows = true}
  %kernel = constant {value = f32[16, 4, 3, 3] random(7)}
  %conv = conv(%image, %kernel) {strides = [2, 1], dilations = [1, 2], pads = [1, 2, 1, 2], groups = 2}
  %kernel_t = constant {value = f32[16, 2, 3, 3] random(8)}
  %deconv = conv_transpose(%conv, %kernel_t) {strides = [2, 2], dilations = [1, 1], pads = [0, 0, 1, 1], output_padding = [1, 0], groups = 2}
  %pooled, %where = pool(%image) {kernel = [3, 2], strides = [2, 2], dilations = [1, 1], pads = [1, 0, 1, 1], ceil_mode = true, column_major_indices = true}
  %gain = constant {value = f32[64] splat(1)}
  %normed, %residual = norm(%tokens, %tokens, %gain, _) {kind = rms, axis = 2, epsilon = 1e-06, num_x = 2, prologue = (x0, x1) => add(x0, x1)}
  %channel_gain = constant {value = f32[8] splat(2)}
  %grouped = group_norm(%image, %channel_gain, %channel_gain) {groups = 4, epsilon = 0.001}
  %soft = softmax(%x) {axis = 1, log = true, safe = true}
  %attended = attention(%tokens, %tokens, %tokens, %ids) {heads = 4, kv_heads = 2, head_dim = 8, value_dim = 4, scale = 0.25, q_stride = 8, k_offset = 32, k_stride = 8, v_offset = 48, v_stride = 4, causal = true, causal_offset = seq - 1, score = (x0, x1) => select(gt(x1, iota(-1)), x0, -inf:f32)}
  %slopes = constant {value = f32[4] [0.5, 0.25, 0.125, 0.0625]}
  %paged = paged_attention(%rows_now, %rows_now, %rows_now, %key_cache, %value_cache, %starts, %contexts, %block_table, _, %slopes) {heads = 4, kv_heads = 2, head_dim = 8, value_dim = 4, block_size = 16, scale = 0.25, window = 100, softcap = 30, q_stride = 8, k_offset = 32, k_stride = 8, v_offset = 48, v_stride = 4}
  %angles = constant {value = f32[8] splat(0.5)}
  %rotated = rotary(%tokens, %angles, %angles) {rotary_dim = 16, interleaved = true}
  %table = constant {value = f32[100, 64] random(1)}
  %embedded = embedding(%ids, %table, %ids, %table, %gain) {num_tables = 2, kind = rms, epsilon = 1e-12}
  %resized = resize(%image) {mode = cubic, coordinates = tf_crop_and_resize, nearest = ceil, axes = [2, 3], sizes = [2*h, 2*w], scales = [2, 0], roi = [0, 0, 1, 1], cubic_coefficient = -0.5, exclude_outside = true, antialias = true, extrapolation_value = 1.5}
  %rnn_w = constant {value = f32[2, 24, 16] random(2)}
  %rnn_r = constant {value = f32[2, 24, 8] random(3)}
  %rnn_y, %rnn_h = rnn(%steps, %rnn_w, %rnn_r, _, _, _) {kind = gru, direction = bidirectional, hidden = 8, activations = [sigmoid, tanh, hard_sigmoid, softplus], alpha = [0, 0, 0.2, 1], beta = [0, 0, 0.5, 0], clip = 3, linear_before_reset = true}
  %flat = reshape(%image) {shape = [n, 8*h*w]}
  %turned = transpose(%image) {perm = [0, 2, 3, 1]}
  %slice = slice(%tokens) {axes = [1, 2], starts = [seq - 1, 0], sizes = [seq, 32], steps = [-1, 2]}
  %slice_wide = concat(%slice, %slice) {axis = 2}
  %joined = concat(%tokens, %slice_wide) {axis = 1}
  %padded = pad(%x) {mode = reflect, begins = [0, 1], ends = [$1, -1]}
  %lengths = constant {value = i64[1] [3]}
  %reversed = reverse_sequence(%boxes, %lengths) {batch_axis = 0, time_axis = 1}
  %rows = gather(%x, %ids) {axis = 1}
  %elements = gather_elements(%x, %ids) {axis = 1}
  %picked = gather_nd(%x, %ids_nd) {batch_dims = 1}
  %scattered = scatter_elements(%x, %ids, %elements) {axis = 1, reduction = add}
  %scattered_nd = scatter_nd(%x, %position, %update) {reduction = max}
  %top, %top_at = top_k(%x) {k = min(batch, 4), axis = 1, largest = false, sorted = false}
  %nonzero = non_zero(%x)
  %token_rows, %token_starts, %token_places = pack_tokens(%ids) {kept = 0, keep_first = false}
  %boxes_kept = nms(%boxes, %scores) {max_per_class = 5, iou_threshold = 0.5, score_threshold = 0.25, center_point = true}
  %either = if(%flag, %x) {then_branch = graph (%a: f32[batch, 4]) {
    %b = map(%a) {program = (x0) => neg(x0)}
    return %b as "y"
  }, else_branch = graph other(%a: f32[batch, 4]) {
    return %a as "y"
  }}
  %last, %all = loop(%trips, _, %x, %weight) {num_carried = 1, body = graph (%i: i64[], %go: bool[], %v: f32[r, 4], %w: f32[4, 2]) {
    %again = constant {value = bool[] [true]}
    %y = matmul(%v, %w)
    return %again as "go", %v as "v", %y as "slice"
  }}
  %state, %outs = scan(%zero, %steps) {num_states = 1, num_scanned = 1, input_axes = [0], output_axes = [1], input_reversed = [1], output_reversed = [0], body = graph (%s: f32[p, 16], %t: f32[p, 16]) {
    %next = map(%s, %t) {program = (x0, x1) => add(x0, x1)}
    return %next as "s", %next as "out"
  }}
  %list = sequence(%x, %x) {axis = -1}
  %tensor = sequence(%list) {kind = concat, axis = 1, new_axis = true}
  %maybe = sequence {kind = optional_make, dtype = i64}
  %levels, %level_size, %level_zero = dynamic_quantize(%x) {axis = 1}
  %distinct, %first = extern(%ids) {kernel = "unique", integers = [1, 0, 0]}
  %split = extern(%strings) {kernel = "string_split", integers = [-1], texts = [", "]}
  return %product as "logits", %x as "logits", %all as "α", %outs as "outs"
}
)";

}  // namespace lathe::test
