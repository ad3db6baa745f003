// What the importer makes of graphs: shape arithmetic disappears, order is repaired, everything unsupported is
// reported.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "graph/reference/evaluator.h"
#include "graph/verifier.h"
#include "tests/onnx/model_builder.h"

namespace lathe::onnx {
namespace {

using testing::HasSubstr;

Tensor ints(std::vector<int64_t> values) {
  return Tensor::of<int64_t>({static_cast<int64_t>(values.size())}, std::span<const int64_t>(values));
}

template <class T>
size_t count(const Graph& graph) {
  size_t n = 0;
  for (const auto& node : graph.nodes()) n += node->is<T>() ? 1 : 0;
  return n;
}

Tensor run(const Graph& graph, const std::vector<RefValue>& inputs) {
  return std::get<Tensor>(evaluate(graph, inputs).at(0));
}

// [batch, seq, 12] to [batch, seq, 3, 4] by the sizes that exporters gather from Shape.
GraphBuilder split_heads() {
  GraphBuilder g;
  g.input("x", 1, {"batch", "seq", "12"})
      .constant("zero", Tensor::scalar<int64_t>(0))
      .constant("one", Tensor::scalar<int64_t>(1));
  g.constant("axes", ints({0})).constant("tail", ints({3, -1}));
  g.add(node("Shape", {"x"}, {"s"})).add(node("Gather", {"s", "zero"}, {"b"})).add(node("Gather", {"s", "one"}, {"n"}));
  g.add(node("Unsqueeze", {"b", "axes"}, {"b1"})).add(node("Unsqueeze", {"n", "axes"}, {"n1"}));
  g.add(node("Concat", {"b1", "n1", "tail"}, {"target"}, {int_attribute("axis", 0)}));
  g.add(node("Reshape", {"x", "target"}, {"y"})).output("y");
  return g;
}

TEST(GraphImportTest, ShapeArithmeticLeavesOneReshape) {
  const auto graph = import_bytes(model(split_heads()));
  EXPECT_EQ(graph->num_nodes(), 1u);
  EXPECT_EQ(to_string(graph->outputs()[0]->type()), "f32[batch, seq, 3, 4]");
  EXPECT_EQ(run(*graph, {Tensor(DType::f32, {2, 5, 12})}).dims(), (std::vector<int64_t>{2, 5, 3, 4}));
}

TEST(GraphImportTest, SizesUsedAsDataBecomeDims) {
  GraphBuilder g;
  g.input("x", 1, {"n", "4"})
      .add(node("Shape", {"x"}, {"s"}))
      .add(node("Cast", {"s"}, {"y"}, {int_attribute("to", 1)}))
      .output("y");
  const auto graph = import_bytes(model(g));
  verify(*graph);
  EXPECT_EQ(count<Dims>(*graph), 1u);
  EXPECT_EQ(run(*graph, {Tensor(DType::f32, {7, 4})}), Tensor::of<float>({2}, {7, 4}));
}

TEST(GraphImportTest, SizesReadFromATensorAreBound) {
  GraphBuilder g;
  g.input("x", 1, {"n"}).input("shape", 7, {"2"}).add(node("Reshape", {"x", "shape"}, {"y"})).output("y");
  const auto graph = import_bytes(model(g));
  verify(*graph);
  const Tensor x(DType::f32, {6});
  EXPECT_EQ(run(*graph, {x, ints({2, 3})}).dims(), (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(run(*graph, {x, ints({-1, 2})}).dims(), (std::vector<int64_t>{3, 2}));
  EXPECT_EQ(run(*graph, {x, ints({0, -1})}).dims(), (std::vector<int64_t>{6, 1}));
}

TEST(GraphImportTest, SliceBoundsOfAnySignAreClampedAtRunTime) {
  GraphBuilder g;
  g.input("x", 7, {"n"}).input("start", 7, {"1"}).input("end", 7, {"1"});
  g.add(node("Slice", {"x", "start", "end"}, {"y"})).output("y");
  const auto graph = import_bytes(model(g));
  verify(*graph);
  const Tensor x = ints({0, 1, 2, 3, 4});
  EXPECT_EQ(run(*graph, {x, ints({1}), ints({3})}), ints({1, 2}));
  EXPECT_EQ(run(*graph, {x, ints({-2}), ints({INT64_MAX})}), ints({3, 4}));
  EXPECT_EQ(run(*graph, {x, ints({-9}), ints({-3})}), ints({0, 1}));
  EXPECT_EQ(run(*graph, {x, ints({4}), ints({2})}).elements(), 0);
}

TEST(GraphImportTest, TruncatingSliceOfADynamicAxisKeepsShortInputs) {
  GraphBuilder g;
  g.input("x", 7, {"n"}).constant("start", ints({0})).constant("end", ints({3}));
  g.add(node("Slice", {"x", "start", "end"}, {"y"})).output("y");
  const auto graph = import_bytes(model(g));
  EXPECT_EQ(run(*graph, {ints({5, 6})}), ints({5, 6}));
  EXPECT_EQ(run(*graph, {ints({5, 6, 7, 8})}), ints({5, 6, 7}));
}

TEST(GraphImportTest, ConstantStringsKeepTheirCount) {
  GraphBuilder g;
  g.add(node("Constant", {}, {"y"}, {strings_attribute("value_strings", {"a", "b"})})).output("y");
  EXPECT_EQ(run(*import_bytes(model(g)), {}), Tensor::of_strings({2}, {"a", "b"}));
}

TEST(GraphImportTest, NodesOutOfOrderAreSorted) {
  GraphBuilder g;
  g.input("x", 1, {"n"}).add(node("Neg", {"a"}, {"y"})).add(node("Exp", {"x"}, {"a"})).output("y");
  const auto graph = import_bytes(model(g));
  EXPECT_EQ(run(*graph, {Tensor::of<float>({1}, {0})}), Tensor::of<float>({1}, {-1}));
}

void expect_error(const std::string& bytes, ErrorCode code, const std::string& part) {
  try {
    import_bytes(bytes);
    FAIL() << "no error: " << part;
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code) << e.what();
    EXPECT_THAT(e.what(), HasSubstr(part));
  }
}

TEST(GraphImportTest, MalformedGraphsNameTheNode) {
  GraphBuilder cyclic;
  cyclic.add(node("Neg", {"b"}, {"a"}, {}, "", "first")).add(node("Neg", {"a"}, {"b"})).output("a");
  expect_error(model(cyclic), ErrorCode::invalid_model, "node 'first' (Neg): the graph is cyclic");
  GraphBuilder undefined;
  undefined.add(node("Neg", {"nowhere"}, {"a"}, {}, "", "n")).output("a");
  expect_error(model(undefined), ErrorCode::invalid_model, "'nowhere'");
  GraphBuilder twice;
  twice.input("x", 1, {"n"}).add(node("Neg", {"x"}, {"a"})).add(node("Exp", {"x"}, {"a"})).output("a");
  expect_error(model(twice), ErrorCode::invalid_model, "defined twice");
  GraphBuilder clash;
  clash.input("x", 1, {"3"}).input("y", 1, {"4"}).add(node("Add", {"x", "y"}, {"a"}, {}, "", "sum")).output("a");
  expect_error(model(clash), ErrorCode::invalid_model, "node 'sum' (Add)");
}

TEST(GraphImportTest, AllUnsupportedNodesAreReportedAtOnce) {
  GraphBuilder g;
  g.input("x", 1, {"n"}).add(node("Mystery", {"x"}, {"a"}, {}, "acme", "one")).add(node("Neg", {"a"}, {"b"}));
  g.add(node("Enigma", {"b"}, {"c"}, {}, "", "two")).output("c");
  expect_error(model(g), ErrorCode::unsupported, "2 of 3 nodes");
  expect_error(model(g), ErrorCode::unsupported, "acme::Mystery (opset 1) 'one'");
  expect_error(model(g), ErrorCode::unsupported, "Enigma (opset 17) 'two'");
}

TEST(GraphImportTest, AClassifierOfTwoClassesWhoseTreesVoteForOne) {
  const auto probabilities = [](float first, float second, const std::string& transform) {
    GraphBuilder g;
    g.input("x", 1, {"n", "1"});
    g.add(node("TreeEnsembleClassifier", {"x"}, {"label", "scores"},
               {ints_attribute("nodes_treeids", {0, 0, 0}), ints_attribute("nodes_nodeids", {0, 1, 2}),
                ints_attribute("nodes_featureids", {0, 0, 0}), ints_attribute("nodes_truenodeids", {1, 0, 0}),
                ints_attribute("nodes_falsenodeids", {2, 0, 0}), floats_attribute("nodes_values", {0, 0, 0}),
                strings_attribute("nodes_modes", {"BRANCH_LT", "LEAF", "LEAF"}),
                ints_attribute("class_treeids", {0, 0}), ints_attribute("class_nodeids", {1, 2}),
                ints_attribute("class_ids", {0, 0}), floats_attribute("class_weights", {first, second}),
                ints_attribute("classlabels_int64s", {5, 6}), string_attribute("post_transform", transform)},
               "ai.onnx.ml"));
    g.output("label").output("scores");
    const std::vector<RefValue> inputs = {Tensor::of<float>({2, 1}, {-1, 1})};
    return evaluate(*import_bytes(model(g)), inputs);
  };
  const auto counted = probabilities(0.25F, 0.75F, "NONE");  // what is never negative is a probability already
  EXPECT_EQ(std::get<Tensor>(counted[0]), ints({5, 6}));
  EXPECT_EQ(std::get<Tensor>(counted[1]), Tensor::of<float>({2, 2}, {0.75F, 0.25F, 0.25F, 0.75F}));
  const auto transformed = probabilities(0.25F, 0.75F, "LOGISTIC");
  EXPECT_EQ(std::get<Tensor>(transformed[0]), ints({5, 6}));
  EXPECT_NEAR(std::get<Tensor>(transformed[1]).read_double(0), 1 / (1 + std::exp(0.25)), 1e-6);
  const auto scored = probabilities(-1, 2, "LOGISTIC");
  EXPECT_EQ(std::get<Tensor>(scored[0]), ints({5, 6}));
  EXPECT_NEAR(std::get<Tensor>(scored[1]).read_double(3), 1 / (1 + std::exp(-2.0)), 1e-6);
}

// Bytes with a scale and a zero point for each direction, matrices the other way round.
TEST(GraphImportTest, AnLstmOfBytesIsAnLstm) {
  constexpr int64_t kHidden = 2, kGates = 4 * kHidden;
  Tensor bytes(DType::i8, {1, 3, kGates}), recurrent(DType::i8, {1, kHidden, kGates});
  Tensor wide(DType::f32, {1, kGates, 3}), wide_recurrent(DType::f32, {1, kGates, kHidden});
  const auto fill = [](Tensor& narrow, Tensor& real, double scale, int64_t zero) {
    const int64_t rows = narrow.dims()[1];
    for (int64_t i = 0; i < narrow.elements(); ++i) {
      narrow.write_int(i, i * 37 % 101 - 50);
      real.write_double(i % kGates * rows + i / kGates, static_cast<double>(narrow.read_int(i) - zero) * scale);
    }
  };
  fill(bytes, wide, 0.01F, 3);
  fill(recurrent, wide_recurrent, 0.02F, -1);
  const auto outputs = [&](bool quantized) {
    GraphBuilder g;
    g.input("x", 1, {"t", "n", "3"}).constant("w", quantized ? bytes : wide);
    g.constant("r", quantized ? recurrent : wide_recurrent);
    g.constant("ws", Tensor::of<float>({1}, {0.01F})).constant("wz", Tensor::of<int8_t>({1}, {3}));
    g.constant("rs", Tensor::of<float>({1}, {0.02F})).constant("rz", Tensor::of<int8_t>({1}, {-1}));
    std::vector<std::string> inputs = {"x", "w", "r"};
    if (quantized) inputs = {"x", "w", "r", "", "", "", "", "", "ws", "wz", "rs", "rz"};
    g.add(node(quantized ? "DynamicQuantizeLSTM" : "LSTM", inputs, {"y"}, {int_attribute("hidden_size", kHidden)},
               quantized ? "com.microsoft" : ""));
    g.output("y");
    return run(*import_bytes(model(g)), {Tensor::of<float>({2, 1, 3}, {1, -2, 0.5F, 3, 0, -1})});
  };
  const Tensor expected = outputs(false), found = outputs(true);
  ASSERT_EQ(found.dims(), (std::vector<int64_t>{2, 1, 1, kHidden}));
  for (int64_t i = 0; i < found.elements(); ++i) EXPECT_NEAR(found.read_double(i), expected.read_double(i), 1e-6);
}

// One node of com.microsoft over constants.
Tensor contrib(const std::string& op, const std::vector<Tensor>& operands,
               const std::vector<NodeAttribute>& attributes = {}) {
  GraphBuilder g;
  std::vector<std::string> names;
  for (const Tensor& operand : operands) g.constant(names.emplace_back(fmt::format("c{}", names.size())), operand);
  g.add(node(op, names, {"y"}, attributes, "com.microsoft")).output("y");
  return run(*import_bytes(model(g)), {});
}

TEST(GraphImportTest, BucketsOfDistances) {
  const auto biases = [](int64_t queries, int64_t keys, bool both_ways) {
    return contrib("RelativePositionBias",
                   {Tensor::of<float>({4, 2}, {0, 1, 2, 3, 10, 11, 12, 13}), ints({queries}), ints({keys})},
                   {int_attribute("max_distance", 9), int_attribute("is_bidirectional", both_ways)});
  };
  const Tensor back = biases(6, 7, false);
  ASSERT_EQ(back.dims(), (std::vector<int64_t>{1, 2, 6, 7}));
  const auto row = back.as<float>().subspan(35, 7);
  EXPECT_EQ(std::vector<float>(row.begin(), row.end()), (std::vector<float>{3, 2, 2, 2, 1, 0, 0}));
  EXPECT_EQ(biases(2, 3, true), Tensor::of<float>({1, 2, 2, 3}, {0, 3, 3, 1, 0, 3, 10, 13, 13, 11, 10, 13}));
}

TEST(GraphImportTest, QuantisedPoolsAndChoices) {
  const Tensor half = Tensor::scalar(0.5F), quarter = Tensor::scalar(0.25F);
  const Tensor ten = Tensor::scalar<uint8_t>(10), one = Tensor::scalar<uint8_t>(1);
  EXPECT_EQ(
      contrib("QLinearAveragePool", {Tensor::of<uint8_t>({1, 1, 2, 2}, {10, 20, 30, 40}), half, ten, quarter, one},
              {ints_attribute("kernel_shape", {2, 2})}),
      Tensor::of<uint8_t>({1, 1, 1, 1}, {31}));
  EXPECT_EQ(contrib("QLinearWhere", {Tensor::of<bool>({2}, {true, false}), Tensor::of<uint8_t>({2}, {12, 12}), half,
                                     ten, Tensor::of<uint8_t>({2}, {9, 9}), quarter, one, quarter, one}),
            Tensor::of<uint8_t>({2}, {5, 9}));
}

// The same arithmetic as with channels first, for one spatial axis of two places and two channels.
TEST(GraphImportTest, ChannelsLast) {
  const Tensor x = Tensor::of<float>({1, 1, 2, 2}, {1, 2, 3, 4}), ones = Tensor::of<float>({2}, {1, 1});
  const Tensor w = Tensor::of<float>({1, 1, 2, 2}, {1, 10, 100, 1000}), bias = Tensor::of<float>({1}, {0.5F});
  EXPECT_EQ(contrib("NhwcConv", {x, w, bias}), Tensor::of<float>({1, 1, 1, 1}, {4321.5F}));
  const Tensor skip = Tensor::of<float>({1, 2}, {0, 5}), shift = Tensor::of<float>({2}, {0, 1});
  const Tensor y = contrib("SkipGroupNorm", {x, ones, shift, skip},
                           {int_attribute("groups", 2), float_attribute("epsilon", 0), int_attribute("activation", 0)});
  EXPECT_EQ(y, Tensor::of<float>({1, 1, 2, 2}, {-1, 0, 1, 2}));  // each channel by itself; its constant drops out
  const Tensor z = contrib("GroupNorm", {x, ones, shift},
                           {int_attribute("groups", 2), float_attribute("epsilon", 0), int_attribute("activation", 1)});
  EXPECT_NEAR(z.read_double(2), 1 / (1 + std::exp(-1.0)), 1e-6);
}

TEST(GraphImportTest, DistancesBetweenRows) {
  const Tensor a = Tensor::of<float>({1, 2}, {0, 0}), b = Tensor::of<float>({2, 2}, {3, 4, 0, 1});
  EXPECT_EQ(contrib("CDist", {a, b}, {string_attribute("metric", "euclidean")}), Tensor::of<float>({1, 2}, {5, 1}));
  EXPECT_EQ(contrib("CDist", {a, b}), Tensor::of<float>({1, 2}, {25, 1}));
}

TEST(GraphImportTest, FunctionsAreInlinedWithTheCallsAttributes) {
  const std::string scaled = function(
      "acme", "Leak", {"v"}, {"w"},
      {node("LeakyRelu", {"v"}, {"t"}, {reference_attribute("alpha", "slope", 1)}), node("Neg", {"t"}, {"w"})});
  GraphBuilder g;
  g.input("x", 1, {"n"}).add(node("Leak", {"x"}, {"a"}, {float_attribute("slope", 0.5F)}, "acme"));
  g.add(node("Leak", {"a"}, {"y"}, {float_attribute("slope", 2.0F)}, "acme")).output("y");
  const auto graph = import_bytes(model(g, 17, {scaled}));
  EXPECT_EQ(run(*graph, {Tensor::of<float>({2}, {-4, 3})}), Tensor::of<float>({2}, {-2, 6}));
}

TEST(GraphImportTest, CallsOfFunctionsMayLackOperands) {
  const std::string clip =
      function("acme", "Bound", {"x", "low", "high"}, {"y"}, {node("Clip", {"x", "low", "high"}, {"y"})});
  const auto bounded = [&](const std::vector<std::string>& operands) {
    GraphBuilder g;
    g.input("x", 1, {"3"}).constant("two", Tensor::scalar(2.0F));
    g.add(node("Bound", operands, {"y"}, {}, "acme")).output("y");
    return run(*import_bytes(model(g, 17, {clip})), {Tensor::of<float>({3}, {-1, 1, 3})});
  };
  EXPECT_EQ(bounded({"x"}), Tensor::of<float>({3}, {-1, 1, 3}));
  EXPECT_EQ(bounded({"x", "", "two"}), Tensor::of<float>({3}, {-1, 1, 2}));
  EXPECT_THROW(bounded({"x", "nowhere"}), Error);
}

TEST(GraphImportTest, RecursiveFunctionsAreRefused) {
  const std::string loop = function("acme", "Again", {"v"}, {"w"}, {node("Again", {"v"}, {"w"}, {}, "acme")});
  GraphBuilder g;
  g.input("x", 1, {"n"}).add(node("Again", {"x"}, {"y"}, {}, "acme")).output("y");
  expect_error(model(g, 17, {loop}), ErrorCode::invalid_model, "calls itself");
}

// A loop that appends its counter to a growing vector, with the outer x captured.
TEST(GraphImportTest, LoopsWidenWhatGrowsAndCaptureWhatTheyUse) {
  GraphBuilder body;
  body.input("i", 7, {}).input("cond_in", 9, {}).input("acc", 7, {"k"}).constant("axis", ints({0}));
  body.add(node("Identity", {"cond_in"}, {"cond_out"})).add(node("Add", {"i", "x"}, {"shifted"}));
  body.add(node("Concat", {"acc", "shifted"}, {"next"}, {int_attribute("axis", 0)}));
  body.output("cond_out").output("next");
  GraphBuilder g;
  g.input("x", 7, {"1"})
      .input("n", 7, {})
      .constant("start", Tensor(DType::i64, {0}))
      .constant("go", Tensor::scalar(true));
  g.add(node("Loop", {"n", "go", "start"}, {"y"}, {graph_attribute("body", body.bytes())})).output("y");
  const auto graph = import_bytes(model(g));
  verify(*graph);
  EXPECT_EQ(run(*graph, {ints({10}), Tensor::scalar<int64_t>(3)}), ints({10, 11, 12}));
  EXPECT_EQ(run(*graph, {ints({10}), Tensor::scalar<int64_t>(0)}).elements(), 0);
}

TEST(GraphImportTest, BothBranchesTakeTheSameCaptures) {
  GraphBuilder yes, no;
  yes.add(node("Neg", {"x"}, {"r"})).output("r");
  no.add(node("Add", {"x", "z"}, {"r"})).output("r");
  GraphBuilder g;
  g.input("c", 9, {}).input("x", 1, {"n"}).input("z", 1, {"n"});
  g.add(node("If", {"c"}, {"r"},
             {graph_attribute("then_branch", yes.bytes()), graph_attribute("else_branch", no.bytes())}))
      .output("r");
  const auto graph = import_bytes(model(g));
  verify(*graph);
  const Tensor x = Tensor::of<float>({1}, {2}), z = Tensor::of<float>({1}, {5});
  EXPECT_EQ(run(*graph, {Tensor::scalar(true), x, z}), Tensor::of<float>({1}, {-2}));
  EXPECT_EQ(run(*graph, {Tensor::scalar(false), x, z}), Tensor::of<float>({1}, {7}));
}

TEST(GraphImportTest, AnIfThatShapesDecideIsInlined) {
  GraphBuilder yes, no;
  yes.add(node("Neg", {"x"}, {"r"})).output("r");
  no.add(node("Exp", {"x"}, {"r"})).output("r");
  GraphBuilder g;
  g.input("x", 1, {"n", "1"}).constant("axis", Tensor::scalar<int64_t>(1)).constant("one", Tensor::scalar<int64_t>(1));
  g.add(node("Shape", {"x"}, {"s"})).add(node("Gather", {"s", "axis"}, {"d"})).add(node("Equal", {"d", "one"}, {"c"}));
  g.add(node("If", {"c"}, {"r"},
             {graph_attribute("then_branch", yes.bytes()), graph_attribute("else_branch", no.bytes())}))
      .output("r");
  const auto graph = import_bytes(model(g));
  EXPECT_EQ(count<If>(*graph), 0u);
  EXPECT_EQ(graph->num_nodes(), 1u);
}

TEST(GraphImportTest, DimensionNamesBecomeSymbolsOneToOne) {
  GraphBuilder g;
  g.input("x", 1, {"past + 1", "past_+_1"}).add(node("Neg", {"x"}, {"y"})).output("y");
  const auto graph = import_bytes(model(g));
  const Shape& shape = graph->inputs()[0]->shape();
  EXPECT_TRUE(shape[0].is_symbol());
  EXPECT_FALSE(shape[0] == shape[1]);
  EXPECT_EQ(Dim::parse(shape[0].to_string()), shape[0]);
}

TEST(GraphImportTest, DimensionsThatAreExpressionsAreCheckedAtRunTime) {
  GraphBuilder g;
  g.input("mask", 1, {"past + 1"}).input("cache", 1, {"past"}).add(node("Neg", {"mask"}, {"y"})).output("y");
  const auto graph = import_bytes(model(g));
  verify(*graph);
  EXPECT_EQ(to_string(graph->inputs()[0]->type()), "f32[past + 1]");
  const auto floats = [](int64_t n) { return Tensor(DType::f32, {n}); };
  EXPECT_EQ(run(*graph, {floats(4), floats(3)}).dims(), (std::vector<int64_t>{4}));
  EXPECT_THROW(run(*graph, {floats(5), floats(3)}), Error);
}

TEST(GraphImportTest, AReshapeToASizeThatMayLookNegativeBindsNothing) {
  GraphBuilder g;  // floor_div(n - 3, 2) + 1 frames: an expression with a negative term, but the size of a tensor
  g.input("x", 1, {"1", "1", "n"}).constant("w", Tensor(DType::f32, {4, 1, 3})).constant("tail", ints({2, -1}));
  g.constant("from", ints({2})).constant("to", ints({3}));
  g.add(node("Conv", {"x", "w"}, {"c"}, {ints_attribute("strides", {2})}));
  g.add(node("Shape", {"c"}, {"s"})).add(node("Slice", {"s", "from", "to"}, {"frames"}));
  g.add(node("Concat", {"frames", "tail"}, {"target"}, {int_attribute("axis", 0)}));
  g.add(node("Reshape", {"c", "target"}, {"y"})).output("y");
  const auto graph = import_bytes(model(g));
  verify(*graph);
  EXPECT_EQ(count<Bind>(*graph), 0u);
  EXPECT_EQ(to_string(graph->outputs()[0]->type()), "f32[floor_div(n - 3, 2) + 1, 2, 2]");
}

TEST(GraphImportTest, OptionsFixDimensions) {
  const std::string bytes = model(split_heads());
  const auto owner = std::make_shared<const std::string>(bytes);
  ImportOptions options;
  options.fixed_dims = {{"batch", 1}};
  const auto graph = import_model(std::as_bytes(std::span(*owner)), owner, options);
  EXPECT_EQ(to_string(graph->inputs()[0]->type()), "f32[1, seq, 12]");
}

}  // namespace
}  // namespace lathe::onnx
