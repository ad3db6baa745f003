#include "tools/device_peak.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/cpu_features.h"
#include "tools/units.h"

namespace lathe::tools {
namespace {

std::variant<MachinePeak, cuda::GpuPeak> measure(const ModelOptions& options) {
  if (const auto ordinal = cuda_ordinal(options.device)) return cuda::measure_gpu_peak(*ordinal);
  const Isa isa = options.compile_options().isa.value_or(detect_cpu_features().best_isa);
  return measure_machine_peak(isa, options.thread_count());
}

double floor_of(const MachinePeak& peak, const Cost& cost, DType) { return peak.floor_seconds(cost.flops, cost.bytes); }

double floor_of(const cuda::GpuPeak& peak, const Cost& cost, DType type) {
  const double tflops = peak.tflops(type);  // 0 where it could not be measured: traffic alone counts then
  return std::max(tflops > 0 ? cost.flops / (tflops * 1e12) : 0, cost.bytes / (peak.gbytes_per_second * 1e9));
}

std::string text_of(const MachinePeak& peak) {
  std::string text =
      fmt::format("measured peak of this machine with these threads: {} GFLOP/s", format_number(peak.gflops));
  for (const MachinePeak::Level& level : peak.levels)
    text += fmt::format(", {} GB/s up to {}", format_number(level.gbytes_per_second),
                        format_bytes(static_cast<double>(level.bytes)));
  return text;
}

std::string text_of(const cuda::GpuPeak& peak) {
  std::string text = fmt::format("measured peak of this GPU: {} GB/s", format_number(peak.gbytes_per_second));
  for (const cuda::GpuPeak::Rate& rate : peak.matrix)
    if (rate.tflops > 0) text += fmt::format(", {} {} TFLOP/s", rate.name, format_number(rate.tflops));
  return text;
}

nlohmann::json json_of(const MachinePeak& peak) {
  nlohmann::json levels = nlohmann::json::array();
  for (const MachinePeak::Level& level : peak.levels)
    levels.push_back({{"bytes", level.bytes}, {"gbytes_per_second", level.gbytes_per_second}});
  return {{"gflops", peak.gflops}, {"read_levels", std::move(levels)}};
}

nlohmann::json json_of(const cuda::GpuPeak& peak) {
  nlohmann::json rates = nlohmann::json::object();
  for (const cuda::GpuPeak::Rate& rate : peak.matrix) rates[std::string(rate.name)] = rate.tflops;
  return {{"gbytes_per_second", peak.gbytes_per_second}, {"tflops", std::move(rates)}};
}

}  // namespace

DevicePeak::DevicePeak(const ModelOptions& options) : peak_(measure(options)) {}

double DevicePeak::floor_seconds(const Cost& cost, DType type) const {
  return std::visit([&](const auto& peak) { return floor_of(peak, cost, type); }, peak_);
}

std::string DevicePeak::describe() const {
  return std::visit([](const auto& peak) { return text_of(peak); }, peak_);
}

nlohmann::json DevicePeak::json() const {
  return std::visit([](const auto& peak) { return json_of(peak); }, peak_);
}

}  // namespace lathe::tools
