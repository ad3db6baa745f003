// Products of dequantised operands.
#include "tests/passes/pass_test.h"

namespace lathe::passes {
namespace {

const std::string kDequantise = "(x0, x1, x2) => mul(cast<f32>(sub(cast<i32>(x0), cast<i32>(x2))), x1)";
const Symbols kRows = {{"n", 3}};
constexpr double kRounding = 0.02;  // of floats, where the results of a convolution grow to 1e5

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

// x [n, 6] from u8, w from i8, one scale and zero point each unless told.
std::string product(const std::string& b_shape, const std::string& b_scale, const std::string& b_zero,
                    const std::string& fields = "") {
  return "graph (%q: u8[n, 6]) {\n"
         "  %s = constant {value = f32[] [0.5]}\n  %z = constant {value = u8[] [3]}\n"
         "  %w = constant {value = " +
         integers("i8" + b_shape) + "}\n  %t = constant {value = f32" + b_scale + "}\n  %u = constant {value = i8" +
         b_zero + "}\n  %x = map(%q, %s, %z) {program = " + kDequantise +
         "}\n  %v = map(%w, %t, %u) {program = " + kDequantise + "}\n  %y = matmul(%x, %v)" + fields +
         "\n  return %y as \"y\"\n}";
}

// The last output comes from a product of bytes.
void expect_integer_product(const Rewritten& r) {
  ASSERT_EQ(r.rewrites, 1) << r.text;
  const Node* product = r.graph->outputs().back()->producer();
  EXPECT_EQ(product->input(0)->dtype(), DType::u8) << r.text;
  EXPECT_EQ(product->input(1)->dtype(), DType::i8) << r.text;
  EXPECT_EQ(product->output()->dtype(), DType::f32) << r.text;
}

TEST(IntegerProducts, Matmul) {
  expect_integer_product(rewrite(product("[6, 4]", "[] [0.25]", "[] [0]"), integer_products, kRows));
  expect_integer_product(rewrite(product("[6, 4]", "[4] random(2)", "[] [5]"), integer_products, kRows));
  expect_integer_product(
      rewrite(product("[6, 4]", "[1, 4] random(2)", "[4] [1, -2, 3, -128]"), integer_products, kRows));
  expect_integer_product(rewrite(product("[4, 6]", "[4, 1] random(2)", "[4, 1] [1, -2, 3, 127]", " {trans_b = true}"),
                                 integer_products, kRows));
}

TEST(IntegerProducts, EpilogueStays) {
  const Rewritten r =
      rewrite(product("[6, 4]", "[] [0.25]", "[] [0]", " {epilogue = (x0) => relu(x0)}"), integer_products, kRows);
  expect_integer_product(r);
  EXPECT_NE(r.text.find("relu"), std::string::npos) << r.text;
}

TEST(IntegerProducts, ScalesAlongTheSumStayFloats) {
  EXPECT_EQ(rewrite(product("[6, 4]", "[6, 1] random(2)", "[] [0]"), integer_products, kRows).rewrites, 0);
  EXPECT_EQ(rewrite(product("[6, 4]", "[] [0.25]", "[6, 1] [1, 2, 3, 4, 5, 6]"), integer_products, kRows).rewrites, 0);
  EXPECT_EQ(
      rewrite(product("[4, 6]", "[6] random(2)", "[] [0]", " {trans_b = true}"), integer_products, kRows).rewrites, 0);
}

TEST(IntegerProducts, OtherUsersKeepTheDequantisedActivation) {
  std::string text = product("[6, 4]", "[] [0.25]", "[] [0]");
  text.replace(text.find("return"), 6, "return %x as \"x\",");
  const Rewritten r = rewrite(text, integer_products, kRows);
  expect_integer_product(r);
  EXPECT_EQ(r.graph->outputs()[0]->dtype(), DType::f32);
}

std::string convolution(const std::string& x_zero, const std::string& w_scale, const std::string& w_zero) {
  return "graph (%q: u8[n, 3, 5, 5]) {\n"
         "  %s = constant {value = f32[] [0.5]}\n  %z = constant {value = u8[] [" +
         x_zero + "]}\n  %w = constant {value = " + integers("i8[4, 3, 3, 3]") + "}\n  %t = constant {value = f32" +
         w_scale + "}\n  %u = constant {value = i8" + w_zero + "}\n  %x = map(%q, %s, %z) {program = " + kDequantise +
         "}\n  %v = map(%w, %t, %u) {program = " + kDequantise +
         "}\n  %y = conv(%x, %v) {strides = [1, 1], dilations = [1, 1], pads = [1, 1, 1, 1]}\n  return %y as \"y\"\n}";
}

TEST(IntegerProducts, ConvolutionPadsWithTheZeroPoint) {
  for (const std::string zero : {"0", "3", "255"}) {
    const Rewritten r =
        rewrite(convolution(zero, "[4, 1, 1, 1] random(2)", "[] [0]"), integer_products, kRows, kRounding);
    expect_integer_product(r);
    EXPECT_EQ(r.text.find("pad_value = " + zero) == std::string::npos, zero == "0") << r.text;
  }
  expect_integer_product(rewrite(convolution("3", "[] [0.5]", "[] [0]"), integer_products, kRows, kRounding));
  // A zero point per channel, reshaped as importers do.
  std::string text = convolution("3", "[4, 1, 1, 1] random(2)", "[4] [0, 0, 0, 0]");
  text.replace(text.find("  %v = map(%w, %t, %u)"), 22,
               "  %u4 = reshape(%u) {shape = [4, 1, 1, 1]}\n  %v = map(%w, %t, %u4)");
  expect_integer_product(rewrite(text, integer_products, kRows, kRounding));
  EXPECT_EQ(rewrite(convolution("3", "[] [0.5]", "[] [1]"), integer_products, kRows, kRounding).rewrites, 0);
}

// From one convolution to the next the values stay bytes, and the conversions are part of the convolutions.
TEST(IntegerProducts, ChainsStayBytes) {
  std::string text = convolution("3", "[4, 1, 1, 1] random(2)", "[] [0]");
  const std::string again =
      "  %r = map(%y, %s, %z) {program = (x0, x1, x2) => cast<u8>(min(max(add(round(div(relu(x0), "
      "x1)), cast<f32>(cast<i32>(x2))), 0:f32), 255:f32))}\n"
      "  %x2 = map(%r, %s, %z) {program = " +
      kDequantise +
      "}\n"
      "  %w2 = constant {value = " +
      integers("i8[4, 4, 1, 1]", 4) +
      "}\n"
      "  %v2 = map(%w2, %t, %u) {program = " +
      kDequantise +
      "}\n"
      "  %y2 = conv(%x2, %v2) {strides = [1, 1], dilations = [1, 1], pads = [0, 0, 0, 0]}\n";
  text.insert(text.find("  return %y as"), again);
  text.replace(text.find("return %y as"), 12, "return %y2 as");
  const Rewritten r = optimise(text, kRows, 1);  // a step of the values in between is 0.5
  EXPECT_EQ(r.count("conv"), 2) << r.text;
  EXPECT_EQ(r.count("map"), 0) << r.text;
}

}  // namespace
}  // namespace lathe::passes
