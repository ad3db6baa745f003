// Lowering of the layers of networks: norms, softmax, reductions, embeddings, convolution, pooling, resampling, rotary.
#include "tests/backends/cpu/lower_test_util.h"

namespace lathe::cpu {
namespace {

class LowerNn : public LowerTest {};
LATHE_FOR_EACH_DEVICE(LowerNn);

TEST_P(LowerNn, NormPrologues) {
  const std::string head =
      "(%x: f32[b, s, 40], %r: f32[b, s, 40], %z: f32[b, 1, 40]) { %g = constant {value = f32[40] random(1)} %c = "
      "constant {value = f32[40] random(2)} ";
  const std::vector<Tensor> inputs = {floats({2, 3, 40}, 1), floats({2, 3, 40}, 2), floats({2, 1, 40}, 3)};
  for (const std::string kind : {"layer", "rms"}) {
    const std::string fields = "kind = " + kind + ", axis = 2, ";
    check(head + "%y = norm(%x, %g, %c) {" + fields + "num_x = 1} return %y }", inputs);
    check(head + "%y = norm(%x, %g, _) {" + fields + "num_x = 1} return %y }", inputs);
    check(head + "%y, %v = norm(%x, %r, %c, %g, %c) {" + fields +
              "num_x = 3, prologue = (x0, x1, x2) => add(add(x0, x2), x1)} return %y, %v }",
          inputs);
    check(head + "%y, %v = norm(%x, %z, %g, %c) {" + fields +
              "num_x = 2, prologue = (x0, x1) => add(x0, x1)} return %y, %v }",
          inputs);
    check(head + "%y = norm(%x, %r, %g, %c) {" + fields +
              "num_x = 2, prologue = (x0, x1) => mul(x0, sigmoid(x1))} return %y }",
          inputs);
  }
  check(
      "(%x: f32[b, 5, 8]) { %g = constant {value = f32[5, 8] random(1)} %y = norm(%x, %g, _) {axis = 1, num_x = 1} "
      "return %y }",
      {floats({3, 5, 8})});
  check(
      "(%x: f32[b, 8]) { %g = constant {value = f32[8] random(1)} %y = norm(%x, %g, _) {axis = 1, num_x = 1} return %y "
      "}",
      {floats({0, 8})});
}

TEST_P(LowerNn, GroupNorm) {
  for (const int groups : {0, 1, 3})
    check(
        "(%x: f32[n, 6, h, w]) { %g = constant {value = f32[6] random(1)} %c = constant {value = f32[6] random(2)} %y "
        "= group_norm(%x, %g, %c) {groups = " +
            std::to_string(groups) + "} return %y }",
        {floats({2, 6, 5, 7})});
}

TEST_P(LowerNn, Softmax) {
  for (const int axis : {0, 1, 2})
    for (const std::string log : {"true", "false"})
      check(
          "(%x: f32[a, b, c]) { %y = softmax(%x) {axis = " + std::to_string(axis) + ", log = " + log + "} return %y }",
          {floats({3, 17, 6})});
  const float inf = INFINITY;
  const Tensor rows = Tensor::of<float>({3, 3}, {-inf, -inf, -inf, 1, -inf, 2, NAN, 1, 2});
  for (const std::string safe : {"true", "false"})
    check("(%x: f32[a, b]) { %y = softmax(%x) {axis = 1, safe = " + safe + "} return %y }", {rows});
}

TEST_P(LowerNn, Reduce) {
  for (const std::string kind : {"sum", "mean", "max", "min", "prod", "l1", "l2", "log_sum_exp", "sum_square"}) {
    for (const std::string axes : {"[0]", "[1]", "[2]", "[0, 2]", "[1, 2]", "[0, 1, 2]", "[]"}) {
      for (const std::string keep : {"true", "false"})
        check("(%x: f32[a, b, c]) { %y = reduce(%x) {kind = " + kind + ", axes = " + axes + ", keep_dims = " + keep +
                  "} return %y }",
              {floats({3, 4, 5})});
    }
    check("(%x: f32[a, b]) { %y = reduce(%x) {kind = " + kind + ", axes = [1]} return %y }", {floats({0, 4})});
  }
  for (const std::string kind : {"sum", "mean", "max", "min", "prod", "sum_square"})
    for (const std::string type : {"i64", "i32", "f64"})
      for (const std::string axes : {"[0]", "[1, 2]", "[2]"})
        check("(%x: " + type + "[a, b, c]) { %y = reduce(%x) {kind = " + kind + ", axes = " + axes +
                  ", keep_dims = false} return %y }",
              {random_tensor(*dtype_from_string(type), {3, 4, 5}, 1, -9, 9)});
}

TEST_P(LowerNn, ArgReduceAndCumulative) {
  for (const std::string type : {"f32", "i64", "i32"}) {
    const Tensor x = random_tensor(*dtype_from_string(type), {3, 7, 5}, 1, -4, 4);
    for (const std::string axis : {"0", "1", "2"}) {
      for (const std::string flag : {"true", "false"}) {
        check("(%x: " + type + "[a, b, c]) { %y = arg_reduce(%x) {axis = " + axis + ", largest = " + flag +
                  ", select_last = " + flag + ", keep_dims = false} return %y }",
              {x});
        for (const std::string kind : {"sum", "prod"})
          check("(%x: " + type + "[a, b, c]) { %y = cumulative(%x) {kind = " + kind + ", axis = " + axis +
                    ", exclusive = " + flag + ", reverse = true} return %y }",
                {x});
      }
    }
  }
}

TEST_P(LowerNn, Embedding) {
  const std::string tables =
      "%w = constant {value = f32[50, 24] random(1)} %p = constant {value = f32[16, 24] random(2)} %g = constant "
      "{value = f32[24] random(3)} ";
  for (const std::string type : {"i64", "i32"}) {
    const DType t = *dtype_from_string(type);
    const std::vector<Tensor> inputs = {random_tensor(t, {3, 7}, 1, -50, 49), random_tensor(t, {1, 7}, 2, 0, 15)};
    const std::string head = "(%i: " + type + "[b, s], %j: " + type + "[1, s]) { " + tables;
    check(head + "%y = embedding(%i, %w, %j, %p, %g, %g) {num_tables = 2} return %y }", inputs);
    check(head + "%y = embedding(%j, %p, %i, %w, %i, %w, %g) {num_tables = 3, kind = rms} return %y }", inputs);
    std::vector<Tensor> picking = inputs;
    picking.push_back(Tensor::of<int32_t>({5}, {20, 0, 7, 7, 13}));
    check("(%i: " + type + "[b, s], %j: " + type + "[1, s], %t: i32[t]) { " + tables +
              "%y = embedding(%j, %p, %i, %w, %g, _, %t) {num_tables = 2} return %y }",
          picking);
    picking.back() = Tensor(DType::i32, {0});
    check("(%i: " + type + "[b, s], %j: " + type + "[1, s], %t: i32[t]) { " + tables +
              "%y = embedding(%j, %p, %i, %w, %g, %g, %t) {num_tables = 2} return %y }",
          picking);
  }
  check(
      "(%i: i64[b, s]) { %w = constant {value = f16[50, 21] random(1)} %p = constant {value = bf16[9, 21] random(2)} "
      "%t "
      "= constant {value = f32[50, 21] random(3)} %g = constant {value = f32[21] random(4)} %j = map() {program = () "
      "=> iota(-1), shape = [1, s]} %y = embedding(%i, %w, %j, %p, %i, %t, %g) {num_tables = 3} return %y }",
      {ids({3, 7}, 50)});
  if (GetParam().name == "cuda") return;  // kernels cannot report an index that is out of range
  const auto graph = graph_of(
      "(%i: i64[n]) { %w = constant {value = f32[5, 4] random(1)} %g = constant {value = f32[4] random(2)} %y = "
      "embedding(%i, %w, %g) return %y }");
  LoweredGraph lowered(*graph, GetParam(), 1, true);
  EXPECT_THROW(lowered.run({Tensor::of<int64_t>({2}, {0, 5})}), Error);
  const auto picking = graph_of(
      "(%i: i64[n], %t: i32[t]) { %w = constant {value = f32[5, 4] random(1)} %g = constant {value = f32[4] random(2)} "
      "%y = embedding(%i, %w, %g, _, %t) return %y }");
  LoweredGraph picked(*picking, GetParam(), 1, true);
  for (const int32_t outside : {-1, 2})
    EXPECT_THROW(picked.run({Tensor::of<int64_t>({2}, {0, 1}), Tensor::of<int32_t>({1}, {outside})}), Error);
}

std::string weight(const std::string& shape) { return "%w = constant {value = f32" + shape + " random(1)} "; }

TEST_P(LowerNn, ConvWithHalfWeights) {
  for (const std::string type : {"f16", "bf16"}) {
    const std::string head = "(%x: f32[n, 4, 9]) { %w = constant {value = " + type;
    check(head + "[6, 4, 3] random(1)} %y = conv(%x, %w) {strides = [1], dilations = [1], pads = [1, 1]} return %y }",
          {floats({2, 4, 9})});
    check(head +
              "[4, 1, 3] random(1)} %y = conv(%x, %w) {strides = [1], dilations = [1], pads = [1, 1], groups = 4} "
              "return %y }",
          {floats({2, 4, 9})});
    check(head +
              "[4, 5, 3] random(1)} %y = conv_transpose(%x, %w) {strides = [2], dilations = [1], pads = [1, 1], "
              "output_padding = [0]} return %y }",
          {floats({2, 4, 9})});
  }
}

// Both as the layout pass leaves it and as it stands.
TEST_P(LowerNn, Conv) {
  struct Case {
    std::string weights, fields;
    Sizes x;
  };
  for (const Case& c : std::vector<Case>{
           {"[16, 6, 3, 3]", "strides = [1, 1], dilations = [1, 1], pads = [1, 1, 1, 1]", {2, 6, 9, 11}},
           {"[16, 6, 1, 1]", "strides = [2, 1], dilations = [1, 1], pads = [0, 0, 0, 0]", {2, 6, 9, 11}},
           {"[16, 3, 3, 2]", "strides = [2, 1], dilations = [1, 2], pads = [1, 0, 0, 2], groups = 2", {1, 6, 9, 11}},
           {"[6, 1, 3, 3]", "strides = [1, 1], dilations = [1, 1], pads = [1, 1, 1, 1], groups = 6", {2, 6, 9, 11}},
           {"[5, 6, 3]", "strides = [2], dilations = [1], pads = [1, 1]", {2, 6, 15}},
           {"[5, 2, 2, 3, 2]",
            "strides = [1, 2, 1], dilations = [1, 1, 1], pads = [0, 1, 0, 1, 1, 1]",
            {2, 2, 4, 6, 5}}}) {
    std::string shape = "[n, " + std::to_string(c.x[1]);
    for (size_t i = 2; i < c.x.size(); ++i) shape += std::string(", s") + std::to_string(i);
    const std::string text =
        "(%x: f32" + shape + "]) { " + weight(c.weights) + "%y = conv(%x, %w) {" + c.fields + "} return %y }";
    check(text, {floats(c.x)});
    check(text, {floats(c.x)}, {2e-5, false, {}});
  }
}

TEST_P(LowerNn, ConvWithComputedWeights) {
  const std::string text =
      "(%x: f32[n, 4, h, w], %w: f32[8, 4, 3, 3], %b: f32[8, 1, 1]) { %y = conv(%x, %w, %b) {strides = [1, 1], "
      "dilations = [1, 1], "
      "pads = [1, 1, 1, 1], epilogue = (x0, x1) => relu(add(x0, x1))} return %y }";
  for (const bool legalize : {true, false})
    check(text, {floats({2, 4, 5, 6}, 1), floats({8, 4, 3, 3}, 2), floats({8, 1, 1}, 3)}, {2e-5, legalize, {}});
}

// How many channels there are may show in the run only.
TEST_P(LowerNn, ConvRefusesChannelsThatTheWeightsDoNotFit) {
  const auto graph = graph_of("(%x: f32[n, c, h, w]) { " + weight("[8, 4, 3, 3]") +
                              "%y = conv(%x, %w) {strides = [1, 1], dilations = [1, 1], pads = [1, 1, 1, 1]} return "
                              "%y }");
  for (const bool legalize : {true, false}) {
    LoweredGraph lowered(*graph, GetParam(), 1, legalize);
    EXPECT_NO_THROW(lowered.run({floats({1, 4, 5, 6})}));
    EXPECT_THROW(lowered.run({floats({1, 5, 5, 6})}), Error);
  }
}

TEST_P(LowerNn, ConvEpilogues) {
  const std::string head = "(%x: f32[n, 4, h, w], %r: f32[n, 8, h, w], %m: f32[n, 8, 1, 1]) { " +
                           weight("[8, 4, 3, 3]") +
                           "%b = constant {value = f32[8, 1, 1] random(2)} %y = conv(%x, %w, %b, %r, %m) {strides = "
                           "[1, 1], dilations = [1, 1], pads = [1, 1, 1, 1], epilogue = (x0, x1, x2, x3) => ";
  for (const std::string program :
       {"relu(add(add(x0, x1), x2))", "add(silu(add(x0, x1)), x2)", "mul(add(x0, x1), x3)", "add(mul(x0, 2:f32), x1)",
        "add(add(x0, x1), cast<f32>(add(iota(-3), mul(iota(-1), 10:i64))))"})
    for (const bool legalize : {true, false})
      check(head + program + "} return %y }",
            {floats({2, 4, 5, 6}, 1), floats({2, 8, 5, 6}, 2), floats({2, 8, 1, 1}, 3)}, {2e-5, legalize, {}});
}

TEST_P(LowerNn, ConvTranspose) {
  check("(%x: f32[n, 4, h, w]) { " + weight("[4, 6, 3, 2]") +
            "%y = conv_transpose(%x, %w) {strides = [2, 1], dilations = [1, 1], pads = [1, 0, 1, 0], output_padding = "
            "[1, 0]} return %y }",
        {floats({2, 4, 5, 6})});
  check("(%x: f32[n, 4, h]) { " + weight("[4, 3, 3]") +
            "%b = constant {value = f32[6, 1] random(2)} %y = conv_transpose(%x, %w, %b) "
            "{strides = [3], dilations = [2], pads = [0, 1], output_padding = [0], groups = 2, epilogue = (x0, x1) => "
            "relu(add(x0, x1))} return %y }",
        {floats({2, 4, 5})});
}

TEST_P(LowerNn, Pool) {
  for (const std::string kind : {"max", "average", "lp"}) {
    for (const std::string more : {"", ", ceil_mode = true", ", count_include_pad = true"}) {
      check("(%x: f32[n, 5, h, w]) { %y = pool(%x) {kind = " + kind +
                ", kernel = [3, 2], strides = [2, 2], dilations = [1, 1], pads = [1, 0, 1, 1]" + more + "} return %y }",
            {floats({2, 5, 8, 9})});
      check("(%x: f32[n, h, w, 5]) { %y = pool(%x) {kind = " + kind +
                ", kernel = [3, 2], strides = [2, 2], dilations = [2, 1], pads = [1, 0, 1, 1], channels_last = true" +
                more + "} return %y }",
            {floats({2, 8, 9, 5})});
    }
  }
  for (const std::string flag : {"true", "false"})
    check(
        "(%x: f32[n, 2, h, w]) { %y, %i = pool(%x) {kernel = [2, 2], strides = [2, 1], dilations = [1, 1], pads = [0, "
        "1, 0, 0], column_major_indices = " +
            flag + "} return %y, %i }",
        {floats({2, 2, 5, 4})});
}

TEST_P(LowerNn, Resize) {
  for (const std::string mode : {"nearest", "linear", "cubic"}) {
    for (const std::string coordinates :
         {"half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"}) {
      const std::string fields = "mode = " + mode + ", coordinates = " + coordinates;
      check("(%x: f32[n, 3, h, w]) { %y = resize(%x) {" + fields + ", axes = [2, 3], sizes = [2*h, w + 3]} return %y }",
            {floats({2, 3, 5, 4})});
      check("(%x: f32[n, h, w, 3]) { %y = resize(%x) {" + fields +
                ", axes = [0, 1, 2, 3], sizes = [n, 2*h, 3, 3], scales = [1, 2, 0, 1]} return %y }",
            {floats({2, 5, 6, 3})});
    }
  }
  check("(%x: f32[n, c, w]) { %y = resize(%x) {mode = linear, axes = [2], sizes = [3], antialias = true} return %y }",
        {floats({2, 3, 10})});
}

TEST_P(LowerNn, Rotary) {
  for (const std::string interleaved : {"true", "false"}) {
    const std::string y = " { %y = rotary(%x, %c, %s) {rotary_dim = 40, interleaved = " + interleaved + "} return %y }";
    check("(%x: f32[b, h, s, 48], %c: f32[s, 20], %s: f32[s, 20])" + y,
          {floats({2, 3, 7, 48}, 1), floats({7, 20}, 2), floats({7, 20}, 3)});
    check("(%x: f32[b, s, h, 48], %c: f32[b, s, 1, 20], %s: f32[b, s, 1, 20])" + y,
          {floats({2, 3, 7, 48}, 1), floats({2, 3, 1, 20}, 2), floats({2, 3, 1, 20}, 3)});
  }
}

// Sizes at which every family shares its work among the threads.
TEST_P(LowerNn, WorkForAllThreads) {
  check(
      "(%x: f32[b, s, 96], %i: i64[b, s]) { %w = constant {value = f32[96, 200] random(1)} %v = constant {value = "
      "f32[200, 96] random(2)} %g = constant {value = f32[96] random(3)} %h = matmul(%x, %w) {epilogue = (x0) => "
      "gelu_erf(x0)} %k = matmul(%h, %v) %n = norm(%x, %k, %g, _) {axis = 2, num_x = 2, prologue = (x0, x1) => add(x0, "
      "x1)} %t = transpose(%n) {perm = [0, 2, 1]} %p = matmul(%n, %t) %y = softmax(%p) {axis = 2} %e = gather(%v, %i) "
      "%m = map(%e, %n) {program = (x0, x1) => mul(tanh(x0), x1)} %r = reduce(%y) {kind = max, axes = [1]} return %y, "
      "%m, %r }",
      {floats({3, 150, 96}), ids({3, 150}, 200)});
  check(
      "(%x: f32[n, 24, h, w]) { %w = constant {value = f32[40, 24, 3, 3] random(1)} %c = conv(%x, %w) {strides = [1, "
      "1], dilations = [1, 1], pads = [1, 1, 1, 1]} %p = pool(%c) {kernel = [3, 3], strides = [2, 2], dilations = [1, "
      "1], pads = [1, 1, 1, 1]} %y = resize(%p) {mode = linear, axes = [2, 3], sizes = [h, w]} %z = concat(%y, %c) "
      "{axis = 1} return %z }",
      {floats({2, 24, 40, 41})});
}

}  // namespace
}  // namespace lathe::cpu
