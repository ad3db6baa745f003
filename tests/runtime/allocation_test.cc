// A warm run allocates nothing: not the executor, not the steps, not the kernels; not in loops, nor where sizes depend
// on data.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/data_path.h"
#include "tests/runtime/counting_malloc.h"
#include "tests/runtime/engine_of.h"

namespace lathe {
namespace {

struct Case {
  const char* model;
  int64_t batch, length;  // what its first and its other symbolic dimensions become
};

std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.model; }

class WarmModels : public testing::TestWithParam<Case> {
 protected:
  // All inputs of an engine, filled with ones.
  void make_inputs(const Engine& engine, int64_t batch, int64_t length) {
    buffers_.clear();
    inputs_.clear();
    buffers_.reserve(engine.inputs().size());
    for (const TensorInfo& info : engine.inputs()) {
      std::vector<int64_t> dims;
      int64_t elements = 1;
      for (size_t axis = 0; axis < info.dims.size(); ++axis) {
        const bool fixed = info.dims[axis].find_first_not_of("0123456789") == std::string::npos;
        dims.push_back(fixed ? std::stoll(info.dims[axis]) : axis == 0 ? batch : length);
        elements *= dims.back();
      }
      const bool wide = info.dtype == DType::i64;
      buffers_.emplace_back(static_cast<size_t>(elements) * 8);
      for (int64_t i = 0; i < elements; ++i) {
        if (wide)
          reinterpret_cast<int64_t*>(buffers_.back().data())[i] = 1;
        else
          reinterpret_cast<float*>(buffers_.back().data())[i] = 1;
      }
      inputs_.emplace_back(info.name, info.dtype, dims, buffers_.back().data());
    }
  }

  std::vector<std::vector<std::byte>> buffers_;
  std::vector<Input> inputs_;
};

TEST_P(WarmModels, AllocateNothing) {
  const std::string path = std::string(LATHE_TEST_DATA) + "/../../" + GetParam().model;
  Session session = Session::open(path, {2});
  for (const ProgramStep& step : session.engine().impl().model.program.steps)
    EXPECT_FALSE(step.fallback) << step.node->name() << ": " << step.reason;
  make_inputs(session.engine(), GetParam().batch, GetParam().length);
  session.run(inputs_);
  const size_t before = test::allocations();
  for (int i = 0; i < 3; ++i) session.run(inputs_);
  EXPECT_EQ(test::allocations() - before, 0u);

  const Output output = session.run(inputs_)[0];
  std::vector<std::byte> memory(static_cast<size_t>(output.elements()) * 8);
  session.bind_output(output.name, memory.data(), memory.size());
  session.run(inputs_);
  const size_t bound = test::allocations();
  for (int i = 0; i < 3; ++i) session.run(inputs_);
  EXPECT_EQ(test::allocations() - bound, 0u) << "with a bound output";
}

INSTANTIATE_TEST_SUITE_P(Models, WarmModels,
                         testing::Values(Case{"models/reviews-bert/sentiment/model.onnx", 2, 17},
                                         Case{"models/reviews-bert/fill-mask/model.onnx", 1, 9},
                                         Case{"tests/data/zoo/resnet18-static/model.onnx", 1, 1},
                                         Case{"tests/data/zoo/keras-cnn/model.onnx", 3, 1},
                                         Case{"tests/data/zoo/whisper-encoder/model.onnx", 1, 64}));

// Late values keep their memory and their steps' states; how many runs it takes until every buffer has grown depends on
// how often they change hands.
void expect_no_allocation(const char* text, const std::vector<std::vector<Tensor>>& runs) {
  Session session(test::engine_of(text), {2});
  visit_steps(session.engine().impl().model.program,
              [](const ProgramStep& step) { EXPECT_FALSE(step.fallback) << step.kernel << ": " << step.reason; });
  std::vector<std::vector<Input>> inputs;
  for (const auto& tensors : runs) inputs.push_back(test::inputs_of(session.engine(), tensors));
  const auto run_all = [&] {
    for (const auto& one : inputs) session.run(one);
  };
  for (int warm = 0; warm < 4; ++warm) run_all();
  const size_t before = test::allocations();
  for (int i = 0; i < 3; ++i) run_all();
  EXPECT_EQ(test::allocations() - before, 0u);
}

TEST(WarmRuns, WithLateValuesAllocateNothing) {
  constexpr const char* kText = R"(graph positions(%x: f32[n], %k: i64[2]) {
    %at = non_zero(%x) : i64[1, u0]
    %row = reshape(%at) {shape = [u0]}
    %y = gather(%x, %row) {axis = 0}
    %z = softmax(%y) {axis = 0}
    bind(%k) {symbols = ["$0", "$1"]}
    %part = slice(%x) {axes = [0], starts = [$0], sizes = [$1], steps = [1]}
    %m = map(%part) {program = (x0) => mul(x0, cast<f32>(dim(u0)))}
    return %z as "z", %at as "at", %m as "m"
  })";
  const Tensor x = Tensor::of<float>({6}, {0, 1, 0, 3, -2, 1}), y = Tensor::of<float>({4}, {1, 2, 3, 4});
  expect_no_allocation(kText, {{x, Tensor::of<int64_t>({2}, {1, 3})}});
  expect_no_allocation(kText, {{x, Tensor::of<int64_t>({2}, {1, 3})}, {y, Tensor::of<int64_t>({2}, {0, 4})}});
}

TEST(WarmRuns, OfControlFlowAllocateNothing) {
  expect_no_allocation(
      R"(graph loop(%trips: i64[], %x: f32[n, 8]) {
    %w = constant {value = f32[8, 8] random(3)}
    %last, %grown, %all = loop(%trips, _, %x, %x, %w) {num_carried = 2, body = graph (%i: i64[], %go: bool[], %v: f32[r, 8], %g: f32[s, 8], %m: f32[8, 8]) {
      %y = matmul(%v, %m)
      %h = concat(%g, %y) {axis = 0}
      %even = map(%i) {program = (x0) => lt(x0, 2:i64)}
      %z = if(%even, %y) {then_branch = graph (%a: f32[r, 8]) {
        %y = map(%a) {program = (x0) => neg(x0)}
        return %y as "y"
      }, else_branch = graph (%a: f32[r, 8]) {
        return %a as "y"
      }}
      return %go as "go", %z as "v", %h as "g", %z as "slice"
    }}
    %sum = reduce(%all) {kind = sum, axes = [0], keep_dims = false}
    return %last as "last", %grown as "grown", %sum as "sum"
  })",
      {{Tensor::scalar<int64_t>(5), test::floats({3, 8})}, {Tensor::scalar<int64_t>(2), test::floats({1, 8})}});
}

TEST(CountingMalloc, Counts) {
  const size_t before = test::allocations();
  const std::vector<int> some(100, 1);
  EXPECT_GT(test::allocations(), before);
  EXPECT_EQ(some.size(), 100u);
}

}  // namespace
}  // namespace lathe
