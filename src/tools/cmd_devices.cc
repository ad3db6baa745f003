// lathe devices: what this machine offers.
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "backends/cuda/device.h"
#include "backends/cuda/gpu_peak.h"
#include "backends/cuda/survey.h"
#include "base/cpu_features.h"
#include "base/error.h"
#include "build/machine_peak.h"
#include "lathe/version.h"
#include "runtime/session.h"
#include "tools/command.h"
#include "tools/table.h"
#include "tools/units.h"

namespace lathe::tools {
namespace {

nlohmann::json show_peak(int ordinal, Console& console) {
  const cuda::GpuPeak peak = cuda::measure_gpu_peak(ordinal);
  nlohmann::json rates = nlohmann::json::object();
  std::string line = fmt::format("{} GB/s", format_number(peak.gbytes_per_second));
  for (const cuda::GpuPeak::Rate& rate : peak.matrix) {
    line += rate.problem.empty() ? fmt::format(", {} {} TFLOP/s", rate.name, format_number(rate.tflops))
                                 : fmt::format(", {} not measured", rate.name);
    rates[std::string(rate.name)] =
        rate.problem.empty() ? nlohmann::json(rate.tflops) : nlohmann::json({{"problem", rate.problem}});
  }
  console.print("           {}\n", line);
  return {{"gbytes_per_second", peak.gbytes_per_second}, {"tflops", rates}};
}

// GPUs that CUDA sees; none without a driver.
nlohmann::json show_gpus(bool with_peak, Console& console) {
  nlohmann::json gpus = nlohmann::json::array();
  std::vector<cuda::DeviceInfo> devices;
  try {
    devices = cuda::list_devices();
  } catch (const Error& error) {
    console.print("cuda       no GPU can be used: {}\n", error.what());
    return gpus;
  }
  if (devices.empty()) console.print("cuda       the driver finds no GPU\n");
  for (int ordinal = 0; const cuda::DeviceInfo& gpu : devices) {
    console.print("cuda:{:<5} {}, {}, {} multiprocessors, {} of memory{}\n", ordinal, gpu.name, gpu.arch(),
                  gpu.multiprocessors, format_bytes(static_cast<double>(gpu.memory_bytes)),
                  gpu.usable() ? "" : " (too old: sm_80 or newer is needed)");
    nlohmann::json entry = {{"name", gpu.name},
                            {"arch", gpu.arch()},
                            {"multiprocessors", gpu.multiprocessors},
                            {"memory_bytes", gpu.memory_bytes},
                            {"usable", gpu.usable()}};
    if (with_peak && gpu.usable()) entry["peak"] = show_peak(ordinal, console);
    gpus.push_back(std::move(entry));
    ++ordinal;
  }
  return gpus;
}

nlohmann::json show_libraries(Console& console) {
  Table table({{"library"}, {"version"}, {"for"}, {"what to do", Table::Align::left, 110}});
  nlohmann::json list = nlohmann::json::array();
  for (const cuda::LibraryReport& library : cuda::survey_libraries()) {
    table.add_row({std::string(library.name), library.usable() ? library.version : "missing",
                   std::string(library.purpose) + (library.required ? "" : " (optional)"), library.remedy});
    list.push_back({{"name", library.name},
                    {"version", library.version},
                    {"usable", library.usable()},
                    {"required", library.required},
                    {"purpose", library.purpose},
                    {"problem", library.problem},
                    {"remedy", library.remedy}});
  }
  console.print("\n{}", table.render(console));
  return list;
}

// The matrix tiles that products use on this machine.
std::string describe_tiles(const CpuFeatures& cpu) {
  if (!cpu.amx_bf16 && !cpu.amx_int8) return "none (AMX)";
  if (!request_tiles()) return "AMX, which the operating system refuses to this process";
  const std::string_view types = !cpu.amx_int8 ? "bf16" : !cpu.amx_bf16 ? "bytes" : "bf16 and bytes";
  return fmt::format("AMX, used for products of {}", types);
}

class DevicesCommand : public Command {
 public:
  CommandInfo info() const override {
    return {"devices",
            "More",
            "Show the devices of this machine, and what they lack",
            "Peaks are measured: on the CPU multiply-adds of f32 and of bytes in vectors, and reading from memory; on "
            "a GPU products of matrices by "
            "cuBLASLt and copying in its memory.",
            {{"devices", "processor, kernel variants, GPUs, NVIDIA's libraries"},
             {"devices --peak", "measure what each can do at best"}}};
  }

  void add_options(CLI::App& app) override {
    app.add_flag("--peak", peak_, "Measure arithmetic and bandwidth; on the CPU with one thread per core");
  }

  int run(Console& console) override {
    const CpuFeatures cpu = detect_cpu_features();
    const int threads = default_thread_count();
    const auto size = [](size_t bytes) {
      return bytes == 0 ? std::string("unknown") : format_bytes(static_cast<double>(bytes));
    };
    console.print("cpu        {}\ncores      {} for this process\ncaches     L1 {}, L2 {}, L3 {}\ntiles      {}\n\n",
                  cpu.name.empty() ? "unknown processor" : cpu.name, threads, size(cpu.l1d_bytes), size(cpu.l2_bytes),
                  size(cpu.l3_bytes), describe_tiles(cpu));
    const nlohmann::json variants = show_variants(cpu, threads, console);
    const nlohmann::json gpus = show_gpus(peak_, console);
    console.print("reference  the slow, exact evaluator; for checking\n");
    const nlohmann::json libraries = show_libraries(console);
    if (!peak_) console.print("\n`lathe devices --peak` measures what each can do.\n");
    console.result({{"devices", {"cpu", "cuda", "reference"}},
                    {"cuda", gpus},
                    {"libraries", libraries},
                    {"cpu",
                     {{"name", cpu.name},
                      {"cores", threads},
                      {"best_isa", to_string(cpu.best_isa)},
                      {"variants", variants},
                      {"amx_bf16", cpu.amx_bf16},
                      {"amx_int8", cpu.amx_int8},
                      {"l1d_bytes", cpu.l1d_bytes},
                      {"l2_bytes", cpu.l2_bytes},
                      {"l3_bytes", cpu.l3_bytes}}}});
    return kExitOk;
  }

 private:
  // The kernels that are built, and what this machine can do with each.
  nlohmann::json show_variants(const CpuFeatures& cpu, int threads, Console& console) const {
    std::vector<Table::Column> columns = {{"kernels"}, {"runs here"}};
    if (peak_)
      for (const char* name : {"f32 GFLOP/s", "int8 Gop/s", "GB/s from memory"})
        columns.push_back({name, Table::Align::right});
    Table table(std::move(columns));
    nlohmann::json variants = nlohmann::json::array();
    for (const std::string_view name : build_info().isas) {
      const auto isa = isa_from_string(name);
      const bool available = isa && *isa <= cpu.best_isa;
      nlohmann::json variant = {{"isa", name}, {"available", available}};
      std::vector<std::string> row = {std::string(name), !available             ? "no"
                                                         : *isa == cpu.best_isa ? "yes, the default"
                                                                                : "yes"};
      if (peak_ && available) {
        const MachinePeak peak = measure_machine_peak(*isa, threads);
        row.push_back(format_number(peak.gflops));
        row.push_back(format_number(peak.byte_gops));
        row.push_back(format_number(peak.levels.back().gbytes_per_second));
        variant["gflops"] = peak.gflops;
        variant["int8_gops"] = peak.byte_gops;
        variant["memory_gbytes_per_second"] = peak.levels.back().gbytes_per_second;
      }
      table.add_row(std::move(row));
      variants.push_back(std::move(variant));
    }
    console.print("{}\n", table.render(console));
    return variants;
  }

  bool peak_ = false;
};

}  // namespace

std::unique_ptr<Command> make_devices_command() { return std::make_unique<DevicesCommand>(); }

}  // namespace lathe::tools
