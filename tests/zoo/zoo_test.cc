// Whole models: import, verify, evaluate with the reference evaluator, compare with the recorded outputs.
#include <gtest/gtest.h>

#include "graph/reference/evaluator.h"
#include "graph/verifier.h"
#include "onnx/importer.h"
#include "tests/zoo/zoo.h"

namespace lathe {
namespace {

class ZooTest : public testing::TestWithParam<zoo::Model> {};

TEST_P(ZooTest, ImportedGraphComputesTheRecordedOutputs) {
  const zoo::Model& model = GetParam();
  const std::unique_ptr<Graph> graph = onnx::import_model(model.file());
  verify(*graph);
  std::vector<std::string> input_names;
  for (const Value* input : graph->inputs()) input_names.push_back(input->name());
  for (const std::string& file : model.cases) {
    const std::vector<Tensor> inputs = zoo::read_case(model, file, "in", input_names);
    const std::vector<Tensor> expected = zoo::read_case(model, file, "out", graph->output_names());
    const std::vector<RefValue> actual = evaluate(*graph, std::vector<RefValue>(inputs.begin(), inputs.end()));
    ASSERT_EQ(actual.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_EQ(zoo::difference(std::get<Tensor>(actual[i]), expected[i], model.atol, model.rtol), "")
          << file << ", output " << graph->output_names()[i];
  }
}

INSTANTIATE_TEST_SUITE_P(Models, ZooTest, testing::ValuesIn(zoo::bundled_models()),
                         [](const auto& test) { return zoo::test_name(test.param); });

}  // namespace
}  // namespace lathe
