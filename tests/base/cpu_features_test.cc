#include "base/cpu_features.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>

namespace lathe {
namespace {

TEST(CpuFeaturesTest, NamesRoundTrip) {
  for (int i = 0; i < kIsaCount; ++i) {
    const Isa isa = static_cast<Isa>(i);
    EXPECT_EQ(isa_from_string(to_string(isa)), isa);
  }
  EXPECT_EQ(isa_from_string("avx9000"), std::nullopt);
  EXPECT_EQ(isa_from_string(""), std::nullopt);
}

#if defined(__x86_64__) && defined(__linux__)

// The kernel lists a flag only when it manages the registers, which is the rule that detection follows.
bool kernel_lists(const std::string& flag) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("flags", 0) != 0) continue;
    std::istringstream words(line);
    for (std::string word; words >> word;)
      if (word == flag) return true;
    return false;
  }
  return false;
}

TEST(CpuFeaturesTest, AgreesWithTheKernel) {
  const CpuFeatures features = detect_cpu_features();
  const bool avx2 = kernel_lists("avx2") && kernel_lists("fma") && kernel_lists("f16c");
  const bool avx512 = kernel_lists("avx512f") && kernel_lists("avx512bw") && kernel_lists("avx512dq") &&
                      kernel_lists("avx512vl") && kernel_lists("avx512_vnni");
  EXPECT_EQ(features.best_isa, avx512 ? Isa::avx512 : avx2 ? Isa::avx2 : Isa::generic);
  EXPECT_EQ(features.avx512_vnni, kernel_lists("avx512_vnni"));
  EXPECT_EQ(features.avx512_bf16, kernel_lists("avx512_bf16"));
  EXPECT_EQ(features.amx_bf16, kernel_lists("amx_bf16"));
  EXPECT_EQ(features.amx_int8, kernel_lists("amx_int8"));
}

TEST(CpuFeaturesTest, CachesHavePlausibleSizes) {
  const CpuFeatures features = detect_cpu_features();
  EXPECT_GE(features.l1d_bytes, 16u << 10);
  EXPECT_LE(features.l1d_bytes, 256u << 10);
  EXPECT_GE(features.l2_bytes, 128u << 10);
  EXPECT_GT(features.l2_bytes, features.l1d_bytes);
}

#endif

}  // namespace
}  // namespace lathe
