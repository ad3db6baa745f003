// The arrays of a golden.npz, and how near results must come to them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/npz.h"

namespace lathe::checkpoint {

using Ids = std::vector<int32_t>;

inline Ids ids_of(const NpyArray& array) {
  EXPECT_EQ(array.dtype, DType::i64);
  Ids ids(array.bytes.size() / sizeof(int64_t));
  for (size_t i = 0; i < ids.size(); ++i) {
    int64_t id = 0;
    std::memcpy(&id, array.bytes.data() + i * sizeof(id), sizeof(id));
    ids[i] = static_cast<int32_t>(id);
  }
  return ids;
}

inline std::vector<float> floats_of(const NpyArray& array) {
  EXPECT_EQ(array.dtype, DType::f32);
  std::vector<float> values(array.bytes.size() / sizeof(float));
  std::memcpy(values.data(), array.bytes.data(), array.bytes.size());
  return values;
}

// As the goldens state for f32. Records the largest difference, so that --gtest_output tells how near the limit it is.
inline void expect_near(std::span<const float> actual, std::span<const float> expected, const std::string& what) {
  constexpr double kAbsolute = 0.002, kRelative = 0.001;
  ASSERT_EQ(actual.size(), expected.size()) << what;
  double worst = 0, excess = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double difference = std::fabs(static_cast<double>(actual[i]) - static_cast<double>(expected[i]));
    ASSERT_FALSE(std::isnan(difference)) << what << ", element " << i;
    worst = std::max(worst, difference);
    excess = std::max(excess, difference - kAbsolute - kRelative * std::fabs(static_cast<double>(expected[i])));
  }
  ::testing::Test::RecordProperty(what, std::to_string(worst));
  EXPECT_LE(excess, 0) << what << " differs by up to " << worst;
}

// The folders of the data whose golden.npz has an array of this name.
inline std::vector<std::string> cases_with(const std::string& array) {
  std::vector<std::string> folders;
  for (const auto& entry : std::filesystem::directory_iterator(LATHE_CHECKPOINT_CASES))
    if (std::filesystem::exists(entry.path() / "golden.npz") && NpzReader(entry.path() / "golden.npz").contains(array))
      folders.push_back(entry.path().string());
  std::sort(folders.begin(), folders.end());
  return folders;
}

inline std::string case_name(const ::testing::TestParamInfo<std::string>& info) {
  std::string name = std::filesystem::path(info.param).filename().string();
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == '-' || c == '.'; }, '_');
  return name;
}

}  // namespace lathe::checkpoint
