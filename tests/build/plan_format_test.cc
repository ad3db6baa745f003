// The metadata of a plan as JSON: everything comes back, and numbers that do not fit are refused.
#include "build/plan_format.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace lathe {
namespace {

PlanInfo example() {
  PlanInfo info;
  info.lathe_version = "1.2";
  info.model = "bert \"x\".onnx";
  info.device = "cpu";
  info.target = "avx2";
  info.threads = 4;
  info.profiles = {{{"ids", {{1, 1}, {1, 128}, {8, 512}}}}, {}};
  info.choices = {{0, "gemm"}, {17, "conv_direct"}};
  info.choices[18].ranges = {{"gemm_mma", 4096}, {"gemm", kAnySize}};
  info.weights = {{0, {}, 0, 64, UINT64_MAX}, {5, {"gemm_panels", {16, -1}}, 128, UINT64_MAX, 3}};
  return info;
}

TEST(PlanInfo, ComesBackWhole) {
  const PlanInfo info = example(), again = plan_info_from_json(to_json(info));
  EXPECT_EQ(again.lathe_version, info.lathe_version);
  EXPECT_EQ(again.model, info.model);
  EXPECT_EQ(again.device, info.device);
  EXPECT_EQ(again.target, info.target);
  EXPECT_EQ(again.threads, info.threads);
  EXPECT_EQ(again.profiles, info.profiles);
  EXPECT_EQ(again.choices, info.choices);
  ASSERT_EQ(again.weights.size(), info.weights.size());
  for (size_t i = 0; i < info.weights.size(); ++i) {
    EXPECT_EQ(again.weights[i].constant, info.weights[i].constant);
    EXPECT_EQ(again.weights[i].layout, info.weights[i].layout);
    EXPECT_EQ(again.weights[i].offset, info.weights[i].offset);
    EXPECT_EQ(again.weights[i].bytes, info.weights[i].bytes);
    EXPECT_EQ(again.weights[i].checksum, info.weights[i].checksum);
  }
  EXPECT_EQ(to_json(again), to_json(info));
}

TEST(PlanInfo, MalformedTextIsAnError) {
  const std::string good = to_json(example());
  std::string wrong_threads = good;
  wrong_threads.replace(wrong_threads.find("\"threads\":4"), 11, "\"threads\":4e40");
  for (const std::string& text : {std::string(), std::string("{}"), good.substr(0, good.size() - 1), wrong_threads}) {
    try {
      plan_info_from_json(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_model);
    }
  }
}

}  // namespace
}  // namespace lathe
