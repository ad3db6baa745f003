// Where tests of whole models run: on the CPU or, in programs built with LATHE_TEST_CUDA, on a GPU, where they are skipped
// when there is none.
#pragma once

#include <gtest/gtest.h>

#include <optional>

#include "backends/cuda/survey.h"
#include "base/dtype.h"

namespace lathe::test {

#ifdef LATHE_TEST_CUDA
inline constexpr bool kOnGpu = true;
#else
inline constexpr bool kOnGpu = false;
#endif
inline constexpr const char* kWholeModelDevice = kOnGpu ? "cuda" : "cpu";
// Recorded answers are those of f32, which is not what GPUs compute in unless they are told to.
inline constexpr std::optional<DType> kWholeModelType = kOnGpu ? std::optional(DType::f32) : std::nullopt;

// For SetUp(): ends the test where its device is missing.
inline void skip_without_device() {
  if (!kOnGpu) return;
  if (const std::string why = cuda::why_unusable(0); !why.empty()) GTEST_SKIP() << why;
}

}  // namespace lathe::test
