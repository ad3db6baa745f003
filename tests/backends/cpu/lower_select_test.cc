// Top-k, non-zero positions and non-maximum suppression against the reference, with ties, NaN, infinities and edge
// sizes.
#include <limits>

#include "tests/backends/cpu/lower_test_util.h"

namespace lathe::cpu {
namespace {

class LowerSelect : public LowerTest {};
LATHE_FOR_EACH_DEVICE(LowerSelect);

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();

std::string of(DType dtype, const std::string& shape) { return std::string(to_string(dtype)) + shape; }

std::string top_k(DType dtype, const std::string& shape, int64_t k, int64_t axis, bool largest) {
  return "(%x: " + of(dtype, shape) + ") { %v, %i = top_k(%x) {k = " + std::to_string(k) +
         ", axis = " + std::to_string(axis) + ", largest = " + (largest ? "true" : "false") + "} return %v, %i }";
}

TEST_P(LowerSelect, TopKOfAllTypes) {
  for (const DType t : {DType::f64, DType::f32, DType::i64, DType::i32, DType::i16, DType::i8, DType::u64, DType::u32,
                        DType::u16, DType::u8}) {
    const bool has_sign = t != DType::u64 && t != DType::u32 && t != DType::u16 && t != DType::u8;
    const Tensor x = random_tensor(t, {3, 200, 4}, 1, has_sign ? -20 : 0, 20);  // integers have many ties
    for (const bool largest : {true, false}) {
      for (const int64_t k : {0, 1, 7, 90, 199}) check_exact(top_k(t, "[a, b, c]", k, 1, largest), {x});
      check_exact(top_k(t, "[a, b, c]", 4, 2, largest), {x});
      check_exact(top_k(t, "[a, b, c]", 2, 0, largest), {x});
    }
  }
}

TEST_P(LowerSelect, TopKOfLongLines) {
  for (const bool largest : {true, false}) {
    for (const int64_t k : {1, 5, 300}) check_exact(top_k(DType::f32, "[n]", k, 0, largest), {floats({5000})});
    Tensor rising(DType::f32, {5000});  // every element beats those before it
    for (int64_t i = 0; i < 5000; ++i) rising.write_double(i, static_cast<double>(largest ? i : -i));
    check_exact(top_k(DType::f32, "[n]", 3, 0, largest), {rising});
  }
}

TEST_P(LowerSelect, TopKPutsNanAboveAndTreatsZerosAlike) {
  const Tensor x = Tensor::of<float>({9}, {-0.0f, kNan, 0.0f, kInf, -kInf, -kNan, 1.0f, -0.0f, kInf});
  Tensor nans(DType::f32, {200});
  for (int64_t i = 0; i < 200; ++i) nans.write_double(i, i % 70 == 69 ? static_cast<double>(i) : double{kNan});
  for (const bool largest : {true, false}) {
    for (int64_t k = 1; k <= 9; ++k) check_exact(top_k(DType::f32, "[n]", k, 0, largest), {x});
    check_exact(top_k(DType::f32, "[n]", 5, 0, largest), {nans});
  }
}

TEST_P(LowerSelect, TopKOfSizesFromTheRun) {
  check_exact("(%x: f32[n, m]) { %v, %i = top_k(%x) {k = min(m, 10), axis = 1} return %v, %i }", {floats({3, 6})});
  check_exact(
      "(%x: f32[n, m], %k: i64[1]) { bind(%k) {symbols = [\"$k\"]} %v, %i = top_k(%x) {k = $k, axis = 1} return "
      "%v, %i }",
      {floats({3, 6}), Tensor::of<int64_t>({1}, {4})});
  const auto graph = graph_of("(%x: f32[n]) { %v, %i = top_k(%x) {k = 5, axis = 0} return %v, %i }");
  EXPECT_THROW(LoweredGraph(*graph, GetParam(), 1, true).run({floats({4})}), Error);
}

TEST_P(LowerSelect, NonZero) {
  for (const DType t : {DType::f64, DType::f32, DType::i64, DType::i32, DType::i16, DType::i8, DType::u64, DType::u32,
                        DType::u16, DType::u8, DType::boolean, DType::f16}) {
    const std::string text = "(%x: " + of(t, "[a, b, c]") + ") { %p = non_zero(%x) return %p }";
    Tensor x(t, {3, 50, 7});
    const Tensor dice = ids({3, 50, 7}, 3);
    for (int64_t i = 0; i < x.elements(); ++i) x.write_double(i, dice.read_int(i) == 0 ? 1 : 0);
    check_exact(text, {x});
    check_exact(text, {Tensor(t, {3, 50, 7})});  // nothing is found
    check_exact(text, {Tensor(t, {3, 0, 7})});
  }
  check_exact("(%x: f32[n]) { %p = non_zero(%x) return %p }",
              {Tensor::of<float>({6}, {-0.0f, kNan, 0.0f, -kInf, 1e-45f, 0.0f})});
  check_exact("(%x: f32[]) { %p = non_zero(%x) return %p }", {Tensor::of<float>({}, {3})});
  check_exact("(%x: f32[]) { %p = non_zero(%x) return %p }", {Tensor::of<float>({}, {0})});
}

std::string nms(const std::string& fields) {
  return "(%b: f32[n, m, 4], %s: f32[n, c, m]) { %y = nms(%b, %s) {" + fields + "} return %y }";
}

TEST_P(LowerSelect, NmsOfRandomBoxes) {
  for (const std::string center : {"true", "false"}) {
    for (const std::string score : {"", ", score_threshold = 0.3"}) {
      for (const int64_t limit : {0, 1, 5, 1000}) {
        std::string fields = "iou_threshold = 0.4, center_point = ";
        fields.append(center).append(score).append(", max_per_class = ").append(std::to_string(limit));
        check_exact(nms(fields),
                    {random_tensor(DType::f32, {2, 130, 4}, 1, 0, 1), random_tensor(DType::f32, {2, 3, 130}, 2, 0, 1)});
      }
    }
  }
  check_exact(nms("max_per_class = 3, iou_threshold = 0.5"), {floats({1, 0, 4}), floats({1, 2, 0})});
  check_exact(nms("max_per_class = 3, iou_threshold = 0.5"), {floats({0, 5, 4}), floats({0, 2, 5})});
}

TEST_P(LowerSelect, NmsOfEqualScoresTakesTheLowerIndex) {
  const Tensor boxes = Tensor::of<float>({1, 4, 4}, {0, 0, 1, 1, 0, 0, 1, 1, 5, 5, 6, 6, 7, 7, 8, 8});
  check_exact(nms("max_per_class = 4, iou_threshold = 0.5"), {boxes, Tensor::of<float>({1, 1, 4}, {2, 2, 1, 2})});
}

TEST_P(LowerSelect, NmsOfOddBoxesAndScores) {
  // Corners in any order, an empty box twice, a box that is nowhere; scores that are infinite or no number.
  const Tensor boxes =
      Tensor::of<float>({1, 6, 4}, {1, 1, 0, 0, 0, 0, 1, 1, 2, 2, 2, 3, 2, 2, 2, 3, kNan, 0, 1, 1, 0, 0, 1, 0.9f});
  for (const std::string score : {"", ", score_threshold = -5"})
    check_exact(nms("max_per_class = 9, iou_threshold = 0.5" + score),
                {boxes, Tensor::of<float>({1, 2, 6}, {kInf, 1, 2, 2, 3, kNan, -kInf, kNan, kNan, 2, 2, 1})});
}

}  // namespace
}  // namespace lathe::cpu
