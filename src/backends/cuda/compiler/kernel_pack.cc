#include "backends/cuda/compiler/kernel_pack.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace lathe::cuda {
namespace {

constexpr size_t kAlignment = 64;

struct Header {
  char arch[24] = {};
  uint64_t count = 0;
};
static_assert(sizeof(Header) == 32);

struct Entry {
  uint64_t fingerprint = 0, offset = 0, bytes = 0;
};
static_assert(sizeof(Entry) == 24);

size_t aligned(size_t offset) { return (offset + kAlignment - 1) / kAlignment * kAlignment; }

[[noreturn]] void damaged() {
  throw Error(ErrorCode::invalid_model, "the plan's compiled kernels are damaged")
      .remedy("Build it again from the model");
}

}  // namespace

KernelPack KernelPack::read(std::span<const std::byte> bytes) {
  KernelPack pack;
  if (bytes.empty()) return pack;
  Header header;
  if (bytes.size() < sizeof(header)) damaged();
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (header.count > (bytes.size() - sizeof(header)) / sizeof(Entry)) damaged();
  pack.arch_.assign(header.arch, strnlen(header.arch, sizeof(header.arch)));
  for (size_t i = 0; i < header.count; ++i) {
    Entry entry;
    std::memcpy(&entry, bytes.data() + sizeof(header) + i * sizeof(entry), sizeof(entry));
    if (entry.offset > bytes.size() || entry.bytes > bytes.size() - entry.offset || entry.bytes == 0) damaged();
    pack.kernels_.push_back({entry.fingerprint, bytes.subspan(entry.offset, entry.bytes)});
  }
  return pack;
}

std::vector<std::byte> KernelPack::write(const std::string& arch, std::span<const PackedKernel> kernels) {
  Header header;
  LATHE_CHECK(arch.size() < sizeof(header.arch));
  if (kernels.empty()) return {};
  std::memcpy(header.arch, arch.data(), arch.size());
  header.count = kernels.size();
  std::vector<Entry> table;
  size_t end = sizeof(header) + kernels.size() * sizeof(Entry);
  for (const PackedKernel& kernel : kernels) {
    table.push_back({kernel.fingerprint, aligned(end), kernel.code.size()});
    end = table.back().offset + kernel.code.size();
  }
  std::vector<std::byte> bytes(end);
  std::memcpy(bytes.data(), &header, sizeof(header));
  std::memcpy(bytes.data() + sizeof(header), table.data(), table.size() * sizeof(Entry));
  for (size_t i = 0; i < kernels.size(); ++i)
    std::memcpy(bytes.data() + table[i].offset, kernels[i].code.data(), kernels[i].code.size());
  return bytes;
}

std::optional<std::span<const std::byte>> KernelPack::find(uint64_t fingerprint) const {
  const auto found = std::find_if(kernels_.begin(), kernels_.end(),
                                  [&](const PackedKernel& kernel) { return kernel.fingerprint == fingerprint; });
  return found == kernels_.end() ? std::nullopt : std::optional(found->code);
}

}  // namespace lathe::cuda
