// What the tests of the CPU leave out and GPU kernels specialise on: narrow types, and sizes that choose among kernels.
#include "tests/backends/cpu/lower_test_util.h"

namespace lathe::cpu {
namespace {

class CudaNn : public LowerTest {
 protected:
  // The result in a narrow type may be one rounding away from the reference; where values are rounded inside as well,
  // `roundings` of them.
  void check_narrow(const std::string& text, const std::vector<Tensor>& inputs, const std::string& type,
                    int roundings = 1) {
    check(text, inputs, {roundings * (type == "f16" ? 2e-3 : type == "bf16" ? 2e-2 : 2e-5), true, {}});
  }
  static Tensor numbers(const std::string& type, Sizes dims, uint32_t seed = 1) {
    return random_tensor(*dtype_from_string(type), std::move(dims), seed);
  }
};
LATHE_FOR_EACH_DEVICE(CudaNn);

const std::vector<std::string> kTypes = {"f32", "f16", "bf16", "f64"};

TEST_P(CudaNn, SoftmaxRows) {
  for (const std::string& type : kTypes) {
    for (const int64_t width : {1, 7, 64, 197, 1024, 5000, 40000}) {
      const std::vector<Tensor> inputs = {numbers(type, {5, width})};
      check_narrow("(%x: " + type + "[a, b]) { %y = softmax(%x) {axis = 1} return %y }", inputs, type);
      check_narrow(
          "(%x: " + type + "[a, " + std::to_string(width) + "]) { %y = softmax(%x) {axis = 1, log = true} return %y }",
          inputs, type);
    }
    check_narrow("(%x: " + type + "[a, b, c]) { %y = softmax(%x) {axis = 1} return %y }", {numbers(type, {2, 100, 70})},
                 type);
  }
}

TEST_P(CudaNn, NormRows) {
  for (const std::string& type : kTypes) {
    for (const int64_t width : {1, 40, 768, 1000, 4096, 20000}) {
      const std::string w = std::to_string(width);
      const std::string head = "(%x: " + type + "[b, s, " + w + "], %r: " + type + "[b, 1, " + w + "], %g: " + type +
                               "[" + w + "], %c: f32[" + w + "]) { ";
      const std::vector<Tensor> inputs = {numbers(type, {2, 5, width}, 1), numbers(type, {2, 1, width}, 2),
                                          numbers(type, {width}, 3), floats({width}, 4)};
      check_narrow(head +
                       "%y, %v = norm(%x, %r, %g, %c) {axis = 2, num_x = 2, prologue = (x0, x1) => add(x0, x1)} "
                       "return %y, %v }",
                   inputs, type);
      check_narrow(head + "%y = norm(%x, %g, _) {axis = 2, num_x = 1, kind = rms} return %y }", inputs, type);
    }
    check_narrow("(%x: " + type + "[a, b, c, d], %g: " + type + "[c, 1], %h: " + type +
                     "[d]) { %y = norm(%x, %g, %h) {axis = 2, num_x = 1} return %y }",
                 {numbers(type, {2, 3, 5, 7}), numbers(type, {5, 1}, 2), numbers(type, {7}, 3)}, type);
  }
}

// The bytes of rows are those of the rows that the same norm leaves; rows held in registers, and rows read again.
TEST_P(CudaNn, NormInBytes) {
  for (const std::string type : {"f32", "f16", "bf16"})
    for (const std::string bytes : {"i8", "f8e4m3"})
      for (const int64_t width : {1, 40, 768, 1001, 1024, 4096, 20000}) {
        SCOPED_TRACE(type + " to " + bytes + ", " + std::to_string(width));
        const std::string rows = type + "[b, s, " + std::to_string(width) + "]",
                          of_row = "[" + std::to_string(width) + "]";
        const bool integers = bytes == "i8";
        const auto graph =
            graph_of("(%x: " + rows + ", %r: " + rows + ", %g: " + type + of_row + ", %c: f32" + of_row +
                     ") { %y, %v, " + (integers ? "" : "%i, %j, ") +
                     "%q, %s = norm(%x, %r, %g, %c) {axis = 2, num_x = 2, prologue = (x0, x1) => add(x0, "
                     "x1)} %p, %t, %o = dynamic_quantize(%y) {axis = 2, " +
                     (integers ? "symmetric" : "floating") + " = true} return %y, %q, %s, %p, %t }");
        const std::vector<Tensor> inputs = {numbers(type, {2, 5, width}, 1), numbers(type, {2, 5, width}, 2),
                                            numbers(type, {width}, 3), floats({width}, 4)};
        const auto expected = evaluate(*graph, std::vector<RefValue>(inputs.begin(), inputs.end()));
        LoweredGraph lowered(*graph, GetParam(), 1, true);
        for (const ProgramStep& step : lowered.program().steps) EXPECT_FALSE(step.fallback) << step.reason;
        const std::vector<Tensor> actual = lowered.run(inputs);
        expect_close(actual[0], std::get<Tensor>(expected[0]), type == "f16" ? 2e-3 : type == "bf16" ? 2e-2 : 2e-5);
        expect_close(actual[1], actual[3], 0);
        expect_close(actual[2], actual[4], 0);
      }
}

TEST_P(CudaNn, NormOfPositions) {
  check(
      "(%x: f32[a, b, 32]) { %y = norm(%x, _, _) {axis = 2, num_x = 1, prologue = (x0) => add(x0, mul(cast<f32>(iota("
      "-1)), cast<f32>(iota(-2))))} return %y }",
      {floats({2, 3, 32})});
}

TEST_P(CudaNn, EmbeddingTypes) {
  for (const std::string& type : kTypes)
    for (const int64_t width : {20, 768, 3000}) {
      const std::string w = std::to_string(width);
      check_narrow("(%i: i64[b, s], %j: i32[1, s], %t: " + type + "[60, " + w + "], %u: " + type + "[9, " + w +
                       "], %g: " + type + "[" + w +
                       "]) { %y = embedding(%i, %t, %j, %u, %g, %g) {num_tables = 2} return %y }",
                   {ids({3, 9}, 60), random_tensor(DType::i32, {1, 9}, 2, -9, 8), numbers(type, {60, width}, 1),
                    numbers(type, {9, width}, 2), numbers(type, {width}, 3)},
                   type);
    }
}

TEST_P(CudaNn, GroupNormTypes) {
  for (const std::string& type : kTypes)
    for (const int64_t side : {3, 8, 32, 100})
      for (const std::string groups : {"4", "0"}) {
        const std::string s = std::to_string(side);
        const std::vector<Tensor> inputs = {numbers(type, {2, 8, side, side}), numbers(type, {8}, 2), floats({8}, 3)};
        const std::string rest =
            ", %g: " + type + "[8], %c: f32[8]) { %y = group_norm(%x, %g, %c) {groups = " + groups + "} return %y }";
        check_narrow("(%x: " + type + "[n, 8, h, w]" + rest, inputs, type);
        check_narrow("(%x: " + type + "[n, 8, " + s + ", " + s + "]" + rest, inputs, type);
      }
}

// Attention over a fused product of width (heads + 2 kv_heads) * dim.
TEST_P(CudaNn, AttentionFused) {
  struct Case {
    int64_t heads, kv_heads, dim, batch, length;
  };
  for (const std::string type : {"f32", "f16", "bf16"}) {
    for (const Case& c : std::vector<Case>{{2, 2, 64, 2, 200},
                                           {8, 2, 64, 1, 33},
                                           {4, 4, 32, 40, 128},
                                           {2, 1, 128, 1, 300},
                                           {1, 1, 256, 1, 70},
                                           {3, 3, 80, 2, 65},
                                           {2, 2, 20, 1, 50},
                                           {4, 1, 8, 1, 1}}) {
      const auto number = [](int64_t n) { return std::to_string(n); };
      const int64_t columns = (c.heads + 2 * c.kv_heads) * c.dim;
      for (const std::string causal : {"true", "false"})
        check_narrow("(%x: " + type + "[b, s, " + number(columns) + "]) { %y = attention(%x, %x, %x) {heads = " +
                         number(c.heads) + ", kv_heads = " + number(c.kv_heads) + ", head_dim = " + number(c.dim) +
                         ", value_dim = " + number(c.dim) + ", scale = 0.2, causal = " + causal +
                         ", causal_offset = 0, q_stride = " + number(c.dim) +
                         ", k_offset = " + number(c.heads * c.dim) + ", k_stride = " + number(c.dim) + ", v_offset = " +
                         number((c.heads + c.kv_heads) * c.dim) + ", v_stride = " + number(c.dim) + "} return %y }",
                     {numbers(type, {c.batch, c.length, columns})}, type);
    }
  }
}

// Enough rows for the largest tiles, with and without a score program.
TEST_P(CudaNn, AttentionFillsTheChip) {
  for (const std::string type : {"f16", "bf16"})
    for (const std::string dim : {"120", "128", "64"})
      for (const std::string& fields :
           std::vector<std::string>{", causal = true, causal_offset = 3", ", score = (x0, x1) => add(x0, x1)",
                                    ", causal = true, causal_offset = 0, score = (x0, x1) => select(gt(x1, 1:" + type +
                                        "), -inf:" + type + ", x0)"}) {
        const int64_t d = std::stoll(dim);
        const bool scored = fields.find("score") != std::string::npos;
        const std::string mask = scored ? ", %m: " + type + "[b, 1, 1, s]" : "";
        std::vector<Tensor> inputs = {numbers(type, {34, 4, 133, d}, 1), numbers(type, {34, 4, 133, d}, 2),
                                      numbers(type, {34, 4, 133, d}, 3)};
        if (scored) inputs.push_back(numbers(type, {34, 1, 1, 133}, 4));
        const std::string shape = type + "[b, 4, s, " + dim + "]";
        check_narrow("(%q: " + shape + ", %k: " + shape + ", %v: " + shape + mask + ") { %y = attention(%q, %k, %v" +
                         (scored ? ", %m" : "") + ") {heads = 4, kv_heads = 4, head_dim = " + dim + ", value_dim = " +
                         dim + ", scale = 0.1, q_order = head_major, k_order = head_major, v_order = head_major" +
                         fields + "} return %y }",
                     inputs, type, scored ? 4 : 1);  // scores are rounded, before and after the mask is added
      }
}

// One query at a time against a long cache, grouped heads, and a mask: the keys are split.
TEST_P(CudaNn, AttentionDecodes) {
  for (const std::string type : {"f32", "f16", "bf16"})
    for (const std::string& order : std::vector<std::string>{"head_major", "transposed"})
      for (const int64_t keys : {1000, 1003}) {
        const bool transposed = order == "transposed";
        const Sizes cache = transposed ? Sizes{2, 4, 64, keys} : Sizes{2, 4, keys, 64};
        const std::string shape = transposed ? "[b, 4, 64, t]" : "[b, 4, t, 64]";
        check_narrow("(%q: " + type + "[b, 8, s, 64], %k: " + type + shape + ", %v: " + type + shape + ", %m: " + type +
                         "[b, 1, 1, t]) { %y = attention(%q, %k, %v, %m) {heads = 8, kv_heads = 4, head_dim = 64, "
                         "value_dim = 64, scale = 0.125, q_order = head_major, k_order = " +
                         order + ", v_order = " + order +
                         ", output_order = head_major, score = (x0, x1) => add(x0, x1)} return %y }",
                     {numbers(type, {2, 8, 1, 64}), numbers(type, cache, 2), numbers(type, cache, 3),
                      numbers(type, {2, 1, 1, keys}, 4)},
                     type);
      }
}

TEST_P(CudaNn, AttentionOfNothing) {
  for (const std::string type : {"f32", "f16"})
    check_narrow("(%q: " + type + "[b, 2, s, 16], %k: " + type +
                     "[b, 2, t, 16]) { %y = attention(%q, %k, %k) {heads = 2, kv_heads = 2, head_dim = 16, value_dim = "
                     "16, q_order = head_major, k_order = head_major, v_order = head_major, causal = true, "
                     "causal_offset = t - s} return %y }",
                 {numbers(type, {2, 2, 40, 16}), numbers(type, {2, 2, 7, 16}, 2)}, type);
}

TEST_P(CudaNn, ReduceTypesAndSizes) {
  for (const std::string type : {"f32", "f16", "bf16", "f64", "i32", "i8"}) {
    const auto values = [&](Sizes dims) { return random_tensor(*dtype_from_string(type), std::move(dims), 1, -2, 2); };
    for (const std::string kind : {"sum", "mean", "max", "log_sum_exp", "l2"}) {
      // Long sums are compared through their mean: the reference adds up in double.
      if (kind != "sum") {
        check_narrow("(%x: " + type + "[a, b]) { %y = reduce(%x) {kind = " + kind + ", axes = [1]} return %y }",
                     {values({3, 50001})}, type);
        check_narrow("(%x: " + type + "[a, b]) { %y = reduce(%x) {kind = " + kind + ", axes = [0]} return %y }",
                     {values({20000, 24})}, type);
      }
      check_narrow("(%x: " + type + "[a, b, c, d]) { %y = reduce(%x) {kind = " + kind + ", axes = [0, 2]} return %y }",
                   {values({3, 4, 5, 70})}, type);
      check_narrow("(%x: " + type + "[a, b, c]) { %y = reduce(%x) {kind = " + kind + ", axes = [1]} return %y }",
                   {values({3, 33, 130})}, type);
      check_narrow("(%x: " + type + "[a, b]) { %y = reduce(%x) {kind = " + kind + ", axes = [1]} return %y }",
                   {values({100, 64})}, type);
    }
  }
}

TEST_P(CudaNn, ReduceInfinities) {
  const float inf = INFINITY;
  const Tensor rows = Tensor::of<float>({5, 3}, {-inf, -inf, -inf, 1, -inf, 2, NAN, 1, 2, inf, 1, 2, inf, -inf, NAN});
  for (const std::string kind : {"sum", "max", "min", "log_sum_exp", "prod", "l1"})
    for (const std::string axis : {"0", "1"})
      check("(%x: f32[a, b]) { %y = reduce(%x) {kind = " + kind + ", axes = [" + axis + "]} return %y }", {rows});
  for (const std::string flag : {"true", "false"})
    for (const std::string axis : {"0", "1"})
      check("(%x: f32[a, b]) { %y = arg_reduce(%x) {axis = " + axis + ", largest = " + flag +
                ", select_last = " + flag + "} return %y }",
            {rows});
}

TEST_P(CudaNn, ArgReduceOfLongRows) {
  for (const std::string type : {"f32", "f16", "i32"}) {
    const Tensor x = random_tensor(*dtype_from_string(type), {2, 40000}, 1, -9, 9);
    for (const std::string flag : {"true", "false"})
      check("(%x: " + type + "[a, b]) { %y = arg_reduce(%x) {axis = 1, largest = " + flag + ", select_last = " + flag +
                "} return %y }",
            {x});
  }
}

TEST_P(CudaNn, CumulativeOfLongRows) {
  for (const std::string type : {"f64", "i64", "i16"})
    for (const std::string flag : {"true", "false"})
      check("(%x: " + type + "[a, b]) { %y = cumulative(%x) {axis = 1, exclusive = " + flag + ", reverse = " + flag +
                "} return %y }",
            {random_tensor(*dtype_from_string(type), {3, 5003}, 1, -9, 9)});
}

TEST_P(CudaNn, RotaryTypes) {
  for (const std::string type : {"f16", "bf16"})
    for (const std::string interleaved : {"true", "false"})
      check_narrow("(%x: " + type + "[b, s, h, 128], %c: f32[s, 1, 32], %s: " + type +
                       "[b, s, 1, 32]) { %y = rotary(%x, %c, %s) {rotary_dim = 64, interleaved = " + interleaved +
                       "} return %y }",
                   {numbers(type, {2, 7, 3, 128}), floats({7, 1, 32}, 2), numbers(type, {2, 7, 1, 32}, 3)}, type);
}

}  // namespace
}  // namespace lathe::cpu
