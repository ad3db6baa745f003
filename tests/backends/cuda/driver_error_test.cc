// What people read when the driver fails, and what there is of NVIDIA's software; needs no GPU.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backends/cuda/api/driver.h"
#include "backends/cuda/survey.h"

namespace lathe::cuda {
namespace {

using testing::HasSubstr;

TEST(DriverError, SaysWhatToDo) {
  const Error memory = driver_error(2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory", "allocating 5.0 MB");
  EXPECT_EQ(memory.code(), ErrorCode::out_of_memory);
  EXPECT_THAT(memory.what(), HasSubstr("allocating 5.0 MB: out of memory (CUDA_ERROR_OUT_OF_MEMORY)"));
  EXPECT_THAT(memory.remedy_text(), HasSubstr("smaller sizes"));
  for (const CUresult lost : {214, 700, 702, 710, 719})
    EXPECT_THAT(driver_error(lost, "X", "x", "y").remedy_text(), HasSubstr("start it again")) << lost;
  for (const CUresult old : {200, 209, 222}) {
    EXPECT_EQ(driver_error(old, "X", "x", "y").code(), ErrorCode::unsupported);
    EXPECT_THAT(driver_error(old, "X", "x", "y").remedy_text(), HasSubstr("update the driver"));
  }
  EXPECT_THAT(driver_error(100, "X", "x", "y").remedy_text(), HasSubstr("--gpus"));
  EXPECT_EQ(driver_error(1, "X", "x", "y").code(), ErrorCode::internal);
  EXPECT_EQ(driver_error(1, "X", "x", "y").remedy_text(), "");
}

TEST(Survey, EveryLibraryIsThereOrSaysWhatToInstall) {
  const std::vector<LibraryReport> reports = survey_libraries();
  ASSERT_EQ(reports.size(), 5u);
  EXPECT_EQ(reports.front().name, "driver");
  for (const LibraryReport& report : reports) {
    EXPECT_EQ(report.usable(), report.problem.empty()) << report.name;
    EXPECT_TRUE(report.usable() || !report.remedy.empty()) << report.name;
    EXPECT_FALSE(report.purpose.empty());
  }
}

TEST(Survey, AGpuThatIsNotThereCannotBeUsed) { EXPECT_NE(why_unusable(4711), ""); }

}  // namespace
}  // namespace lathe::cuda
