// Convolution against loops in double precision, for every shape class and every instruction set of this machine.
#include "backends/cpu/kernels/conv.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/error.h"
#include "tests/backends/cpu/reference_data.h"

namespace lathe::cpu {
namespace {

int64_t conv_output_size(int64_t input, int64_t kernel, int64_t stride, int64_t dilation, int64_t pad_begin,
                         int64_t pad_end) {
  const int64_t room = input + pad_begin + pad_end - (dilation * (kernel - 1) + 1);
  return room < 0 ? 0 : room / stride + 1;
}

int64_t conv_transpose_output_size(int64_t input, int64_t kernel, int64_t stride, int64_t dilation, int64_t pad_begin,
                                   int64_t pad_end, int64_t output_padding) {
  return stride * (input - 1) + output_padding + dilation * (kernel - 1) + 1 - pad_begin - pad_end;
}

int64_t volume(const Size3& size) { return size[0] * size[1] * size[2]; }

int64_t weight_count(const ConvShape& s) { return s.in_channels * s.out_channels / s.groups * volume(s.kernel); }

// Output index of a tap, or the input index that it reads; both definitions are ONNX's own.
template <class Visit>
void for_each_product(const ConvShape& s, Visit visit) {
  const int64_t in_group = s.in_channels / s.groups, out_group = s.out_channels / s.groups, taps = volume(s.kernel);
  for (int64_t n = 0; n < s.batch; ++n)
    for (int64_t pixel = 0; pixel < volume(s.transposed ? s.input : s.output); ++pixel)
      for (int64_t tap = 0; tap < taps; ++tap) {
        // `near` is the position that the loop walks over, `far` the one that stride and dilation lead to.
        const Size3& near_size = s.transposed ? s.input : s.output;
        const Size3& far_size = s.transposed ? s.output : s.input;
        const Size3 near = {pixel / near_size[2] / near_size[1], pixel / near_size[2] % near_size[1],
                            pixel % near_size[2]};
        const Size3 k = {tap / s.kernel[2] / s.kernel[1], tap / s.kernel[2] % s.kernel[1], tap % s.kernel[2]};
        int64_t far = 0;
        bool inside = true;
        for (size_t axis = 0; axis < 3; ++axis) {
          const int64_t at = near[axis] * s.stride[axis] + k[axis] * s.dilation[axis] - s.pad[axis];
          inside = inside && at >= 0 && at < far_size[axis];
          far = far * far_size[axis] + at;
        }
        if (!inside) continue;
        const int64_t in_pixel = n * volume(s.input) + (s.transposed ? pixel : far);
        const int64_t out_pixel = n * volume(s.output) + (s.transposed ? far : pixel);
        for (int64_t g = 0; g < s.groups; ++g)
          for (int64_t o = 0; o < out_group; ++o)
            for (int64_t i = 0; i < in_group; ++i) {
              const int64_t weight = s.transposed ? ((g * in_group + i) * out_group + o) * taps + tap
                                                  : ((g * out_group + o) * in_group + i) * taps + tap;
              visit(in_pixel, g * in_group + i, out_pixel, g * out_group + o, weight);
            }
      }
}

double activated(double x, Activation activation) {
  switch (activation.kind) {
    case ActivationKind::relu: return std::max(x, 0.0);
    case ActivationKind::clip: return std::clamp<double>(x, activation.a, activation.b);
    case ActivationKind::silu: return x / (1 + std::exp(-x));
    default: return x;
  }
}

struct Case {
  std::string name;
  ConvShape shape;
  bool nchw = false, bias = true, residual = false, residual_after_activation = false;
  Activation activation = {};
  int64_t input_gap = 0, output_gap = 0;
};

ConvShape shape2d(int64_t batch, int64_t in, int64_t out, int64_t size, int64_t kernel, int64_t stride, int64_t pad,
                  int64_t groups = 1, int64_t dilation = 1) {
  ConvShape s;
  s.batch = batch, s.groups = groups, s.in_channels = in, s.out_channels = out;
  s.input = {1, size, size + 2};
  s.kernel = {1, kernel, kernel};
  s.stride = {1, stride, stride};
  s.dilation = {1, dilation, dilation};
  s.pad = {0, pad, pad};
  for (size_t axis = 1; axis < 3; ++axis) {
    s.output[axis] = conv_output_size(s.input[axis], kernel, stride, dilation, pad, pad);
  }
  return s;
}

ConvShape transposed2d(int64_t in, int64_t out, int64_t size, int64_t kernel, int64_t stride, int64_t pad,
                       int64_t groups = 1, int64_t dilation = 1, int64_t output_padding = 0) {
  ConvShape s = shape2d(2, in, out, size, kernel, stride, pad, groups, dilation);
  s.transposed = true;
  for (size_t axis = 1; axis < 3; ++axis) {
    s.output[axis] = conv_transpose_output_size(s.input[axis], kernel, stride, dilation, pad, pad, output_padding);
  }
  return s;
}

ConvShape shape3d(bool transposed, int64_t groups) {
  ConvShape s;
  s.transposed = transposed;
  s.batch = 2, s.groups = groups, s.in_channels = 6, s.out_channels = 9;
  s.groups = groups;
  s.input = {4, 5, 6};
  s.kernel = {2, 3, 3};
  s.stride = {2, 1, 2};
  s.dilation = {1, 2, 1};
  s.pad = {1, 0, 1};
  for (size_t axis = 0; axis < 3; ++axis) {
    s.output[axis] =
        transposed ? conv_transpose_output_size(s.input[axis], s.kernel[axis], s.stride[axis], s.dilation[axis],
                                                s.pad[axis], 1, 0)
                   : conv_output_size(s.input[axis], s.kernel[axis], s.stride[axis], s.dilation[axis], s.pad[axis], 1);
  }
  return s;
}

ConvShape with_odd_pads(ConvShape s) {  // more before than after, and a crop
  s.pad = {0, 2, -1};
  s.output[1] = conv_output_size(s.input[1], s.kernel[1], s.stride[1], s.dilation[1], 2, 0);
  s.output[2] = conv_output_size(s.input[2], s.kernel[2], s.stride[2], s.dilation[2], -1, 3);
  return s;
}

std::vector<Case> all_cases() {
  const Activation relu = {ActivationKind::relu}, relu6 = {ActivationKind::clip, 0.0f, 6.0f};
  const Activation silu = {ActivationKind::silu, 1.0f};
  std::vector<Case> cases = {
      {"pointwise", shape2d(1, 64, 96, 7, 1, 1, 0)},
      {"pointwise_ragged", shape2d(2, 13, 37, 5, 1, 1, 0), false, true, true, false, relu},
      {"pointwise_stride2", shape2d(2, 24, 17, 9, 1, 2, 0), false, false},
      {"pointwise_padded", shape2d(1, 20, 8, 4, 1, 1, 1)},
      {"k3", shape2d(1, 32, 48, 14, 3, 1, 1), false, true, true, false, relu},
      {"k3_one_channel_out", shape2d(1, 33, 1, 6, 3, 1, 1)},
      {"k3_stride2", shape2d(2, 17, 33, 11, 3, 2, 1), false, true, false, false, relu6},
      {"k3_dilated", shape2d(1, 16, 16, 9, 3, 1, 2, 1, 2), false, true, true, true, silu},
      {"k3_odd_pads", with_odd_pads(shape2d(2, 19, 21, 8, 3, 1, 1))},
      {"k3_gaps", shape2d(1, 16, 40, 6, 3, 1, 1), false, true, true, false, {}, 5, 3},
      {"k5_even_kernel", shape2d(1, 18, 20, 9, 4, 3, 1), false, true, true, true, relu},
      {"kernel_as_large_as_input", shape2d(1, 16, 32, 5, 5, 1, 0)},
      {"window_outside", shape2d(1, 16, 16, 1, 3, 1, 3)},
      {"picture", shape2d(1, 3, 64, 30, 7, 2, 3), false, true, false, false, relu},
      {"picture_nchw", shape2d(2, 3, 24, 21, 7, 2, 3), true, true, false, false, relu},
      {"one_channel_nchw", shape2d(1, 1, 20, 28, 5, 1, 2), true},
      {"many_channels_nchw", with_odd_pads(shape2d(2, 21, 20, 9, 3, 2, 1)), true},
      {"picture_dilated", shape2d(1, 3, 16, 12, 3, 1, 2, 1, 2)},
      {"grouped", shape2d(2, 24, 36, 8, 3, 1, 1, 3), false, true, true, false, silu},
      {"grouped_by_two", shape2d(1, 32, 32, 6, 3, 2, 1, 16)},
      {"depthwise", shape2d(2, 48, 48, 14, 3, 1, 1, 48), false, true, false, false, relu6},
      {"depthwise_stride2", shape2d(1, 37, 37, 15, 3, 2, 1, 37), false, true, true, false, relu},
      {"depthwise_k5", shape2d(1, 24, 24, 13, 5, 1, 2, 24), false, false, true, true, silu},
      {"depthwise_k5_stride2", shape2d(1, 16, 16, 12, 5, 2, 2, 16)},
      {"depthwise_k7_dilated", shape2d(1, 20, 20, 17, 7, 1, 6, 20, 2)},
      {"depthwise_narrow", shape2d(1, 32, 32, 1, 3, 1, 1, 32)},
      {"depthwise_odd_pads", with_odd_pads(shape2d(2, 19, 19, 8, 3, 1, 1, 19))},
      {"depthwise_gaps", shape2d(1, 20, 20, 9, 3, 1, 1, 20), false, true, true, false, {}, 4, 7},
      {"depthwise_multiplier", shape2d(2, 5, 15, 9, 3, 2, 1, 5), false, true, true, false, relu},
      {"transposed_k2_stride2", transposed2d(16, 24, 7, 2, 2, 0), false, true, true, false, relu},
      {"transposed_k4_stride2", transposed2d(18, 10, 6, 4, 2, 1)},
      {"transposed_k3_output_padding", transposed2d(9, 20, 5, 3, 2, 1, 1, 1, 1), false, true, true, true, silu},
      {"transposed_stride3_gap_taps", transposed2d(8, 8, 4, 2, 3, 0)},
      {"transposed_grouped", transposed2d(12, 18, 5, 3, 2, 1, 3)},
      {"transposed_dilated", transposed2d(7, 6, 5, 3, 2, 2, 1, 2)},
      {"k3_3d", shape3d(false, 1), false, true, true, false, relu},
      {"k3_3d_grouped", shape3d(false, 3)},
      {"transposed_3d", shape3d(true, 1)},
      {"transposed_3d_grouped", shape3d(true, 3)},
  };
  ConvShape line = shape2d(2, 40, 24, 1, 3, 1, 1);  // 1-D
  line.input = {1, 1, 50}, line.kernel = {1, 1, 3}, line.pad = {0, 0, 1}, line.output = {1, 1, 50};
  cases.push_back({"line", line, false, true, false, false, relu});
  ConvShape depthwise_3d = shape3d(false, 1);
  depthwise_3d.groups = depthwise_3d.in_channels = depthwise_3d.out_channels = 6;
  cases.push_back({"depthwise_3d", depthwise_3d});
  return cases;
}

struct Operands {
  std::vector<float> input, weights, bias, residual;
  explicit Operands(const ConvShape& s)
      : input(random_floats(s.batch * volume(s.input) * s.in_channels, 1)),
        weights(random_floats(weight_count(s), 2)),
        bias(random_floats(s.out_channels, 3)),
        residual(random_floats(s.batch * volume(s.output) * s.out_channels, 4)) {}
};

std::vector<double> expected(const Case& c, const Operands& operands) {
  const ConvShape& s = c.shape;
  std::vector<double> out(static_cast<size_t>(s.batch * volume(s.output) * s.out_channels), 0.0);
  const auto at = [](int64_t pixel, int64_t channels, int64_t channel) {
    return static_cast<size_t>(pixel * channels + channel);
  };
  for_each_product(s, [&](int64_t in_pixel, int64_t i, int64_t out_pixel, int64_t o, int64_t weight) {
    out[at(out_pixel, s.out_channels, o)] += static_cast<double>(operands.input[at(in_pixel, s.in_channels, i)]) *
                                             operands.weights[static_cast<size_t>(weight)];
  });
  for (size_t i = 0; i < out.size(); ++i) {
    const double residual = c.residual ? operands.residual[i] : 0.0;
    out[i] += c.bias ? operands.bias[i % static_cast<size_t>(s.out_channels)] : 0.0;
    out[i] = c.residual_after_activation ? activated(out[i], c.activation) + residual
                                         : activated(out[i] + residual, c.activation);
  }
  return out;
}

// Rows of `channels` values followed by a gap of NaN, which must be neither used nor overwritten.
std::vector<float> with_gaps(const std::vector<float>& dense, int64_t channels, int64_t gap) {
  std::vector<float> out;
  for (size_t i = 0; i < dense.size(); ++i) {
    out.push_back(dense[i]);
    if ((static_cast<int64_t>(i) + 1) % channels == 0) {
      out.insert(out.end(), static_cast<size_t>(gap), std::numeric_limits<float>::quiet_NaN());
    }
  }
  return out;
}

std::vector<float> to_nchw(const std::vector<float>& nhwc, int64_t batch, int64_t pixels, int64_t channels) {
  std::vector<float> out(nhwc.size());
  for (int64_t n = 0; n < batch; ++n)
    for (int64_t p = 0; p < pixels; ++p)
      for (int64_t c = 0; c < channels; ++c)
        out[static_cast<size_t>((n * channels + c) * pixels + p)] =
            nhwc[static_cast<size_t>((n * pixels + p) * channels + c)];
  return out;
}

std::vector<std::byte> aligned_workspace(size_t bytes) { return std::vector<std::byte>(bytes + 64, std::byte{0xff}); }
std::byte* align(std::vector<std::byte>& memory) {
  return reinterpret_cast<std::byte*>((reinterpret_cast<uintptr_t>(memory.data()) + 63) / 64 * 64);
}

void check_case(const Case& c, const KernelTable& kernels, int threads) {
  const ConvShape& s = c.shape;
  check_conv_shape(s);
  const Operands operands(s);
  const int64_t input_stride = s.in_channels + c.input_gap, output_stride = s.out_channels + c.output_gap;
  const std::vector<float> input = c.nchw ? to_nchw(operands.input, s.batch, volume(s.input), s.in_channels)
                                          : with_gaps(operands.input, s.in_channels, c.input_gap);
  const std::vector<float> residual = with_gaps(operands.residual, s.out_channels, c.output_gap);
  const int vec_width = conv_vec_width(kernels);
  std::vector<float> packed(static_cast<size_t>(conv_packed_size(s, vec_width)), -7.0f);
  conv_pack_weights(s, vec_width, operands.weights.data(), packed.data());
  std::vector<float> out(residual.size(), -7.0f);
  ThreadTeam team(threads);
  auto workspace = aligned_workspace(conv_workspace_bytes(kernels, s, c.nchw, threads));
  ConvArgs args;
  args.input = input.data(), args.input_nchw = c.nchw, args.input_stride = input_stride;
  args.weights = packed.data();
  args.output = out.data(), args.output_stride = output_stride;
  args.workspace = align(workspace);
  args.epilogue.bias = c.bias ? operands.bias.data() : nullptr;
  args.epilogue.residual = c.residual ? residual.data() : nullptr;
  args.epilogue.residual_stride = output_stride;
  args.epilogue.residual_after_activation = c.residual_after_activation;
  args.epilogue.activation = c.activation;
  conv(team, kernels, s, args);
  const std::vector<double> want = expected(c, operands);
  const double tolerance = 2e-6 * static_cast<double>(s.in_channels / s.groups * volume(s.kernel) + 4);
  for (int64_t i = 0; i < static_cast<int64_t>(out.size()); ++i) {
    const int64_t pixel = i / output_stride, channel = i % output_stride;
    const double expect = channel < s.out_channels ? want[static_cast<size_t>(pixel * s.out_channels + channel)] : -7.0;
    ASSERT_NEAR(out[static_cast<size_t>(i)], expect, tolerance) << "pixel " << pixel << " channel " << channel;
  }
}

class ConvTest : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (GetParam() > detect_cpu_features().best_isa) GTEST_SKIP() << "not on this machine";
  }
  const KernelTable& kernels() const { return kernel_table(GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(Isa, ConvTest, testing::Values(Isa::generic, Isa::avx2, Isa::avx512),
                         [](const auto& instance) { return std::string(to_string(instance.param)); });

TEST_P(ConvTest, MatchesLoopsInDouble) {
  for (const Case& c : all_cases()) {
    for (int threads : {1, 2, 3}) {
      SCOPED_TRACE(c.name + ", threads " + std::to_string(threads));
      check_case(c, kernels(), threads);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(ConvTest, EverySmallSizeOfChannelsAndPixels) {
  for (int64_t channels : {1, 2, 3, 5, 8, 15, 16, 17, 31, 32, 33, 63, 65}) {
    for (int64_t size : {1, 2, 3, 5}) {
      Case c = {"", shape2d(1, channels, 66 - channels, size, 3, 1, 1)};
      SCOPED_TRACE("channels " + std::to_string(channels) + ", size " + std::to_string(size));
      check_case(c, kernels(), 2);
      c.shape = shape2d(1, channels, channels, size, 3, 1, 1, channels);
      check_case(c, kernels(), 2);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(ConvTest, NothingToDoWritesNothing) {
  ThreadTeam team(2);
  ConvShape no_batch = shape2d(0, 16, 16, 5, 3, 1, 1);
  conv(team, kernels(), no_batch, {});
  ConvShape no_output = shape2d(1, 16, 16, 5, 3, 1, 1);
  no_output.output[1] = 0;
  conv(team, kernels(), no_output, {});
}

TEST_P(ConvTest, NoInputChannelsGiveTheBias) {
  Case c = {"", shape2d(1, 0, 5, 3, 3, 1, 1)};
  check_case(c, kernels(), 2);
}

TEST_P(ConvTest, NanPassesClamping) {
  ConvShape s = shape2d(1, 16, 16, 3, 1, 1, 0);
  std::vector<float> input(static_cast<size_t>(volume(s.input) * 16), 1.0f), out(input.size());
  input[0] = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> packed(static_cast<size_t>(conv_packed_size(s, conv_vec_width(kernels()))), 1.0f);
  ThreadTeam team(1);
  auto workspace = aligned_workspace(conv_workspace_bytes(kernels(), s, false, 1));
  ConvArgs args;
  args.input = input.data(), args.weights = packed.data(), args.output = out.data();
  args.workspace = align(workspace);
  args.epilogue.activation = {ActivationKind::clip, 0.0f, 6.0f};
  conv(team, kernels(), s, args);
  for (size_t i = 0; i < 16; ++i) EXPECT_TRUE(std::isnan(out[i]));
  for (size_t i = 16; i < out.size(); ++i) EXPECT_EQ(out[i], 6.0f);
}

struct PostLog {
  int64_t channels;
  std::vector<int>* visits;
};

TEST_P(ConvTest, PostSeesEveryElementOnce) {
  for (const Case& c : all_cases()) {
    SCOPED_TRACE(c.name);
    const ConvShape& s = c.shape;
    const Operands operands(s);
    const std::vector<float> input =
        c.nchw ? to_nchw(operands.input, s.batch, volume(s.input), s.in_channels) : operands.input;
    const int vec_width = conv_vec_width(kernels());
    std::vector<float> packed(static_cast<size_t>(conv_packed_size(s, vec_width)));
    conv_pack_weights(s, vec_width, operands.weights.data(), packed.data());
    std::vector<float> out(operands.residual.size());
    std::vector<int> visits(out.size(), 0);
    PostLog log = {s.out_channels, &visits};
    ThreadTeam team(2);
    auto workspace = aligned_workspace(conv_workspace_bytes(kernels(), s, c.nchw, 2));
    ConvArgs args;
    args.input = input.data(), args.input_nchw = c.nchw, args.weights = packed.data(), args.output = out.data();
    args.workspace = align(workspace);
    args.epilogue.post_context = &log;
    args.epilogue.post = [](void* context, const ConvBlock& block) noexcept {
      auto& to = *static_cast<PostLog*>(context);
      for (int64_t row = 0; row < block.rows; ++row)
        for (int64_t column = 0; column < block.columns; ++column)
          ++(*to.visits)[static_cast<size_t>((block.first_pixel + row * block.pixel_step) * to.channels +
                                             block.first_channel + column)];
    };
    conv(team, kernels(), s, args);
    EXPECT_EQ(std::count(visits.begin(), visits.end(), 1), static_cast<int64_t>(visits.size()));
  }
}

TEST(ConvWeights, UnpackingGivesBackWhatWasPacked) {
  for (const Case& c : all_cases()) {
    for (int vec_width : {4, 8, 16}) {
      const std::vector<float> weights = random_floats(weight_count(c.shape), 9);
      std::vector<float> packed(static_cast<size_t>(conv_packed_size(c.shape, vec_width)));
      conv_pack_weights(c.shape, vec_width, weights.data(), packed.data());
      std::vector<float> back(weights.size());
      conv_unpack_weights(c.shape, vec_width, packed.data(), back.data());
      EXPECT_EQ(back, weights) << c.name;
    }
  }
}

TEST(ConvShapes, BadNumbersAreRefused) {
  const auto refused = [](auto change) {
    ConvShape s = shape2d(1, 8, 8, 5, 3, 1, 1);
    change(s);
    EXPECT_THROW(check_conv_shape(s), Error);
  };
  refused([](ConvShape& s) { s.groups = 3; });
  refused([](ConvShape& s) { s.groups = 0; });
  refused([](ConvShape& s) { s.stride[2] = 0; });
  refused([](ConvShape& s) { s.dilation[1] = -1; });
  refused([](ConvShape& s) { s.kernel[1] = 0; });
  refused([](ConvShape& s) { s.output[1] = -2; });
}

}  // namespace
}  // namespace lathe::cpu
