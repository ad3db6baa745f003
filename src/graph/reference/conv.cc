// Convolution and its transpose.
#include "graph/reference/movement.h"
#include "graph/reference/product.h"
#include "graph/reference/sliding.h"

namespace lathe::reference {
namespace {

// What the loops of both directions need to know.
struct Geometry {
  int64_t batch = 0, in_channels = 0, out_channels = 0, groups = 1;
  Sizes kernel, dilations, pads;  // pads: the begins only matter once the sizes are known
  Sizes in, out;                  // spatial
  int64_t taps() const { return product_of(kernel); }
  Sizes out_dims() const {
    Sizes dims{batch, out_channels};
    dims.insert(dims.end(), out.begin(), out.end());
    return dims;
  }
};

template <class OpT>
Geometry common_geometry(const OpT& op, const Tensor& x, const Tensor& w, const SymbolBindings& symbols) {
  if (x.rank() < 3 || w.rank() != x.rank())
    fail(ErrorCode::invalid_model, "no convolution of shape {} with weights {}", to_string(x.dims()),
         to_string(w.dims()));
  Geometry g;
  g.batch = x.dims()[0];
  g.in_channels = x.dims()[1];
  g.groups = op.groups;
  g.in.assign(x.dims().begin() + 2, x.dims().end());
  g.kernel.assign(w.dims().begin() + 2, w.dims().end());
  g.dilations = op.dilations;
  g.pads = symbols.evaluate(op.pads);
  check_spatial(g.in.size(), op.strides, op.dilations, g.pads);
  return g;
}

void check_channels(const Geometry& g, int64_t expected_in, const Tensor& x, const Tensor& w) {
  if (g.groups < 1 || g.in_channels != expected_in || g.in_channels % g.groups != 0 || g.out_channels % g.groups != 0)
    fail(ErrorCode::invalid_argument, "{} channels of shape {} in {} groups do not fit weights {}", g.in_channels,
         to_string(x.dims()), g.groups, to_string(w.dims()));
}

// windows = output positions, elements = input positions; weights [out, in / groups, kernel..].
template <class W>
std::vector<W> convolve(const Geometry& g, std::span<const SlidingAxis> axes, const std::vector<W>& x,
                        const std::vector<W>& w) {
  const int64_t in_plane = product_of(g.in), out_plane = product_of(g.out), taps = g.taps();
  const int64_t in_group = g.in_channels / g.groups, out_group = g.out_channels / g.groups;
  std::vector<W> y(static_cast<size_t>(g.batch * g.out_channels * out_plane), W{0});
  for_each_kernel_position(g.kernel, g.dilations, g.pads, [&](int64_t tap, std::span<const int64_t> shifts) {
    for (int64_t plane = 0; plane < g.batch * g.out_channels; ++plane) {
      const int64_t n = plane / g.out_channels, m = plane % g.out_channels;
      W* to = y.data() + plane * out_plane;
      for (int64_t c = 0; c < in_group; ++c) {
        const W factor = w[static_cast<size_t>((m * in_group + c) * taps + tap)];
        const W* from = x.data() + (n * g.in_channels + m / out_group * in_group + c) * in_plane;
        for_each_tap(axes, shifts, 0, 0, [&](int64_t o, int64_t i) { to[o] = plus(to[o], times(factor, from[i])); });
      }
    }
  });
  return y;
}

// windows = input positions, elements = output positions; weights [in, out / groups, kernel..].
template <class W>
std::vector<W> convolve_transposed(const Geometry& g, std::span<const SlidingAxis> axes, const std::vector<W>& x,
                                   const std::vector<W>& w) {
  const int64_t in_plane = product_of(g.in), out_plane = product_of(g.out), taps = g.taps();
  const int64_t in_group = g.in_channels / g.groups, out_group = g.out_channels / g.groups;
  std::vector<W> y(static_cast<size_t>(g.batch * g.out_channels * out_plane), W{0});
  for_each_kernel_position(g.kernel, g.dilations, g.pads, [&](int64_t tap, std::span<const int64_t> shifts) {
    for (int64_t plane = 0; plane < g.batch * g.in_channels; ++plane) {
      const int64_t n = plane / g.in_channels, c = plane % g.in_channels;
      const W* from = x.data() + plane * in_plane;
      for (int64_t m = 0; m < out_group; ++m) {
        const W factor = w[static_cast<size_t>((c * out_group + m) * taps + tap)];
        W* to = y.data() + (n * g.out_channels + c / in_group * out_group + m) * out_plane;
        for_each_tap(axes, shifts, 0, 0, [&](int64_t i, int64_t o) { to[o] = plus(to[o], times(factor, from[i])); });
      }
    }
  });
  return y;
}

// With a pad value v, what stands around x - v is 0: so that is convolved, and v times the sum of each filter comes on
// top.
template <class W>
std::vector<W> convolve_padded(const Geometry& g, std::span<const SlidingAxis> axes, std::vector<W> x,
                               const std::vector<W>& w, W pad_value) {
  for (W& value : x) value = plus(value, times(pad_value, static_cast<W>(-1)));
  std::vector<W> y = convolve(g, axes, x, w);
  const auto filter = static_cast<size_t>(g.in_channels / g.groups * g.taps());
  const auto plane = static_cast<size_t>(product_of(g.out));
  for (size_t i = 0; i < y.size(); ++i) {
    const size_t channel = i / plane % static_cast<size_t>(g.out_channels);
    for (size_t k = 0; k < filter; ++k) y[i] = plus(y[i], times(pad_value, w[channel * filter + k]));
  }
  return y;
}

}  // namespace

std::vector<RefValue> evaluate(const Conv& op, const Call& call) {
  const Tensor x = op.channels_last && !op.channels_first_input ? to_channels_first(call.tensor(0)) : call.tensor(0);
  const Tensor& w = call.tensor(1);
  Geometry g = common_geometry(op, x, w, call.symbols);
  g.out_channels = w.dims()[0];
  check_channels(g, w.dims()[1] * g.groups, x, w);
  std::vector<SlidingAxis> axes;
  for (size_t i = 0; i < g.in.size(); ++i) {
    const int64_t extent = (g.kernel[i] - 1) * op.dilations[i] + 1;
    const int64_t room = g.in[i] + g.pads[i] + g.pads[g.in.size() + i] - extent;
    g.out.push_back(room < 0 ? 0 : room / op.strides[i] + 1);
    axes.push_back({g.out[i], g.in[i], op.strides[i]});
  }
  const DType type = product_type(x, w);
  Tensor y = visit_wide(x.dtype(), [&]<class W>() {
    const auto pad_value = static_cast<W>(op.pad_value);
    std::vector<W> values = read_wide<W>(x), weights = read_wide<W>(w);
    return write_wide(type, g.out_dims(),
                      pad_value == 0 ? convolve(g, axes, values, weights)
                                     : convolve_padded(g, axes, std::move(values), weights, pad_value));
  });
  if (op.channels_last) y = to_channels_last(y);
  return {apply_epilogue(op.epilogue, std::move(y), call)};
}

std::vector<RefValue> evaluate(const ConvTranspose& op, const Call& call) {
  const Tensor x = op.channels_last ? to_channels_first(call.tensor(0)) : call.tensor(0);
  const Tensor& w = call.tensor(1);
  Geometry g = common_geometry(op, x, w, call.symbols);
  g.out_channels = w.dims()[1] * g.groups;
  check_channels(g, w.dims()[0], x, w);
  std::vector<SlidingAxis> axes;
  for (size_t i = 0; i < g.in.size(); ++i) {
    const int64_t padding = i < op.output_padding.size() ? op.output_padding[i] : 0;
    const int64_t size = (g.in[i] - 1) * op.strides[i] + padding + (g.kernel[i] - 1) * op.dilations[i] + 1 - g.pads[i] -
                         g.pads[g.in.size() + i];
    g.out.push_back(std::max<int64_t>(size, 0));
    axes.push_back({g.in[i], g.out[i], op.strides[i]});
  }
  const DType type = product_type(x, w);
  Tensor y = visit_wide(x.dtype(), [&]<class W>() {
    return write_wide(type, g.out_dims(), convolve_transposed(g, axes, read_wide<W>(x), read_wide<W>(w)));
  });
  if (op.channels_last) y = to_channels_last(y);
  return {apply_epilogue(op.epilogue, std::move(y), call)};
}

}  // namespace lathe::reference
