// Which epilogue programs the kernels can apply while storing, and as what.
#include "backends/cpu/lower/epilogue.h"

#include <gtest/gtest.h>

namespace lathe::cpu {
namespace {

// Input 1 is a bias, input 2 a residual, input 3 neither.
std::optional<EpilogueForm> match(std::string_view text, size_t inputs) {
  return match_epilogue(MapProgram::parse(text, std::vector<DType>(inputs, DType::f32)), [](int i) {
    return i == 1 ? ExtraKind::bias : i == 2 ? ExtraKind::residual : ExtraKind::other;
  });
}

TEST(Epilogue, EmptyProgramIsTheIdentity) {
  const auto form = match_epilogue({}, [](int) { return ExtraKind::other; });
  ASSERT_TRUE(form);
  EXPECT_EQ(form->activation.kind, ActivationKind::none);
  EXPECT_EQ(form->bias, -1);
}

TEST(Epilogue, ClipInEverySpelling) {
  for (const char* text :
       {"(x0, x1) => min(relu(add(x0, x1)), 6:f32)", "(x0, x1) => min(max(add(x0, x1), 0:f32), 6:f32)",
        "(x0, x1) => max(min(add(x1, x0), 6:f32), 0:f32)", "(x0, x1) => relu(min(6:f32, add(x0, x1)))"}) {
    const auto form = match(text, 2);
    ASSERT_TRUE(form) << text;
    EXPECT_EQ(form->activation.kind, ActivationKind::clip) << text;
    EXPECT_EQ(form->activation.a, 0.0f) << text;
    EXPECT_EQ(form->activation.b, 6.0f) << text;
    EXPECT_EQ(form->bias, 1) << text;
  }
}

TEST(Epilogue, ReluWithResidualInsideAndOutside) {
  const auto inside = match("(x0, x1, x2) => relu(add(x2, add(x0, x1)))", 3);
  ASSERT_TRUE(inside);
  EXPECT_EQ(inside->activation.kind, ActivationKind::relu);
  EXPECT_EQ(inside->residual, 2);
  EXPECT_FALSE(inside->residual_after_activation);
  const auto outside = match("(x0, x1, x2) => add(x2, max(add(x0, x1), 0:f32))", 3);
  ASSERT_TRUE(outside);
  EXPECT_EQ(outside->activation.kind, ActivationKind::relu);
  EXPECT_TRUE(outside->residual_after_activation);
}

TEST(Epilogue, ScaleGatedAndLeakyActivations) {
  const auto scaled = match("(x0, x1) => gelu_erf(add(mul(x0, 0.5:f32), x1))", 2);
  ASSERT_TRUE(scaled);
  EXPECT_EQ(scaled->alpha, 0.5f);
  EXPECT_EQ(scaled->activation.kind, ActivationKind::gelu_erf);
  const auto quick = match("(x0) => mul(x0, sigmoid(mul(x0, 1.702:f32)))", 1);
  ASSERT_TRUE(quick);
  EXPECT_EQ(quick->activation.kind, ActivationKind::silu);
  EXPECT_FLOAT_EQ(quick->activation.a, 1.702f);
  const auto leaky = match("(x0) => select(lt(x0, 0:f32), mul(x0, 0.1:f32), x0)", 1);
  ASSERT_TRUE(leaky);
  EXPECT_EQ(leaky->activation.kind, ActivationKind::leaky_relu);
  EXPECT_FLOAT_EQ(leaky->activation.a, 0.1f);
}

TEST(Epilogue, RefusesWhatTheFormCannotSay) {
  for (const char* text : {"(x0, x1, x2, x3) => add(x0, x3)", "(x0) => max(min(x0, 0:f32), 6:f32)", "(x0) => exp(x0)",
                           "(x0, x1) => add(relu(x0), x1)", "(x0) => max(x0, 1:f32)"}) {
    EXPECT_FALSE(match(text, std::string_view(text).find("x3") != std::string_view::npos   ? 4
                             : std::string_view(text).find("x1") != std::string_view::npos ? 2
                                                                                           : 1))
        << text;
  }
}

}  // namespace
}  // namespace lathe::cpu
