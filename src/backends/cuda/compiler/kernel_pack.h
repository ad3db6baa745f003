// Compiled kernels of one architecture in one block of bytes, as plans carry them. Little-endian:
//
//   header   architecture ("sm_90a", filled up with zeros), number of kernels
//   table    for each kernel: fingerprint, offset, size
//   code     at multiples of 64
//
// The fingerprint says what a kernel was compiled from, sources included: one of another version of Lathe is not found.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace lathe::cuda {

struct PackedKernel {
  uint64_t fingerprint = 0;
  std::span<const std::byte> code;
};

class KernelPack {
 public:
  KernelPack() = default;  // of no architecture, without kernels

  // Refers to `bytes`. No bytes give an empty pack. Throws Error(invalid_model) for a block that is malformed.
  static KernelPack read(std::span<const std::byte> bytes);
  // Equal kernels in the same order give equal bytes; none give none.
  static std::vector<std::byte> write(const std::string& arch, std::span<const PackedKernel> kernels);

  const std::string& arch() const { return arch_; }
  size_t size() const { return kernels_.size(); }
  std::optional<std::span<const std::byte>> find(uint64_t fingerprint) const;

 private:
  std::string arch_;
  std::vector<PackedKernel> kernels_;
};

}  // namespace lathe::cuda
