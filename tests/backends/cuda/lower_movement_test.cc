// Data movement on the GPU beyond what the CPU's tests see: wide units and tiles, every element size, ops that have
// kernels only here, and indices out of range.
#include "tests/backends/cpu/lower_test_util.h"

namespace lathe::cpu {
namespace {

class CudaMovement : public LowerTest {};
LATHE_FOR_EACH_DEVICE(CudaMovement);

constexpr DType kTypes[] = {DType::f64, DType::f32, DType::i16, DType::bf16, DType::i8, DType::boolean};

std::string type(DType dtype, const std::string& shape) { return std::string(to_string(dtype)) + shape; }

Tensor numbers(DType dtype, Sizes dims, uint32_t seed = 5) {
  return random_tensor(dtype, std::move(dims), seed, 0, dtype == DType::boolean ? 1 : 100);
}
Tensor indices(Sizes dims, int64_t low, int64_t high, DType dtype = DType::i64) {
  return random_tensor(dtype, std::move(dims), 7, static_cast<double>(low), static_cast<double>(high));
}

TEST_P(CudaMovement, TransposeTiles) {
  for (const DType t : kTypes)
    for (const Sizes& dims : std::vector<Sizes>{{3, 64, 128}, {2, 100, 132}, {1, 257, 33}, {4, 9, 1000}, {5, 3, 200}}) {
      check_exact("(%x: " + type(t, "[a, b, c]") + ") { %y = transpose(%x) {perm = [0, 2, 1]} return %y }",
                  {numbers(t, dims)});
      check_exact("(%x: " + type(t, "[a, b, c]") + ") { %y = transpose(%x) {perm = [2, 0, 1]} return %y }",
                  {numbers(t, dims)});
    }
}

// Images of few channels; sizes that make whole packs, and some that do not.
TEST_P(CudaMovement, TransposeOfFewRows) {
  for (const DType t : {DType::i8, DType::f16, DType::f32, DType::i64})
    for (const int64_t channels : {2, 3, 4, 7})
      for (const int64_t side : {16, 31, 96})
        check_exact("(%x: " + type(t, "[n, " + std::to_string(channels) + ", h, w]") +
                        ") { %y = transpose(%x) {perm = [0, 2, 3, 1]} return %y }",
                    {numbers(t, {3, channels, side, side})});
}

TEST_P(CudaMovement, TransposeOfManyAxes) {
  for (const DType t : kTypes) {
    for (const std::string perm : {"[0, 2, 1, 3]", "[3, 1, 2, 0]", "[1, 0, 3, 2]", "[2, 3, 0, 1]"})
      check_exact("(%x: " + type(t, "[a, b, c, d]") + ") { %y = transpose(%x) {perm = " + perm + "} return %y }",
                  {numbers(t, {6, 12, 10, 64})});
    check_exact(
        "(%x: " + type(t, "[a, b, c, d, e, f]") + ") { %y = transpose(%x) {perm = [5, 3, 1, 4, 2, 0]} return %y }",
        {numbers(t, {9, 2, 3, 4, 5, 16})});
  }
}

TEST_P(CudaMovement, SlicesInWideAndNarrowUnits) {
  for (const DType t : kTypes)
    for (const int64_t start : {0, 1, 2, 16})
      check_exact("(%x: " + type(t, "[a, b]") + ") { %y = slice(%x) {axes = [0, 1], starts = [1, " +
                      std::to_string(start) + "], sizes = [a - 1, 64], steps = [1, 1]} return %y }",
                  {numbers(t, {33, 96})});
}

TEST_P(CudaMovement, ConcatOfManyAndUneven) {
  for (const DType t : kTypes) {
    check_exact("(%x: " + type(t, "[a, b, 32]") + ", %y: " + type(t, "[a, c, 32]") +
                    ") { %z = concat(%x, %y, %x, %y) {axis = 1} return %z }",
                {numbers(t, {3, 1000, 32}), numbers(t, {3, 1, 32})});
    std::string operands;
    for (int i = 0; i < 150; ++i) operands += (i == 0 ? "%" : ", %") + std::string(i % 3 == 0 ? "x" : "y");
    check_exact("(%x: " + type(t, "[a, b]") + ", %y: " + type(t, "[a, c]") + ") { %z = concat(" + operands +
                    ") {axis = 1} return %z }",
                {numbers(t, {5, 3}), numbers(t, {5, 0})});
  }
}

TEST_P(CudaMovement, PadModes) {
  for (const std::string mode : {"constant", "reflect", "edge", "wrap"})
    for (const DType t : kTypes) {
      const std::string x = "(%x: " + type(t, "[a, b, c, d]") + ") { %y = pad(%x) {mode = " + mode;
      check_exact(x + ", begins = [0, 3, 0, 0], ends = [0, 1, 0, 0]} return %y }", {numbers(t, {2, 5, 3, 32})});
      check_exact(x + ", begins = [1, 0, 7, 4], ends = [0, 2, -1, 3]} return %y }", {numbers(t, {2, 3, 4, 5})});
    }
  for (const DType t : kTypes)
    check_exact("(%x: " + type(t, "[a, b]") + ", %v: " + type(t, "[]") +
                    ") { %y = pad(%x, %v) {begins = [2, 0], ends = [1, 0]} return %y }",
                {numbers(t, {3, 64}), numbers(t, {})});
  check_exact("(%x: f32[a], %v: f32[]) { %y = pad(%x, %v) {begins = [2], ends = [1]} return %y }",
              {floats({0}), floats({})});
}

TEST_P(CudaMovement, GathersOfEveryWidth) {
  for (const DType t : kTypes)
    for (const int64_t width : {1, 3, 4, 768}) {
      const Sizes dims = {3, 50, width};
      check_exact("(%x: " + type(t, "[a, b, c]") + ", %i: i64[p, q]) { %y = gather(%x, %i) {axis = 1} return %y }",
                  {numbers(t, dims), indices({7, 5}, -50, 49)});
      check_exact("(%x: " + type(t, "[a, b, c]") + ", %i: i64[p, q, 2]) { %y = gather_nd(%x, %i) return %y }",
                  {numbers(t, dims), indices({7, 5, 2}, -3, 2)});
      check_exact(
          "(%x: " + type(t, "[a, b, c]") + ", %i: i32[a, q, 1]) { %y = gather_nd(%x, %i) {batch_dims = 1} return %y }",
          {numbers(t, dims), indices({3, 9, 1}, -50, 49, DType::i32)});
    }
}

TEST_P(CudaMovement, GatherElements) {
  for (const DType t : kTypes)
    for (const std::string axis : {"0", "1", "2"})
      check_exact("(%x: " + type(t, "[a, b, c]") +
                      ", %i: i64[p, q, r]) { %y = gather_elements(%x, %i) {axis = " + axis + "} return %y }",
                  {numbers(t, {6, 7, 8}), indices({6, 5, 8}, -6, 5)});
  check_exact("(%x: f32[a], %i: i64[p]) { %y = gather_elements(%x, %i) return %y }",
              {floats({4}), indices({5000}, -4, 3)});
}

TEST_P(CudaMovement, IndicesOutOfRangeGiveZeros) {
  const Tensor x = Tensor::of<float>({3}, {1, 2, 3}), far = Tensor::of<int64_t>({4}, {2, 3, -4, 1000000000});
  const auto run = [&](const std::string& text, const std::vector<Tensor>& inputs) {
    const auto graph = graph_of(text);
    return LoweredGraph(*graph, GetParam(), 1, true).run(inputs)[0];
  };
  for (const std::string op : {"gather(%x, %i)", "gather_elements(%x, %i)"})
    expect_close(run("(%x: f32[n], %i: i64[m]) { %y = " + op + " return %y }", {x, far}),
                 Tensor::of<float>({4}, {3, 0, 0, 0}), 0);
  const Tensor rows = Tensor::of<int64_t>({4, 1}, {2, 3, -4, 1000000000});
  expect_close(run("(%x: f32[n], %i: i64[m, 1]) { %y = gather_nd(%x, %i) return %y }", {x, rows}),
               Tensor::of<float>({4}, {3, 0, 0, 0}), 0);
  const Tensor updates = Tensor::of<float>({4}, {7, 8, 9, 10});
  expect_close(
      run("(%x: f32[n], %i: i64[m], %u: f32[m]) { %y = scatter_elements(%x, %i, %u) return %y }", {x, far, updates}),
      Tensor::of<float>({3}, {1, 2, 7}), 0);
  expect_close(
      run("(%x: f32[n], %i: i64[m, 1], %u: f32[m]) { %y = scatter_nd(%x, %i, %u) {reduction = add} return %y }",
          {x, rows, updates}),
      Tensor::of<float>({3}, {1, 2, 10}), 0);
}

// Every index once, in a random order.
Tensor permutation(int64_t n, uint32_t seed) {
  Tensor order(DType::i64, {n});
  std::vector<int64_t> values(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) values[static_cast<size_t>(i)] = i;
  std::shuffle(values.begin(), values.end(), std::mt19937(seed));
  for (int64_t i = 0; i < n; ++i) order.write_int(i, values[static_cast<size_t>(i)]);
  return order;
}

TEST_P(CudaMovement, Scatter) {
  for (const DType t : kTypes) {
    check_exact("(%x: " + type(t, "[a]") + ", %i: i64[p], %u: " + type(t, "[p]") +
                    ") { %y = scatter_elements(%x, %i, %u) return %y }",
                {numbers(t, {700}), permutation(700, 1), numbers(t, {700}, 2)});
    check_exact("(%x: " + type(t, "[a, 3, 32]") + ", %i: i64[p, 1], %u: " + type(t, "[p, 3, 32]") +
                    ") { %y = scatter_nd(%x, %i, %u) return %y }",
                {numbers(t, {90, 3, 32}), permutation(90, 1).reshaped({90, 1}), numbers(t, {90, 3, 32}, 2)});
  }
}

TEST_P(CudaMovement, ScatterWithReductions) {
  // Products of small whole numbers are exact in all these types, whatever the order.
  for (const DType t : {DType::f64, DType::f32, DType::f16, DType::i64, DType::i32, DType::u8, DType::boolean})
    for (const std::string reduction : {"add", "mul", "max", "min"}) {
      const double high = reduction == "mul" || t == DType::boolean ? 1 : 3;
      const auto whole = [&](Sizes dims, uint32_t seed) {
        const Tensor source = random_tensor(DType::i64, std::move(dims), seed, 0, high);
        Tensor result(t, source.dims());
        for (int64_t i = 0; i < source.elements(); ++i) {
          if (is_float(t))
            result.write_double(i, static_cast<double>(source.read_int(i)));
          else
            result.write_int(i, source.read_int(i));
        }
        return result;
      };
      check_exact("(%x: " + type(t, "[a, b]") + ", %i: i64[p, b], %u: " + type(t, "[p, b]") +
                      ") { %y = scatter_elements(%x, %i, %u) {axis = 0, reduction = " + reduction + "} return %y }",
                  {whole({50, 5}, 1), indices({40, 5}, -5, 4), whole({40, 5}, 2)});
      check_exact("(%x: " + type(t, "[a, b]") + ", %i: i64[p, 1], %u: " + type(t, "[p, b]") +
                      ") { %y = scatter_nd(%x, %i, %u) {reduction = " + reduction + "} return %y }",
                  {whole({5, 7}, 1), indices({40, 1}, -5, 4), whole({40, 7}, 2)});
    }
}

TEST_P(CudaMovement, ReverseSequence) {
  for (const DType t : kTypes) {
    check_exact("(%x: " + type(t, "[t, b, c]") + ", %n: i64[b]) { %y = reverse_sequence(%x, %n) return %y }",
                {numbers(t, {9, 4, 32}), Tensor::of<int64_t>({4}, {0, 1, 5, 9})});
    check_exact("(%x: " + type(t, "[b, t]") +
                    ", %n: i64[b]) { %y = reverse_sequence(%x, %n) {batch_axis = 0, time_axis = 1} return %y }",
                {numbers(t, {3, 100}), Tensor::of<int64_t>({3}, {100, 1, 50})});
  }
}

TEST_P(CudaMovement, ManyDims) {
  std::string values;
  for (int i = 0; i < 300; ++i) values += (i == 0 ? "" : ", ") + std::to_string(i) + "*n - 7";
  check_exact("(%x: f32[n]) { %d = dims {values = [" + values + "]} return %d }", {floats({3})});
}

}  // namespace
}  // namespace lathe::cpu
