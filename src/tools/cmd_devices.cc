// lathe devices: what this machine offers.
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "backends/cuda/compiler/kernel_compiler.h"
#include "backends/cuda/device.h"
#include "base/cpu_features.h"
#include "build/machine_peak.h"
#include "lathe/version.h"
#include "runtime/session.h"
#include "tools/command.h"
#include "tools/table.h"
#include "tools/units.h"

namespace lathe::tools {
namespace {

// GPUs that CUDA sees, or why there are none.
nlohmann::json show_gpus(Console& console) {
  nlohmann::json gpus = nlohmann::json::array();
  try {
    int ordinal = 0;
    for (const cuda::DeviceInfo& gpu : cuda::list_devices()) {
      console.print("cuda:{:<5} {}, {}, {} multiprocessors, {} of memory{}\n", ordinal++, gpu.name, gpu.arch(),
                    gpu.multiprocessors, format_bytes(static_cast<double>(gpu.memory_bytes)),
                    gpu.usable() ? "" : " (too old: sm_80 or newer is needed)");
      gpus.push_back({{"name", gpu.name},
                      {"arch", gpu.arch()},
                      {"multiprocessors", gpu.multiprocessors},
                      {"memory_bytes", gpu.memory_bytes},
                      {"usable", gpu.usable()}});
    }
    if (ordinal == 0) console.print("cuda       the driver finds no GPU\n");
  } catch (const Error& error) {
    console.print("cuda       not usable: {}\n", error.message());
  }
  try {
    console.print("nvrtc      {} (compiles the kernels)\n", cuda::KernelCompiler("sm_80").version());
  } catch (const Error& error) {
    console.print("nvrtc      not usable: {}\n", error.message());
  }
  return gpus;
}

class DevicesCommand : public Command {
 public:
  CommandInfo info() const override {
    return {"devices",
            "More",
            "Show the devices and instruction sets of this machine",
            "",
            {{"devices", "processor, caches, kernel variants"},
             {"devices --peak", "measure what each variant can do at best"}}};
  }

  void add_options(CLI::App& app) override {
    app.add_flag("--peak", peak_, "Measure arithmetic and bandwidth, with one thread per core");
  }

  int run(Console& console) override {
    const CpuFeatures cpu = detect_cpu_features();
    const int threads = default_thread_count();
    const auto size = [](size_t bytes) {
      return bytes == 0 ? std::string("unknown") : format_bytes(static_cast<double>(bytes));
    };
    console.print("cpu        {}\ncores      {} for this process\ncaches     L1 {}, L2 {}, L3 {}\n\n",
                  cpu.name.empty() ? "unknown processor" : cpu.name, threads, size(cpu.l1d_bytes), size(cpu.l2_bytes),
                  size(cpu.l3_bytes));
    Table table(
        {{"kernels"}, {"runs here"}, {"GFLOP/s", Table::Align::right}, {"GB/s from memory", Table::Align::right}});
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
        row.push_back(format_number(peak.levels.back().gbytes_per_second));
        variant["gflops"] = peak.gflops;
        variant["memory_gbytes_per_second"] = peak.levels.back().gbytes_per_second;
      }
      table.add_row(std::move(row));
      variants.push_back(std::move(variant));
    }
    console.print("{}\n", table.render(console));
    const nlohmann::json gpus = show_gpus(console);
    console.print("reference  the slow, exact evaluator; for checking\n");
    console.result({{"devices", {"cpu", "cuda", "reference"}},
                    {"cuda", gpus},
                    {"cpu",
                     {{"name", cpu.name},
                      {"cores", threads},
                      {"best_isa", to_string(cpu.best_isa)},
                      {"variants", variants},
                      {"l1d_bytes", cpu.l1d_bytes},
                      {"l2_bytes", cpu.l2_bytes},
                      {"l3_bytes", cpu.l3_bytes}}}});
    return kExitOk;
  }

 private:
  bool peak_ = false;
};

}  // namespace

std::unique_ptr<Command> make_devices_command() { return std::make_unique<DevicesCommand>(); }

}  // namespace lathe::tools
