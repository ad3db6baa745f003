// Whole models as engines: the CPU backend on every instruction set of the machine computes the recorded outputs, and
// so does the plan written for them; and the transformers end up in the few steps per layer that make them fast.
#include <gtest/gtest.h>

#include <cstring>

#include "build/plan_writer.h"
#include "onnx/importer.h"
#include "runtime/engine.h"
#include "runtime/session.h"
#include "tests/base/temporary_folder.h"
#include "tests/data_path.h"
#include "tests/zoo/zoo.h"

namespace lathe {
namespace {

class ZooEngine : public testing::TestWithParam<zoo::Model> {
 protected:
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

TEST_P(ZooEngine, TheCpuComputesTheRecordedOutputs) {
  const TemporaryFolder folder;
  for (const Isa isa : {Isa::generic, Isa::avx2, Isa::avx512}) {
    if (isa > detect_cpu_features().best_isa) continue;
    CompileOptions options;
    options.isa = isa;
    expect_recorded_outputs(open_engine(GetParam().file(), options), std::string(to_string(isa)));
  }
}

TEST_P(ZooEngine, APlanOfItComputesThemToo) {
  const TemporaryFolder folder;
  write_plan(folder / "model.plan", compile(onnx::import_model(GetParam().file()), {}), {});
  expect_recorded_outputs(open_engine(folder / "model.plan", {}), "plan");
  CompileOptions other;
  other.isa = Isa::generic;
  expect_recorded_outputs(open_engine(folder / "model.plan", other), "plan on another instruction set");
}

INSTANTIATE_TEST_SUITE_P(Models, ZooEngine, testing::ValuesIn(zoo::bundled_models()),
                         [](const auto& test) { return zoo::test_name(test.param); });

struct Transformer {
  const char* name;
  size_t layers;
};

class TransformerSteps : public testing::TestWithParam<Transformer> {};

// Four products, attention, two norms, and one to spare; what surrounds the layers is the packing of tokens (their
// list, and what is gathered for it), the embedding and the head.
TEST_P(TransformerSteps, AtMostEightPerLayer) {
  constexpr size_t kAroundTheLayers = 10;
  const auto path = std::filesystem::path(LATHE_TEST_DATA) / "zoo" / GetParam().name / "model.onnx";
  const CompiledModel model = compile(onnx::import_model(path), {});
  std::string steps;
  size_t attention = 0;
  for (const ProgramStep& step : model.program.steps) {
    steps += fmt::format("{} ({})\n", step.kernel, step.node->name());
    attention += step.node->is<Attention>() ? 1 : 0;
    EXPECT_FALSE(step.fallback) << step.node->name() << ": " << step.reason;
  }
  EXPECT_EQ(attention, GetParam().layers);
  EXPECT_LE(model.program.steps.size(), 8 * GetParam().layers + kAroundTheLayers) << steps;
}

INSTANTIATE_TEST_SUITE_P(Models, TransformerSteps,
                         testing::Values(Transformer{"bert-masklm", 2}, Transformer{"bert-masklm-dynamo", 2},
                                         Transformer{"distilbert-classifier", 2}),
                         [](const auto& test) {
                           return zoo::test_name({test.param.name, {}, 0, 0, {}});
                         });

}  // namespace
}  // namespace lathe
