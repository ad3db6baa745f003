// Time as a device sees it. A mark takes its turn among the device's work and stands for the moment when all that was
// queued before it was done, so that work is timed without waiting for it.
#pragma once

#include <chrono>
#include <cstddef>
#include <vector>

namespace lathe {

class DeviceClock {
 public:
  virtual ~DeviceClock() = default;
  // Sets mark number `slot`, over and over if need be. Not while a run is recorded.
  virtual void mark(size_t slot) = 0;
  // From one mark to another; waits until the device has passed both.
  virtual double milliseconds(size_t from, size_t to) = 0;
};

// Of devices that do all work when they are asked to.
class HostClock : public DeviceClock {
 public:
  explicit HostClock(size_t marks) : marks_(marks) {}
  void mark(size_t slot) override { marks_[slot] = std::chrono::steady_clock::now(); }
  double milliseconds(size_t from, size_t to) override {
    return std::chrono::duration<double, std::milli>(marks_[to] - marks_[from]).count();
  }

 private:
  std::vector<std::chrono::steady_clock::time_point> marks_;
};

}  // namespace lathe
