// Transformers end up in the few steps per layer that make them fast.
#include <gtest/gtest.h>

#include "build/compiler.h"
#include "onnx/importer.h"
#include "tests/data_path.h"
#include "tests/zoo/zoo.h"

namespace lathe {
namespace {

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
