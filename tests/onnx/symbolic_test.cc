// Arithmetic on symbolic elements: exact where it answers, silent where it cannot be.
#include "onnx/symbolic.h"

#include <gtest/gtest.h>

#include <cmath>

namespace lathe::onnx {
namespace {

Element size(const char* text) { return Element(Dim::parse(text)); }

std::string text(const std::optional<Element>& e) {
  if (!e) return "unknown";
  if (e->is_real()) return "real";
  return e->numerator().to_string() + (e->denominator() == 1 ? "" : " / " + std::to_string(e->denominator()));
}

TEST(SymbolicTest, IntegerDivisionTruncatesOnlyWhereThatIsFloor) {
  EXPECT_EQ(text(divide(size("seq"), size("2"), DType::i64)), "floor_div(seq, 2)");
  EXPECT_EQ(text(divide(size("seq - 1"), size("2"), DType::i64)), "unknown");
  EXPECT_EQ(text(divide(size("-7"), size("2"), DType::i64)), "-3");
  EXPECT_EQ(text(divide(size("6*$0"), size("3"), DType::i64)), "2*$0");
  EXPECT_EQ(text(divide(size("$0"), size("3"), DType::i64)), "unknown");
  EXPECT_EQ(text(divide(size("seq"), size("0"), DType::i64)), "unknown");
}

TEST(SymbolicTest, FloatRatiosOfSizesFloorExactly) {
  const auto half = divide(size("h"), Element::real(2), DType::f32);
  ASSERT_TRUE(half);
  EXPECT_EQ(text(half), "h / 2");
  EXPECT_EQ(text(floor(*half)), "floor_div(h, 2)");
  EXPECT_EQ(text(ceil(*half)), "-floor_div(-h, 2)");
  EXPECT_EQ(text(multiply(*half, Element::real(2), DType::f32)), "h");
  EXPECT_EQ(text(multiply(size("h"), Element::real(1.5), DType::f32)), "3*h / 2");
}

TEST(SymbolicTest, FloatsThatRoundAreUnknown) {
  // floor(10 * 0.7f) is 7 in f32 but 6 exactly: nothing may be said about h * 0.7f.
  EXPECT_EQ(text(multiply(size("h"), Element::real(static_cast<double>(0.7F)), DType::f32)), "unknown");
  EXPECT_EQ(text(square_root(size("h"), DType::f32)), "unknown");
}

TEST(SymbolicTest, ConstantFloatsRoundLikeF32) {
  const auto third = divide(Element::real(1), Element::real(3), DType::f32);
  ASSERT_TRUE(third);
  EXPECT_EQ(third->number(), static_cast<double>(1.0F / 3.0F));
  EXPECT_EQ(square_root(Element::real(2), DType::f32)->number(), static_cast<double>(std::sqrt(2.0F)));
}

TEST(SymbolicTest, ComparisonsAnswerOnlyWhatHoldsForAllSizes) {
  EXPECT_EQ(equal(size("seq"), size("-1")), false);
  EXPECT_EQ(equal(size("seq + 1"), size("0")), false);
  EXPECT_EQ(equal(size("seq"), size("1")), std::nullopt);
  EXPECT_EQ(equal(size("2*seq"), size("seq + seq")), true);
  EXPECT_EQ(less(size("seq"), size("seq + 1")), true);
  EXPECT_EQ(less(size("seq"), size("0")), false);
  EXPECT_EQ(less(size("$0"), size("0")), std::nullopt);
}

TEST(SymbolicTest, SizesOfTensorsAreNotNegativeWhateverTheirExpression) {
  const Element frames = Element::size(Dim::parse("floor_div(samples - 3, 2)")), open = frames.numerator();
  EXPECT_EQ(equal(frames, size("-1")), false);
  EXPECT_EQ(equal(open, size("-1")), std::nullopt);
  EXPECT_EQ(equal(frames, size("0")), std::nullopt);  // it may have no elements
  EXPECT_EQ(less(frames, size("0")), false);
  EXPECT_EQ(less(size("-2"), frames), true);
  EXPECT_TRUE(multiply(frames, size("batch"), DType::i64)->is_nonnegative());
  EXPECT_TRUE(add(frames, size("1"), DType::i64)->is_nonnegative());
  EXPECT_TRUE(divide(frames, size("2"), DType::i64)->is_nonnegative());
  EXPECT_FALSE(subtract(frames, size("1"), DType::i64)->is_nonnegative());
  EXPECT_FALSE(multiply(frames, size("-1"), DType::i64)->is_nonnegative());
  EXPECT_TRUE(maximum(frames, size("-5"), DType::i64)->is_nonnegative());
  EXPECT_FALSE(minimum(frames, size("$0"), DType::i64)->is_nonnegative());
}

TEST(SymbolicTest, CastsKeepIntegersAndTruncateFloats) {
  EXPECT_EQ(text(cast(size("seq"), DType::i64, DType::f32)), "seq");
  EXPECT_EQ(text(cast(Element::real(-2.5), DType::f32, DType::i64)), "-2");
  EXPECT_EQ(text(cast(size("seq"), DType::i64, DType::i8)), "unknown");
  EXPECT_EQ(text(cast(size("seq + 1"), DType::i64, DType::boolean)), "1");
  EXPECT_EQ(text(cast(size("seq"), DType::i64, DType::boolean)), "unknown");
  const auto rational = Element::ratio(Dim::parse("$0"), 2);
  EXPECT_EQ(text(cast(*rational, DType::f32, DType::i64)), "unknown");  // may be negative
}

TEST(SymbolicTest, NegativeZeroStaysAFloat) {
  const Element zero = Element::real(-0.0);
  EXPECT_TRUE(zero.is_real());
  EXPECT_TRUE(std::signbit(*zero.number()));
}

TEST(SymbolicTest, TensorsRoundTrip) {
  const Tensor t = Tensor::of<int64_t>({2, 2}, {1, -2, 0, INT64_MAX});
  const auto symbolic = SymbolicTensor::from(t);
  ASSERT_TRUE(symbolic);
  EXPECT_EQ(symbolic->to_tensor(), t);
  EXPECT_FALSE(SymbolicTensor::from(Tensor(DType::f32, {1000})));
  EXPECT_FALSE(SymbolicTensor::vector({Dim::symbol("n")}).to_tensor());
}

}  // namespace
}  // namespace lathe::onnx
