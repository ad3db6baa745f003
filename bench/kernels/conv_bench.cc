// The convolutions of ResNet-50 and MobileNetV2 at batch 1, run one after another as the networks do (each with its own
// weights, so that these come from memory), and timed one by one. Beside each time stands its share of the FMA peak
// that the same core reaches in the same run, and beside the sum the time that peak would need: the floor.
//
//   cpu_conv_bench [--isa generic|avx2|avx512] [--threads 1,2] [--repeats 30] [--layers]
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "backends/cpu/kernels/conv.h"
#include "backends/cpu/kernels/conv_kernels.h"
#include "base/cpu_features.h"

namespace lathe::cpu {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

struct Layer {
  std::string name;
  ConvShape shape;
  bool residual = false;
  bool nchw = false;
};

double flops(const ConvShape& s) {
  const auto volume = [](const Size3& size) { return static_cast<double>(size[0] * size[1] * size[2]); };
  return 2.0 * volume(s.output) * volume(s.kernel) * static_cast<double>(s.out_channels * s.in_channels / s.groups);
}

ConvShape square(int64_t in, int64_t out, int64_t size, int64_t kernel, int64_t stride, int64_t groups = 1) {
  ConvShape s;
  s.in_channels = in, s.out_channels = out, s.groups = groups;
  s.input = {1, size, size};
  s.kernel = {1, kernel, kernel};
  s.stride = {1, stride, stride};
  s.pad = {0, kernel / 2, kernel / 2};
  s.output = {1, (size - 1) / stride + 1, (size - 1) / stride + 1};
  return s;
}

std::vector<Layer> resnet50() {
  std::vector<Layer> layers = {{"stem 7x7/2", square(3, 64, 224, 7, 2), false, true}};
  int64_t channels = 64, size = 56;
  for (int64_t stage = 0; stage < 4; ++stage) {
    const int64_t blocks[] = {3, 4, 6, 3};
    const int64_t middle = 64 << stage;
    for (int64_t block = 0; block < blocks[stage]; ++block) {
      const int64_t stride = block == 0 && stage > 0 ? 2 : 1;
      const std::string prefix = fmt::format("{}.{} ", stage + 1, block);
      if (block == 0) layers.push_back({prefix + "shortcut", square(channels, middle * 4, size, 1, stride)});
      layers.push_back({prefix + "1x1 reduce", square(channels, middle, size, 1, 1)});
      layers.push_back({prefix + "3x3", square(middle, middle, size, 3, stride)});
      size /= stride;
      layers.push_back({prefix + "1x1 expand", square(middle, middle * 4, size, 1, 1), true});
      channels = middle * 4;
    }
  }
  return layers;
}

std::vector<Layer> mobilenet_v2() {
  struct Stage {
    int64_t expansion, channels, blocks, stride;
  };
  std::vector<Layer> layers = {{"stem 3x3/2", square(3, 32, 224, 3, 2), false, true}};
  int64_t channels = 32, size = 112, index = 0;
  for (const Stage& stage : {Stage{1, 16, 1, 1},
                             {6, 24, 2, 2},
                             {6, 32, 3, 2},
                             {6, 64, 4, 2},
                             {6, 96, 3, 1},
                             {6, 160, 3, 2},
                             {6, 320, 1, 1}}) {
    for (int64_t block = 0; block < stage.blocks; ++block, ++index) {
      const int64_t stride = block == 0 ? stage.stride : 1, hidden = channels * stage.expansion;
      const std::string prefix = fmt::format("{:2} ", index);
      if (stage.expansion != 1) layers.push_back({prefix + "expand", square(channels, hidden, size, 1, 1)});
      layers.push_back({prefix + "depthwise", square(hidden, hidden, size, 3, stride, hidden)});
      size /= stride;
      layers.push_back({prefix + "project", square(hidden, stage.channels, size, 1, 1), block > 0});
      channels = stage.channels;
    }
  }
  layers.push_back({"head 1x1", square(320, 1280, 7, 1, 1)});
  return layers;
}

// GFLOP/s of one core: the tile kernel on operands that never leave the first-level cache, where it is bound by its
// FMAs.
double measure_peak(const KernelTable& kernels) {
  constexpr int64_t kRun = 128;
  const ConvKernels& conv = kernels.conv;
  const int64_t channels = static_cast<int64_t>(conv.max_panels) * conv.vec_width;
  std::vector<float> input(static_cast<size_t>(kRun * conv.max_rows), 1.0f);
  std::vector<float> weights(static_cast<size_t>(kRun * channels), 1.0f);
  std::vector<float> out(static_cast<size_t>(conv.max_rows * channels));
  std::vector<const float*> rows;
  for (int r = 0; r < conv.max_rows; ++r) rows.push_back(input.data() + r * kRun);
  const int64_t offset = 0;
  ConvTile tile = {};
  tile.rows = conv.max_rows, tile.channels = static_cast<int>(channels), tile.segments = 1, tile.run = kRun;
  tile.inputs = rows.data(), tile.weight_offsets = &offset, tile.weights = weights.data();
  tile.panel_stride = kRun * conv.vec_width;
  tile.lower = -1e30f, tile.upper = 1e30f, tile.out = out.data(), tile.out_stride = channels;
  double best = 0;
  for (int attempt = 0; attempt < 20; ++attempt) {
    constexpr int kCalls = 1000;
    const auto start = Clock::now();
    for (int i = 0; i < kCalls; ++i) conv.tile(tile);
    const double work = 2.0 * static_cast<double>(kRun * channels) * conv.max_rows * kCalls;
    best = std::max(best, work / seconds_since(start) * 1e-9);
  }
  return best;
}

// One layer with its own weights; input and output are large buffers that all layers share.
class Step {
 public:
  Step(const Layer& layer, const KernelTable& kernels)
      : layer_(layer), packed_(static_cast<size_t>(conv_packed_size(layer.shape, conv_vec_width(kernels))), 0.01f) {}

  void run(ThreadTeam& team, const KernelTable& kernels, const float* input, float* output, std::byte* workspace) {
    ConvArgs args;
    args.input = input, args.input_nchw = layer_.nchw, args.output = output, args.workspace = workspace;
    args.weights = packed_.data();
    args.epilogue.bias = packed_.data();
    args.epilogue.residual = layer_.residual ? input : nullptr;
    args.epilogue.activation = {ActivationKind::clip, 0.0f, 6.0f};
    const auto start = Clock::now();
    conv(team, kernels, layer_.shape, args);
    times_.push_back(seconds_since(start));
  }
  const Layer& layer() const { return layer_; }
  double median() {
    std::nth_element(times_.begin(), times_.begin() + static_cast<int64_t>(times_.size() / 2), times_.end());
    return times_[times_.size() / 2];
  }

 private:
  Layer layer_;
  std::vector<float> packed_;
  std::vector<double> times_;
};

void bench(const char* name, const std::vector<Layer>& layers, const KernelTable& kernels, int threads, int repeats,
           double peak, bool print_layers) {
  ThreadTeam team(threads);
  std::vector<std::unique_ptr<Step>> steps;
  size_t workspace_bytes = 0;
  for (const Layer& layer : layers) {
    steps.push_back(std::make_unique<Step>(layer, kernels));
    workspace_bytes = std::max(workspace_bytes, conv_workspace_bytes(kernels, layer.shape, layer.nchw, threads));
  }
  constexpr size_t kActivations = 112 * 112 * 96 + 64;  // the largest of both networks
  std::vector<float> a(kActivations, 0.5f), b(kActivations, 0.5f);
  std::vector<double> workspace(workspace_bytes / sizeof(double) + 16);
  void* aligned = workspace.data();
  size_t room = workspace.size() * sizeof(double);
  std::align(64, workspace_bytes, aligned, room);
  for (int i = 0; i < repeats; ++i) {
    for (auto& step : steps) {
      step->run(team, kernels, a.data(), b.data(), static_cast<std::byte*>(aligned));
      std::swap(a, b);
    }
  }
  double total = 0, work = 0;
  for (auto& step : steps) {
    const double time = step->median(), gflop = flops(step->layer().shape) * 1e-9;
    total += time;
    work += gflop;
    if (!print_layers) continue;
    const ConvShape& s = step->layer().shape;
    fmt::print("  {:14} {:4}x{:<4} {:4} -> {:<4} {:8.1f} us {:7.1f} GFLOP/s {:4.0f} %\n", step->layer().name,
               s.output[1], s.output[2], s.in_channels, s.out_channels, time * 1e6, gflop / time,
               100 * gflop / time / (peak * threads));
  }
  fmt::print("{} {} threads {}: {:.2f} ms, floor {:.2f} ms, {:.0f} % of the FMA peak\n", name, to_string(kernels.isa),
             threads, total * 1e3, work / (peak * threads) * 1e3, 100 * work / total / (peak * threads));
}

std::vector<int> parse_list(const char* text) {
  std::vector<int> values;
  for (const char* p = text; p != nullptr; p = std::strchr(p, ',') ? std::strchr(p, ',') + 1 : nullptr) {
    values.push_back(std::atoi(p));
  }
  return values;
}

int run(int argc, char** argv) {
  Isa isa = detect_cpu_features().best_isa;
  std::vector<int> threads = {1, 2};
  int repeats = 30;
  bool layers = false;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    if (option == "--layers") {
      layers = true;
    } else if (option == "--isa" && i + 1 < argc && isa_from_string(argv[i + 1])) {
      isa = *isa_from_string(argv[++i]);
    } else if (option == "--threads" && i + 1 < argc) {
      threads = parse_list(argv[++i]);
    } else if (option == "--repeats" && i + 1 < argc) {
      repeats = std::max(1, std::atoi(argv[++i]));
    } else {
      fmt::print("usage: cpu_conv_bench [--isa generic|avx2|avx512] [--threads 1,2] [--repeats N] [--layers]\n");
      return 2;
    }
  }
  const KernelTable& kernels = kernel_table(isa);
  const double peak = measure_peak(kernels);
  fmt::print("{}: {:.1f} GFLOP/s a core\n", to_string(isa), peak);
  for (int count : threads) {
    bench("ResNet-50", resnet50(), kernels, count, repeats, peak, layers);
    bench("MobileNetV2", mobilenet_v2(), kernels, count, repeats, peak, layers);
  }
  return 0;
}

}  // namespace
}  // namespace lathe::cpu

int main(int argc, char** argv) { return lathe::cpu::run(argc, argv); }
