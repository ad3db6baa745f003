#include "tools/trtexec_flags.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"

namespace lathe::tools {
namespace {

using Options = TrtexecOptions;

[[noreturn]] void bad_value(std::string_view value, std::string_view wanted) {
  fail(ErrorCode::invalid_argument, "'{}' is not {}", value, wanted);
}

template <class Number>
Number parse_number(std::string_view text, Number least) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  // The comparison is false for NaN as well.
  if (error != std::errc() || end != text.data() + text.size() || !(number >= least))
    bad_value(text, fmt::format("a number from {} on", least));
  return number;
}

// Names may stand between single quotes.
std::string unquoted(std::string_view text) {
  std::string plain(text);
  std::erase(plain, '\'');
  return plain;
}

// "name:1x3,other:2"
std::vector<ShapeArg> parse_shapes(std::string_view text) {
  std::vector<ShapeArg> shapes;
  for (const std::string_view part : split(text, ',')) shapes.push_back(parse_shape_arg(unquoted(part)));
  return shapes;
}

template <auto Member>
void set_true(Options& options, std::string_view) {
  options.*Member = true;
}
template <auto Member>
void set_false(Options& options, std::string_view) {
  options.*Member = false;
}
template <auto Member>
void set_text(Options& options, std::string_view value) {
  options.*Member = unquoted(value);
}
template <auto Member, auto Least>
void set_number(Options& options, std::string_view value) {
  options.*Member = parse_number<std::remove_reference_t<decltype(options.*Member)>>(value, Least);
}
template <auto Member>
void set_milliseconds(Options& options, std::string_view value) {
  options.*Member = parse_number<double>(value, 0.0);
}
template <auto Member>
void set_precision(Options& options, std::string_view) {
  options.precision.*Member = true;
}
template <auto Member>
void add_shapes(Options& options, std::string_view value) {
  options.profiles.resize(std::max(options.profiles.size(), options.profile + 1));
  for (ShapeArg& shape : parse_shapes(value)) (options.profiles[options.profile].*Member).push_back(std::move(shape));
}

void set_profile(Options& options, std::string_view value) {
  options.profile = parse_number<size_t>(value, 0);
  if (options.profile >= kMaxProfiles)
    fail(ErrorCode::invalid_argument, "profile {} is out of range: there may be {}", value, kMaxProfiles);
}

void set_seconds(Options& options, std::string_view value) {
  options.seconds = value == "-1" ? 1e9 : parse_number<double>(value, 0.0);  // -1 is until Ctrl-C
}

void set_percentiles(Options& options, std::string_view value) {
  options.percentiles.clear();
  for (const std::string_view part : split(value, ',')) {
    options.percentiles.push_back(parse_number<double>(part, 0.0));
    if (options.percentiles.back() > 100) bad_value(part, "a percentage");
  }
}

void add_inputs(Options& options, std::string_view value) {
  for (const std::string_view part : split(value, ',')) {
    const size_t colon = part.rfind(':');
    if (colon == std::string_view::npos) bad_value(part, "of the form NAME:FILE");
    options.inputs.emplace_back(unquoted(part.substr(0, colon)), unquoted(part.substr(colon + 1)));
  }
}

void add_layer_types(Options& options, std::string_view value) {
  for (const std::string_view part : split(value, ',')) options.precision.layers.push_back(unquoted(part));
}

void set_calibration(Options& options, std::string_view value) { options.precision.calibration = unquoted(value); }

void set_verbosity(Options& options, std::string_view value) {
  options.detailed = value == "detailed" || value == "verbose";
}

constexpr std::string_view kModel = "Model", kBuild = "Build", kPrecision = "Precision", kRun = "Inference",
                           kReport = "Reporting", kSystem = "System", kNoEffect = "Accepted, without effect";

constexpr std::string_view kMemory = "Memory is planned from the model's sizes",
                           kTypes = "Inputs and outputs have the types and the layout that the model gives them",
                           kTactics = "Every kernel that can serve a step is timed",
                           kRefit = "Build from the other model: it takes seconds",
                           kWeights = "Weights are mapped from the plan and shared by all sessions",
                           kPortable = "A plan runs on other hardware: it is lowered again there",
                           kRuntime = "There is one runtime, this program",
                           kPlugins =
                               "TensorRT plugins do not run here; lathe inspect capability lists what is missing",
                           kInside = "lathe compare --layers compares the values inside", kDla = "There is no DLA",
                           kSafe = "There is no safety runtime",
                           kCompare = "lathe compare holds outputs against a recording",
                           kRoutes = "There is nothing to tune but kernels; --timingCacheFile keeps their times",
                           kCaffe =
                               "Caffe models are not read: convert to ONNX first (PyPI has caffe2onnx), then --onnx",
                           kUff = "UFF models are not read: convert the TensorFlow model with tf2onnx, then --onnx",
                           kOutputs = "The outputs are those of the ONNX model",
                           kCalibration = "Calibration takes the sizes of its data",
                           kSpin = "A session always waits without sleeping",
                           kSeparate = "Profiles always come from runs of their own";

// A row is: name, value, group, help, effect.
constexpr TrtexecFlag kFlags[] = {
    {"onnx", "FILE", kModel, "The ONNX model", set_text<&Options::onnx>},
    {"loadEngine", "FILE", kModel, "A plan that lathe built; TensorRT's engines cannot be read",
     set_text<&Options::load_engine>},
    {"saveEngine", "FILE", kModel, "Write the plan", set_text<&Options::save_engine>},
    {"getPlanVersionOnly", "", kModel, "Say which lathe wrote the plan of --loadEngine, and stop",
     set_true<&Options::plan_version_only>},
    {"minShapes", "NAME:DIMS,..", kModel, "Smallest sizes of a profile", add_shapes<&Options::ProfileShapes::min>},
    {"optShapes", "NAME:DIMS,..", kModel, "Usual sizes of a profile", add_shapes<&Options::ProfileShapes::opt>},
    {"maxShapes", "NAME:DIMS,..", kModel, "Largest sizes of a profile", add_shapes<&Options::ProfileShapes::max>},
    {"profile", "N", kModel, "The profile that the next --minShapes, --optShapes and --maxShapes belong to",
     set_profile},
    {"shapes", "NAME:DIMS,..", kModel, "Sizes to run with; without a profile, also those to tune for",
     [](Options& options, std::string_view value) { options.shapes = parse_shapes(value); }},
    {"batch", "N", kModel, "Size of the first axis of inputs that leave it open",
     set_number<&Options::batch, int64_t{1}>},
    {"skipInference", "", kModel, "Build, do not run", set_true<&Options::build_only>},
    {"buildOnly", "", kModel, "The same", set_true<&Options::build_only>},

    {"timingCacheFile", "FILE", kBuild, "Kernel times to use and to add to, as JSON", set_text<&Options::timing_cache>},
    {"errorOnTimingCacheMiss", "", kBuild, "Fail when a kernel has to be timed",
     set_true<&Options::timing_cache_must_hit>},
    {"builderOptimizationLevel", "0-5", kBuild, "0: time no kernels; the others are all alike (default 3)",
     set_number<&Options::optimisation_level, 0>},

    {"noTF32", "", kPrecision, "Products of f32 are exact; without it they may round to TF32 on a GPU",
     set_false<&Options::tf32>},
    {"fp16", "", kPrecision, "Use f16 where accuracy allows", set_precision<&PrecisionFlags::fp16>},
    {"bf16", "", kPrecision, "Use bf16 where accuracy allows", set_precision<&PrecisionFlags::bf16>},
    {"fp8", "", kPrecision, "Use f8 where accuracy allows", set_precision<&PrecisionFlags::fp8>},
    {"int8", "", kPrecision, "Use int8 where accuracy allows", set_precision<&PrecisionFlags::int8>},
    {"int4", "", kPrecision, "Use int4 where accuracy allows", set_precision<&PrecisionFlags::int4>},
    {"best", "", kPrecision, "Use what is fastest where accuracy allows", set_precision<&PrecisionFlags::best>},
    {"calib", "FILE", kPrecision, "Inputs to calibrate with, or a calibration cache", set_calibration},
    {"layerPrecisions", "PATTERN:TYPE,..", kPrecision, "Types of layers by name", add_layer_types},
    {"layerOutputTypes", "PATTERN:TYPE,..", kPrecision, "The same", add_layer_types},

    {"loadInputs", "NAME:FILE,..", kRun, "Raw elements of inputs, as ndarray.tofile() writes them (default: made up)",
     add_inputs},
    {"iterations", "N", kRun, "Run at least this often (default 10)", set_number<&Options::iterations, int64_t{1}>},
    {"duration", "S", kRun, "Run at least this long (default 3); -1: until Ctrl-C", set_seconds},
    {"warmUp", "MS", kRun, "Run this long before anything counts (default 200)", set_milliseconds<&Options::warmup_ms>},
    {"idleTime", "MS", kRun, "Sleep between runs (default 0)", set_milliseconds<&Options::idle_ms>},
    {"infStreams", "N", kRun, "Sessions that run at the same time (default 1)", set_number<&Options::streams, 1>},
    {"streams", "N", kRun, "The same", set_number<&Options::streams, 1>},
    {"includeDataTransfers", "", kRun, "Copy inputs and outputs in every run (the default, as in trtexec 10)",
     set_true<&Options::transfers>},
    {"noDataTransfers", "", kRun, "Leave inputs and outputs on the GPU (the default of trtexec 11)",
     set_false<&Options::transfers>},
    {"useCudaGraph", "", kRun, "Replay runs as CUDA graphs (the default, as in trtexec 11)",
     set_true<&Options::graphs>},
    {"noCudaGraph", "", kRun, "Queue every step anew", set_false<&Options::graphs>},
    {"useProfile", "N", kRun, "Without --shapes, run the usual sizes of this profile (default 0)",
     set_number<&Options::use_profile, size_t{0}>},

    {"verbose", "", kReport, "Show passes, kernels and explanations", set_true<&Options::verbose>},
    {"profilingVerbosity", "LEVEL", kReport, "layer_names_only (default), detailed or none: what layer information has",
     set_verbosity},
    {"nvtxMode", "LEVEL", kReport, "Its older name: default, verbose or none", set_verbosity},
    {"avgRuns", "N", kReport, "Runs that a line of the trace averages (default 10)",
     set_number<&Options::average_runs, 1>},
    {"percentile", "P,..", kReport, "Percentiles to show (default 90,95,99)", set_percentiles},
    {"dumpOutput", "", kReport, "Print the outputs", set_true<&Options::dump_output>},
    {"dumpRawBindingsToFile", "", kReport, "Write inputs and outputs to raw files in the current folder",
     set_true<&Options::dump_raw>},
    {"dumpProfile", "", kReport, "Print the time of every layer", set_true<&Options::dump_profile>},
    {"dumpLayerInfo", "", kReport, "Print the layers", set_true<&Options::dump_layers>},
    {"dumpOptimizationProfile", "", kReport, "Print the profiles", set_true<&Options::dump_profiles>},
    {"exportTimes", "FILE", kReport, "Write when the parts of every run happened, as JSON",
     set_text<&Options::export_times>},
    {"exportOutput", "FILE", kReport, "Write the outputs as JSON", set_text<&Options::export_output>},
    {"exportProfile", "FILE", kReport, "Write the times of the layers as JSON", set_text<&Options::export_profile>},
    {"exportLayerInfo", "FILE", kReport, "Write the layers as JSON", set_text<&Options::export_layers>},

    {"device", "N", kSystem, "Number of the GPU (default 0), or cpu", set_text<&Options::device>},

    {"workspace", "MIB", kNoEffect, kMemory},
    {"memPoolSize", "SPEC", kNoEffect, kMemory},
    {"allocationStrategy", "KIND", kNoEffect, kMemory},
    {"explicitBatch", "", kNoEffect, "An ONNX model has its batch among its sizes"},
    {"maxBatch", "N", kNoEffect, "Any batch runs"},
    {"minTiming", "N", kNoEffect, kTactics},
    {"avgTiming", "N", kNoEffect, kTactics},
    {"maxTactics", "N", kNoEffect, kTactics},
    {"tacticSources", "SPEC", kNoEffect, kTactics},
    {"tilingOptimizationLevel", "N", kNoEffect, kTactics},
    {"l2LimitForTiling", "N", kNoEffect, kTactics},
    {"preview", "SPEC", kNoEffect, "Nothing here is a preview"},
    {"directIO", "", kNoEffect, kTypes},
    {"inputIOFormats", "SPEC", kNoEffect, kTypes},
    {"outputIOFormats", "SPEC", kNoEffect, kTypes},
    {"stronglyTyped", "", kNoEffect, "Types are the model's unless a precision flag is given"},
    {"precisionConstraints", "KIND", kNoEffect, "Types of layers that are given are always obeyed"},
    {"calibProfile", "N", kNoEffect, kCalibration},
    {"minShapesCalib", "SPEC", kNoEffect, kCalibration},
    {"optShapesCalib", "SPEC", kNoEffect, kCalibration},
    {"maxShapesCalib", "SPEC", kNoEffect, kCalibration},
    {"sparsity", "KIND", kNoEffect, "There are no kernels for sparse weights"},
    {"distributiveIndependence", "", kNoEffect, "Kernels are chosen by sizes, not by rows"},
    {"decomposableAttentions", "", kNoEffect, "Attention that has no kernel is never an error"},
    {"maxAuxStreams", "N", kNoEffect, "A session is one stream"},
    {"noBuilderCache", "", kNoEffect, "Compiled kernels are kept in the user's cache folder; XDG_CACHE_HOME moves it"},
    {"noCompilationCache", "", kNoEffect,
     "Compiled kernels are kept in the user's cache folder; XDG_CACHE_HOME moves it"},
    {"refit", "", kNoEffect, kRefit},
    {"refitFromOnnx", "FILE", kNoEffect, kRefit},
    {"dumpRefit", "", kNoEffect, kRefit},
    {"timeRefit", "", kNoEffect, kRefit},
    {"stripWeights", "", kNoEffect, kWeights},
    {"stripAllWeights", "", kNoEffect, kWeights},
    {"weightless", "", kNoEffect, kWeights},
    {"allowWeightStreaming", "", kNoEffect, kWeights},
    {"weightStreamingBudget", "SPEC", kNoEffect, kWeights},
    {"versionCompatible", "", kNoEffect, kPortable},
    {"vc", "", kNoEffect, kPortable},
    {"hardwareCompatibilityLevel", "KIND", kNoEffect, kPortable},
    {"runtimePlatform", "KIND", kNoEffect, kPortable},
    {"excludeLeanRuntime", "", kNoEffect, kRuntime},
    {"leanDLLPath", "FILE", kNoEffect, kRuntime},
    {"useRuntime", "KIND", kNoEffect, kRuntime},
    {"tempdir", "DIR", kNoEffect, kRuntime},
    {"tempfileControls", "SPEC", kNoEffect, kRuntime},
    {"asyncFileReader", "", kNoEffect, "Plans are mapped"},
    {"timeDeserialize", "", kNoEffect, "The time to load a plan is always printed"},
    {"monitorMemory", "", kNoEffect, "lathe inspect shows what a model needs"},
    {"pluginInstanceNorm", "", kNoEffect, kPlugins},
    {"pi", "", kNoEffect, kPlugins},
    {"enablePluginOverride", "", kNoEffect, kPlugins},
    {"plugins", "FILE", kNoEffect, kPlugins},
    {"staticPlugins", "FILE", kNoEffect, kPlugins},
    {"dynamicPlugins", "FILE", kNoEffect, kPlugins},
    {"safetyPlugins", "FILE", kNoEffect, kPlugins},
    {"setPluginsToSerialize", "FILE", kNoEffect, kPlugins},
    {"ignoreParsedPluginLibs", "", kNoEffect, kPlugins},
    {"markDebug", "NAMES", kNoEffect, kInside},
    {"markUnfusedTensorsAsDebugTensors", "", kNoEffect, kInside},
    {"saveDebugTensors", "SPEC", kNoEffect, kInside},
    {"saveAllDebugTensors", "KINDS", kNoEffect, kInside},
    {"useDLACore", "N", kNoEffect, kDla},
    {"allowGPUFallback", "", kNoEffect, kDla},
    {"buildDLAStandalone", "", kNoEffect, kDla},
    {"reportCapabilityDLA", "", kNoEffect, kDla},
    {"adjustForDLA", "", kNoEffect, kDla},
    {"uint8AsymmetricQuantizationDLA", "", kNoEffect, kDla},
    {"layerDeviceTypes", "SPEC", kNoEffect, kDla},
    {"safe", "", kNoEffect, kSafe},
    {"std", "", kNoEffect, kSafe},
    {"serialized", "FILE", kNoEffect, kSafe},
    {"restricted", "", kNoEffect, kSafe},
    {"consistency", "", kNoEffect, kSafe},
    {"dumpKernelText", "", kNoEffect, kSafe},
    {"cpuOnly", "", kNoEffect, kSafe},
    {"remoteAutoTuningConfig", "SPEC", kNoEffect, kSafe},
    {"sleepTime", "MS", kNoEffect, "A run starts when it is queued; --idleTime sleeps between runs"},
    {"exposeDMA", "", kNoEffect, "Copies and steps of a run never overlap"},
    {"useManagedMemory", "", kNoEffect, "Memory is never managed by the driver"},
    {"useSpinWait", "", kNoEffect, kSpin},
    {"noSpinWait", "", kNoEffect, kSpin},
    {"threads", "", kNoEffect, "Every stream has a thread of its own"},
    {"separateProfileRun", "", kNoEffect, kSeparate},
    {"persistentCacheRatio", "X", kNoEffect, "The GPU decides what its cache keeps"},
    {"loadRefOutputs", "SPEC", kNoEffect, kCompare},
    {"refPair", "SPEC", kNoEffect, kCompare},
    {"accuracyAlgorithm", "KIND", kNoEffect, kCompare},
    {"accuracyThreshold", "X", kNoEffect, kCompare},
    {"atol", "X", kNoEffect, kCompare},
    {"rtol", "X", kNoEffect, kCompare},
    {"tuneBuildRoutes", "", kNoEffect, kRoutes},
    {"tuneBuildRouteFile", "FILE", kNoEffect, kRoutes},
    {"tuningSearch", "KIND", kNoEffect, kRoutes},
    {"tuningCacheFile", "FILE", kNoEffect, kRoutes},
    {"tuningResultFile", "FILE", kNoEffect, kRoutes},
    {"tuningTimeOut", "S", kNoEffect, kRoutes},
    {"saveAllEngines", "", kNoEffect, kRoutes},
    {"dryRun", "", kNoEffect, kRoutes},
    {"continue", "", kNoEffect, kRoutes},
    {"helpBuildRoute", "", kNoEffect, kRoutes},
    {"setBuildRoute", "SPEC", kNoEffect, kRoutes},
    {"deploy", "FILE", kNoEffect, kCaffe},
    {"model", "FILE", kNoEffect, kCaffe},
    {"uff", "FILE", kNoEffect, kUff},
    {"uffInput", "SPEC", kNoEffect, kUff},
    {"uffNHWC", "", kNoEffect, kUff},
    {"input", "NAME", kNoEffect, "The inputs are those of the ONNX model"},
    {"output", "NAME", kNoEffect, kOutputs},
};

// The range of one pattern: what is missing is taken from the next larger kind, else from the next smaller.
class Ranges {
 public:
  void add(const ShapeArg& shape, size_t kind) { entry(shape.pattern).dims[kind] = &shape.dims; }
  void add_args(size_t profile, std::vector<ProfileArg>& args) const {
    for (const Entry& entry : entries_) {
      const auto at = [&](size_t kind) -> const std::vector<int64_t>& {
        for (size_t larger = kind; larger < 3; ++larger)
          if (entry.dims[larger] != nullptr) return *entry.dims[larger];
        while (entry.dims[kind] == nullptr) --kind;
        return *entry.dims[kind];
      };
      args.push_back({profile, entry.pattern, {at(0), at(1), at(2)}});
      check_range(args.back().range, entry.pattern);
    }
  }

 private:
  struct Entry {
    std::string pattern;
    const std::vector<int64_t>* dims[3] = {};  // smallest, usual, largest
  };
  Entry& entry(const std::string& pattern) {
    const auto found =
        std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.pattern == pattern; });
    if (found != entries_.end()) return *found;
    return entries_.emplace_back(Entry{pattern, {}});
  }

  std::vector<Entry> entries_;
};

}  // namespace

std::span<const TrtexecFlag> trtexec_flags() { return kFlags; }

std::vector<ProfileArg> profile_args(const TrtexecOptions& options) {
  std::vector<ProfileArg> args;
  for (size_t i = 0; i < options.profiles.size(); ++i) {
    Ranges ranges;
    const TrtexecOptions::ProfileShapes& shapes = options.profiles[i];
    for (const auto& [list, kind] : {std::pair{&shapes.min, 0}, std::pair{&shapes.opt, 1}, std::pair{&shapes.max, 2}})
      for (const ShapeArg& shape : *list) ranges.add(shape, static_cast<size_t>(kind));
    ranges.add_args(i, args);
  }
  if (args.empty())
    for (const ShapeArg& shape : options.shapes)
      args.push_back({0, shape.pattern, {shape.dims, shape.dims, shape.dims}});
  return args;
}

}  // namespace lathe::tools
