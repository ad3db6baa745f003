// Folders with rounded weights: what is written, what is read back, and whether reading a text helps.
#include "llm/quantize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "base/error.h"
#include "checkpoint/decoder.h"
#include "graph/reference/matmul_nbits.h"
#include "lathe/llm.h"
#include "llm/error_feedback.h"
#include "tests/base/temporary_folder.h"
#include "tests/data_path.h"

namespace lathe::llm {
namespace {

using ::testing::HasSubstr;

const std::filesystem::path kLlama = LATHE_TEST_DATA "/checkpoints/llama-gqa-llama3-sharded";
const std::filesystem::path kPoems = LATHE_TEST_DATA "/../../models/poem-bloom";

Tensor normal(std::vector<int64_t> dims, uint32_t seed) {
  Tensor tensor(DType::f32, std::move(dims));
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution;
  for (float& x : tensor.mutable_as<float>()) x = distribution(random);
  return tensor;
}

std::vector<double> widened(const RoundedWeight& weight, int64_t block) {
  std::vector<double> all;
  std::vector<double> row(static_cast<size_t>(weight.q.dims()[1]));
  for (int64_t i = 0; i < weight.q.dims()[0]; ++i) {
    NBitsWeights{weight.q, weight.scales, nullptr, block}.read_row(i, row);
    all.insert(all.end(), row.begin(), row.end());
  }
  return all;
}

// Of the products of x [rows, k] with w [n, k] and with what w was rounded to: the mean square.
double product_error(const Tensor& x, const Tensor& w, const RoundedWeight& rounded, int64_t block) {
  const std::vector<double> approximate = widened(rounded, block);
  const int64_t k = w.dims()[1], n = w.dims()[0], rows = x.dims()[0];
  double sum = 0;
  for (int64_t t = 0; t < rows; ++t)
    for (int64_t i = 0; i < n; ++i) {
      double difference = 0;
      for (int64_t j = 0; j < k; ++j)
        difference +=
            x.read_double(t * k + j) * (w.read_double(i * k + j) - approximate[static_cast<size_t>(i * k + j)]);
      sum += difference * difference;
    }
  return sum / static_cast<double>(n * rows);
}

RoundedWeight nearest(const Tensor& w, const RoundingOptions& options, ThreadTeam& team) {
  WeightRounder rounder(w.dims()[0], w.dims()[1], options);
  rounder.add_rows(w, team);
  return std::move(rounder).finish();
}

TEST(ErrorFeedback, HelpsWhereActivationsGoTogether) {
  ThreadTeam team(2);
  const int64_t k = 72, rows = 300;
  const Tensor sources = normal({rows, 9}, 1), mix = normal({9, k}, 2), w = normal({33, k}, 3);
  Tensor x(DType::f32, {rows, k});
  const Tensor noise = normal({rows, k}, 4);
  for (int64_t t = 0; t < rows; ++t)
    for (int64_t j = 0; j < k; ++j) {
      double sum = 0.2 * noise.read_double(t * k + j);
      for (int64_t s = 0; s < 9; ++s) sum += sources.read_double(t * 9 + s) * mix.read_double(s * k + j);
      x.write_double(t * k + j, sum);
    }
  InputStatistics statistics(k);
  statistics.add(x.as<float>().first(static_cast<size_t>(100 * k)), team);
  statistics.add(x.as<float>().subspan(static_cast<size_t>(100 * k)), team);
  const FeedbackRounder feedback(std::move(statistics), team);
  for (const int64_t block : {int64_t{32}, k}) {
    const RoundingOptions options{4, block, DType::f16};
    const double plain = product_error(x, w, nearest(w, options, team), block);
    EXPECT_LT(product_error(x, w, feedback.round(w, options, team), block), plain / 3) << block;
  }
}

TEST(ErrorFeedback, IsPlainRoundingWhereTheyDoNot) {
  ThreadTeam team(2);
  const int64_t k = 40;
  Tensor x(DType::f32, {k, k});
  for (int64_t i = 0; i + 1 < k; ++i) x.write_double(i * k + i, 3);  // the last one is never reached
  InputStatistics statistics(k);
  statistics.add(x.as<float>(), team);
  const FeedbackRounder feedback(std::move(statistics), team);
  const Tensor w = normal({19, k}, 5);
  for (const int bits : {4, 8})
    for (const int64_t block : {16, 0}) {
      const RoundingOptions options{bits, block, DType::f32};
      const RoundedWeight rounded = feedback.round(w, options, team), expected = nearest(w, options, team);
      EXPECT_EQ(rounded.q, expected.q);
      EXPECT_EQ(rounded.scales, expected.scales);
    }
}

TEST(ErrorFeedback, WhatIsNotFiniteIsAnError) {
  ThreadTeam team(1);
  InputStatistics nothing(4), nan(4);
  const FeedbackRounder feedback(std::move(nothing), team);  // no activations at all: nothing goes together
  EXPECT_THROW(feedback.round(Tensor::of<float>({1, 4}, {1, 2, NAN, 4}), {4, 0, DType::f32}, team), Error);
  nan.add(std::vector<float>{1, 2, NAN, 4}, team);
  EXPECT_THROW(FeedbackRounder(std::move(nan), team), Error);
}

class QuantizeFolder : public ::testing::TestWithParam<std::tuple<int, int64_t>> {};

// Products of the written folder have the weights that the rounder gives.
TEST_P(QuantizeFolder, ReadsBackAsItWasRounded) {
  const auto [bits, group] = GetParam();
  const TemporaryFolder out;
  QuantizeOptions options;
  options.weights = {bits, group};
  options.threads = 2;
  const checkpoint::QuantisedFolderReport report = quantize_folder(kLlama, out / "q", options).written;
  EXPECT_EQ(report.matrices, 14);
  EXPECT_LT(report.bytes_after, report.bytes_before);
  EXPECT_EQ(out.file_count(), 1u);
  EXPECT_TRUE(std::filesystem::exists(out / "q/generation_config.json"));
  EXPECT_FALSE(std::filesystem::exists(out / "q/model.safetensors.index.json"));
  const auto source = checkpoint::Checkpoint::open(kLlama), written = checkpoint::Checkpoint::open(out / "q");
  const checkpoint::Decoder decoder = build_decoder(written);
  EXPECT_TRUE(decoder.info.unused_tensors.empty());
  ThreadTeam team(1);
  int products = 0;
  for (const auto& node : decoder.graph->nodes()) {
    const MatMulNBits* product = node->as<MatMulNBits>();
    if (product == nullptr) continue;
    ++products;
    const auto constant = [&](size_t i) { return node->input(i)->producer()->as<Constant>()->value; };
    const Tensor stored = source.tensor(node->name() + ".weight");
    const int64_t k = stored.dims()[1], block = group == 0 ? (bits == 4 ? 128 : k) : group;
    const RoundedWeight expected = nearest(stored, {bits, block, DType::bf16}, team);
    EXPECT_EQ(widened({constant(1), constant(2)}, product->block), widened(expected, block)) << node->name();
  }
  EXPECT_EQ(products, 14);
}

INSTANTIATE_TEST_SUITE_P(Sizes, QuantizeFolder,
                         ::testing::Values(std::tuple(4, 0), std::tuple(4, 32), std::tuple(8, 0), std::tuple(8, 64)));

std::string text_of_poems() {
  std::string text;
  for (int times = 0; times < 3; ++times)
    for (const char* line : {"《春望》杜甫\n國破山河在，城春草木深。感時花濺淚，恨別鳥驚心。\n",
                             "《靜夜思》李白\n床前明月光，疑是地上霜。舉頭望明月，低頭思故鄉。\n",
                             "《登鸛雀樓》王之渙\n白日依山盡，黃河入海流。欲窮千里目，更上一層樓。\n"})
      text += line;
  return text;
}

TEST(QuantizeFolderForAText, GivesAModelThatRuns) {
  const TemporaryFolder out;
  QuantizeOptions options;
  options.calibration = text_of_poems();
  options.memory = 1;  // the text is read for each matrix anew
  options.threads = 1;
  quantize_folder(kPoems, out / "q", options);
  EngineOptions engine_options;
  engine_options.threads = 1;
  engine_options.context = 64;
  const auto engine = Engine::open((out / "q").string(), engine_options);
  Request request;
  request.prompt = engine->encode("《春望》杜甫\n");
  request.max_tokens = 4;
  EXPECT_EQ(engine->submit(request).wait().choices.front().tokens.size(), 4u);
}

TEST(QuantizeFolderFaults, LeaveNothingBehind) {
  const TemporaryFolder out;
  const auto message = [&](const std::filesystem::path& folder, const QuantizeOptions& options) -> std::string {
    try {
      quantize_folder(folder, out / "q", options);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  QuantizeOptions options;
  int calls = 0;
  options.progress = [&](const std::string&, double) {
    if (++calls == 5) fail(ErrorCode::cancelled, "stopped");
  };
  EXPECT_THAT(message(kLlama, options), HasSubstr("stopped"));
  EXPECT_EQ(out.file_count(), 0u);
  options = {};
  options.calibration = "春";
  EXPECT_THAT(message(kPoems, options), HasSubstr("tokens, 64 are the least"));
  options.calibration = text_of_poems();
  EXPECT_THAT(message(kLlama, options), HasSubstr("no tokenizer"));
  EXPECT_EQ(out.file_count(), 0u);
  EXPECT_EQ(message(kLlama, {}), "");
  EXPECT_THAT(message(kLlama, {}), HasSubstr("there is something of that name already"));
  options = {};
  EXPECT_EQ(out.file_count(), 1u);
  try {
    quantize_folder(out / "q", out / "again", options);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("quantised before"));
  }
}

// Through the engine: rounded while it is loaded, with and without rounded activations.
TEST(RoundedWhileLoading, StaysNearTheModel) {
  const auto last_logits = [](const EngineOptions& options) {
    const auto engine = Engine::open(kLlama.string(), options);
    std::vector<float> logits;
    Request request;
    request.prompt = {5, 9, 33, 104, 7, 81, 250, 13};
    request.max_tokens = 1;
    request.on_prompt_logits = [&](int64_t, std::span<const float> row) { logits.assign(row.begin(), row.end()); };
    engine->submit(request).wait();
    return logits;
  };
  const auto rounded = [](int bits, int64_t group, std::optional<bool> activations) {
    EngineOptions options;
    options.threads = 2;
    options.weight_bits = bits;
    options.weight_group = group;
    options.round_activations = activations;
    return options;
  };
  const std::vector<float> exact = last_logits({});
  const auto error = [&](const EngineOptions& options) {
    const std::vector<float> logits = last_logits(options);
    double difference = 0, size = 0;
    for (size_t i = 0; i < exact.size(); ++i) {
      difference += std::pow(static_cast<double>(exact[i] - logits[i]), 2);
      size += std::pow(static_cast<double>(exact[i]), 2);
    }
    return std::sqrt(difference / size);
  };
  const double int8_float = error(rounded(8, 0, false)), int8 = error(rounded(8, 0, {}));
  const double int4 = error(rounded(4, 32, {}));
  EXPECT_GT(int8_float, 0);
  EXPECT_LT(int8_float, 0.02);
  EXPECT_NE(int8, int8_float);  // activations were rounded
  EXPECT_LT(int8, 0.03);
  EXPECT_GT(int4, int8);
  EXPECT_LT(int4, 0.3);
  EXPECT_THROW(last_logits(rounded(3, 0, {})), Error);
}

}  // namespace
}  // namespace lathe::llm
