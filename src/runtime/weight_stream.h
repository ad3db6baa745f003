// How a session gets at the weights that have no place of their own for as long as the engine lives: called around
// every step, as steps are enqueued. Every weight has one address for good, so steps are prepared as ever.
#pragma once

#include <cstddef>
#include <span>

namespace lathe {

class WeightStream {
 public:
  virtual ~WeightStream() = default;
  // Of all weights.
  virtual std::span<void* const> addresses() const = 0;
  virtual void before(size_t step) = 0;
  virtual void after(size_t step) = 0;
};

}  // namespace lathe
