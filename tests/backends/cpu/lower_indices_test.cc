// Gathers and scatters by index tensors, and reversed sequences: every element size, duplicates, negative indices, edge
// sizes; an index out of range is an error.
#include <limits>

#include "tests/backends/cpu/lower_test_util.h"

namespace lathe::cpu {
namespace {

class LowerIndices : public LowerTest {
 protected:
  void expect_refused(const std::string& text, const std::vector<Tensor>& inputs) {
    SCOPED_TRACE(text);
    const auto graph = graph_of(text);
    for (const int threads : {1, 3}) {
      LoweredGraph lowered(*graph, GetParam(), threads, true);
      for (const ProgramStep& step : lowered.program().steps) EXPECT_FALSE(step.fallback);
      EXPECT_THROW(lowered.run(inputs), Error);
    }
  }
};
LATHE_FOR_EACH_DEVICE(LowerIndices);

constexpr DType kTypes[] = {DType::f64, DType::f32, DType::i64, DType::u32,
                            DType::i16, DType::u8,  DType::f16, DType::boolean};

std::string of(DType dtype, const std::string& shape) { return std::string(to_string(dtype)) + shape; }

Tensor numbers(DType dtype, Sizes dims, uint32_t seed = 5) {
  return random_tensor(dtype, std::move(dims), seed, 0, dtype == DType::boolean ? 1 : 100);
}

Tensor indices(Sizes dims, int64_t size, uint32_t seed = 3, DType dtype = DType::i64) {
  return random_tensor(dtype, std::move(dims), seed, static_cast<double>(-size), static_cast<double>(size - 1));
}

TEST_P(LowerIndices, GatherElements) {
  for (const DType t : kTypes) {
    const std::string inputs = "(%x: " + of(t, "[a, b, c]") + ", %i: i64[p, q, r])";
    for (const int axis : {0, 1, 2}) {
      Sizes sizes = {3, 4, 5};
      const int64_t along = sizes[static_cast<size_t>(axis)];
      for (const int64_t count : {0, 1, 7}) {
        sizes = {3, 4, 5};
        sizes[static_cast<size_t>(axis)] = count;
        check_exact(inputs + " { %y = gather_elements(%x, %i) {axis = " + std::to_string(axis) + "} return %y }",
                    {numbers(t, {3, 4, 5}), indices(sizes, along)});
      }
    }
    check_exact(inputs + " { %y = gather_elements(%x, %i) {axis = 1} return %y }",
                {numbers(t, {3, 4, 5}), indices({2, 6, 3}, 4)});
  }
  check_exact("(%x: f32[n], %i: i32[m]) { %y = gather_elements(%x, %i) return %y }",
              {floats({50}), indices({2000}, 50, 1, DType::i32)});
  check_exact("(%x: f32[n, 1, m], %i: i64[p, 1, q]) { %y = gather_elements(%x, %i) {axis = 0} return %y }",
              {floats({5, 1, 7}), indices({900, 1, 7}, 5)});
}

TEST_P(LowerIndices, GatherNd) {
  for (const DType t : kTypes) {
    const std::string x = "(%x: " + of(t, "[a, b, c, d]") + ", %i: i64";
    const Tensor data = numbers(t, {3, 3, 3, 5});
    for (const int depth : {1, 2, 3})
      check_exact(x + "[m, " + std::to_string(depth) + "]) { %y = gather_nd(%x, %i) return %y }",
                  {data, indices({11, depth}, 3)});
    check_exact(x + "[a, m, 2]) { %y = gather_nd(%x, %i) {batch_dims = 1} return %y }", {data, indices({3, 4, 2}, 3)});
    check_exact(x + "[a, b, m, 1]) { %y = gather_nd(%x, %i) {batch_dims = 2} return %y }",
                {data, indices({3, 3, 2, 1}, 3)});
    check_exact(x + "[m, 0]) { %y = gather_nd(%x, %i) return %y }", {data, indices({2, 0}, 3)});
    check_exact(x + "[m, 2]) { %y = gather_nd(%x, %i) return %y }", {data, indices({0, 2}, 3)});
  }
  check_exact("(%x: f32[n, 3], %i: i32[m, 1]) { %y = gather_nd(%x, %i) return %y }",
              {floats({7, 3}), indices({1500, 1}, 7, 2, DType::i32)});
}

TEST_P(LowerIndices, GathersRefuseIndicesOutOfRange) {
  const std::string elements = "(%x: f32[a, b], %i: i64[p, q]) { %y = gather_elements(%x, %i) {axis = 1} return %y }";
  expect_refused(elements, {floats({2, 3}), Tensor::of<int64_t>({2, 2}, {0, 1, 2, 3})});
  expect_refused(elements, {floats({2, 3}), Tensor::of<int64_t>({1, 1}, {-4})});
  expect_refused(elements, {floats({2, 0}), Tensor::of<int64_t>({1, 1}, {0})});
  expect_refused(elements, {floats({2, 3}), indices({3, 1}, 3)});  // more rows than the data
  const std::string nd = "(%x: f32[a, b], %i: i64[m, 2]) { %y = gather_nd(%x, %i) return %y }";
  expect_refused(nd, {floats({2, 3}), Tensor::of<int64_t>({2, 2}, {0, 0, 0, 3})});
  expect_refused(nd, {floats({2, 3}), Tensor::of<int64_t>({1, 2}, {std::numeric_limits<int64_t>::min(), 0})});
}

TEST_P(LowerIndices, ScatterReplaces) {
  for (const DType t : kTypes) {
    const std::string inputs = "(%x: " + of(t, "[a, b, c]") + ", %i: i64[p, q, r], %u: " + of(t, "[p, q, r]") + ")";
    for (const int axis : {0, 1, 2})
      check_exact(inputs + " { %y = scatter_elements(%x, %i, %u) {axis = " + std::to_string(axis) + "} return %y }",
                  {numbers(t, {3, 4, 5}), indices({2, 3, 3}, 3), numbers(t, {2, 3, 3}, 9)});
    const std::string x = "(%x: " + of(t, "[a, b, c]") + ", %i: i64";
    check_exact(x + "[m, 2], %u: " + of(t, "[m, c]") + ") { %y = scatter_nd(%x, %i, %u) return %y }",
                {numbers(t, {3, 3, 5}), indices({6, 2}, 3), numbers(t, {6, 5}, 9)});
    check_exact(x + "[m, 3], %u: " + of(t, "[m]") + ") { %y = scatter_nd(%x, %i, %u) return %y }",
                {numbers(t, {3, 3, 3}), indices({700, 3}, 3), numbers(t, {700}, 9)});
    check_exact(x + "[m, 1], %u: " + of(t, "[m, b, c]") + ") { %y = scatter_nd(%x, %i, %u) return %y }",
                {numbers(t, {3, 2, 0}), indices({4, 1}, 3), numbers(t, {4, 2, 0}, 9)});
  }
}

TEST_P(LowerIndices, ScatterCombines) {
  for (const DType t : {DType::f64, DType::f32, DType::i64, DType::i32, DType::i16, DType::i8, DType::u64, DType::u32,
                        DType::u16, DType::u8}) {
    for (const std::string reduction : {"add", "mul", "max", "min"}) {
      const double high = reduction == "mul" ? 2 : 9;
      const Tensor x = random_tensor(t, {4, 6}, 1, 0, high), u = random_tensor(t, {3, 6}, 2, 0, high);
      const std::string fields = " {reduction = " + reduction + "} return %y }";
      check("(%x: " + of(t, "[a, b]") + ", %i: i32[p, b], %u: " + of(t, "[p, b]") +
                ") { %y = scatter_elements(%x, %i, %u)" + fields,
            {x, indices({3, 6}, 4, 7, DType::i32), u}, {1e-6, true, {}});
      check("(%x: " + of(t, "[a, b]") + ", %i: i64[p, 1], %u: " + of(t, "[p, b]") + ") { %y = scatter_nd(%x, %i, %u)" +
                fields,
            {x, Tensor::of<int64_t>({3, 1}, {1, -3, 1}), u}, {1e-6, true, {}});
    }
  }
}

TEST_P(LowerIndices, ScatterOfNanAndInfinity) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  for (const std::string reduction : {"none", "add", "mul", "max", "min"})
    check_exact("(%x: f32[n], %i: i64[m], %u: f32[m]) { %y = scatter_elements(%x, %i, %u) {reduction = " + reduction +
                    "} return %y }",
                {Tensor::of<float>({4}, {nan, 1, inf, -0.0f}), Tensor::of<int64_t>({5}, {0, 1, 2, 3, 1}),
                 Tensor::of<float>({5}, {2, nan, -inf, inf, 3})});
}

TEST_P(LowerIndices, ScatterOfIntegersWraps) {
  check_exact(
      "(%x: i64[n], %i: i64[m], %u: i64[m]) { %y = scatter_elements(%x, %i, %u) {reduction = mul} return %y }",
      {Tensor::of<int64_t>({1}, {std::numeric_limits<int64_t>::max()}), ids({1}, 1), Tensor::of<int64_t>({1}, {3})});
}

TEST_P(LowerIndices, HalvesAreCombinedInF32) {
  check("(%x: f16[n], %i: i64[m], %u: f16[m]) { %y = scatter_elements(%x, %i, %u) {reduction = add} return %y }",
        {random_tensor(DType::f16, {9}, 1), indices({20}, 9), random_tensor(DType::f16, {20}, 2)}, {2e-3, true, {}});
}

TEST_P(LowerIndices, ScattersRefuseIndicesOutOfRange) {
  const std::string elements =
      "(%x: f32[a, b], %i: i64[p, q], %u: f32[p, q]) { %y = scatter_elements(%x, %i, %u) {axis = 0} return %y }";
  expect_refused(elements, {floats({2, 3}), Tensor::of<int64_t>({1, 2}, {1, 2}), floats({1, 2})});
  expect_refused(elements, {floats({0, 3}), Tensor::of<int64_t>({1, 2}, {0, 0}), floats({1, 2})});
  const std::string nd =
      "(%x: f32[a, b], %i: i64[m, 1], %u: f32[m, b]) { %y = scatter_nd(%x, %i, %u) {reduction = add} return %y }";
  expect_refused(nd, {floats({2, 3}), Tensor::of<int64_t>({1, 1}, {-3}), floats({1, 3})});
}

TEST_P(LowerIndices, ReverseSequence) {
  const std::string fields[] = {"{batch_axis = 1, time_axis = 0}", "{batch_axis = 0, time_axis = 1}"};
  for (const DType t : kTypes) {
    for (const std::string& f : fields)
      check_exact("(%x: " + of(t, "[a, b, c]") + ", %l: i64[m]) { %y = reverse_sequence(%x, %l) " + f + " return %y }",
                  {numbers(t, {4, 4, 3}), Tensor::of<int64_t>({4}, {0, 1, 3, 4})});
  }
  check_exact("(%x: f32[s, b], %l: i64[b]) { %y = reverse_sequence(%x, %l) return %y }", {floats({3, 0}), ids({0}, 1)});
  for (const int64_t wrong : {-1, 5})
    expect_refused("(%x: f32[s, b], %l: i64[b]) { %y = reverse_sequence(%x, %l) return %y }",
                   {floats({4, 1}), Tensor::of<int64_t>({1}, {wrong})});
}

}  // namespace
}  // namespace lathe::cpu
