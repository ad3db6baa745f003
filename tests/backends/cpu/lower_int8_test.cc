// Lowering of products and convolutions of bytes, and of dynamic quantisation, against the reference evaluator.
#include "backends/cpu/lower/int8_epilogue.h"
#include "tests/backends/cpu/lower_test_util.h"

namespace lathe::cpu {
namespace {

Tensor bytes(DType dtype, Sizes dims, uint32_t seed = 1) {
  return random_tensor(dtype, std::move(dims), seed, dtype == DType::i8 ? -128 : 0, dtype == DType::i8 ? 127 : 255);
}

// "i8[2, 3]" as a constant's value, with numbers that repeat late.
std::string integers(const std::string& type, int seed = 1) {
  int64_t count = 1;
  for (size_t at = type.find('['); at != std::string::npos && type[at + 1] != ']'; at = type.find(',', at + 1))
    count *= std::stoll(type.substr(at + 1));
  const int low = type[0] == 'u' ? 0 : -128;
  std::string text = type + " [";
  for (int64_t i = 0; i < count; ++i)
    text += (i == 0 ? "" : ", ") + std::to_string(low + (i * 89 + seed * 31 + i / 7) % 256);
  return text + "]";
}

class LowerInt8 : public LowerTest {
 protected:
  // As check(), but results of 8 bits may differ by one step: a float and a double may round to either side.
  void check_rounded(const std::string& text, const std::vector<Tensor>& inputs) {
    SCOPED_TRACE(text);
    const std::unique_ptr<Graph> graph = graph_of(text);
    const std::vector<RefValue> values(inputs.begin(), inputs.end());
    const Tensor expected = std::get<Tensor>(evaluate(*graph, values)[0]);
    LoweredGraph lowered(*graph, GetParam(), 2, true);
    for (const ProgramStep& step : lowered.program().steps) EXPECT_FALSE(step.fallback) << step.reason;
    const Tensor actual = lowered.run(inputs)[0];
    ASSERT_EQ(actual.dims(), expected.dims());
    int different = 0;
    for (int64_t i = 0; i < expected.elements(); ++i) {
      ASSERT_NEAR(actual.read_int(i), expected.read_int(i), 1) << "element " << i;
      different += actual.read_int(i) != expected.read_int(i);
    }
    EXPECT_LE(different, 1 + expected.elements() / 50);
  }
};
LATHE_FOR_EACH_DEVICE(LowerInt8);

TEST_P(LowerInt8, Products) {
  for (const std::string a : {"u8", "i8"}) {
    for (const std::string b : {"u8", "i8"}) {
      const DType type = a == "u8" ? DType::u8 : DType::i8;
      for (const Sizes& dims : std::vector<Sizes>{{1, 21}, {7, 21}, {2, 3, 21}, {0, 21}, {2, 16, 21}}) {
        const std::string x = "(%x: " + a + to_string(dims) + ") { %w = constant {value = ";
        check(x + integers(b + "[21, 33]") + "} %y = matmul(%x, %w) return %y }", {bytes(type, dims)});
        check(x + integers(b + "[33, 21]") + "} %y = matmul(%x, %w) {trans_b = true} return %y }", {bytes(type, dims)});
      }
    }
  }
}

TEST_P(LowerInt8, TwoActivations) {
  for (const std::string trans : {"true", "false"}) {
    const Sizes b = trans == "true" ? Sizes{1, 3, 9, 7} : Sizes{1, 3, 7, 9};
    check(
        "(%a: u8[2, 3, 5, 7], %b: i8" + to_string(b) + ") { %y = matmul(%a, %b) {trans_b = " + trans + "} return %y }",
        {bytes(DType::u8, {2, 3, 5, 7}), bytes(DType::i8, b)});
    check("(%a: u8[2, 3, 5, 7], %b: i8" + to_string(b) +
              ", %s: f32[2, 3, 5, 1]) { %y = matmul(%a, %b, %s) {trans_b = " + trans +
              ", epilogue = (x0, x1) => mul(cast<f32>(x0), x1)} return %y }",
          {bytes(DType::u8, {2, 3, 5, 7}), bytes(DType::i8, b), floats({2, 3, 5, 1})});
  }
}

const std::string kProduct =
    "(%x: u8[n, 20], %r: f32[n, 33], %z: u8[], %s: f32[], %rows: i32[n, 1], %scales: f32[n, 1], %q: i8[n, 33]) { "
    "%w = constant {value = " +
    integers("i8[20, 33]") +
    "} %b = constant {value = f32[33] random(2)} %sums = constant {value = " + integers("i32[33]", 3) +
    "} %y = matmul(%x, %w, %r, %z, %s, %rows, %scales, %q, %b, %sums) {epilogue = (x0, x1, x2, x3, "
    "x4, "
    "x5, x6, x7, x8) => ";

std::vector<Tensor> product_inputs() {
  return {bytes(DType::u8, {9, 20}),
          floats({9, 33}, 2),
          bytes(DType::u8, {}, 3),
          random_tensor(DType::f32, {}, 4, 0.001, 0.002),
          random_tensor(DType::i32, {9, 1}, 5, -99, 99),
          random_tensor(DType::f32, {9, 1}, 6, 0.001, 0.002),
          bytes(DType::i8, {9, 33}, 7)};
}

// x0 the sum, x1 residual, x2 zero point, x3 scale, x4 row sums, x5 row scales, x6 quantised residual, x7 bias, x8
// column sums.
TEST_P(LowerInt8, Epilogues) {
  for (const std::string program :
       {"sub(x0, mul(cast<i32>(x2), x8))", "mul(cast<f32>(sub(x0, mul(cast<i32>(x2), x8))), x3)",
        "add(mul(cast<f32>(sub(x0, mul(x8, cast<i32>(x2)))), mul(x3, x7)), x7)",
        "mul(cast<f32>(add(sub(sub(x0, mul(cast<i32>(x2), x8)), mul(x4, 3:i32)), mul(cast<i32>(x2), 60:i32))), x3)",
        "mul(mul(cast<f32>(sub(x0, mul(x4, x8))), x5), x7)", "mul(cast<f32>(sub(x0, mul(x4, x8))), mul(x5, x7))",
        "relu(add(add(mul(cast<f32>(x0), x3), x7), x1))", "add(gelu_erf(add(mul(cast<f32>(x0), x3), x7)), x1)",
        "add(mul(cast<f32>(x0), x3), mul(cast<f32>(sub(cast<i32>(x6), 3:i32)), 0.25:f32))",
        "exp(mul(cast<f32>(x0), mul(x3, 0.001:f32)))"})
    check(kProduct + program + "} return %y }", product_inputs());
}

// As Lathe's own quantisation spells it; x1 and x3 are of columns, x2 and x4 of rows, x5 is a residual. What is not
// recognised is computed after the product, over again.
TEST(Int8Match, ScalesOfRowsTimesThoseOfColumns) {
  const auto extent_of = [](int i) { return i == 5 ? Extent::tensor : i % 2 == 0 ? Extent::row : Extent::column; };
  for (const std::string scales : {"mul(x4, x3)", "mul(x3, x4)", "mul(mul(x3, x4), 2:f32)"})
    for (const std::string program : {"gelu_erf(mul(PRODUCT, SCALES))", "add(mul(PRODUCT, SCALES), x5)"}) {
      std::string text = program;
      text.replace(text.find("PRODUCT"), 7, "cast<f32>(sub(x0, mul(cast<i32>(x2), x1)))");
      text.replace(text.find("SCALES"), 6, scales);
      const auto graph = parse_graph(
          "graph (%x: u8[n, 8], %w: i8[8, 4], %a: i32[4], %b: u8[n, 1], %c: f32[4], %d: f32[n, 1], %e: f32[n, 4]) { "
          "%y = matmul(%x, %w, %a, %b, %c, %d, %e) {epilogue = (x0, x1, x2, x3, x4, x5) => " +
          text + "} return %y as \"y\" }");
      const auto form = match_int8_epilogue(graph->nodes().front()->as<MatMul>()->epilogue, extent_of);
      ASSERT_TRUE(form) << text;
      EXPECT_GE(form->row_scale, 0) << text;
      EXPECT_GE(form->col_scale, 0) << text;
      EXPECT_GE(form->row_factors[0], 0) << text;
    }
}

TEST_P(LowerInt8, RequantisedProducts) {
  const std::string real = "add(mul(cast<f32>(sub(x0, mul(cast<i32>(x2), x8))), x3), x7)";
  for (const std::string& program : std::vector<std::string>{
           "cast<u8>(min(max(add(round(div(" + real + ", 0.1:f32)), 128:f32), 0:f32), 255:f32))",
           "cast<i8>(min(max(round(div(relu(" + real + "), 0.1:f32)), -128:f32), 127:f32))",
           "cast<u8>(min(relu(round(mul(cast<f32>(x0), x3))), 255:f32))",
           "{ t0 = cast<u8>(min(max(add(round(div(" + real +
               ", 0.5:f32)), 128:f32), 0:f32), 255:f32)); t1 = mul(cast<f32>(sub(cast<i32>(t0), 128:i32)), 0.5:f32); "
               "t2 = "
               "relu(add(t1, mul(cast<f32>(sub(cast<i32>(x6), 3:i32)), 0.25:f32))); cast<u8>(min(max(round(div(t2, "
               "0.2:f32)), 0:f32), 255:f32)) }"})
    check_rounded(kProduct + program + "} return %y }", product_inputs());
}

struct ConvCase {
  Sizes x, w;
  std::string fields;
};

TEST_P(LowerInt8, Convolutions) {
  const std::vector<ConvCase> cases = {
      {{2, 8, 6, 7}, {5, 8, 1, 1}, "strides = [1, 1], dilations = [1, 1], pads = [0, 0, 0, 0]"},
      {{1, 3, 9, 8}, {33, 3, 3, 3}, "strides = [2, 2], dilations = [1, 1], pads = [1, 1, 1, 1]"},
      {{1, 20, 9, 8}, {7, 20, 3, 3}, "strides = [1, 1], dilations = [1, 1], pads = [1, 1, 1, 1]"},
      {{2, 16, 9, 8}, {40, 16, 3, 3}, "strides = [1, 2], dilations = [2, 1], pads = [1, 0, 2, 1]"},
      {{1, 8, 9, 8}, {6, 4, 3, 3}, "strides = [1, 1], dilations = [1, 1], pads = [1, 1, 1, 1], groups = 2"},
      {{1, 6, 5, 5}, {4, 3, 3, 3}, "strides = [1, 1], dilations = [1, 1], pads = [0, 1, 0, 1], groups = 2"},
      {{2, 19, 7, 6}, {19, 1, 3, 3}, "strides = [2, 1], dilations = [1, 1], pads = [1, 1, 1, 1], groups = 19"},
      {{1, 5, 11}, {4, 5, 3}, "strides = [1], dilations = [1], pads = [1, 1]"},
      {{0, 8, 6, 7}, {5, 8, 1, 1}, "strides = [1, 1], dilations = [1, 1], pads = [0, 0, 0, 0]"},
  };
  for (const ConvCase& c : cases) {
    for (const std::string type : {"u8", "i8"}) {
      for (const std::string pad : {"0", type == "u8" ? "255" : "-128"}) {
        check("(%x: " + type + to_string(c.x) + ") { %w = constant {value = " + integers("i8" + to_string(c.w)) +
                  "} %y = conv(%x, %w) {" + c.fields + ", pad_value = " + pad + "} return %y }",
              {bytes(type == "u8" ? DType::u8 : DType::i8, c.x)});
      }
    }
  }
}

TEST_P(LowerInt8, ConvolutionEpilogue) {
  check_rounded("(%x: u8[1, 8, 5, 6]) { %w = constant {value = " + integers("i8[12, 8, 3, 3]") +
                    "} %z = constant {value = " + integers("i32[12, 1, 1]", 2) +
                    "} %s = constant {value = f32[12, 1, 1] random(3)} %y = conv(%x, %w, %z, %s) {strides = [1, 1], "
                    "dilations "
                    "= [1, 1], pads = [1, 1, 1, 1], pad_value = 7, epilogue = (x0, x1, x2) => "
                    "cast<u8>(min(max(add(round(div(mul(cast<"
                    "f32>(sub(x0, mul(x1, 7:i32))), x2), 40:f32)), 100:f32), 0:f32), 255:f32))} return %y }",
                {bytes(DType::u8, {1, 8, 5, 6})});
}

TEST_P(LowerInt8, DynamicQuantisation) {
  for (const Sizes& dims : std::vector<Sizes>{{1, 1}, {3, 70}, {2, 5, 33}, {200, 64}}) {
    for (const std::string axis : {"0", "1"}) {
      for (const std::string symmetric : {"false", "true"}) {
        check("(%x: f32" + to_string(dims) + ") { %q, %s, %z = dynamic_quantize(%x) {axis = " + axis +
                  ", symmetric = " + symmetric + "} return %q, %s, %z }",
              {floats(dims)});
      }
    }
  }
  for (const double value : {0.0, 1.0, -1.0}) {
    Tensor x(DType::f32, {2, 5});
    for (int64_t i = 0; i < x.elements(); ++i) x.write_double(i, value);
    check("(%x: f32[2, 5]) { %q, %s, %z = dynamic_quantize(%x) {axis = 1} return %q, %s, %z }", {x});
  }
}

}  // namespace
}  // namespace lathe::cpu
