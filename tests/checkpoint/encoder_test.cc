// Encoders with known answers, alone and as a padded batch.
#include "checkpoint/encoder.h"

#include "graph/reference/evaluator.h"
#include "graph/verifier.h"
#include "tests/base/temporary_folder.h"
#include "tests/checkpoint/golden.h"
#include "tests/data_path.h"

namespace lathe::checkpoint {
namespace {

Tensor tensor_of(const NpyArray& array, std::vector<int64_t> dims) {
  Tensor tensor(array.dtype, std::move(dims));
  std::memcpy(tensor.mutable_bytes().data(), array.bytes.data(), array.bytes.size());
  return tensor;
}

class EncoderGolden : public ::testing::TestWithParam<std::string> {
 protected:
  EncoderGolden() : arrays_(std::filesystem::path(GetParam()) / "golden.npz") {}

  // The first output for the inputs that the graph has.
  static Tensor run(const Encoder& encoder, const Tensor& ids, const Tensor& mask, const Tensor& types) {
    std::vector<RefValue> inputs;
    for (const Value* input : encoder.graph->inputs())
      inputs.push_back(input->name() == "input_ids" ? ids : (input->name() == "attention_mask" ? mask : types));
    return std::get<Tensor>(evaluate(*encoder.graph, inputs).at(0));
  }
  Tensor row(const std::string& name) const {
    const NpyArray array = arrays_.read(name);
    return tensor_of(array, {1, array.dims.at(0)});
  }
  Tensor batch(const std::string& name) const {
    const NpyArray array = arrays_.read(name);
    return tensor_of(array, array.dims);
  }
  static Tensor ones(const Tensor& like) {
    Tensor result(DType::i64, like.dims());
    for (int64_t& x : result.mutable_as<int64_t>()) x = 1;
    return result;
  }

  NpzReader arrays_;
};

TEST_P(EncoderGolden, OneTextAtATime) {
  ASSERT_TRUE(is_encoder(Checkpoint::open(GetParam())));
  const Encoder encoder = build_encoder(Checkpoint::open(GetParam()));
  verify(*encoder.graph);
  EXPECT_TRUE(encoder.info.unused_tensors.empty()) << encoder.info.unused_tensors.front();
  for (const std::string i : {"0", "1", "2"}) {
    const Tensor ids = row("prompt_" + i);
    const Tensor y = run(encoder, ids, ones(ids), row("token_type_ids_" + i));
    expect_near(y.as<float>(), floats_of(arrays_.read("logits_" + i)), "logits_" + i);
  }
}

TEST_P(EncoderGolden, PaddedBatch) {
  const Encoder encoder = build_encoder(Checkpoint::open(GetParam()));
  const Tensor ids = batch("batch_ids"), mask = batch("batch_mask");
  Tensor types(DType::i64, ids.dims());  // the rows are the prompts, padded on the right
  for (int64_t i = 0; i < ids.dims()[0]; ++i) {
    const NpyArray of_prompt = arrays_.read("token_type_ids_" + std::to_string(i));
    std::memcpy(types.mutable_as<int64_t>().data() + i * ids.dims()[1], of_prompt.bytes.data(), of_prompt.bytes.size());
  }
  const Tensor y = run(encoder, ids, mask, types);
  const Tensor expected = batch("batch_logits");
  ASSERT_EQ(y.dims(), expected.dims());
  if (y.rank() == 2) return expect_near(y.as<float>(), expected.as<float>(), "batch_logits");
  const auto width = static_cast<size_t>(y.dims()[2]);
  for (size_t token = 0; token < static_cast<size_t>(mask.elements()); ++token)  // rows of padding mean nothing
    if (mask.as<int64_t>()[token] != 0)
      expect_near(y.as<float>().subspan(token * width, width), expected.as<float>().subspan(token * width, width),
                  "batch_logits");
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, EncoderGolden, ::testing::ValuesIn(cases_with("token_type_ids_0")), case_name);

// The same weights under a plain model give the states below the head.
TEST(Encoder, PlainModelGivesHiddenStates) {
  const std::filesystem::path source = std::filesystem::path(LATHE_TEST_DATA) / "checkpoints" / "bert-masked-lm";
  const TemporaryFolder folder;
  std::filesystem::copy(source / "model.safetensors", folder / "model.safetensors");
  std::string config(Checkpoint::open(source).config());
  config.replace(config.find("BertForMaskedLM"), std::string("BertForMaskedLM").size(), "BertModel");
  folder.write("config.json", config);
  const Encoder encoder = build_encoder(Checkpoint::open(folder.path()));
  EXPECT_EQ(encoder.info.task, EncoderTask::features);
  EXPECT_EQ(encoder.graph->output_names(), std::vector<std::string>{"last_hidden_state"});
  EXPECT_FALSE(encoder.info.unused_tensors.empty());  // those of the head

  const NpzReader arrays(source / "golden.npz");
  const NpyArray prompt = arrays.read("prompt_1"), types = arrays.read("token_type_ids_1");
  Tensor mask(DType::i64, {1, prompt.dims[0]});
  for (int64_t& x : mask.mutable_as<int64_t>()) x = 1;
  const std::vector<RefValue> results = evaluate(
      *encoder.graph, std::vector<RefValue>{tensor_of(prompt, mask.dims()), mask, tensor_of(types, mask.dims())});
  expect_near(std::get<Tensor>(results.at(0)).as<float>(), floats_of(arrays.read("hidden_1")), "hidden_1");
}

}  // namespace
}  // namespace lathe::checkpoint
