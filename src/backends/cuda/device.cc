#include "backends/cuda/device.h"

namespace lathe::cuda {

std::string DeviceInfo::arch() const { return fmt::format("sm_{}{}{}", major, minor, major >= 9 ? "a" : ""); }

namespace {

DeviceInfo read_info(const DriverApi& driver, CUdevice device) {
  const auto attribute = [&](int which) {
    int value = 0;
    driver.check(driver.device_get_attribute(&value, which, device), "reading the properties of the GPU");
    return value;
  };
  DeviceInfo info;
  char name[256] = {};
  driver.check(driver.device_get_name(name, sizeof(name), device), "reading the name of the GPU");
  info.name = name;
  info.major = attribute(kComputeCapabilityMajor);
  info.minor = attribute(kComputeCapabilityMinor);
  info.multiprocessors = attribute(kMultiprocessorCount);
  info.l2_bytes = static_cast<size_t>(attribute(kL2CacheSize));
  info.shared_bytes = static_cast<size_t>(attribute(kMaxSharedMemoryPerBlockOptin));
  driver.check(driver.device_total_mem(&info.memory_bytes, device), "reading the memory of the GPU");
  return info;
}

int count_devices(const DriverApi& driver) {
  int count = 0;
  driver.check(driver.device_get_count(&count), "counting GPUs");
  return count;
}

}  // namespace

std::vector<DeviceInfo> list_devices() {
  const std::shared_ptr<const DriverApi> driver = DriverApi::open();
  std::vector<DeviceInfo> devices;
  for (int ordinal = 0; ordinal < count_devices(*driver); ++ordinal) {
    CUdevice device = 0;
    driver->check(driver->device_get(&device, ordinal), "finding the GPU");
    devices.push_back(read_info(*driver, device));
  }
  return devices;
}

Device::Device(std::shared_ptr<const DriverApi> driver, CUdevice device)
    : driver_(std::move(driver)), device_(device), info_(read_info(*driver_, device)) {
  if (!info_.usable())
    throw Error(ErrorCode::unsupported,
                fmt::format("{} is of architecture sm_{}{}; Lathe needs sm_80 (Ampere) or newer", info_.name,
                            info_.major, info_.minor))
        .remedy("Use --device cpu");
  check(driver_->primary_ctx_retain(&context_, device), "starting on the GPU");
}

Device::~Device() { driver_->primary_ctx_release(device_); }

std::shared_ptr<const Device> Device::open(int ordinal) {
  std::shared_ptr<const DriverApi> driver = DriverApi::open();
  const int count = count_devices(*driver);
  if (ordinal < 0 || ordinal >= count)
    throw Error(ErrorCode::unsupported, fmt::format("there is no GPU {}; this machine has {}", ordinal, count))
        .remedy("lathe devices lists what there is");
  CUdevice device = 0;
  driver->check(driver->device_get(&device, ordinal), "finding the GPU");
  return std::shared_ptr<const Device>(new Device(std::move(driver), device));
}

}  // namespace lathe::cuda
