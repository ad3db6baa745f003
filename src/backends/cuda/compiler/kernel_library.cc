#include "backends/cuda/compiler/kernel_library.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <thread>

#include "base/file_writer.h"
#include "base/mapped_file.h"
#include "graph/hash.h"

namespace lathe::cuda {
namespace {

constexpr size_t kDefaultShared = 48 << 10;  // what a block may use without being asked for

// Everything that decides what a kernel compiles to, the texts of all sources included.
uint64_t fingerprint(const KernelSpec& spec, const std::string& arch) {
  Hasher hasher;
  hasher.add(arch);
  hasher.add(spec.key());
  for (const KernelSource& source : kernel_sources())
    if (source.name == spec.file || !source.name.ends_with(".cu")) hasher.add(source.text);
  return hasher.finish();
}

}  // namespace

// ---- Kernel ----

void Kernel::launch_with(CUstream stream, Grid grid, unsigned threads, size_t shared_bytes, void** args) const {
  LATHE_CHECK(function_ != nullptr);
  const DriverApi& driver = device_->driver();
  CUlaunchAttribute attributes[2] = {};
  CUlaunchConfig config{grid.x, grid.y,     grid.z, threads, 1, 1, static_cast<unsigned>(shared_bytes),
                        stream, attributes, 0};
  if (device_->info().major >= 9) {
    attributes[config.attribute_count].id = kLaunchProgrammaticSerialization;  // kernels/prelude.cuh
    attributes[config.attribute_count++].value.programmatic = 1;
  }
  if (grid.cluster > 1) {
    attributes[config.attribute_count].id = kLaunchClusterDimension;
    attributes[config.attribute_count++].value.cluster = {grid.cluster, 1, 1};
  }
  const CUresult result = driver.launch_kernel(&config, function_, args, nullptr);
  if (result != kCudaSuccess) device_->check(result, "launching " + spec_.file + ":" + spec_.entry);
}

int Kernel::blocks_per_multiprocessor(int threads, size_t shared_bytes) const {
  int blocks = 0;
  device_->check(device_->driver().occupancy(&blocks, function_, threads, shared_bytes), "sizing a launch");
  return blocks;
}

// ---- KernelLibrary ----

KernelLibrary::KernelLibrary(std::shared_ptr<const Device> device, std::filesystem::path cache_folder,
                             std::span<const std::byte> packed)
    : device_(std::move(device)), cache_folder_(std::move(cache_folder)), packed_(KernelPack::read(packed)) {}

KernelLibrary::~KernelLibrary() {
  for (const auto& [key, kernel] : kernels_)
    if (kernel->module_ != nullptr) device_->driver().module_unload(kernel->module_);
}

const Kernel& KernelLibrary::request(const KernelSpec& spec) {
  const std::lock_guard lock(mutex_);
  std::unique_ptr<Kernel>& slot = kernels_[spec.key()];
  if (slot == nullptr) {
    slot = std::make_unique<Kernel>(spec);
    slot->device_ = device_.get();
    pending_.push_back(slot.get());
  }
  return *slot;
}

void KernelLibrary::build() {
  const std::lock_guard lock(mutex_);
  if (pending_.empty()) return;
  device_->make_current();
  std::vector<Kernel*> missing;
  for (Kernel* kernel : pending_)
    if (!load_packed(*kernel) && !load_cached(*kernel)) missing.push_back(kernel);
  if (!missing.empty()) {
    if (compiler_ == nullptr) compiler_ = std::make_unique<KernelCompiler>(device_->info().arch());
    std::atomic<size_t> next = 0;
    std::exception_ptr failure;
    std::mutex failure_mutex;
    const auto work = [&] {
      for (size_t i = next++; i < missing.size(); i = next++) try {
          missing[i]->compiled_ = compiler_->compile(missing[i]->spec());
          store_cached(*missing[i]);
        } catch (...) {
          const std::lock_guard failure_lock(failure_mutex);
          failure = std::current_exception();
        }
    };
    const size_t helpers = std::min<size_t>(missing.size(), std::max(1U, std::thread::hardware_concurrency())) - 1;
    std::vector<std::thread> threads;
    for (size_t i = 0; i < helpers; ++i) threads.emplace_back(work);
    work();
    for (std::thread& thread : threads) thread.join();
    if (failure) std::rethrow_exception(failure);
  }
  for (Kernel* kernel : pending_) load_module(*kernel);
  pending_.clear();
}

std::filesystem::path KernelLibrary::cache_file(const Kernel& kernel) const {
  return cache_folder_ / fmt::format("{:016x}.cubin", fingerprint(kernel.spec(), device_->info().arch()));
}

std::vector<std::byte> KernelLibrary::pack() const {
  const std::lock_guard lock(mutex_);
  const std::string arch = device_->info().arch();
  std::vector<PackedKernel> built;
  for (const auto& [key, kernel] : kernels_)
    if (kernel->module_ != nullptr)
      built.push_back({fingerprint(kernel->spec(), arch), std::as_bytes(std::span(kernel->compiled_.cubin))});
  return KernelPack::write(arch, built);
}

bool KernelLibrary::load_packed(Kernel& kernel) const {
  if (packed_.arch() != device_->info().arch()) return false;
  const auto code = packed_.find(fingerprint(kernel.spec(), packed_.arch()));
  if (!code) return false;
  const char* begin = reinterpret_cast<const char*>(code->data());
  kernel.compiled_.cubin.assign(begin, begin + code->size());
  return true;
}

// A file of the cache is the hash of the code, then the code.
bool KernelLibrary::load_cached(Kernel& kernel) const {
  if (cache_folder_.empty()) return false;
  std::error_code error;
  const std::filesystem::path path = cache_file(kernel);
  if (!std::filesystem::is_regular_file(path, error)) return false;
  try {
    const auto file = MappedFile::open(path);
    const std::span<const std::byte> bytes = file->bytes();
    uint64_t stored = 0;
    if (bytes.size() <= sizeof(stored)) return false;
    std::memcpy(&stored, bytes.data(), sizeof(stored));
    const auto code = bytes.subspan(sizeof(stored));
    if (stored != hash(code)) return false;
    const char* begin = reinterpret_cast<const char*>(code.data());
    kernel.compiled_.cubin.assign(begin, begin + code.size());
    return true;
  } catch (const Error&) {
    return false;  // a cache that cannot be read is as good as none
  }
}

void KernelLibrary::store_cached(const Kernel& kernel) const {
  if (cache_folder_.empty()) return;
  try {
    std::filesystem::create_directories(cache_folder_);
    const auto code = std::as_bytes(std::span(kernel.compiled_.cubin));
    const uint64_t checksum = hash(code);
    FileWriter writer(cache_file(kernel));
    writer.write(std::as_bytes(std::span(&checksum, 1)));
    writer.write(code);
    writer.commit();
  } catch (const std::exception&) {
    // Without a cache everything works, only slower to start.
  }
}

void KernelLibrary::load_module(Kernel& kernel) const {
  const DriverApi& driver = device_->driver();
  const std::string what = "loading kernel " + kernel.spec().file + ":" + kernel.spec().entry;
  device_->check(driver.module_load_data(&kernel.module_, kernel.compiled_.cubin.data()), what);
  device_->check(driver.module_get_function(&kernel.function_, kernel.module_, kernel.spec().entry.c_str()), what);
  if (device_->info().shared_bytes > kDefaultShared) {
    int fixed = 0;
    device_->check(driver.func_get_attribute(&fixed, kFunctionSharedBytes, kernel.function_), what);
    const int most = static_cast<int>(device_->info().shared_bytes) - fixed;
    device_->check(driver.func_set_attribute(kernel.function_, kFunctionMaxDynamicShared, most), what);
  }
}

}  // namespace lathe::cuda
