// Which kernel serves a node: one whatever the sizes, or one for each range of sizes, where kernels that read a weight
// in the same layout take turns. Sizes are measured by the elements of the node's first output.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

namespace lathe {

inline constexpr int64_t kAnySize = std::numeric_limits<int64_t>::max();

struct KernelRange {
  std::string kernel;
  int64_t most = kAnySize;  // elements, above those of the range before
  friend bool operator==(const KernelRange&, const KernelRange&) = default;
};

struct KernelChoice {
  std::vector<KernelRange> ranges;  // ascending; the last one has no limit

  KernelChoice() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): a kernel for all sizes is a choice
  KernelChoice(std::string kernel) : ranges{{std::move(kernel), kAnySize}} {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  KernelChoice(const char* kernel) : KernelChoice(std::string(kernel)) {}
  friend bool operator==(const KernelChoice&, const KernelChoice&) = default;
};

// For people: "gemm", or "gemm_mma/gemm" for two that take turns.
std::string to_string(const KernelChoice& choice);

// By number of the node (number_nodes()), where they differ from the first accepted candidate.
using KernelChoices = std::map<size_t, KernelChoice>;

}  // namespace lathe
