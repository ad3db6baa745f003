// lathe devices: what this machine offers.
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/cpu_features.h"
#include "build/machine_peak.h"
#include "lathe/version.h"
#include "runtime/session.h"
#include "tools/command.h"
#include "tools/table.h"
#include "tools/units.h"

namespace lathe::tools {
namespace {

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
    console.print("{}\nreference  the slow, exact evaluator; for checking\n", table.render(console));
    console.result({{"devices", {"cpu", "reference"}},
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
