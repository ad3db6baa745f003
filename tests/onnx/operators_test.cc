// What single operators compute that are rare, old, or of other domains; expected numbers are those of ONNX Runtime, or
// follow from the operator's definition.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "graph/reference/evaluator.h"
#include "tests/onnx/model_builder.h"

namespace lathe::onnx {
namespace {

using Attributes = std::vector<NodeAttribute>;
using Results = std::vector<Tensor>;

constexpr const char* kLearned = "ai.onnx.ml";
constexpr const char* kContrib = "com.microsoft";

Tensor ints(std::vector<int64_t> dims, std::vector<int64_t> values) {
  return Tensor::of<int64_t>(std::move(dims), std::span<const int64_t>(values));
}

Tensor floats(std::vector<int64_t> dims, std::vector<float> values) {
  return Tensor::of<float>(std::move(dims), std::span<const float>(values));
}

Tensor words(std::vector<std::string> values) {
  const auto count = static_cast<int64_t>(values.size());
  return Tensor::of_strings({count}, std::move(values));
}

void expect_near(const Tensor& actual, const Tensor& expected, double tolerance = 1e-5) {
  ASSERT_EQ(actual.dims(), expected.dims());
  ASSERT_EQ(actual.dtype(), expected.dtype());
  for (int64_t i = 0; i < expected.elements(); ++i)
    EXPECT_NEAR(actual.read_double(i), expected.read_double(i), tolerance) << "at " << i;
}

int onnx_type(DType dtype) {
  constexpr int kFloat = 1, kU8 = 2, kI64 = 7, kString = 8;
  return dtype == DType::string ? kString : dtype == DType::i64 ? kI64 : dtype == DType::u8 ? kU8 : kFloat;
}

// One node whose first operand is an input of unknown sizes and whose others are constants.
Results run(const std::string& op, const std::vector<Tensor>& operands, const Attributes& attributes,
            const std::string& domain = "", int64_t opset = 17, size_t outputs = 1) {
  GraphBuilder g;
  std::vector<std::string> names = {"x"}, results, sizes;
  for (int64_t i = 0; i < operands[0].rank(); ++i) sizes.push_back(fmt::format("d{}", i));
  g.input("x", onnx_type(operands[0].dtype()), sizes);
  for (size_t i = 1; i < operands.size(); ++i) g.constant(names.emplace_back(fmt::format("c{}", i)), operands[i]);
  for (size_t i = 0; i < outputs; ++i) g.output(results.emplace_back(fmt::format("y{}", i)));
  g.add(node(op, names, results, attributes, domain));
  Results tensors;
  for (RefValue& value : evaluate(*import_bytes(model(g, opset)), std::vector<RefValue>{operands[0]}))
    tensors.push_back(std::get<Tensor>(std::move(value)));
  return tensors;
}

// --- opsets before 7

TEST(OperatorTest, OldOperandsBroadcastFromAnAxisOn) {
  const Tensor x = floats({2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8}), b = floats({2}, {10, 20});
  const auto sum = [&](const Attributes& attributes) { return run("Add", {x, b}, attributes, "", 6)[0]; };
  const NodeAttribute broadcast = int_attribute("broadcast", 1);
  EXPECT_EQ(sum({broadcast, int_attribute("axis", 1)}), floats({2, 2, 2}, {11, 12, 23, 24, 15, 16, 27, 28}));
  EXPECT_EQ(sum({broadcast, int_attribute("axis", 0)}), floats({2, 2, 2}, {11, 12, 13, 14, 25, 26, 27, 28}));
  EXPECT_EQ(sum({broadcast}), floats({2, 2, 2}, {11, 22, 13, 24, 15, 26, 17, 28}));
  EXPECT_THROW(sum({broadcast, int_attribute("axis", 3)}), Error);
  EXPECT_EQ(run("PRelu", {floats({1, 2, 1}, {-1, -1}), floats({2}, {2, 3})}, {}, "", 6)[0],
            floats({1, 2, 1}, {-2, -3}));
}

TEST(OperatorTest, OldAttributesThatBecameOperands) {
  const Tensor x = floats({2, 3}, {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(run("Reshape", {x}, {ints_attribute("shape", {0, -1, 1})}, "", 1)[0].dims(),
            (std::vector<int64_t>{2, 3, 1}));
  EXPECT_EQ(run("Cast", {x}, {string_attribute("to", "INT64")}, "", 1)[0], ints({2, 3}, {1, 2, 3, 4, 5, 6}));
  EXPECT_THROW(run("Cast", {x}, {string_attribute("to", "DECIMAL")}, "", 1), Error);
  EXPECT_EQ(run("Concat", {x, x}, {}, "", 1)[0].dims(), (std::vector<int64_t>{2, 6}));
  EXPECT_EQ(run("Pad", {x}, {ints_attribute("paddings", {0, 0, 0, 1})}, "", 1)[0].dims(), (std::vector<int64_t>{2, 4}));
  EXPECT_EQ(run("Tile", {x, ints({1}, {2}), ints({1}, {1})}, {}, "", 1)[0].dims(), (std::vector<int64_t>{2, 6}));
  const Tensor image = floats({1, 1, 1, 2}, {1, 2});
  EXPECT_EQ(run("Upsample", {image}, {float_attribute("height_scale", 2), float_attribute("width_scale", 1)}, "", 1)[0],
            floats({1, 1, 2, 2}, {1, 2, 1, 2}));
}

TEST(OperatorTest, OperatorsOfTheFirstModels) {
  const Tensor x = floats({1, 2, 1}, {1, -2});
  const Attributes line = {float_attribute("alpha", 2), float_attribute("beta", 0.5F)};
  EXPECT_EQ(run("Affine", {x}, line, "", 1)[0], floats({1, 2, 1}, {2.5F, -3.5F}));
  expect_near(run("ScaledTanh", {x}, line, "", 1)[0], floats({1, 2, 1}, {2 * std::tanh(0.5F), 2 * std::tanh(-1.0F)}));
  expect_near(run("ParametricSoftplus", {x}, line, "", 1)[0],
              floats({1, 2, 1}, {2 * std::log1p(std::exp(0.5F)), 2 * std::log1p(std::exp(-1.0F))}));
  EXPECT_EQ(run("ImageScaler", {x}, {float_attribute("scale", 2), floats_attribute("bias", {1, 5})}, "", 1)[0],
            floats({1, 2, 1}, {3, 1}));
}

// --- slices, transforms, strings

TEST(OperatorTest, IntegersShrinkAsNumbersDo) {
  const Attributes attributes = {float_attribute("bias", 1.75F)};
  EXPECT_EQ(run("Shrink", {ints({4}, {-3, 0, 2, 4})}, attributes)[0], ints({4}, {-1, 0, 0, 2}));
}

TEST(OperatorTest, ASliceDownwardsBeginsAtTheFirstElementAtLeast) {
  const auto reversed = [](Tensor x, int64_t start) {
    const Tensor end = ints({1}, {-1000}), axes = ints({1}, {0}), steps = ints({1}, {-1});
    return run("Slice", {std::move(x), ints({1}, {start}), end, axes, steps}, {})[0];
  };
  EXPECT_EQ(reversed(ints({3}, {1, 2, 3}), -2), ints({2}, {2, 1}));
  EXPECT_EQ(reversed(ints({3}, {1, 2, 3}), -5), ints({1}, {1}));
  EXPECT_EQ(reversed(ints({3}, {1, 2, 3}), INT64_MIN), ints({1}, {1}));
  EXPECT_EQ(reversed(ints({0}, {}), -5).elements(), 0);
}

TEST(OperatorTest, ATransformOfOneSignal) {
  GraphBuilder g;
  g.input("x", 1, {"4", "1"}).add(node("DFT", {"x"}, {"y"}, {int_attribute("axis", 0)})).output("y");
  const auto results = evaluate(*import_bytes(model(g)), std::vector<RefValue>{floats({4, 1}, {1, 2, 3, 4})});
  expect_near(std::get<Tensor>(results[0]), floats({4, 2}, {10, 0, -2, 2, -2, 0, -2, -2}));
}

TEST(OperatorTest, WholeStringsMatch) {
  const auto matches = [](const std::string& pattern) {
    return run("RegexFullMatch", {words({"abc", "abc\n", "é", "xabcx", "\xFF"})},
               {string_attribute("pattern", pattern)}, "", 20)[0];
  };
  EXPECT_EQ(matches("[a-c]+$"), Tensor::of<bool>({5}, {true, false, false, false, false}));
  EXPECT_EQ(matches("."), Tensor::of<bool>({5}, {false, false, true, false, false}));
  EXPECT_EQ(matches(R"(\w+|a(?s:.*))"), Tensor::of<bool>({5}, {true, true, false, true, false}));
  EXPECT_THROW(matches("("), Error);
}

TEST(OperatorTest, WordsByTheirPattern) {
  const auto tokens = [](const std::string& pattern, int64_t shortest) {
    return run("Tokenizer", {words({"a bc, d", "", "é!", "\xFF"})},
               {string_attribute("tokenexp", pattern), string_attribute("pad_value", "#"), int_attribute("mark", 0),
                int_attribute("mincharnum", shortest)},
               kContrib)[0];
  };
  const auto rows = [](std::vector<std::string> values) {
    const auto columns = static_cast<int64_t>(values.size()) / 4;
    return Tensor::of_strings({4, columns}, std::move(values));
  };
  EXPECT_EQ(tokens("[a-z]+", 1), rows({"a", "bc", "d", "#", "#", "#", "#", "#", "#", "#", "#", "#"}));
  EXPECT_EQ(tokens("[a-z]+", 2), rows({"bc", "#", "#", "#"}));
  EXPECT_EQ(tokens("é?", 1), rows({"#", "#", "é", "#"}));
  EXPECT_EQ(tokens("x", 1), rows({}));
}

TEST(OperatorTest, CountsOfNGrams) {
  const auto scores = [](const std::string& mode, int64_t skip, Tensor x) {
    const bool strings = x.dtype() == DType::string;
    return run(
        "TfIdfVectorizer", {std::move(x)},
        {string_attribute("mode", mode), int_attribute("min_gram_length", 1), int_attribute("max_gram_length", 2),
         int_attribute("max_skip_count", skip), ints_attribute("ngram_counts", {0, 2}),
         ints_attribute("ngram_indexes", {3, 0, 1}), floats_attribute("weights", {0.5F, 2, 3}),
         strings ? strings_attribute("pool_strings", {"a", "b", "a", "b"})
                 : ints_attribute("pool_int64s", {5, 6, 5, 6})},
        "", 9)[0];
  };
  const Tensor x = ints({2, 4}, {5, 5, 6, 7, 6, 6, 6, 6});
  EXPECT_EQ(scores("TF", 0, x), floats({2, 4}, {1, 1, 0, 2, 4, 0, 0, 0}));
  EXPECT_EQ(scores("TF", 1, x), floats({2, 4}, {1, 2, 0, 2, 4, 0, 0, 0}));
  EXPECT_EQ(scores("IDF", 1, x), floats({2, 4}, {2, 3, 0, 0.5F, 2, 0, 0, 0}));
  EXPECT_EQ(scores("TFIDF", 1, x), floats({2, 4}, {2, 6, 0, 1, 8, 0, 0, 0}));
  EXPECT_EQ(scores("TF", 0, words({"b", "a", "b"})), floats({4}, {2, 1, 0, 1}));
  EXPECT_EQ(scores("TF", 0, ints({0, 4}, {})).dims(), (std::vector<int64_t>{0, 4}));
}

TEST(OperatorTest, MelFiltersOfAnySize) {
  GraphBuilder g;
  for (const char* name : {"count", "length", "rate"}) g.input(name, 7, {});
  g.constant("low", Tensor::scalar(0.0F)).constant("high", Tensor::scalar(4096.0F));
  g.add(node("MelWeightMatrix", {"count", "length", "rate", "low", "high"}, {"y"})).output("y");
  const auto graph = import_bytes(model(g));
  const auto matrix = [&](int64_t count, int64_t length) {
    const std::vector<RefValue> sizes = {Tensor::scalar(count), Tensor::scalar(length), Tensor::scalar<int64_t>(8192)};
    return std::get<Tensor>(evaluate(*graph, sizes).at(0));
  };
  EXPECT_EQ(matrix(8, 16).dims(), (std::vector<int64_t>{9, 8}));
  const Tensor m = matrix(8, 16);  // the example of the operator's reference
  constexpr int64_t kPeaks[] = {0, 0, 1, 1, 2, 3, 4, 5};
  for (int64_t i = 0; i < m.elements(); ++i) EXPECT_EQ(m.read_double(i), i / 8 == kPeaks[i % 8] ? 1 : 0) << "at " << i;
  const Tensor wide = matrix(2, 64);  // triangles of several bins
  EXPECT_EQ(wide.read_double(0), 0);
  EXPECT_GT(wide.read_double(2), 0);
  EXPECT_LT(wide.read_double(2), 1);
}

// --- ai.onnx.ml

TEST(OperatorTest, SupportVectorsOfThreeClasses) {
  const Tensor x = floats({3, 2}, {-1, 0.5F, 0.25F, 1, 2, -1});
  Attributes attributes = {string_attribute("kernel_type", "RBF"),
                           floats_attribute("kernel_params", {0.5F, 0, 0}),
                           ints_attribute("vectors_per_class", {1, 2, 1}),
                           floats_attribute("support_vectors", {-1, 0, 0, 1, 0.5F, 0.5F, 2, -1}),
                           floats_attribute("coefficients", {0.5F, -1, -0.25F, 0.75F, 1, 0.5F, -0.5F, -0.25F}),
                           floats_attribute("rho", {0.1F, -0.2F, 0.05F}),
                           strings_attribute("classlabels_strings", {"a", "b", "c"})};
  Results y = run("SVMClassifier", {x}, attributes, kLearned, 17, 2);
  EXPECT_EQ(y[0], words({"b", "b", "a"}));
  expect_near(y[1], floats({3, 3}, {-0.0751761F, 0.6852018F, 0.1544029F, -0.9442245F, 0.0996412F, 0.0996269F,
                                    0.0587035F, 0.5567380F, -0.2435418F}));
  attributes.push_back(floats_attribute("prob_a", {-1, -2, -0.5F}));
  attributes.push_back(floats_attribute("prob_b", {0.1F, 0, -0.1F}));
  y = run("SVMClassifier", {x}, attributes, kLearned, 17, 2);
  expect_near(y[1], floats({3, 3}, {0.4172646F, 0.3925577F, 0.1901778F, 0.2333270F, 0.4599967F, 0.3066763F, 0.4328015F,
                                    0.3478649F, 0.2193335F}));
  attributes[2] = ints_attribute("vectors_per_class", {1, 2, 2});
  EXPECT_THROW(run("SVMClassifier", {x}, attributes, kLearned, 17, 2), Error);
}

TEST(OperatorTest, TwoClassesWithOneScore) {
  const auto linear = [](const std::string& transform) {
    return run("LinearClassifier", {floats({2, 1}, {-1, 2})},
               {floats_attribute("coefficients", {1}), floats_attribute("intercepts", {0.5F}),
                ints_attribute("classlabels_ints", {5, 7}), string_attribute("post_transform", transform)},
               kLearned, 17, 2);
  };
  EXPECT_EQ(linear("NONE")[0], ints({2}, {5, 7}));
  EXPECT_EQ(linear("NONE")[1], floats({2, 2}, {1.5F, -0.5F, -1.5F, 2.5F}));
  EXPECT_EQ(linear("SOFTMAX")[1], floats({2, 2}, {1.5F, -0.5F, -1.5F, 2.5F}));
  expect_near(linear("LOGISTIC")[1], floats({2, 2}, {0.6224593F, 0.3775407F, 0.0758582F, 0.9241418F}));
}

TEST(OperatorTest, RowsDividedByTheirNorm) {
  const Tensor x = floats({3, 2}, {-4, 2, -4, -2, 0, 0});
  const auto norm = [&](const std::string& kind) {
    return run("Normalizer", {x}, {string_attribute("norm", kind)}, kLearned)[0];
  };
  EXPECT_EQ(norm("MAX"), floats({3, 2}, {-2, 1, 2, 1, 0, 0}));  // the largest, not the largest in size
  expect_near(norm("L1"), floats({3, 2}, {-4 / 6.0F, 2 / 6.0F, -4 / 6.0F, -2 / 6.0F, 0, 0}));
}

TEST(OperatorTest, ColumnsOfTensors) {
  const Tensor x = floats({1, 2, 2}, {1, 2, 3, 4});
  EXPECT_EQ(run("ArrayFeatureExtractor", {x, ints({1, 3}, {1, 0, 1})}, {}, kLearned)[0],
            floats({1, 2, 3}, {2, 1, 2, 4, 3, 4}));
  EXPECT_EQ(run("ArrayFeatureExtractor", {floats({2}, {1, 2}), ints({1}, {1})}, {}, kLearned)[0], floats({1, 1}, {2}));
}

// --- com.microsoft

TEST(OperatorTest, ASoftmaxOfBytesOverSeveralAxes) {
  const Tensor x = Tensor::of<uint8_t>({1, 2, 2}, {7, 7, 7, 7}), step = Tensor::scalar(1 / 256.0F);
  const Tensor zero = Tensor::scalar<uint8_t>(0);
  const auto softmax = [&](int64_t opset) {
    return run("QLinearSoftmax", {x, Tensor::scalar(1.0F), zero, step, zero},
               {int_attribute("axis", 1), int_attribute("opset", opset)}, kContrib)[0];
  };
  EXPECT_EQ(softmax(12), Tensor::of<uint8_t>({1, 2, 2}, {64, 64, 64, 64}));
  EXPECT_EQ(softmax(13), Tensor::of<uint8_t>({1, 2, 2}, {128, 128, 128, 128}));
}

TEST(OperatorTest, RowsOfATableInBlocks) {
  const Attributes blocks = {int_attribute("bits", 4), int_attribute("block_size", 2), int_attribute("gather_axis", 0),
                             int_attribute("quantize_axis", 1)};
  GraphBuilder g;
  g.input("ids", 7, {"n"});
  g.constant("data", Tensor::of<uint8_t>({2, 2}, {0x21, 0x43, 0x65, 0x87}));
  g.constant("scales", floats({2, 2}, {1, 2, 3, 4})).constant("zeros", Tensor::of<uint8_t>({2, 1}, {0x10, 0x32}));
  g.add(node("GatherBlockQuantized", {"data", "ids", "scales", "zeros"}, {"y"}, blocks, kContrib)).output("y");
  g.add(node("GatherBlockQuantized", {"data", "ids", "scales"}, {"z"}, blocks, kContrib)).output("z");
  const auto y = evaluate(*import_bytes(model(g)), std::vector<RefValue>{ints({1}, {1})});
  EXPECT_EQ(std::get<Tensor>(y[0]), floats({1, 4}, {9, 12, 16, 20}));
  EXPECT_EQ(std::get<Tensor>(y[1]), floats({1, 4}, {-9, -6, -4, 0}));  // unsigned numbers stand around 8
}

TEST(OperatorTest, OperatorsWithNeighboursFoldedIn) {
  const Tensor x = floats({1, 2, 2}, {1, 2, 3, 4}), bias = floats({2}, {10, 20});
  EXPECT_EQ(run("BiasAdd", {x, bias, x}, {}, kContrib)[0], floats({1, 2, 2}, {12, 24, 16, 28}));
  EXPECT_EQ(run("BiasSoftmax", {x, floats({1, 1, 2}, {1, 0})}, {int_attribute("axis", 2)}, kContrib)[0],
            floats({1, 2, 2}, {0.5F, 0.5F, 0.5F, 0.5F}));
  const Results dropped = run("BiasDropout", {x, bias}, {}, kContrib, 17, 2);
  EXPECT_EQ(dropped[0], floats({1, 2, 2}, {11, 22, 13, 24}));
  EXPECT_EQ(dropped[1], Tensor::of<bool>({1, 2, 2}, {true, true, true, true}));
  const double gelu = 0.5 * 2 * (1 + std::tanh(std::sqrt(2 / 3.14159265358979) * (2 + 0.044715 * 8)));
  expect_near(run("GemmFastGelu", {floats({1, 1}, {3}), floats({1, 1}, {1}), floats({1}, {-1})}, {}, kContrib)[0],
              floats({1, 1}, {static_cast<float>(gelu)}));
  EXPECT_EQ(run("ExpandDims", {x, ints({}, {-1})}, {}, kContrib)[0].dims(), (std::vector<int64_t>{1, 2, 2, 1}));
  EXPECT_EQ(run("Pad", {bias, ints({2}, {1, 0})}, {string_attribute("mode", "constant")}, kContrib)[0],
            floats({3}, {0, 10, 20}));
}

TEST(OperatorTest, TransposedBatches) {
  const Tensor a = floats({2, 1, 2}, {1, 2, 3, 4}), b = floats({2, 1}, {10, 1});
  EXPECT_EQ(run("FusedMatMul", {a, floats({1, 2, 1}, {10, 1})}, {int_attribute("transBatchA", 1)}, kContrib)[0],
            floats({1, 2, 1}, {12, 34}));
  EXPECT_EQ(run("FusedMatMul", {a, b}, {float_attribute("alpha", 2)}, kContrib)[0], floats({2, 1, 1}, {24, 68}));
}

TEST(OperatorTest, BytesWithChannelsLast) {
  const Tensor x = Tensor::of<uint8_t>({1, 2, 1, 2}, {1, 20, 3, 10}), one = Tensor::scalar(1.0F);
  const Tensor zero = Tensor::scalar<uint8_t>(0), w = Tensor::of<uint8_t>({1, 2, 2, 1}, {1, 2, 0, 3});
  EXPECT_EQ(run("NhwcMaxPool", {x}, {ints_attribute("kernel_shape", {2, 1})}, kContrib)[0],
            Tensor::of<uint8_t>({1, 1, 1, 2}, {3, 20}));
  const NodeAttribute last = int_attribute("channels_last", 1);
  EXPECT_EQ(run("QLinearConv", {x, one, zero, w, one, zero, one, zero}, {last}, kContrib)[0],
            Tensor::of<uint8_t>({1, 1, 1, 1}, {37}));
  EXPECT_EQ(
      run("QLinearAveragePool", {x, one, zero, one, zero}, {last, ints_attribute("kernel_shape", {2, 1})}, kContrib)[0],
      Tensor::of<uint8_t>({1, 1, 1, 2}, {2, 15}));
}

// --- numbers as strings

TEST(OperatorTest, NumbersBecomeStringsAndBack) {
  const float inf = std::numeric_limits<float>::infinity();
  const auto text = [](const Tensor& x) { return run("Cast", {x}, {int_attribute("to", 8)})[0]; };
  EXPECT_EQ(text(floats({8}, {1, 0.1f, 1e10f, 1e-5f, -0.0f, 123456789.0f, std::nanf(""), -inf})),
            words({"1", "0.1", "1e+10", "9.9999997e-06", "-0", "1.2345679e+08", "NaN", "-INF"}));
  EXPECT_EQ(text(ints({2}, {-5, int64_t{1} << 62})), words({"-5", "4611686018427387904"}));
  const auto number = [](const std::string& x, int type) {
    return run("Cast", {words({x})}, {int_attribute("to", type)})[0];
  };
  constexpr int kFloat = 1, kU8 = 2, kI64 = 7, kBool = 9;
  EXPECT_EQ(number(" +1.5e1 ", kFloat), floats({1}, {15}));
  EXPECT_EQ(number("-INF", kFloat), floats({1}, {-inf}));
  EXPECT_EQ(number("1e400", kFloat), floats({1}, {inf}));
  EXPECT_EQ(number("-1.9", kI64), ints({1}, {-1}));
  EXPECT_EQ(number("9007199254740993", kI64), ints({1}, {9007199254740993}));
  EXPECT_EQ(number("300", kU8), Tensor::of<uint8_t>({1}, {44}));
  EXPECT_EQ(number("0.5", kBool), Tensor::of<bool>({1}, {true}));
  for (const char* bad : {"", "abc", "1.5abc", "1 2"}) EXPECT_THROW(number(bad, kFloat), Error) << bad;
  EXPECT_THROW(number("nan", kI64), Error);
}

// --- maps

constexpr int kFloatType = 1, kI64Type = 7, kStringType = 8;

std::vector<RefValue> run_on_map(const std::string& op, const Tensor& keys, const Tensor& values,
                                 const Attributes& attributes) {
  GraphBuilder g;
  g.map_input("x", onnx_type(keys.dtype()), onnx_type(values.dtype())).output("y");
  g.add(node(op, {"x"}, {"y"}, attributes, kLearned));
  const auto graph = import_bytes(model(g));
  EXPECT_EQ(graph->inputs()[0]->name(), "x.keys");
  EXPECT_EQ(graph->inputs()[1]->name(), "x.values");
  return evaluate(*graph, std::vector<RefValue>{keys, values});
}

TEST(OperatorTest, EntriesOfMapsInTheirColumns) {
  const auto columns = [](const Tensor& keys, const Tensor& values, const NodeAttribute& vocabulary) {
    return std::get<Tensor>(run_on_map("DictVectorizer", keys, values, {vocabulary})[0]);
  };
  const NodeAttribute letters = strings_attribute("string_vocabulary", {"c", "b", "a"});
  EXPECT_EQ(columns(words({"a", "zz", "c"}), floats({3}, {1.5f, 2, 3}), letters), floats({1, 3}, {3, 0, 1.5f}));
  EXPECT_EQ(columns(words({}), ints({0}, {}), letters), ints({1, 3}, {0, 0, 0}));
  EXPECT_EQ(columns(ints({1}, {1}), words({"x"}), ints_attribute("int64_vocabulary", {3, 1})),
            Tensor::of_strings({1, 2}, {"", "x"}));
}

TEST(OperatorTest, MapsAsRows) {
  const auto row = [](const std::string& type, const std::string& form, int64_t columns) {
    return std::get<Tensor>(run_on_map(
        "CastMap", ints({3}, {5, 2, 0}), floats({3}, {1.5f, -2.5f, 7.25f}),
        {string_attribute("cast_to", type), string_attribute("map_form", form), int_attribute("max_map", columns)})[0]);
  };
  EXPECT_EQ(row("TO_FLOAT", "DENSE", 1), floats({1, 3}, {7.25f, -2.5f, 1.5f}));
  EXPECT_EQ(row("TO_FLOAT", "SPARSE", 4), floats({1, 4}, {7.25f, 0, -2.5f, 0}));
  EXPECT_EQ(row("TO_INT64", "SPARSE", 6), ints({1, 6}, {7, 0, -2, 0, 0, 1}));
  EXPECT_EQ(row("TO_STRING", "SPARSE", 3), Tensor::of_strings({1, 3}, {"7.250000", "0.f", "-2.500000"}));
}

TEST(OperatorTest, MapsOfScores) {
  for (const bool inside : {false, true}) {  // of a function
    GraphBuilder g;
    g.input("x", kFloatType, {"n", "2"}).output("y");
    const Attributes labels = {strings_attribute("classlabels_strings", {"no", "yes"})};
    std::vector<std::string> functions;
    if (inside)
      functions.push_back(function("local", "Name", {"a"}, {"b"}, {node("ZipMap", {"a"}, {"b"}, labels, kLearned)}));
    g.add(inside ? node("Name", {"x"}, {"y"}, {}, "local") : node("ZipMap", {"x"}, {"y"}, labels, kLearned));
    const auto graph = import_bytes(model(g, 17, functions));
    EXPECT_EQ(graph->output_names(), (std::vector<std::string>{"y.keys", "y.values"}));
    const Tensor scores = floats({2, 2}, {1, 2, 3, 4});
    const auto results = evaluate(*graph, std::vector<RefValue>{scores});
    EXPECT_EQ(std::get<Tensor>(results[0]), words({"no", "yes"}));
    EXPECT_EQ(std::get<Tensor>(results[1]), scores);
  }
}

TEST(OperatorTest, MapsGoNowhereElse) {
  GraphBuilder g;
  g.map_input("x", kI64Type, kStringType).output("y");
  g.add(node("Neg", {"x"}, {"y"}));
  try {
    import_bytes(model(g));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_NE(std::string(error.what()).find("'x' is a map"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace lathe::onnx
