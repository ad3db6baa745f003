// What multiplies bytes, as a test parameter: every instruction set of this machine, and matrix tiles, whose tests are
// skipped where there are none.
#pragma once

#include "backends/cpu/kernels/gemm_int8.h"
#include "tests/backends/cpu/kernel_test.h"

namespace lathe::cpu {

struct ByteUnit {
  Isa isa;
  bool tiles;
};

inline std::vector<ByteUnit> byte_units() {
  std::vector<ByteUnit> units;
  for (const Isa isa : available_isas()) units.push_back({isa, false});
  units.push_back({Isa::avx512, true});
  return units;
}

class ByteUnitTest : public testing::TestWithParam<ByteUnit> {
 protected:
  void SetUp() override {
    if (!GetParam().tiles) return;
    tiles_ = int8_tiles(detect_cpu_features(), GetParam().isa);
    if (tiles_ == nullptr) GTEST_SKIP() << "this machine has no matrix tiles for bytes";
  }
  const KernelTable& kernels() const { return kernel_table(GetParam().isa); }
  const AmxInt8Kernels* tiles() const { return tiles_; }

 private:
  const AmxInt8Kernels* tiles_ = nullptr;
};

inline std::string byte_unit_name(const testing::TestParamInfo<ByteUnit>& info) {
  return info.param.tiles ? "tiles" : std::string(to_string(info.param.isa));
}

#define LATHE_FOR_EACH_BYTE_UNIT(suite) \
  INSTANTIATE_TEST_SUITE_P(Unit, suite, testing::ValuesIn(byte_units()), byte_unit_name)

}  // namespace lathe::cpu
