// Building plans from C++, with a calibrator.
#include "lathe/builder.h"
#include "tests/data_path.h"

#include <gtest/gtest.h>

#include <filesystem>

namespace lathe {
namespace {

const std::string kModel = LATHE_TEST_DATA "/../../models/reviews-bert/sentiment/model.onnx";

std::string plan_file(const std::string& name) { return (std::filesystem::path(testing::TempDir()) / name).string(); }

// Batches of one row of ids that differ.
class Rows : public Calibrator {
 public:
  explicit Rows(int count) : left_(count) {}

  std::span<const Input> next() override {
    if (left_-- <= 0) return {};
    for (size_t i = 0; i < ids_.size(); ++i) ids_[i] = 100 + (static_cast<int64_t>(i) * 37 + left_ * 11) % 3000;
    inputs_ = {{"input_ids", ids_, {1, 12}}, {"attention_mask", ones_, {1, 12}}, {"token_type_ids", zeros_, {1, 12}}};
    if (forgets) inputs_.pop_back();
    return inputs_;
  }

  bool forgets = false;

 private:
  int left_;
  std::vector<int64_t> ids_ = std::vector<int64_t>(12), ones_ = std::vector<int64_t>(12, 1),
                       zeros_ = std::vector<int64_t>(12);
  std::vector<Input> inputs_;
};

float first_logit(const std::string& path) {
  Session session = Session::open(path);
  Rows rows(1);
  return session.run(rows.next())[0].as<float>()[0];
}

TEST(Builder, BytesWhereTheCalibratorAllows) {
  Rows rows(3);
  BuildOptions options;
  options.int8 = true;
  options.calibrator = &rows;
  const std::string plan = plan_file("int8.plan");
  const BuildResult result = build_plan(kModel, plan, options);
  EXPECT_TRUE(result.met);
  EXPECT_GE(result.cosine, 0.999);
  EXPECT_LT(result.cosine, 1);
  EXPECT_EQ(result.plan_bytes, static_cast<int64_t>(std::filesystem::file_size(plan)));
  EXPECT_NEAR(first_logit(plan), first_logit(kModel), 0.1);
}

TEST(Builder, LayersByNameAndWhatIsPinned) {
  Rows rows(2);
  BuildOptions options;
  options.layer_types = {{"*layer.0*", DType::i8}};
  options.calibrator = &rows;
  const BuildResult some = build_plan(kModel, plan_file("some.plan"), options);
  EXPECT_TRUE(some.met);
  EXPECT_TRUE(some.pinned.empty());
  Rows again(2);
  options = {};
  options.int8 = true;
  options.max_error = some.max_error / 8;
  options.calibration = "mse";
  options.calibrator = &again;
  const BuildResult strict = build_plan(kModel, plan_file("strict.plan"), options);
  EXPECT_FALSE(strict.pinned.empty());
  for (const auto& [layer, reason] : strict.pinned) EXPECT_NE(reason, "") << layer;
  options.calibration = "guess";
  EXPECT_THROW(build_plan(kModel, plan_file("none.plan"), options), Error);
}

TEST(Builder, TheBestTypesAreSought) {
  Rows rows(2);
  BuildOptions options;
  options.best = true;
  options.threads = 1;
  options.calibrator = &rows;
  const BuildResult result = build_plan(kModel, plan_file("best.plan"), options);
  EXPECT_TRUE(result.met);
  EXPECT_GE(result.cosine, 0.999);
}

TEST(Builder, AMissedBoundWritesNothing) {
  Rows rows(2);
  BuildOptions options;
  options.int8 = true;
  options.max_error = 1e-9;
  options.calibrator = &rows;
  const std::string plan = plan_file("missed.plan");
  EXPECT_FALSE(build_plan(kModel, plan, options).met);
  EXPECT_FALSE(std::filesystem::exists(plan));
}

TEST(Builder, ProfilesWithoutNarrowTypes) {
  BuildOptions options;
  for (const char* name : {"input_ids", "attention_mask", "token_type_ids"})
    options.profile[name] = {{1, 1}, {1, 12}, {2, 16}};
  const std::string plan = plan_file("f32.plan");
  EXPECT_TRUE(build_plan(kModel, plan, options).met);
  EXPECT_NEAR(first_logit(plan), first_logit(kModel), 1e-4);
}

TEST(Builder, CalibratorsThatDoNotServe) {
  BuildOptions options;
  options.int8 = true;
  EXPECT_THROW(build_plan(kModel, plan_file("none.plan"), options), Error);
  Rows empty(0);
  options.calibrator = &empty;
  EXPECT_THROW(build_plan(kModel, plan_file("none.plan"), options), Error);
  Rows forgetful(1);
  forgetful.forgets = true;
  options.calibrator = &forgetful;
  EXPECT_THROW(build_plan(kModel, plan_file("none.plan"), options), Error);
}

}  // namespace
}  // namespace lathe
