#include "backends/cuda/compiler/kernel_pack.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace lathe::cuda {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

std::vector<std::byte> example() {
  const PackedKernel kernels[] = {{11, bytes_of("first")}, {7, bytes_of("the second")}};
  return KernelPack::write("sm_90a", kernels);
}

TEST(KernelPack, GivesBackWhatWasWritten) {
  const std::vector<std::byte> bytes = example();
  const KernelPack pack = KernelPack::read(bytes);
  EXPECT_EQ(pack.arch(), "sm_90a");
  EXPECT_EQ(pack.size(), 2u);
  const auto second = pack.find(7);
  ASSERT_TRUE(second);
  EXPECT_TRUE(std::equal(second->begin(), second->end(), bytes_of("the second").begin(), bytes_of("the second").end()));
  EXPECT_FALSE(pack.find(8));
  EXPECT_EQ(example(), bytes) << "the same every time";
}

TEST(KernelPack, NothingIsAnEmptyPack) {
  EXPECT_TRUE(KernelPack::write("sm_80", {}).empty());
  const KernelPack pack = KernelPack::read({});
  EXPECT_EQ(pack.arch(), "");
  EXPECT_FALSE(pack.find(0));
}

TEST(KernelPack, DamageIsAnError) {
  const std::vector<std::byte> good = example();
  for (size_t bytes = 1; bytes < good.size(); ++bytes)
    EXPECT_THROW(KernelPack::read(std::span(good).first(bytes)), Error) << bytes;
  for (const size_t field : {size_t{24}, size_t{40}, size_t{48}}) {  // count, offset and size of the first
    std::vector<std::byte> bad = good;
    const uint64_t huge = UINT64_MAX - 3;
    std::memcpy(bad.data() + field, &huge, sizeof(huge));
    EXPECT_THROW(KernelPack::read(bad), Error) << field;
  }
}

}  // namespace
}  // namespace lathe::cuda
