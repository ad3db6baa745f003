#include "backends/cuda/device.h"

namespace lathe::cuda {

std::string DeviceInfo::arch() const { return fmt::format("sm_{}{}{}", major, minor, major >= 9 ? "a" : ""); }

Device::Device(std::shared_ptr<const DriverApi> driver, CUdevice device) : driver_(std::move(driver)), device_(device) {
  const auto attribute = [&](int which) {
    int value = 0;
    check(driver_->device_get_attribute(&value, which, device), "reading the properties of the GPU");
    return value;
  };
  char name[256] = {};
  check(driver_->device_get_name(name, sizeof(name), device), "reading the name of the GPU");
  info_.name = name;
  info_.major = attribute(kComputeCapabilityMajor);
  info_.minor = attribute(kComputeCapabilityMinor);
  info_.multiprocessors = attribute(kMultiprocessorCount);
  info_.l2_bytes = static_cast<size_t>(attribute(kL2CacheSize));
  info_.shared_bytes = static_cast<size_t>(attribute(kMaxSharedMemoryPerBlockOptin));
  check(driver_->device_total_mem(&info_.memory_bytes, device), "reading the memory of the GPU");
  if (info_.major < 8)
    throw Error(ErrorCode::unsupported,
                fmt::format("{} is of architecture sm_{}{}; Lathe needs sm_80 (Ampere) or newer", info_.name,
                            info_.major, info_.minor))
        .remedy("Use --device cpu");
  check(driver_->primary_ctx_retain(&context_, device), "starting on the GPU");
}

Device::~Device() { driver_->primary_ctx_release(device_); }

std::shared_ptr<const Device> Device::open(int ordinal) {
  std::shared_ptr<const DriverApi> driver = DriverApi::open();
  int count = 0;
  driver->check(driver->device_get_count(&count), "counting GPUs");
  if (ordinal < 0 || ordinal >= count)
    throw Error(ErrorCode::unsupported, fmt::format("there is no GPU {}; this machine has {}", ordinal, count))
        .remedy("lathe devices lists what there is");
  CUdevice device = 0;
  driver->check(driver->device_get(&device, ordinal), "finding the GPU");
  return std::shared_ptr<const Device>(new Device(std::move(driver), device));
}

}  // namespace lathe::cuda
