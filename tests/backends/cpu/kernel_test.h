// What the CPU kernel tests share: every instruction set of this machine as a test parameter, reproducible random data,
// and buffers that notice writes beyond their end.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "backends/cpu/kernels/kernel_table.h"
#include "base/cpu_features.h"

namespace lathe::cpu {

inline std::vector<Isa> available_isas() {
  std::vector<Isa> isas;
  const int best = static_cast<int>(detect_cpu_features().best_isa);
  for (int i = 0; i <= best; ++i) isas.push_back(static_cast<Isa>(i));
  return isas;
}

class KernelTest : public testing::TestWithParam<Isa> {
 protected:
  const KernelTable& kernels() const { return kernel_table(GetParam()); }
};

inline std::string isa_test_name(const testing::TestParamInfo<Isa>& info) { return std::string(to_string(info.param)); }

#define LATHE_FOR_EACH_ISA(suite) \
  INSTANTIATE_TEST_SUITE_P(Isa, suite, testing::ValuesIn(available_isas()), isa_test_name)

// `size` floats that start one element off any alignment and end at a row of canaries.
class Buffer {
 public:
  explicit Buffer(int64_t size, float fill = 0.0f)
      : size_(size), storage_(static_cast<size_t>(size + 1 + kCanaries), fill) {
    for (int i = 0; i < kCanaries; ++i) storage_[static_cast<size_t>(size + 1 + i)] = kCanary;
  }
  static Buffer random(int64_t size, uint32_t seed, float low = -1.0f, float high = 1.0f) {
    Buffer buffer(size);
    std::mt19937 engine(seed);
    std::uniform_real_distribution<float> distribution(low, high);
    for (int64_t i = 0; i < size; ++i) buffer[i] = distribution(engine);
    return buffer;
  }
  ~Buffer() {
    for (int i = 0; i < kCanaries; ++i)
      EXPECT_EQ(storage_[static_cast<size_t>(size_ + 1 + i)], kCanary) << "written beyond the end, by " << i;
  }
  Buffer(const Buffer&) = default;
  Buffer& operator=(const Buffer&) = default;

  float* data() { return storage_.data() + 1; }
  const float* data() const { return storage_.data() + 1; }
  int64_t size() const { return size_; }
  float& operator[](int64_t i) { return storage_[static_cast<size_t>(i + 1)]; }
  float operator[](int64_t i) const { return storage_[static_cast<size_t>(i + 1)]; }

 private:
  static constexpr int kCanaries = 64;
  static constexpr float kCanary = -12345.0f;
  int64_t size_;
  std::vector<float> storage_;
};

}  // namespace lathe::cpu
