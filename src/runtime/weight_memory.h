// The residency table of an engine: the device address of every weight of a program, and the memory behind those that
// the engine had to make (in another layout than the stored one, aligned, or on a device with memory of its own). The
// others are used where they lie.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "build/program.h"
#include "build/weight_source.h"

namespace lathe {

class WeightMemory {
 public:
  WeightMemory() = default;
  // The arguments outlive it, but for `made`: it is called after each weight that is not used where it lies, and for
  // which its constant will not be read again. On a device with memory of its own that is none: there weights come
  // back.
  WeightMemory(const Program& program, const Backend& backend, const WeightSource& source,
               const std::function<void(const Weight&)>& made = {});
  ~WeightMemory();
  WeightMemory(WeightMemory&& other) noexcept { *this = std::move(other); }
  WeightMemory& operator=(WeightMemory&& other) noexcept;

  // Takes the weights off a device with memory of its own; elsewhere nothing happens.
  void evict() noexcept;
  // Brings them back, to other addresses.
  void restore();

  std::span<void* const> addresses() const { return addresses_; }
  size_t owned_bytes() const { return owned_bytes_; }

 private:
  std::span<std::byte> allocate(size_t bytes);
  void* move_to_device(std::span<const std::byte> weight);
  std::span<const std::byte> place(const Weight& weight);

  const Program* program_ = nullptr;
  const Backend* backend_ = nullptr;
  const WeightSource* source_ = nullptr;
  std::vector<void*> addresses_;           // null while evicted
  std::unique_ptr<DeviceContext> device_;  // owns addresses_; null where they are of the host, and while evicted
  std::vector<std::unique_ptr<std::byte, void (*)(void*)>> owned_;
  size_t owned_bytes_ = 0;
};

}  // namespace lathe
