// Shape inference, as text: graph inputs, one node, the types that it must give or the message that it must fail with.
#include "graph/infer.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "base/error.h"
#include "graph/text.h"

namespace lathe {
namespace {

struct Case {
  std::string_view inputs, node, expected;
};

std::string graph_text(const Case& c) {
  // As many results as `expected` has types: a node with optional outputs gives what is asked for.
  size_t results = 0;
  int depth = 0;
  for (const char ch : c.expected) {
    depth += ch == '[' || ch == '(' ? 1 : (ch == ']' || ch == ')' ? -1 : 0);
    results += (ch == ',' && depth == 0) ? 1 : 0;
  }
  std::string names = "%r0";
  for (size_t i = 1; i <= results; ++i) names += fmt::format(", %r{}", i);
  return fmt::format("graph ({}) {{ {} = {} return }}", c.inputs, names, c.node);
}

class Infer : public testing::TestWithParam<Case> {};

TEST_P(Infer, GivesTheTypes) {
  const auto graph = parse_graph(graph_text(GetParam()));
  std::string types;
  for (const Value* output : graph->nodes().back()->outputs())
    types += (types.empty() ? "" : ", ") + to_string(output->type());
  EXPECT_EQ(types, GetParam().expected) << GetParam().node;
}

INSTANTIATE_TEST_SUITE_P(
    Elementwise, Infer,
    testing::Values(Case{"%x: f32[n, 1], %y: f32[3]", "map(%x, %y) {program = (x0, x1) => lt(x0, x1)}", "bool[n, 3]"},
                    Case{"%x: f32[a], %y: f32[b]", "map(%x, %y) {program = (x0, x1) => add(x0, x1)}",
                         "f32[broadcast(a, b)]"},
                    Case{"%x: f32[*], %y: f32[b]", "map(%x, %y) {program = (x0, x1) => add(x0, x1)}", "f32[*]"},
                    Case{"%x: f32[*]", "map(%x) {program = (x0) => x0, shape = [2]}", "f32[2]"},
                    Case{"%x: f32[]", "map {program = () => iota(-1), shape = [0]}", "i64[0]"},
                    Case{"%x: f16[2, n, 3]", "reduce(%x) {axes = [0, 2]}", "f16[1, n, 1]"},
                    Case{"%x: f16[2, n, 3]", "reduce(%x) {axes = [0, 2], keep_dims = false}", "f16[n]"},
                    Case{"%x: f16[2]", "reduce(%x) {axes = []}", "f16[2]"},
                    Case{"%x: f16[2, 3]", "arg_reduce(%x) {axis = 1, keep_dims = false}", "i64[2]"},
                    Case{"%x: i32[2, 3]", "cumulative(%x) {axis = 1}", "i32[2, 3]"},
                    Case{"%x: f16[2, 3]", "softmax(%x) {axis = 0}", "f16[2, 3]"}));

INSTANTIATE_TEST_SUITE_P(
    Products, Infer,
    testing::Values(
        Case{"%a: f32[b, 1, s, 8], %b: f32[h, 8, t]", "matmul(%a, %b)", "f32[b, h, s, t]"},
        Case{"%a: f32[8, s], %b: f32[5, 8]", "matmul(%a, %b) {trans_a = true, trans_b = true}", "f32[s, 5]"},
        Case{"%a: u8[2, 3], %b: i8[3, 4]", "matmul(%a, %b)", "i32[2, 4]"},
        Case{"%a: f16[b, s, 70], %q: u4[5, 70], %s: f32[5, 3]", "matmul_nbits(%a, %q, %s) {block = 32}",
             "f16[b, s, 5]"},
        Case{"%a: bf16[k], %q: i8[5, k], %s: f16[5, 1], %z: f16[5, 1]", "matmul_nbits(%a, %q, %s, %z) {block = 999}",
             "bf16[5]"},
        Case{"%a: f32[n, 8], %q: i4[4, 8], %s: f32[4, 1], %c: f64[n, 4]",
             "matmul_nbits(%a, %q, %s, _, %c) {epilogue = (x0, x1) => add(cast<f64>(x0), x1)}", "f64[n, 4]"},
        Case{"%a: f32[*], %q: i4[4, 8], %s: f32[4, 1]", "matmul_nbits(%a, %q, %s)", "f32[*]"},
        Case{"%a: i64[2, 3], %b: i64[3, 4]", "matmul(%a, %b)", "i64[2, 4]"},
        Case{"%a: f32[2, 3], %b: bf16[3, 4]", "matmul(%a, %b)", "f32[2, 4]"},
        Case{"%a: f32[n, 3], %b: f16[3, 4], %c: i32[4]",
             "matmul(%a, %b, %c) {epilogue = (x0, x1) => cast<i32>(add(x0, cast<f32>(x1)))}", "i32[n, 4]"},
        Case{"%x: f32[1, 2, 9], %w: bf16[4, 2, 3]", "conv(%x, %w) {strides = [1], dilations = [1], pads = [0, 0]}",
             "f32[1, 4, 7]"},
        Case{"%a: f16[*], %b: f16[3, 4]", "matmul(%a, %b) {epilogue = (x0) => cast<f32>(x0)}", "f32[*]"},
        Case{"%x: f32[n, 3, h, 224], %w: f32[64, 3, 7, 7]",
             "conv(%x, %w) {strides = [2, 2], dilations = [1, 1], pads = [3, 3, 3, 3]}",
             "f32[n, 64, floor_div(h - 1, 2) + 1, 112]"},
        Case{"%x: f32[1, 9, 8], %w: f32[4, 2, 3]",
             "conv(%x, %w) {strides = [1], dilations = [2], pads = [0, 0], groups = 4, channels_last = true}",
             "f32[1, 5, 4]"},
        Case{"%x: f32[1, 4, n], %w: f32[4, 3, 3]",
             "conv_transpose(%x, %w) {strides = [2], dilations = [1], pads = [1, 1], output_padding = [1], groups = 2}",
             "f32[1, 6, 2*n]"},
        Case{"%x: f32[1, 2, 5, 6]",
             "pool(%x) {kernel = [2, 2], strides = [2, 2], dilations = [1, 1], pads = [0, 0, 0, 0]}",
             "f32[1, 2, 2, 3]"},
        Case{"%x: f32[1, 2, 5]",
             "pool(%x) {kernel = [2], strides = [2], dilations = [1], pads = [0, 0], ceil_mode = true}",
             "f32[1, 2, 3], i64[1, 2, 3]"},
        // The fourth window would start in the right padding.
        Case{"%x: f32[1, 2, 5]",
             "pool(%x) {kind = average, kernel = [2], strides = [2], dilations = [1], pads = [0, 2], ceil_mode = true}",
             "f32[1, 2, 3]"}));

INSTANTIATE_TEST_SUITE_P(
    Layers, Infer,
    testing::Values(
        Case{"%x: f16[b, s, 8], %g: f32[8]", "norm(%x, %g, _) {axis = 2}", "f16[b, s, 8]"},
        Case{"%x: f16[b, s, 8], %y: f16[8], %g: f16[s, 8]",
             "norm(%x, %y, %g) {axis = 1, num_x = 2, prologue = (x0, x1) => add(x0, x1)}",
             "f16[b, s, 8], f16[b, s, 8]"},
        Case{"%x: f32[b, 6, h], %g: f32[6]", "group_norm(%x, %g, %g) {groups = 3}", "f32[b, 6, h]"},
        Case{
            "%q: f32[b, s, 96]",
            "attention(%q, %q, %q) {heads = 4, kv_heads = 4, head_dim = 8, value_dim = 8, q_stride = 24, k_offset = 8, "
            "k_stride = 24, v_offset = 16, v_stride = 24}",
            "f32[b, s, 32]"},
        Case{"%q: f32[s, b, 16], %k: f32[b, 1, 8, t], %v: f32[b, 1, t, 4]",
             "attention(%q, %k, %v) {heads = 2, head_dim = 8, value_dim = 4, q_order = seq_major, q_stride = 8, "
             "k_order = transposed, v_order = head_major, output_order = head_major}",
             "f32[b, 2, s, 4]"},
        Case{"%q: f16[t, 32], %kc: bf16[n, 2, 16, 4], %vc: bf16[n, 2, 16, 8], %st: i32[s + 1], %len: i32[s], %tab: "
             "i32[s, b]",
             "paged_attention(%q, %q, %q, %kc, %vc, %st, %len, %tab) {heads = 4, kv_heads = 2, head_dim = 4, value_dim "
             "= 8, block_size = 16, q_stride = 4, k_stride = 4, v_stride = 8}",
             "f16[t, 32]"},
        Case{"%q: f16[t, 32], %kc: bf16[n, 2, 16, 4], %vc: bf16[n, 2, 16, 8], %st: i32[s + 1], %len: i32[s], %tab: "
             "i32[s, b], %p: i32[s], %sl: f32[4]",
             "paged_attention(%q, %q, %q, %kc, %vc, %st, %len, %tab, %p, %sl) {heads = 4, kv_heads = 2, head_dim = 4, "
             "value_dim = 8, block_size = 16, q_stride = 4, k_stride = 4, v_stride = 8}",
             "f16[t, 32]"},
        Case{
            "%q: f16[t, 32], %kc: bf16[n, 4, 16, 8], %st: i32[s + 1], %len: i32[s], %tab: i32[s, b], %bi: f32[4, 129]",
            "paged_attention(%q, %q, %q, %kc, %kc, %st, %len, %tab, _, _, %bi) {heads = 4, kv_heads = 4, head_dim = 8, "
            "value_dim = 8, block_size = 16, q_stride = 8, k_stride = 8, v_stride = 8}",
            "f16[t, 32]"},
        Case{"%q: f16[t, 32], %k: f16[u, 32], %kc: bf16[n, 4, 16, 8], %st: i32[s + 1], %len: i32[s], %tab: i32[s, b]",
             "paged_attention(%q, %k, %k, %kc, %kc, %st, %len, %tab, _, _, _, %st) {heads = 4, kv_heads = 4, head_dim "
             "= 8, value_dim = 8, block_size = 16, q_stride = 8, k_stride = 8, v_stride = 8}",
             "f16[t, 32]"},
        Case{"%q: f16[t, 32], %kc: bf16[n, 4, 16, 8], %st: i32[s + 1], %len: i32[s], %tab: i32[s, b], %si: f32[4]",
             "paged_attention(%q, %q, %q, %kc, %kc, %st, %len, %tab, _, _, _, _, %si) {heads = 4, kv_heads = 4, "
             "head_dim = 8, value_dim = 8, block_size = 16, q_stride = 8, k_stride = 8, v_stride = 8}",
             "f16[t, 32]"},
        Case{"%x: f16[b, s, h, 64], %c: f32[s, 1, 16]", "rotary(%x, %c, %c) {rotary_dim = 32}", "f16[b, s, h, 64]"},
        Case{"%i: i32[b, s], %p: i64[1, s], %t: f16[9, 8], %g: f16[8]",
             "embedding(%i, %t, %p, %t, %g) {num_tables = 2}", "f16[b, s, 8]"},
        Case{"%i: i32[b, s], %p: i64[1, s], %t: f16[9, 8], %u: f32[9, 8], %g: f32[8]",
             "embedding(%i, %t, %p, %u, %g) {num_tables = 2}", "f32[b, s, 8]"},
        Case{"%i: i32[b, s], %t: f16[9, 8], %g: f16[8], %p: i32[n]", "embedding(%i, %t, %g, _, %p)", "f16[n, 8]"},
        Case{"%x: f32[1, 2, h, w]", "resize(%x) {axes = [2, 3], sizes = [2*h, 7]}", "f32[1, 2, 2*h, 7]"},
        Case{"%x: f32[s, b, 4], %w: f32[1, 12, 4], %r: f32[1, 12, 3]",
             "rnn(%x, %w, %r) {hidden = 3, activations = [sigmoid, tanh, tanh], alpha = [0, 0, 0], beta = [0, 0, 0]}",
             "f32[s, 1, b, 3], f32[1, b, 3], f32[1, b, 3]"}));

INSTANTIATE_TEST_SUITE_P(
    Movement, Infer,
    testing::Values(
        Case{"%x: f32[b, s, 12]", "reshape(%x) {shape = [b*s, 3, 4]}", "f32[b*s, 3, 4]"},
        Case{"%x: f32[*]", "reshape(%x) {shape = [2]}", "f32[2]"},
        Case{"%x: f32[a, b, 3]", "transpose(%x) {perm = [2, 0, 1]}", "f32[3, a, b]"},
        Case{"%x: f32[n, 4]", "slice(%x) {axes = [1], starts = [3], sizes = [4], steps = [-1]}", "f32[n, 4]"},
        Case{"%x: f32[n, 4], %y: f32[m, 4], %z: f32[2, 4]", "concat(%x, %y, %z) {axis = 0}", "f32[m + n + 2, 4]"},
        Case{"%x: f32[n, k], %y: f32[n, 4]", "concat(%x, %y) {axis = 0}", "f32[2*n, 4]"},
        Case{"%x: f32[n, 4], %y: f32[*]", "concat(%x, %y) {axis = 0}", "f32[*]"},
        Case{"%x: f32[n, 4]", "pad(%x) {begins = [1, -1], ends = [p, -1]}", "f32[n + p + 1, 2]"},
        Case{"%x: f32[s, b], %l: i64[b]", "reverse_sequence(%x, %l)", "f32[s, b]"},
        Case{"%x: f32[a, 5, c], %i: i64[k, 2]", "gather(%x, %i) {axis = 1}", "f32[a, k, 2, c]"},
        Case{"%x: f32[5], %i: i32[]", "gather(%x, %i)", "f32[]"},
        Case{"%x: f32[5, 6], %i: i64[2, n]", "gather_elements(%x, %i) {axis = 1}", "f32[2, n]"},
        Case{"%x: f32[b, 5, 6, 7], %i: i64[b, n, 2]", "gather_nd(%x, %i) {batch_dims = 1}", "f32[b, n, 7]"},
        Case{"%x: f32[5, 6], %i: i64[n, k]", "gather_nd(%x, %i)", "f32[*]"},
        Case{"%x: f32[5, 6], %i: i64[2, n], %u: f32[2, n]", "scatter_elements(%x, %i, %u)", "f32[5, 6]"},
        Case{"%x: f32[5, 6], %i: i64[n, 1], %u: f32[n, 6]", "scatter_nd(%x, %i, %u)", "f32[5, 6]"},
        Case{"%x: f32[n, 9]", "top_k(%x) {k = min(k, 9), axis = 1}", "f32[n, min(9, k)], i64[n, min(9, k)]"},
        Case{"%x: bool[n, 9]", "non_zero(%x)", "i64[2, u0]"},
        Case{"%b: f32[1, n, 4], %s: f32[1, 80, n]", "nms(%b, %s) {max_per_class = 3}", "i64[u0, 3]"}));

constexpr std::string_view kBranches =
    "if(%c, %x) {then_branch = graph (%a: f32[k, 4]) { return %a as \"y\" }, "
    "else_branch = graph (%a: f32[k, 4]) { %b = concat(%a, %a) {axis = 1} return %b as \"y\" }}";
constexpr std::string_view kRegionFresh =
    "if(%c, %x) {then_branch = graph (%a: f32[k]) { %z = non_zero(%a) return %z as \"y\" }, "
    "else_branch = graph (%a: f32[k]) { %z = non_zero(%a) return %z as \"y\" }}";
constexpr std::string_view kRankDiffers =
    "if(%c, %x) {then_branch = graph (%a: f32[k]) { return %a as \"y\" }, "
    "else_branch = graph (%a: f32[k]) { %z = reduce(%a) {axes = [0], keep_dims = false} return %z as \"y\" }}";
// The first value grows, the second keeps its size, the slices have the size of a capture.
constexpr std::string_view kLoop =
    "loop(%n, _, %x, %y, %w) {num_carried = 2, body = graph (%i: i64[], %go: bool[], %a: f32[p], %b: f32[q, 4], %c: "
    "f32[r]) "
    "{ %more = constant {value = bool[] [true]} %d = concat(%a, %c) {axis = 0} "
    "return %more as \"m\", %d as \"a\", %b as \"b\", %c as \"s\" }}";
constexpr std::string_view kScan =
    "scan(%s, %x) {num_states = 1, num_scanned = 1, input_axes = [1], output_axes = [2], input_reversed = [0], "
    "output_reversed = [0], body = graph (%a: f32[b], %v: f32[b, 3]) { return %a as \"a\", %v as \"v\" }}";

INSTANTIATE_TEST_SUITE_P(
    Structure, Infer,
    testing::Values(Case{"%c: bool[], %x: f32[n, 4]", kBranches, "f32[n, u0]"},
                    Case{"%c: bool[], %x: f32[n]", kRegionFresh, "i64[1, u6]"},
                    Case{"%c: bool[], %x: f32[n]", kRankDiffers, "f32[*]"},
                    Case{"%n: i64[], %x: f32[0], %y: f32[m, 4], %w: f32[w]", kLoop, "f32[u1], f32[m, 4], f32[u3, w]"},
                    Case{"%s: f32[n], %x: f32[n, len, 3]", kScan, "f32[n], f32[n, 3, len]"},
                    Case{"%x: f32[2], %y: f32[2]", "sequence(%x, %y)", "seq<f32[2]>"},
                    Case{"%x: f32[2], %y: f32[n]", "sequence(%x, %y)", "seq<f32[*]>"},
                    Case{"%x: f32[2]", "sequence {dtype = i8}", "seq<i8[*]>"},
                    Case{"%s: seq<f32[2]>, %i: i64[]", "sequence(%s, %i) {kind = at}", "f32[2]"},
                    Case{"%s: seq<f32[n, 2]>, %i: i64[]", "sequence(%s, %i) {kind = at}", "f32[u0, 2]"},
                    Case{"%s: seq<f32[2]>, %x: f32[3]", "sequence(%s, %x) {kind = insert}", "seq<f32[*]>"},
                    Case{"%s: seq<f32[2]>", "sequence(%s) {kind = length}", "i64[]"},
                    Case{"%s: seq<f32[2]>", "sequence(%s) {kind = concat}", "f32[u0]"},
                    Case{"%s: seq<f32[2]>", "sequence(%s) {kind = concat, axis = 1, new_axis = true}", "f32[2, u0]"},
                    Case{"%x: f32[n, 3]", "sequence(%x) {kind = split, axis = 1, keep_dims = false}", "seq<f32[n]>"},
                    Case{"%s: seq<f32[2]>", "sequence(%s) {kind = optional_make}", "optional<seq<f32[2]>>"},
                    Case{"%o: optional<f32[2]>", "sequence(%o) {kind = optional_get}", "f32[2]"},
                    Case{"%o: optional<f32[2]>", "sequence(%o) {kind = optional_has}", "bool[]"}));

class InferErrors : public testing::TestWithParam<Case> {};

TEST_P(InferErrors, SayWhatDoesNotFit) {
  const Case& c = GetParam();
  try {
    parse_graph(fmt::format("graph ({}) {{ %r = {} return }}", c.inputs, c.node));
    FAIL() << c.node << " was accepted";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr(std::string(c.expected))) << c.node;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, InferErrors,
    testing::Values(
        Case{"%x: f32[2]", "softmax(%x, %x) {axis = 0}", "softmax(f32[2], f32[2]): takes 1 operands, 2 are given"},
        Case{"%x: i32[2]", "softmax(%x) {axis = 0}", "must hold floating-point numbers"},
        Case{"%x: seq<f32[2]>", "softmax(%x) {axis = 0}", "operand 0 must be a tensor"},
        Case{"%x: f32[2]", "softmax(_) {axis = 0}", "operand 0 is missing"},
        Case{"%x: f32[2], %y: f32[3]", "map(%x, %y) {program = (x0, x1) => add(x0, x1)}",
             "[2] and [3] do not broadcast"},
        Case{"%x: f32[2], %y: f16[2]", "map(%x, %y) {program = (x0, x1) => add(x0, x1)}", "operand types differ"},
        Case{"%x: f32[2]", "map(%x) {program = (x0) => x0, shape = [1]}", "operand 0 does not broadcast to [1]"},
        Case{"%x: f32[2]", "map(%x) {program = (x0) => add(x0, cast<f32>(iota(-2)))}",
             "iota(-2) in an index space of 1"},
        Case{"%x: f32[2]", "reduce(%x) {axes = [1]}", "must be sorted, distinct and below 1"},
        Case{"%x: f32[2, 2]", "reduce(%x) {axes = [1, 0]}", "must be sorted"},
        Case{"%x: f32[2]", "arg_reduce(%x) {axis = -1}", "axis -1 is not one of the 1 axes"},
        Case{"%a: f32[2, 3], %b: f32[4, 5]", "matmul(%a, %b)",
             "matmul(f32[2, 3], f32[4, 5]): inner sizes: 3 and 4 differ"},
        Case{"%a: f32[2, 3], %q: i4[4, 5], %s: f32[4, 1]", "matmul_nbits(%a, %q, %s)", "inner sizes: 3 and 5 differ"},
        Case{"%a: f32[2, 64], %q: i4[4, 64], %s: f32[4, 1]", "matmul_nbits(%a, %q, %s)",
             "blocks of a row: 1 and 2 differ"},
        Case{"%a: f32[2, 8], %q: i4[4, 8], %s: f32[3, 1]", "matmul_nbits(%a, %q, %s)",
             "rows of weights: 3 and 4 differ"},
        Case{"%a: f32[2, 8], %q: i16[4, 8], %s: f32[4, 1]", "matmul_nbits(%a, %q, %s)", "integers of 8 bits or fewer"},
        Case{"%a: f32[2, 8], %q: i4[4, 8], %s: f64[4, 1]", "matmul_nbits(%a, %q, %s)",
             "operand 2 must hold f32, f16 or bf16"},
        Case{"%a: f32[2, 8], %q: i4[4, 8], %s: f32[4, 1], %z: u4[4, 1]", "matmul_nbits(%a, %q, %s, %z)",
             "zeros must have the type"},
        Case{"%a: f32[2, 8], %q: i4[4, 8], %s: f32[4, 1]", "matmul_nbits(%a, %q, %s) {block = 0}",
             "blocks of 0 columns"},
        Case{"%a: f32[2, n], %b: f32[n + 1, 5]", "matmul(%a, %b)", "n and n + 1 differ"},
        Case{"%a: f32[3], %b: f32[3, 5]", "matmul(%a, %b)", "two axes at least"},
        Case{"%a: f16[2, 3], %b: f32[3, 5]", "matmul(%a, %b)", "cannot multiply elements of types f16 and f32"},
        Case{"%a: f16[2, 3], %b: bf16[3, 5]", "matmul(%a, %b)", "cannot multiply elements of types f16 and bf16"},
        Case{"%x: f16[1, 2, 9], %w: f32[4, 2, 3]", "conv(%x, %w) {strides = [1], dilations = [1], pads = [0, 0]}",
             "cannot multiply elements of types f16 and f32"},
        Case{"%a: f32[2, 3], %b: f32[3, 5]", "matmul(%a, %b, %a)", "extra operands but no epilogue"},
        Case{"%a: f32[2, 3], %b: f32[3, 5], %c: f32[4]", "matmul(%a, %b, %c) {epilogue = (x0, x1) => add(x0, x1)}",
             "operand 2 does not broadcast to [2, 5]"},
        Case{"%x: f32[1, 3, 9], %w: f32[4, 2, 3]", "conv(%x, %w) {strides = [1], dilations = [1], pads = [0, 0]}",
             "3 and 2 differ"},
        Case{"%x: f32[1, 2, 9], %w: f32[4, 2, 3]", "conv(%x, %w) {strides = [0], dilations = [1], pads = [0, 0]}",
             "strides holds 0"},
        Case{"%x: f32[1, 2, 2], %w: f32[4, 2, 9]", "conv(%x, %w) {strides = [1], dilations = [1], pads = [0, 0]}",
             "a window of 9 elements does not fit into 2"},
        Case{"%x: f32[1, 4, 9], %w: f32[3, 2, 3]",
             "conv(%x, %w) {strides = [1], dilations = [1], pads = [0, 0], groups = 2}",
             "3 output channels cannot be divided into 2 groups"},
        Case{"%x: f32[1, 4, 9]", "pool(%x) {kernel = [2], strides = [1], dilations = [1], pads = [0]}",
             "pads needs two"},
        Case{"%x: f32[2, 8], %g: f32[4]", "norm(%x, %g) {axis = 1}", "operand 1 does not broadcast to [8]"},
        Case{"%x: f32[2, 8], %g: f16[8]", "norm(%x, %g) {axis = 1}", "must be of type f32"},
        Case{"%x: f32[2, 8]", "norm(%x) {axis = -1}", "axis -1"},
        Case{"%x: f32[2, 8], %g: f32[8]", "norm(%x, %x, %g) {axis = 1, num_x = 2}", "no prologue"},
        Case{"%q: f32[b, s, 16]", "attention(%q, %q, %q) {heads = 3, kv_heads = 2, head_dim = 4, value_dim = 4}",
             "3 query heads cannot share 2 key heads"},
        Case{"%q: f32[b, s, 16]",
             "attention(%q, %q, %q) {heads = 2, kv_heads = 2, head_dim = 9, value_dim = 8, q_stride = 9, "
             "k_stride = 9, v_stride = 8}",
             "operand 0 has 16 columns, its heads reach to column 18"},
        Case{"%q: f32[b, s, 16]", "attention(%q, %q, %q) {heads = 2, kv_heads = 2, head_dim = 8, value_dim = 8}",
             "cannot lie 0 apart"},
        Case{"%q: f32[b, 4, 8], %k: f32[b, 5, 8], %v: f32[b, 6, 8]",
             "attention(%q, %k, %v) {head_dim = 8, value_dim = 8}", "key and value lengths: 5 and 6 differ"},
        Case{"%q: f16[t, 32], %kc: bf16[n, 2, 16, 4], %vc: bf16[n, 2, 16, 8], %st: i32[s + 1], %len: i32[s], %tab: "
             "i32[s, b]",
             "paged_attention(%q, %q, %q, %kc, %vc, %st, %len, %tab) {heads = 3, kv_heads = 2, head_dim = 4, value_dim "
             "= 8, block_size = 16, q_stride = 4, k_stride = 4, v_stride = 8}",
             "3 query heads cannot share 2"},
        Case{"%q: f16[t, 32], %kc: bf16[n, 2, 16, 4], %vc: bf16[n, 2, 16, 8], %st: i32[s + 1], %len: i32[s], %tab: "
             "i32[s, b]",
             "paged_attention(%q, %q, %q, %kc, %vc, %st, %len, %tab) {heads = 4, kv_heads = 2, head_dim = 4, value_dim "
             "= 8, q_stride = 4, k_stride = 4, v_stride = 8}",
             "blocks of 0 tokens"},
        Case{"%q: f16[t, 32], %kc: bf16[n, 2, 16, 4], %vc: bf16[n, 2, 16, 8], %st: i32[s + 1], %len: i32[s], %tab: "
             "i32[s, b]",
             "paged_attention(%q, %q, %q, %kc, %vc, %st, %len, %tab) {heads = 4, kv_heads = 2, head_dim = 4, value_dim "
             "= 8, block_size = 16, q_stride = 4, k_stride = 4, v_stride = 8, window = -1}",
             "window = -1 or softcap = 0"},
        Case{"%q: f16[t, 32], %kc: bf16[n, 2, 16, 4], %vc: bf16[n, 2, 16, 8], %st: i32[s + 1], %len: i32[s], %tab: "
             "i32[s, b]",
             "paged_attention(%q, %q, %q, %kc, %vc, %st, %len, %tab) {heads = 4, kv_heads = 2, head_dim = 4, value_dim "
             "= 8, block_size = 16, q_stride = 4, k_stride = 4, v_stride = 8, chunked = true}",
             "chunks of 0 keys"},
        Case{"%q: f16[t, 32], %kc: bf16[n, 2, 16, 4], %vc: bf16[n, 2, 16, 8], %st: i32[s + 1], %len: i32[s], %tab: "
             "i32[s, b]",
             "paged_attention(%q, %q, %q, %kc, %vc, %st, %len, %tab) {heads = 4, kv_heads = 2, head_dim = 4, value_dim "
             "= 8, block_size = 16, q_stride = 4, k_stride = 4, v_stride = 8, k_offset = 32}",
             "its heads reach to column 40"},
        Case{"%q: f16[*], %kc: bf16[n, 2, 16, 4], %vc: bf16[n, 2, 16, 8], %st: i32[s + 1], %len: i32[s], %tab: i32[s, "
             "b]",
             "paged_attention(%q, %q, %q, %kc, %vc, %st, %len, %tab) {heads = 4, kv_heads = 2, head_dim = 4, value_dim "
             "= 8, block_size = 16, q_stride = 4, k_stride = 4, v_stride = 8}",
             "operand 0 must have 2 axes"},
        Case{"%q: f16[t, 32], %kc: u8[n, 2, 16, 4], %vc: bf16[n, 2, 16, 8], %st: i32[s + 1], %len: i32[s], %tab: "
             "i32[s, b]",
             "paged_attention(%q, %q, %q, %kc, %vc, %st, %len, %tab) {heads = 4, kv_heads = 2, head_dim = 4, value_dim "
             "= 8, block_size = 16, q_stride = 4, k_stride = 4, v_stride = 8}",
             "a cache holds f32, f16, bf16, i8 or f8e4m3"},
        Case{"%q: f16[t, 32], %kc: i8[n, 2, 16, 4], %vc: i8[n, 2, 16, 8], %st: i32[s + 1], %len: i32[s], %tab: "
             "i32[s, b]",
             "paged_attention(%q, %q, %q, %kc, %vc, %st, %len, %tab) {heads = 4, kv_heads = 2, head_dim = 4, value_dim "
             "= 8, block_size = 16, q_stride = 4, k_stride = 4, v_stride = 8}",
             "features of a cached head: 4 and 8 differ"},
        Case{"%q: f16[t, 32], %kc: i8[n, 2, 3, 9], %vc: i8[n, 2, 3, 9], %st: i32[s + 1], %len: i32[s], %tab: "
             "i32[s, b]",
             "paged_attention(%q, %q, %q, %kc, %vc, %st, %len, %tab) {heads = 4, kv_heads = 2, head_dim = 5, value_dim "
             "= 5, block_size = 3, q_stride = 5, k_stride = 5, v_stride = 5}",
             "3 rows of 5 bytes leave no place for scales"},
        Case{"%q: f16[t, 32], %kc: f16[n, 2, 16, 4], %vc: bf16[n, 2, 16, 8], %st: i32[s + 1], %len: i32[s], %tab: "
             "i32[s, b]",
             "paged_attention(%q, %q, %q, %kc, %vc, %st, %len, %tab) {heads = 4, kv_heads = 2, head_dim = 4, value_dim "
             "= 8, block_size = 16, q_stride = 4, k_stride = 4, v_stride = 8}",
             "operand 4 must be of type f16"},
        Case{"%q: f16[t, 32], %kc: bf16[n, 2, 32, 4], %vc: bf16[n, 2, 16, 8], %st: i32[s + 1], %len: i32[s], %tab: "
             "i32[s, b]",
             "paged_attention(%q, %q, %q, %kc, %vc, %st, %len, %tab) {heads = 4, kv_heads = 2, head_dim = 4, value_dim "
             "= 8, block_size = 16, q_stride = 4, k_stride = 4, v_stride = 8}",
             "tokens of a block: 32 and 16 differ"},
        Case{"%q: f16[t, 32], %kc: bf16[7, 2, 16, 4], %vc: bf16[8, 2, 16, 8], %st: i32[s + 1], %len: i32[s], %tab: "
             "i32[s, b]",
             "paged_attention(%q, %q, %q, %kc, %vc, %st, %len, %tab) {heads = 4, kv_heads = 2, head_dim = 4, value_dim "
             "= 8, block_size = 16, q_stride = 4, k_stride = 4, v_stride = 8}",
             "blocks of the caches: 7 and 8 differ"},
        Case{"%q: f16[t, 32], %kc: bf16[n, 2, 16, 4], %vc: bf16[n, 2, 16, 8], %st: i32[s + 1], %len: i32[s + 1], %tab: "
             "i32[s, b]",
             "paged_attention(%q, %q, %q, %kc, %vc, %st, %len, %tab) {heads = 4, kv_heads = 2, head_dim = 4, value_dim "
             "= 8, block_size = 16, q_stride = 4, k_stride = 4, v_stride = 8}",
             "sequences: s + 1 and s differ"},
        Case{"%q: f16[t, 32], %kc: bf16[n, 2, 16, 4], %vc: bf16[n, 2, 16, 8], %st: i32[s + 1], %len: i64[s], %tab: "
             "i32[s, b]",
             "paged_attention(%q, %q, %q, %kc, %vc, %st, %len, %tab) {heads = 4, kv_heads = 2, head_dim = 4, value_dim "
             "= 8, block_size = 16, q_stride = 4, k_stride = 4, v_stride = 8}",
             "operand 6 must be of type i32"},
        Case{"%q: f16[t, 32], %kc: bf16[n, 2, 16, 4], %vc: bf16[n, 2, 16, 8], %st: i32[s + 1], %len: i32[s], %tab: "
             "i32[s, b], %sl: f32[2]",
             "paged_attention(%q, %q, %q, %kc, %vc, %st, %len, %tab, _, %sl) {heads = 4, kv_heads = 2, head_dim = 4, "
             "value_dim = 8, block_size = 16, q_stride = 4, k_stride = 4, v_stride = 8}",
             "slopes: 2 and 4 differ"},
        Case{
            "%q: f16[t, 32], %kc: bf16[n, 4, 16, 8], %st: i32[s + 1], %len: i32[s], %tab: i32[s, b], %bi: f32[2, 9]",
            "paged_attention(%q, %q, %q, %kc, %kc, %st, %len, %tab, _, _, %bi) {heads = 4, kv_heads = 4, head_dim = 8, "
            "value_dim = 8, block_size = 16, q_stride = 8, k_stride = 8, v_stride = 8}",
            "biases: 2 and 4 differ"},
        Case{
            "%q: f16[t, 32], %kc: bf16[n, 4, 16, 8], %st: i32[s + 1], %len: i32[s], %tab: i32[s, b], %bi: f32[4, d]",
            "paged_attention(%q, %q, %q, %kc, %kc, %st, %len, %tab, _, _, %bi) {heads = 4, kv_heads = 4, head_dim = 8, "
            "value_dim = 8, block_size = 16, q_stride = 8, k_stride = 8, v_stride = 8}",
            "biases for d distances"},
        Case{"%q: f16[3, 32], %k: f16[4, 32], %kc: bf16[n, 4, 16, 8], %st: i32[s + 1], %len: i32[s], %tab: i32[s, b]",
             "paged_attention(%q, %k, %k, %kc, %kc, %st, %len, %tab) {heads = 4, kv_heads = 4, head_dim = 8, value_dim "
             "= 8, block_size = 16, q_stride = 8, k_stride = 8, v_stride = 8}",
             "tokens: 3 and 4 differ"},
        Case{"%q: f16[t, 32], %kc: bf16[n, 4, 16, 8], %st: i32[s + 1], %len: i32[s], %tab: i32[s, b]",
             "paged_attention(%q, %q, %q, %kc, %kc, %st, %len, %tab, _, _, _, %st) {heads = 4, kv_heads = 4, head_dim "
             "= 8, value_dim = 8, block_size = 16, window = 3, q_stride = 8, k_stride = 8, v_stride = 8}",
             "keys of another text have no place"},
        Case{"%x: f32[2, 8], %c: f32[4]", "rotary(%x, %c, %c) {rotary_dim = 3}", "not even"},
        Case{"%x: f32[2, 8], %c: f32[3]", "rotary(%x, %c, %c) {rotary_dim = 8}", "does not broadcast to [2, 4]"},
        Case{"%i: f32[2], %t: f32[9, 8], %g: f32[8]", "embedding(%i, %t, %g)", "must hold i32 or i64 indices"},
        Case{"%i: i64[2], %t: f32[9, 8], %g: f32[8]", "embedding(%i, %t, %g, _, %i)", "operand 4"},
        Case{"%x: f32[2, 8]", "resize(%x) {axes = [1, 1], sizes = [2, 2]}", "axis 1 stands twice"},
        Case{"%x: f32[5, 2, 4], %w: f32[1, 12, 4], %v: f32[1, 12, 3]", "rnn(%x, %w, %v) {hidden = 3}",
             "needs 3 activations"},
        Case{"%x: f32[2, 3]", "reshape(%x) {shape = [4]}", "6 elements cannot take shape [4]"},
        Case{"%x: f32[2, 3]", "transpose(%x) {perm = [0, 0]}", "[0, 0] is not a permutation"},
        Case{"%x: f32[4]", "slice(%x) {axes = [0], starts = [2], sizes = [3], steps = [1]}",
             "element 4 of an axis of 4"},
        Case{"%x: f32[4]", "slice(%x) {axes = [0], starts = [1], sizes = [3], steps = [-1]}", "element -1 of an axis"},
        Case{"%x: f32[4]", "slice(%x) {axes = [0], starts = [1], sizes = [3]}", "1 axes, 1 starts, 1 sizes, 0 steps"},
        Case{"%x: f32[4, 2], %y: f32[4, 3]", "concat(%x, %y) {axis = 0}", "2 and 3 differ"},
        Case{"%x: f32[4]", "pad(%x) {begins = [-3], ends = [-2]}", "would have size -1"},
        Case{"%x: f32[4], %i: f32[2]", "gather(%x, %i)", "must hold i32 or i64"},
        Case{"%x: f32[4, 4], %i: i64[2, 3]", "gather_nd(%x, %i)", "rows of 3 indices do not fit"},
        Case{"%x: f32[4, 4], %i: i64[2, 1], %u: f32[2, 3]", "scatter_nd(%x, %i, %u)", "4 and 3 differ"},
        Case{"%x: f32[4]", "top_k(%x) {k = 5, axis = 0}", "cannot select 5 of 4 elements"},
        Case{"%b: f32[1, n, 5], %s: f32[1, 80, n]", "nms(%b, %s)", "coordinates of a box"},
        Case{"%x: f32[4]", "dims {values = [1, 2], scalar = true}", "a scalar has one dimension"},
        Case{"%c: f32[], %x: f32[n, 4]", kBranches, "operand 0 must be of type bool"},
        Case{"%c: bool[], %x: f32[n, 5]", kBranches, "f32[n, 5] cannot be bound to f32[k, 4]"},
        Case{"%c: bool[], %x: f16[n, 4]", kBranches, "cannot be bound to"},
        Case{"%s: f32[n], %x: f32[n, len, 4]", kScan, "a slice of type f32[n, 4] cannot be bound to f32[b, 3]"},
        Case{"%x: f32[2], %y: f16[2]", "sequence(%x, %y)", "elements of types f32 and f16"},
        Case{"%x: f32[2]", "sequence(%x) {kind = length}", "operand 0 must be a sequence"}));

TEST(InferBind, ChecksTheNumberOfElements) {
  EXPECT_THROW(parse_graph("graph (%x: i64[3]) { bind(%x) {symbols = [\"$0\"]} return }"), Error);
  EXPECT_THROW(parse_graph("graph (%x: f32[1]) { bind(%x) {symbols = [\"$0\"]} return }"), Error);
  EXPECT_NO_THROW(parse_graph("graph (%x: i64[n]) { bind(%x) {symbols = [\"$0\"]} return }"));
}

}  // namespace
}  // namespace lathe
