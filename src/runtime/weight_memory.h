// The residency table of an engine: the device address of every weight of a program, and the memory behind those that
// the engine had to make (packed, copied for alignment, or on a device with memory of its own). Where the device reads
// host memory, weights that already lie in the right layout are used in place.
#pragma once

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "build/program.h"

namespace lathe {

// Weights as a plan stores them, by the id of the constants that stand for them in the plan's graph.
class StoredWeights {
 public:
  virtual ~StoredWeights() = default;
  struct Entry {
    WeightLayout layout;
    std::span<const std::byte> bytes;
  };
  // All forms in which a constant is stored; empty when it is not stored out of line.
  virtual std::vector<Entry> find(const Tensor& constant) const = 0;
};

class WeightMemory {
 public:
  WeightMemory() = default;
  // `stored` may be null: every constant is plain then. `packer` is the backend that laid out what is stored.
  WeightMemory(const Program& program, const Backend& backend, const StoredWeights* stored, const Backend& packer);
  ~WeightMemory();
  WeightMemory(WeightMemory&& other) noexcept { *this = std::move(other); }
  WeightMemory& operator=(WeightMemory&& other) noexcept;

  std::span<void* const> addresses() const { return addresses_; }
  size_t owned_bytes() const { return owned_bytes_; }

 private:
  std::span<std::byte> allocate(size_t bytes);
  size_t move_to_device(const Weight& weight, const Backend& backend);
  void place(const Weight& weight, const Backend& backend, const StoredWeights* stored, const Backend& packer);

  std::vector<void*> addresses_;
  std::unique_ptr<DeviceContext> device_;  // owns addresses_, unless they are of the host
  std::vector<std::unique_ptr<std::byte, void (*)(void*)>> owned_;
  size_t owned_bytes_ = 0;
};

}  // namespace lathe
