// Whole models as engines: the CPU backend on every instruction set of the machine, or a GPU, computes the recorded
// outputs, and so does the plan written for them.
#include <gtest/gtest.h>

#include <cstring>

#include "build/plan_writer.h"
#include "onnx/importer.h"
#include "runtime/engine.h"
#include "runtime/session.h"
#include "tests/base/temporary_folder.h"
#include "tests/whole_model_device.h"
#include "tests/zoo/zoo.h"

namespace lathe {
namespace {

class ZooEngine : public testing::TestWithParam<zoo::Model> {
 protected:
  void SetUp() override { test::skip_without_device(); }
  // Of each instruction set of the machine, the best one last; of the GPU.
  static std::vector<CompileOptions> targets() {
    CompileOptions options;
    options.device = test::kWholeModelDevice;
    if (test::kOnGpu) return {options};
    std::vector<CompileOptions> targets;
    for (const Isa isa : {Isa::generic, Isa::avx2, Isa::avx512}) {
      if (isa > detect_cpu_features().best_isa) continue;
      options.isa = isa;
      targets.push_back(options);
    }
    return targets;
  }
  // One session runs all cases, so that sizes follow each other as in an application.
  void expect_recorded_outputs(const std::shared_ptr<const Engine>& engine, const std::string& what) {
    Session session(engine, {2});
    std::vector<std::string> inputs, outputs;
    for (const TensorInfo& info : engine->inputs()) inputs.push_back(info.name);
    for (const TensorInfo& info : engine->outputs()) outputs.push_back(info.name);
    for (const std::string& file : GetParam().cases) {
      const std::vector<Tensor> given = zoo::read_case(GetParam(), file, "in", inputs);
      const std::vector<Tensor> expected = zoo::read_case(GetParam(), file, "out", outputs);
      std::vector<Input> refs;
      for (size_t i = 0; i < given.size(); ++i)
        refs.emplace_back(inputs[i], given[i].dtype(), given[i].dims(), given[i].bytes().data());
      const std::span<const Output> actual = session.run(refs);
      for (size_t i = 0; i < expected.size(); ++i) {
        Tensor tensor(actual[i].dtype, {actual[i].dims.begin(), actual[i].dims.end()});
        if (tensor.elements() > 0) std::memcpy(tensor.mutable_bytes().data(), actual[i].data, tensor.bytes().size());
        EXPECT_EQ(zoo::difference(tensor, expected[i], GetParam().atol, GetParam().rtol), "")
            << what << ", " << file << ", output " << outputs[i];
      }
    }
  }
};

TEST_P(ZooEngine, TheRecordedOutputsComeBack) {
  for (const CompileOptions& options : targets())
    expect_recorded_outputs(open_engine(GetParam().file(), options),
                            options.isa ? std::string(to_string(*options.isa)) : options.device);
}

TEST_P(ZooEngine, APlanComputesThemToo) {
  const TemporaryFolder folder;
  const std::vector<CompileOptions> options = targets();
  write_plan(folder / "model.plan", compile(onnx::import_model(GetParam().file()), options.back()), {});
  expect_recorded_outputs(open_engine(folder / "model.plan", options.back()), "plan");
  expect_recorded_outputs(open_engine(folder / "model.plan", options.front()), "plan on another instruction set");
}

INSTANTIATE_TEST_SUITE_P(Models, ZooEngine, testing::ValuesIn(zoo::bundled_models()),
                         [](const auto& test) { return zoo::test_name(test.param); });

}  // namespace
}  // namespace lathe
