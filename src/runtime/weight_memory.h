// The residency table of an engine: the device address of every weight of a program, and the memory behind those that
// the engine had to make (in another layout than the stored one, or aligned). The others are used where they lie.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "build/program.h"
#include "build/weight_source.h"

namespace lathe {

class WeightMemory {
 public:
  WeightMemory() = default;
  // `source` outlives it.
  WeightMemory(const Program& program, const Backend& backend, const WeightSource& source);

  std::span<void* const> addresses() const { return addresses_; }
  size_t owned_bytes() const { return owned_bytes_; }

 private:
  std::span<std::byte> allocate(size_t bytes);
  std::span<const std::byte> place(const Weight& weight, const Backend& backend, const WeightSource& source);

  std::vector<void*> addresses_;
  std::vector<std::unique_ptr<std::byte, void (*)(void*)>> owned_;
  size_t owned_bytes_ = 0;
};

}  // namespace lathe
