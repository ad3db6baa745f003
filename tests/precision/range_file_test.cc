// The calibration cache on disk.
#include "precision/range_file.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"

namespace lathe::precision {
namespace {

std::filesystem::path file_with(const std::string& name, const std::string& text) {
  const auto path = std::filesystem::path(testing::TempDir()) / name;
  std::ofstream(path) << text;
  return path;
}

TEST(RangeFile, GivesBackWhatWasSaved) {
  const auto path = std::filesystem::path(testing::TempDir()) / "ranges.json";
  save_cache(path, {.ranges = {{"conv \"1\"", {-0.5, 3.25}}, {"x", {0, 0}}},
                    .columns = {{"norm", {1, 0.1f}}},
                    .model = 0xfedcba9876543210u,
                    .calibrator = Calibrator::mse,
                    .smoothing = 0.25});
  const CalibrationCache cache = load_cache(path);
  ASSERT_EQ(cache.ranges.size(), 2u);
  EXPECT_EQ(cache.ranges.at("conv \"1\"").low, -0.5);
  EXPECT_EQ(cache.ranges.at("conv \"1\"").high, 3.25);
  EXPECT_EQ(cache.columns.at("norm"), (std::vector<float>{1, 0.1f}));
  EXPECT_EQ(cache.model, 0xfedcba9876543210u);
  EXPECT_EQ(cache.calibrator, Calibrator::mse);
  EXPECT_EQ(cache.smoothing, 0.25);
  save_cache(path, {});
  EXPECT_TRUE(load_cache(path).ranges.empty());
  EXPECT_FALSE(load_cache(path).model);
}

TEST(RangeFile, ReadsTensorRtCaches) {
  const auto path =
      file_with("trt.cache", "TRT-8501-EntropyCalibration2\nimages: 3c010204\r\n/a/Conv_out:0: 3f800000\n");
  EXPECT_TRUE(is_tensorrt_cache(path));
  const Ranges ranges = load_cache(path).ranges;
  ASSERT_EQ(ranges.size(), 2u);
  EXPECT_NEAR(ranges.at("images").high, 1, 1e-4);  // an image's 1/127
  EXPECT_EQ(ranges.at("/a/Conv_out:0").low, -127);
  EXPECT_TRUE(load_cache(file_with("none.cache", "TRT-8501-MinMaxCalibration")).ranges.empty());
  EXPECT_FALSE(is_tensorrt_cache(std::filesystem::path(testing::TempDir()) / "absent.cache"));
  for (const char* line : {"images", "images: ", "images: 3c01zz14", "images: 7f800000", "images: bf800000"})
    EXPECT_THROW(load_cache(file_with("bad.cache", fmt::format("TRT-1\n{}\n", line))), Error) << line;
}

TEST(RangeFile, RefusesWhatIsNone) {
  EXPECT_THROW(load_cache(file_with("a.json", "{")), Error);
  EXPECT_THROW(load_cache(file_with("b.json", R"({"ranges": {}})")), Error);
  EXPECT_THROW(load_cache(file_with("c.json", R"({"lathe_calibration": 2, "ranges": {}})")), Error);
  const char* const bodies[] = {R"("ranges": {"x": [2, 1]})",
                                R"("ranges": {"x": [2]})",
                                R"("ranges": {}, "columns": {"x": [-1]})",
                                R"("ranges": {}, "model": "none")",
                                R"("ranges": {}, "calibrator": "best")",
                                R"("ranges": {}, "smoothing": "much")"};
  for (const char* body : bodies)
    EXPECT_THROW(load_cache(file_with("d.json", fmt::format(R"({{"lathe_calibration": 1, {}}})", body))), Error)
        << body;
  EXPECT_NO_THROW(load_cache(file_with("e.json", R"({"lathe_calibration": 1, "ranges": {"x": [1, 2]}})")));
  EXPECT_THROW(load_cache(std::filesystem::path(testing::TempDir()) / "absent.json"), Error);
}

}  // namespace
}  // namespace lathe::precision
