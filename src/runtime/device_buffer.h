// Memory of a device that grows and never shrinks, so that what repeats allocates nothing; and a value that lives in
// such memory because its sizes come with the run.
#pragma once

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "backends/backend.h"

namespace lathe {

class DeviceBuffer {
 public:
  explicit DeviceBuffer(DeviceContext& device) : device_(&device) {}
  ~DeviceBuffer() { release(); }
  DeviceBuffer(DeviceBuffer&& other) noexcept { swap(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    swap(other);
    return *this;
  }

  // Memory for at least `bytes`, never null; when it has to grow, what it held is lost.
  void* reserve(size_t bytes) {
    if (data_ == nullptr || capacity_ < bytes) {
      release();
      data_ = device_->allocate(std::max<size_t>(bytes, 1));
      capacity_ = bytes;
    }
    return data_;
  }
  // The same, but the first `kept` bytes stay.
  void* extend(size_t bytes, size_t kept) {
    if (data_ == nullptr || capacity_ < bytes) {
      DeviceBuffer larger(*device_);
      larger.reserve(bytes);
      if (kept > 0) device_->copy(larger.data_, data_, kept);
      device_->synchronize();
      swap(larger);
    }
    return data_;
  }

  void* data() const { return data_; }
  size_t capacity() const { return capacity_; }

 private:
  void swap(DeviceBuffer& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(capacity_, other.capacity_);
  }
  void release() noexcept {
    if (data_ != nullptr) device_->release(data_);
    data_ = nullptr;
    capacity_ = 0;
  }

  DeviceContext* device_ = nullptr;
  void* data_ = nullptr;
  size_t capacity_ = 0;
};

struct LateValue {
  explicit LateValue(DeviceContext& device) : memory(device) {}

  DeviceBuffer memory;
  std::vector<int64_t> dims;
  std::shared_ptr<const void> object;  // of sequences, optionals and strings: a RefValue of graph/reference
};

}  // namespace lathe
