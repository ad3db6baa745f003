// The flags of trtexec, of its versions 8 to 11, as one table: what each takes, what it sets here, or why it sets
// nothing. The command's parser, its help and its completion are made from the table; docs/trtexec.md is its text for
// people who come from there.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/shape_args.h"

namespace lathe::tools {

// Numbers that the model may be built in besides f32, and what keeps it accurate.
struct PrecisionFlags {
  bool fp16 = false, bf16 = false, fp8 = false, int8 = false, int4 = false, best = false;
  std::string calibration;          // file of --calib
  std::vector<std::string> layers;  // "PATTERN:TYPE", of --layerPrecisions and --layerOutputTypes

  bool any() const { return fp16 || bf16 || fp8 || int8 || int4 || best; }
};

struct TrtexecOptions {
  std::string onnx, save_engine, load_engine;
  bool build_only = false, plan_version_only = false;
  int64_t batch = 0;  // of models whose first axis is free; 0: not given

  // By input patterns; a profile has a range where any of the three is given.
  struct ProfileShapes {
    std::vector<ShapeArg> min, opt, max;
  };
  std::vector<ProfileShapes> profiles;
  size_t profile = 0;  // that --minShapes and its like speak of
  std::vector<ShapeArg> shapes;

  PrecisionFlags precision;
  bool tf32 = true;  // as in trtexec
  int optimisation_level = 3;
  std::string timing_cache;
  bool timing_cache_must_hit = false;

  std::vector<std::pair<std::string, std::string>> inputs;  // name and file of raw elements
  int64_t iterations = 10;
  double warmup_ms = 200, seconds = 3, idle_ms = 0;
  int streams = 1;
  bool transfers = true, graphs = true;
  size_t use_profile = 0;

  bool verbose = false, detailed = false;
  int average_runs = 10;
  std::vector<double> percentiles = {90, 95, 99};
  bool dump_output = false, dump_raw = false, dump_profile = false, dump_layers = false, dump_profiles = false;
  std::string export_times, export_output, export_profile, export_layers;

  std::string device = "0";  // number of the GPU, or "cpu"
};

struct TrtexecFlag {
  std::string_view name;   // without dashes
  std::string_view value;  // what it takes, as help shows it; empty for a switch
  std::string_view group;  // heading in help
  std::string_view help;   // what it does, or why it does nothing
  // Throws Error(invalid_argument) for a value that it cannot take. Null: the flag is accepted and has no effect.
  void (*set)(TrtexecOptions& options, std::string_view value) = nullptr;
};

std::span<const TrtexecFlag> trtexec_flags();

// The ranges of all profiles as `lathe build --profile` gives them: a size that is not given is that of the next larger
// kind, else of the next smaller. Without any profile, `shapes` make one.
std::vector<ProfileArg> profile_args(const TrtexecOptions& options);

}  // namespace lathe::tools
