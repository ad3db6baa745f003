// A warm run allocates nothing: not the executor, not the steps, not the kernels.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "runtime/engine.h"
#include "runtime/session.h"
#include "tests/runtime/counting_malloc.h"

namespace lathe {
namespace {

struct Case {
  const char* model;
  int64_t batch, length;  // what its first and its other symbolic dimensions become
};

std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.model; }

class WarmRuns : public testing::TestWithParam<Case> {
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

TEST_P(WarmRuns, AllocateNothing) {
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

INSTANTIATE_TEST_SUITE_P(Models, WarmRuns,
                         testing::Values(Case{"models/reviews-bert/sentiment/model.onnx", 2, 17},
                                         Case{"models/reviews-bert/fill-mask/model.onnx", 1, 9},
                                         Case{"tests/data/zoo/resnet18-static/model.onnx", 1, 1},
                                         Case{"tests/data/zoo/keras-cnn/model.onnx", 3, 1},
                                         Case{"tests/data/zoo/swin/model.onnx", 2, 64},
                                         Case{"tests/data/zoo/whisper-encoder/model.onnx", 1, 64}));

TEST(CountingMalloc, Counts) {
  const size_t before = test::allocations();
  const std::vector<int> some(100, 1);
  EXPECT_GT(test::allocations(), before);
  EXPECT_EQ(some.size(), 100u);
}

}  // namespace
}  // namespace lathe
