// Which sizes and kernels of products are tried, as far as that needs no GPU.
#include <gtest/gtest.h>

#include <set>

#include "backends/cuda/lower/gemm_lt.h"
#include "backends/cuda/lower/gemm_sm90.h"

namespace lathe::cuda {
namespace {

TEST(GemmCandidates, RowsNearAPowerOfTwoShareItsAlgorithms) {
  EXPECT_EQ(nearest_power_of_two(0), 1);
  EXPECT_EQ(nearest_power_of_two(1), 1);
  EXPECT_EQ(nearest_power_of_two(3), 4);
  EXPECT_EQ(nearest_power_of_two(181), 128) << "181 * 181 < 128 * 256";
  EXPECT_EQ(nearest_power_of_two(182), 256);
  EXPECT_EQ(nearest_power_of_two(256), 256);
  EXPECT_EQ(nearest_power_of_two(362), 256);
  EXPECT_EQ(nearest_power_of_two(int64_t{1} << 40), int64_t{1} << 40);
}

std::set<std::string_view> names(std::optional<int64_t> rows, DType output) {
  std::set<std::string_view> all;
  for (const Sm90Variant* variant : sm90_variants(rows, output)) all.insert(variant->name);
  return all;
}

TEST(GemmCandidates, TilesSuitRowsAndWhatIsStored) {
  EXPECT_TRUE(names(4096, DType::f16).contains("128x192"));
  EXPECT_FALSE(names(4096, DType::i8).contains("128x192")) << "192 bytes are no whole lines of 128";
  EXPECT_TRUE(names(4096, DType::i8).contains("128x256"));
  EXPECT_FALSE(names(64, DType::f16).contains("128x192")) << "tiles are too large for few rows";
  EXPECT_TRUE(names(64, DType::f16).contains("64x64_split"));
  EXPECT_TRUE(names({}, DType::f16).contains("64x64_split") && names({}, DType::f16).contains("128x192"));
}

}  // namespace
}  // namespace lathe::cuda
