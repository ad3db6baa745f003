// What one rendering may cost. Templates come with checkpoints, which are untrusted: every evaluated node, element and
// byte is paid for, so that a hostile template ends with an Error instead of with the machine.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "text/chat_template/chat_template.h"

namespace lathe::text {

class Meter {
 public:
  explicit Meter(const RenderLimits& limits) : steps_left_(limits.steps), depth_left_(limits.depth) {}

  void spend(size_t steps) {
    if (steps > steps_left_) fail(ErrorCode::invalid_model, "the template takes more steps than are allowed");
    steps_left_ -= steps;
  }
  void spend_bytes(size_t bytes) { spend(bytes / kBytesPerStep); }
  // A list or dict holds its elements in memory until the rendering ends.
  void spend_elements(size_t count) {
    spend(count);
    spend_bytes(count * kElementBytes);
  }

  // One level of nested evaluation, for as long as it lives.
  class Level {
   public:
    explicit Level(Meter& meter) : meter_(meter) {
      if (meter.depth_left_ == 0) fail(ErrorCode::invalid_model, "the template is nested too deeply");
      --meter.depth_left_;
    }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;
    ~Level() { ++meter_.depth_left_; }

   private:
    Meter& meter_;
  };

 private:
  static constexpr size_t kBytesPerStep = 8, kElementBytes = 32;

  size_t steps_left_, depth_left_;
};

}  // namespace lathe::text
