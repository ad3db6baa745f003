// Memory of the host for what is large: on pages of 2 MB, as kernels stream through it. What is not written takes none.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <span>

namespace lathe {

struct FreeHostMemory {
  void operator()(std::byte* memory) const noexcept { std::free(memory); }
};

struct HostBlock {
  std::unique_ptr<std::byte, FreeHostMemory> memory;
  size_t bytes = 0;     // as asked for
  size_t reserved = 0;  // with the rest of the last page

  std::span<std::byte> span() const { return {memory.get(), bytes}; }
};

// Throws Error(out_of_memory).
HostBlock allocate_on_host(size_t bytes);

}  // namespace lathe
