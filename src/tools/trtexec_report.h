// What trtexec tells about a run, in the form that scripts parse: lines of its log, and its JSON files. Everything here
// makes text from numbers; the command decides what is told.
#pragma once

#include <fmt/core.h>

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "runtime/engine.h"
#include "tools/benchmark.h"
#include "tools/console.h"
#include "tools/trtexec_flags.h"

namespace lathe::tools {

// Lines with a time and a letter in front. Warnings go to stderr, all else to stdout.
class TrtexecLog {
 public:
  TrtexecLog(Console& console, bool verbose) : console_(console), verbose_(verbose) {}

  void info(std::string_view line) const { console_.print("{}[I] {}\n", stamp(), line); }
  void info(const std::vector<std::string>& lines) const {
    for (const std::string& line : lines) info(line);
  }
  void warning(std::string_view line) const { console_.note("{}[W] {}", stamp(), line); }
  void verbose(std::string_view line) const {
    if (verbose_) console_.print("{}[V] {}\n", stamp(), line);
  }

 private:
  static std::string stamp();  // "[11/21/2026-07:30:00] "

  Console& console_;
  const bool verbose_;
};

// "Warmup completed ..", the averages of the trace and the performance summary.
std::vector<std::string> performance_lines(const Measurement& measured, const TrtexecOptions& options);
// What keeps the GPU waiting, if anything does.
std::vector<std::string> performance_warnings(const Measurement& measured);
std::vector<std::string> explanation_lines();

// Samples of a layer, a number for each run.
struct LayerTimes {
  std::string name;
  std::vector<double> milliseconds;
};
std::vector<std::string> profile_lines(const std::vector<LayerTimes>& layers);
std::vector<std::string> layer_lines(const Engine& engine, bool detailed);
std::vector<std::string> tensor_lines(const Tensors& tensors);

nlohmann::json times_json(const Measurement& measured);
nlohmann::json profile_json(const std::vector<LayerTimes>& layers);
nlohmann::json layers_json(const Engine& engine, const std::vector<Profile>& profiles, bool detailed);
nlohmann::json tensors_json(const Tensors& tensors);

// "images.input.1.3.224.224.Float.raw"
std::string raw_file_name(std::string_view name, std::string_view direction, const Tensor& tensor);

}  // namespace lathe::tools
