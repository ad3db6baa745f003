// One GPU: what it is, and its driver context, which everything on it shares.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/cuda/api/driver.h"

namespace lathe::cuda {

struct DeviceInfo {
  std::string name;
  int major = 0, minor = 0;  // compute capability
  int multiprocessors = 0;
  size_t memory_bytes = 0;
  size_t l2_bytes = 0;
  size_t shared_bytes = 0;  // the most that one block may use

  // The architecture that kernels are compiled for: "sm_90a", with the instructions of this chip alone.
  std::string arch() const;
  bool usable() const { return major >= 8; }
};

// All GPUs of the machine, by ordinal; those too old for Lathe included. Throws Error(unsupported) without a driver.
std::vector<DeviceInfo> list_devices();

class Device {
 public:
  // Throws Error(unsupported) without a driver, without that GPU, or for one older than sm_80.
  static std::shared_ptr<const Device> open(int ordinal);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const DriverApi& driver() const { return *driver_; }
  const DeviceInfo& info() const { return info_; }
  // Driver calls of this thread go to this GPU from now on.
  void make_current() const { check(driver_->ctx_set_current(context_), "choosing the GPU"); }
  // The same for destructors, which run on any thread: with a GPU that is lost there is nothing left to give back.
  void try_make_current() const noexcept { driver_->ctx_set_current(context_); }
  void check(CUresult result, std::string_view what) const { driver_->check(result, what); }

 private:
  Device(std::shared_ptr<const DriverApi> driver, CUdevice device);

  std::shared_ptr<const DriverApi> driver_;
  CUdevice device_;
  CUcontext context_ = nullptr;
  DeviceInfo info_;
};

}  // namespace lathe::cuda
