// The search for types: what is pinned, what the bound does, what is refused.
#include "precision/assign.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "graph/text.h"
#include "passes/pipeline.h"
#include "passes/rewrite.h"

namespace lathe::precision {
namespace {

// Rows whose elements have very different sizes: what one scale per row ruins.
Batches uneven_rows(const std::string& input, int64_t rows, int64_t columns, float outlier) {
  Tensor x(DType::f32, {rows, columns});
  const auto values = x.mutable_as<float>();
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t column = i % static_cast<size_t>(columns);
    values[i] = column == 0 ? outlier : std::sin(static_cast<float>(i * i % 97));
  }
  return {{{input, x}}};
}

const LayerReport& layer(const Report& report, const std::string& name) {
  for (const LayerReport& l : report.layers)
    if (l.name == name) return l;
  throw std::runtime_error("no layer " + name);
}

// %y reads bytes well; %z reads a column that is a thousand times as large as the others, and ignores it.
constexpr const char* kTwoProducts = R"(  %w = constant {value = f32[32, 32] random(1)}
  %one = constant {value = f32[32] random(3)}
  %u = map(%x) {program = (x0) => tanh(x0)}
  %y = matmul(%u, %w)
  %z = matmul(%x, %v)
  %s = map(%y, %z) {program = (x0, x1) => add(x0, x1)}
  return %s as "s"
})";

// The weights of %z have a zero row for the large column.
std::unique_ptr<Graph> two_products(const char* sizes = "n, 32") {
  std::string text = fmt::format("graph (%x: f32[{}]) {{\n{}", sizes, kTwoProducts);
  std::string values = "f32[32, 32] [";
  for (int i = 0; i < 32 * 32; ++i) {
    const double value = i < 32 ? 0 : std::cos(i * 0.37);
    values += fmt::format("{}{}", i == 0 ? "" : ", ", value);
  }
  text.insert(text.find("  %u"), "  %v = constant {value = " + values + "]}\n");
  return parse_graph(text);
}

TEST(Assign, PinsTheLayerThatLosesMost) {
  const auto graph = two_products();
  const Report report = assign(*graph, {}, uneven_rows("x", 16, 32, 1000), {.types = {DType::i8}, .min_cosine = 0.999});
  EXPECT_TRUE(report.met);
  EXPECT_EQ(layer(report, "y").type.compute, DType::i8);
  EXPECT_EQ(layer(report, "z").type.compute, DType::f32);
  EXPECT_NE(layer(report, "z").reason, "");
  EXPECT_GE(report.outputs.at(0).agreement.cosine, 0.999);
  EXPECT_NE(print(*graph).find("dynamic_quantize"), std::string::npos);
}

// Rows with an outlier lose less as floats of 8 bits, even rows less as integers.
TEST(Assign, LayersKeepTheKindOfBytesThatLosesLess) {
  const auto graph = two_products();
  CompileOptions compile;
  compile.device = "reference";
  const Report report =
      assign(*graph, compile, uneven_rows("x", 16, 32, 1000), {.types = {DType::i8, DType::f8e4m3}, .min_cosine = 0.9});
  EXPECT_TRUE(report.met);
  EXPECT_EQ(layer(report, "y").type.compute, DType::i8);
  EXPECT_EQ(layer(report, "z").type.compute, DType::f8e4m3);
}

TEST(Assign, ALooserBoundPinsNothing) {
  const auto graph = two_products();
  const Report report = assign(*graph, {}, uneven_rows("x", 16, 32, 1000), {.types = {DType::i8}, .min_cosine = 0.1});
  EXPECT_TRUE(report.met);
  EXPECT_EQ(layer(report, "z").type.compute, DType::i8);
  EXPECT_EQ(report.trials, 1u);
}

TEST(Assign, WithoutABoundNothingRuns) {
  const auto graph = two_products();
  const Report report = assign(*graph, {}, uneven_rows("x", 16, 32, 1000),
                               {.types = {DType::f16}, .min_cosine = 0, .rules = {{"z", DType::f32}}});
  EXPECT_TRUE(report.met);
  EXPECT_EQ(report.trials, 0u);
  EXPECT_EQ(layer(report, "y").type.compute, DType::f16);
  EXPECT_EQ(layer(report, "z").type.compute, DType::f32);
  EXPECT_NE(print(*graph).find("f16[32, 32]"), std::string::npos);
  EXPECT_TRUE(measures({.types = {DType::i8}, .min_cosine = 0})) << "bytes need ranges";
}

// Of rows of scores, for requests as for their tokens.
TEST(Assign, FirstChoicesStayAsFarAsIsAsked) {
  for (const bool tokens : {false, true}) {
    Batches batches = uneven_rows("x", 16, 32, 1000);
    if (tokens) batches[0].at("x") = batches[0].at("x").reshaped({2, 8, 32});
    const char* sizes = tokens ? "b, n, 32" : "n, 32";
    const auto loose = two_products(sizes), strict = two_products(sizes);
    Report report = assign(*loose, {}, batches, {.types = {DType::i8}, .min_cosine = 0});
    EXPECT_TRUE(report.met);
    EXPECT_LT(report.outputs.at(0).agreement.top1, 0.9);
    report = assign(*strict, {}, batches, {.types = {DType::i8, DType::bf16}, .min_cosine = 0, .min_top1 = 0.9});
    EXPECT_TRUE(report.met);
    EXPECT_GE(report.outputs.at(0).agreement.top1, 0.9);
    EXPECT_NE(layer(report, "z").type.compute, DType::i8);
  }
}

// All lose about the same by themselves; what the first ones lose goes through all others.
TEST(Assign, EarlyLayersClimbFirst) {
  std::string text = "graph (%x0: f32[n, 32]) {\n  %w = constant {value = f32[32, 32] random(1)}\n";
  for (int i = 0; i < 8; ++i)
    text += fmt::format(
        "  %p{0} = matmul(%x{0}, %w)\n  %x{1} = map(%p{0}) {{program = (x0) => tanh(mul(x0, 0.5:f32))}}\n", i, i + 1);
  const auto graph = parse_graph(text + "  return %x8 as \"y\" }");
  const Report report = assign(*graph, {}, uneven_rows("x0", 16, 32, 1), {.types = {DType::i8}, .min_cosine = 0.99995});
  ASSERT_TRUE(report.met);
  std::string types;
  for (const LayerReport& product : report.layers) types += product.type.compute == DType::f32 ? 'f' : 'b';
  EXPECT_EQ(types, "fffffbbb");
}

TEST(Assign, ABoundThatNothingMeets) {
  const auto graph = two_products();
  const Report report = assign(*graph, {}, uneven_rows("x", 16, 32, 1000), {.types = {DType::i8}, .max_error = 1e-9});
  EXPECT_FALSE(report.met);
  for (const LayerReport& l : report.layers) EXPECT_EQ(l.type.compute, DType::f32);
}

// Recurrent layers, say: f32 meets any bound, and there is no choice that could miss it.
TEST(Assign, AModelWithoutLayersMeetsTheBound) {
  for (const double cosine : {0.999, 0.0}) {
    const auto graph = parse_graph(R"(graph (%x: f32[n, 32]) {
  %y = softmax(%x) {axis = 1}
  return %y as "y"
})");
    const Report report = assign(*graph, {}, uneven_rows("x", 2, 32, 1), {.types = {DType::f16}, .min_cosine = cosine});
    EXPECT_TRUE(report.met);
    EXPECT_TRUE(report.layers.empty());
  }
}

TEST(Assign, RulesThatForbidTheWayOutMissTheBound) {
  const auto graph = two_products();
  const Report report = assign(*graph, {}, uneven_rows("x", 16, 32, 1000),
                               {.types = {DType::i8}, .min_cosine = 0.9999, .rules = {{"z", DType::i8}}});
  EXPECT_FALSE(report.met);
  EXPECT_EQ(layer(report, "z").type.compute, DType::i8);
}

// An expert that no token is sent to: nothing says what its range is.
TEST(Assign, LayersThatNoInputReachesStay) {
  const auto graph = parse_graph(R"(graph (%x: f32[n, 32], %e: f32[m, 32]) {
  %w = constant {value = f32[32, 32] random(1)}
  %v = constant {value = f32[32, 32] random(2)}
  %y = matmul(%x, %w)
  %z = matmul(%e, %v)
  return %y as "y", %z as "z"
})");
  Batches batches = uneven_rows("x", 16, 32, 1);
  batches[0].emplace("e", Tensor(DType::f32, {0, 32}));
  const Report report =
      assign(*graph, {}, batches, {.types = {DType::i8}, .min_cosine = 0.99, .static_activations = true});
  EXPECT_TRUE(report.met);
  EXPECT_EQ(layer(report, "y").type.compute, DType::i8);
  EXPECT_EQ(layer(report, "z").type.compute, DType::f32);
}

// The sum of squares of what %big holds is beyond f16, as in a LayerNorm that an exporter spells in parts.
TEST(Assign, PinsWhatOverflows) {
  const auto graph = parse_graph(R"(graph (%x: f32[n, 32]) {
  %big = map(%x) {program = (x0) => mul(x0, 1000:f32)}
  %squares = map(%big) {program = (x0) => mul(x0, x0)}
  %mean = reduce(%squares) {kind = mean, axes = [1]}
  %y = map(%big, %mean) {program = (x0, x1) => div(x0, sqrt(add(x1, 1e-5:f32)))}
  return %y as "y"
})");
  CompileOptions reference;
  reference.device = "reference";
  const Report report = assign(*graph, reference, uneven_rows("x", 4, 32, 2), {.types = {DType::f16}});
  EXPECT_TRUE(report.met);
  EXPECT_EQ(layer(report, "squares").type.compute, DType::f32);
  EXPECT_NE(layer(report, "squares").reason.find("overflows"), std::string::npos);
  EXPECT_EQ(layer(report, "big").type.compute, DType::f16);
  EXPECT_EQ(layer(report, "y").type.compute, DType::f16);
}

TEST(Assign, TheFastestOfSeveralTypesMeetsTheBoundToo) {
  const auto graph = two_products();
  const Report report = assign(
      *graph, {}, uneven_rows("x", 16, 32, 1000),
      {.types = {DType::i8, DType::bf16}, .fastest = true, .min_cosine = 0.999, .run_ms = [](size_t weight_bytes) {
         return static_cast<double>(weight_bytes);
       }});
  EXPECT_TRUE(report.met);
  EXPECT_FALSE(report.fastest_in_f32);
  EXPECT_GE(report.outputs.at(0).agreement.cosine, 0.999);
  EXPECT_LT(report.after.ms, report.before.ms);
  EXPECT_EQ(layer(report, "y").type.compute, DType::i8);
}

TEST(Assign, LayersStayInF32WhereThatIsFastest) {
  const auto graph = two_products();
  const Report report =
      assign(*graph, {}, uneven_rows("x", 16, 32, 1000),
             {.fastest = true, .run_ms = [](size_t weight_bytes) { return 1e6 / static_cast<double>(weight_bytes); }});
  EXPECT_TRUE(report.met);
  EXPECT_TRUE(report.fastest_in_f32);
  EXPECT_EQ(report.after.ms, report.before.ms);
  for (const LayerReport& l : report.layers) EXPECT_EQ(l.type.compute, DType::f32) << l.name;
  for (const char* narrow : {"i8", "bf16"}) EXPECT_EQ(print(*graph).find(narrow), std::string::npos) << print(*graph);
}

// Where halves are computed with, bytes beside them must be faster; on the CPU only weights are halves.
TEST(Assign, BytesThatAreSlowerThanHalvesAreNotTaken) {
  const auto types_on = [](const char* device, double power) {
    const auto graph = two_products();
    CompileOptions compile;
    compile.device = device;
    const Report report = assign(*graph, compile, uneven_rows("x", 16, 32, 2),
                                 {.types = {DType::i8, DType::f16}, .run_ms = [power](size_t weight_bytes) {
                                    return std::pow(static_cast<double>(weight_bytes), power);
                                  }});
    EXPECT_TRUE(report.met);
    EXPECT_EQ(report.halves_are_faster, layer(report, "y").type.compute == DType::f16);
    return layer(report, "y").type.compute;
  };
  EXPECT_EQ(types_on("reference", 1), DType::i8);
  EXPECT_EQ(types_on("reference", -1), DType::f16) << "more bytes of weights take less time";
  EXPECT_EQ(types_on("cpu", -1), DType::i8);
}

// A range that was found on small values cuts off large ones, which shows only where those are not part of it.
TEST(Assign, RangesAreJudgedOnOtherBatches) {
  const auto chosen = [](float scale) {
    const auto graph = parse_graph(R"(graph (%x: f32[n, 32]) {
  %w = constant {value = f32[32, 32] random(1)}
  %y = matmul(%x, %w)
  return %y as "y"
})");
    Batches batches;
    for (const float size : {1.0f, scale}) {
      Tensor x(DType::f32, {16, 32});
      for (int64_t i = 0; i < x.elements(); ++i) x.write_double(i, size * std::sin(0.37 * static_cast<double>(i * i)));
      batches.push_back({{"x", x}});
    }
    const Report report = assign(*graph, {}, batches, {.types = {DType::i8}, .static_activations = true});
    return layer(report, "y").type.compute;
  };
  EXPECT_EQ(chosen(0.9f), DType::i8);
  EXPECT_EQ(chosen(10.0f), DType::f32);
}

TEST(Assign, RefusesInputsThatSayNothing) {
  const auto graph = parse_graph(R"(graph (%x: f32[n, 4]) {
  %w = constant {value = f32[4, 4] random(1)}
  %y = matmul(%x, %w)
  return %y as "y"
})");
  EXPECT_THROW(assign(*graph, {}, {{{"x", Tensor(DType::f32, {2, 4})}}}, {.types = {DType::i8}}), Error);
  Tensor nan(DType::f32, {1, 4});
  for (float& x : nan.mutable_as<float>()) x = std::nanf("");
  EXPECT_THROW(assign(*graph, {}, {{{"x", nan}}}, {.types = {DType::i8}}), Error);
}

TEST(Assign, RefusesTypesThatTheDeviceLacks) {
  const auto graph = two_products();
  EXPECT_THROW(assign(*graph, {}, uneven_rows("x", 2, 32, 1), {.types = {DType::f64}}), Error);
}

// Exports in 16 bits: on the CPU their layers are those of the f32 export, and weights stay as they are stored where
// nothing narrower meets the bound.
TEST(Assign, ModelsInHalvesHaveLayersOnTheCpu) {
  const std::string text = R"(graph (%x: f16[n, 64]) {
  %w = constant {value = f16[64, 64] random(1)}
  %v = constant {value = f16[64, 64] random(2)}
  %b = constant {value = f16[64] random(3)}
  %u = matmul(%x, %w, %b) {epilogue = (x0, x1) => tanh(add(x0, x1))}
  %y = matmul(%u, %v)
  return %y as "y"
})";
  const auto batches = [] {
    Tensor x(DType::f16, {9, 64});
    for (int64_t i = 0; i < x.elements(); ++i) x.write_double(i, std::sin(static_cast<double>(i)));
    return Batches{{{"x", x}}};
  }();
  const auto bytes = parse_graph(text), bf16 = parse_graph(text), halves = parse_graph(text),
             strict = parse_graph(text);
  Report report = assign(*bytes, {}, batches, {.types = {DType::i8}, .min_cosine = 0.99});
  EXPECT_TRUE(report.met);
  ASSERT_EQ(report.layers.size(), 2u);
  EXPECT_EQ(layer(report, "y").type.compute, DType::i8);
  EXPECT_LT(report.after.weight_bytes, report.before.weight_bytes);
  EXPECT_EQ(bytes->outputs()[0]->dtype(), DType::f16);
  EXPECT_EQ(bytes->inputs()[0]->dtype(), DType::f16);
  report = assign(*bf16, {}, batches, {.types = {DType::bf16}, .min_cosine = 0.99});
  EXPECT_TRUE(report.met);
  EXPECT_EQ(report.layers.size(), 2u);
  EXPECT_NE(print(*bf16).find("bf16[64, 64]"), std::string::npos);
  report = assign(*halves, {}, batches, {.types = {DType::f16}});
  EXPECT_TRUE(report.met);
  EXPECT_TRUE(report.layers.empty());
  report = assign(*strict, {}, batches, {.types = {DType::i8, DType::bf16}, .max_error = 1e-9});
  EXPECT_FALSE(report.met);
  EXPECT_EQ(report.after.weight_bytes, report.before.weight_bytes);
}

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Assign, ACacheServesItsModelAlone) {
  const auto path = std::filesystem::path(testing::TempDir()) / "assign_cache.json";
  std::filesystem::remove(path);
  PrecisionOptions options{.types = {DType::i8}, .min_cosine = 0.1, .range_cache = path, .static_activations = true};
  const auto run = [&](std::unique_ptr<Graph> graph, float outlier) {
    assign(*graph, {}, uneven_rows("x", 16, 32, outlier), options);
    return print(*graph);
  };
  const std::string first = run(two_products(), 1000), cached = text_of(path);
  EXPECT_EQ(run(two_products(), 10), first) << "other inputs, ranges of the cache";
  EXPECT_EQ(text_of(path), cached);
  const auto other = parse_graph(R"(graph (%x: f32[n, 32]) {
  %w = constant {value = f32[32, 32] random(8)}
  %y = matmul(%x, %w)
  return %y as "y"
})");
  EXPECT_THROW(run(other->clone(), 10), Error);
  options.calibrator = Calibrator::entropy;
  EXPECT_THROW(run(two_products(), 10), Error);
  EXPECT_EQ(text_of(path), cached);
}

// Ranges of a norm's result are those after outliers have moved, by as much as the inputs then said.
TEST(Assign, ACacheKnowsWhatWasSmoothed) {
  const auto path = std::filesystem::path(testing::TempDir()) / "smooth_cache.json";
  std::filesystem::remove(path);
  PrecisionOptions options{.types = {DType::i8}, .min_cosine = 0.1, .range_cache = path, .static_activations = true};
  const auto run = [&](float outlier) {
    const auto graph = parse_graph(R"(graph (%x: f32[n, 32]) {
  %s = constant {value = f32[32] random(1)}
  %w = constant {value = f32[32, 32] random(2)}
  %u = norm(%x, %s) {axis = 1}
  %y = matmul(%u, %w)
  return %y as "y"
})");
    assign(*graph, {}, uneven_rows("x", 16, 32, outlier), options);
    return print(*graph);
  };
  const std::string first = run(1000);
  EXPECT_EQ(run(3), first);
  options.smoothing = 0.8;
  EXPECT_THROW(run(3), Error);
}

// Where weights pass, the same is measured.
TEST(Assign, LargeModelsAreMeasuredAlike) {
  constexpr const char* kText = R"(graph (%x: f32[n, 160]) {
  %v = constant {value = f32[160, 160] random(1)}
  %w = constant {value = f32[160, 160] random(2)}
  %u = matmul(%x, %v)
  %t = map(%u) {program = (x0) => tanh(x0)}
  %y = matmul(%t, %w)
  return %y as "y"
})";
  for (const std::vector<DType>& types : {std::vector{DType::f16}, {DType::i8, DType::bf16}}) {
    PrecisionOptions options{.types = types, .min_cosine = 0.99999};
    const auto small = parse_graph(kText), large = parse_graph(kText);
    const Report expected = assign(*small, {}, uneven_rows("x", 9, 160, 30), options);
    options.passing_from = 0;
    const Report found = assign(*large, {}, uneven_rows("x", 9, 160, 30), options);
    EXPECT_TRUE(structurally_equal(*small, *large));
    ASSERT_EQ(found.layers.size(), expected.layers.size());
    for (size_t i = 0; i < found.layers.size(); ++i) {
      EXPECT_EQ(found.layers[i].type, expected.layers[i].type);
      EXPECT_EQ(found.layers[i].reason, expected.layers[i].reason);
      EXPECT_EQ(found.layers[i].alone.cosine, expected.layers[i].alone.cosine);
    }
    EXPECT_EQ(found.outputs.at(0).agreement.cosine, expected.outputs.at(0).agreement.cosine);
    EXPECT_EQ(found.before.weight_bytes, expected.before.weight_bytes);
    EXPECT_EQ(found.after.weight_bytes, expected.after.weight_bytes);
    EXPECT_GT(found.after.ms, 0);
  }
}

TEST(Assign, TheSameGraphForTheSameInputs) {
  const auto a = two_products(), b = two_products();
  const PrecisionOptions options{.types = {DType::i8}, .min_cosine = 0.999};
  assign(*a, {}, uneven_rows("x", 16, 32, 1000), options);
  assign(*b, {}, uneven_rows("x", 16, 32, 1000), options);
  EXPECT_TRUE(structurally_equal(*a, *b));
}

}  // namespace
}  // namespace lathe::precision
