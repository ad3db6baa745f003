#include "backends/cpu/packing.h"

#include <algorithm>
#include <optional>

#include "backends/cpu/kernels/conv.h"
#include "backends/cpu/kernels/conv_int8.h"
#include "backends/cpu/kernels/gemm.h"
#include "backends/cpu/kernels/gemm_int8.h"
#include "backends/cpu/kernels/matmul_nbits.h"
#include "backends/cpu/kernels/rnn.h"
#include "base/error.h"
#include "graph/as_f32.h"

namespace lathe::cpu {
namespace {

constexpr std::string_view kGemmPanels = "gemm_panels", kGemmF16Panels = "gemm_f16_panels",
                           kGemmBf16Panels = "gemm_bf16_panels", kConvPanels = "conv_panels",
                           kGemmInt8Panels = "gemm_int8_panels", kConvInt8Panels = "conv_int8_panels",
                           kGatePanels = "gate_panels", kNBitsPanels = "nbits_panels",
                           kNBitsParameters = "nbits_parameters";
constexpr int64_t kMaxPanel = 1024;

struct GemmPanels {
  int nr;
  bool transposed;
  int64_t k, n;
};

GemmPanels read_gemm(const WeightLayout& layout, std::span<const int64_t> dims) {
  if (layout.params.size() != 2 || layout.params[0] < 1 || layout.params[0] > kMaxPanel || dims.size() != 2)
    fail(ErrorCode::invalid_model, "weight layout {} does not fit a weight of shape {}", layout.scheme,
         to_string(dims));
  const bool transposed = layout.params[1] != 0;
  return {static_cast<int>(layout.params[0]), transposed, dims[transposed ? 1 : 0], dims[transposed ? 0 : 1]};
}

// The type of the panels of a float product; none for other layouts.
std::optional<PanelType> gemm_type(const WeightLayout& layout) {
  if (layout.scheme == kGemmPanels) return PanelType::f32;
  if (layout.scheme == kGemmF16Panels) return PanelType::f16;
  if (layout.scheme == kGemmBf16Panels) return PanelType::bf16;
  return std::nullopt;
}

struct NBitsPanels {
  int nr, bits;
  NBitsShape shape;
};

NBitsPanels read_nbits(const WeightLayout& layout, std::span<const int64_t> dims) {
  const auto& p = layout.params;
  if (p.size() != 3 || p[0] < 1 || p[0] > kMaxPanel || (p[1] != 4 && p[1] != 8) || p[2] < 1 || dims.size() != 2)
    fail(ErrorCode::invalid_model, "weight layout {} does not fit a weight of shape {}", layout.scheme,
         to_string(dims));
  return {static_cast<int>(p[0]), static_cast<int>(p[1]), nbits_shape(dims[1], p[2])};
}

struct NBitsParameters {
  int nr, bytes;
};

NBitsParameters read_nbits_parameters(const WeightLayout& layout, std::span<const int64_t> dims) {
  const auto& p = layout.params;
  if (p.size() != 2 || p[0] < 1 || p[0] > kMaxPanel || (p[1] != 1 && p[1] != 2 && p[1] != 4) || dims.size() != 2)
    fail(ErrorCode::invalid_model, "weight layout {} does not fit a weight of shape {}", layout.scheme,
         to_string(dims));
  return {static_cast<int>(p[0]), static_cast<int>(p[1])};
}

int stored_bytes(DType type) { return std::max(bit_width(type) / 8, 1); }

// Whether elements of `type` can be in that layout at all.
void check_nbits(const WeightLayout& layout, DType type) {
  const int64_t bits = bit_width(type);
  const bool fits = layout.scheme == kNBitsParameters
                        ? stored_bytes(type) == layout.params[1]
                        : is_integer(type) && (bits == 8) == (layout.params[1] == 8) && bits <= layout.params[1];
  if (!fits)
    fail(ErrorCode::invalid_model, "layout {} does not hold elements of type {}", layout.scheme, to_string(type));
}

struct ConvPanels {
  int vec_width;
  ConvShape shape;
};

// Only what packing depends on: channels, groups, kernel.
ConvPanels read_conv(const WeightLayout& layout, std::span<const int64_t> dims) {
  const auto& p = layout.params;
  if (p.size() != 3 || p[0] < 1 || p[0] > kMaxPanel || p[1] < 1 || dims.size() < 3 || dims.size() > 5)
    fail(ErrorCode::invalid_model, "weight layout {} does not fit a weight of shape {}", layout.scheme,
         to_string(dims));
  ConvShape shape;
  shape.groups = p[1];
  shape.transposed = p[2] != 0;
  shape.out_channels = shape.transposed ? dims[1] * p[1] : dims[0];
  shape.in_channels = shape.transposed ? dims[0] : dims[1] * p[1];
  for (size_t i = 2; i < dims.size(); ++i) shape.kernel[3 - (dims.size() - i)] = dims[i];
  return {static_cast<int>(p[0]), shape};
}

struct GatePanels {
  int nr;
  int64_t gates, hidden, k;
};

GatePanels read_gates(const WeightLayout& layout, std::span<const int64_t> dims) {
  const auto& p = layout.params;
  if (p.size() != 2 || p[0] < 1 || p[0] > kMaxPanel || p[1] < 1 || dims.size() != 3 || dims[1] % p[1] != 0)
    fail(ErrorCode::invalid_model, "weight layout {} does not fit a weight of shape {}", layout.scheme,
         to_string(dims));
  return {static_cast<int>(p[0]), dims[0] * p[1], dims[1] / p[1], dims[2]};
}

// The sizes of a convolution as conv_int8.h packs it.
ConvShape read_conv_int8(const WeightLayout& layout, std::span<const int64_t> dims) {
  const auto& p = layout.params;
  if (p.size() != 2 || p[0] < 1 || p[0] > kMaxPanel)
    fail(ErrorCode::invalid_model, "weight layout {} does not fit a weight of shape {}", layout.scheme,
         to_string(dims));
  return read_conv({layout.scheme, {p[0], p[1], 0}}, dims).shape;
}

Int8SourceB source_of(const GemmPanels& p, DType dtype, const void* data) {
  return {data, dtype == DType::i8, p.transposed ? 1 : p.n, p.transposed ? p.k : 1};
}

[[noreturn]] void unknown(const WeightLayout& layout) {
  throw Error(ErrorCode::invalid_model,
              fmt::format("the CPU backend does not know the weight layout '{}'", layout.scheme))
      .remedy("Build the plan again with this version of lathe");
}

void pack_gemm(PanelType type, const WeightLayout& layout, const Tensor& source, std::span<std::byte> packed) {
  const GemmPanels p = read_gemm(layout, source.dims());
  const SourceB b{source.bytes().data(), source.dtype(), p.transposed ? 1 : p.n, p.transposed ? p.k : 1};
  if (type == PanelType::f32)
    pack_b(p.nr, b, p.k, p.n, {0, panel_count(p.nr, p.n)}, reinterpret_cast<float*>(packed.data()));
  else
    pack_half_b(type, p.nr, b, p.k, p.n, reinterpret_cast<uint16_t*>(packed.data()));
}

Tensor unpack_gemm(PanelType type, const WeightLayout& layout, std::span<const int64_t> dims,
                   std::span<const std::byte> packed) {
  const GemmPanels p = read_gemm(layout, dims);
  const int64_t stride_k = p.transposed ? 1 : p.n, stride_n = p.transposed ? p.k : 1;
  constexpr DType kTypes[kPanelTypes] = {DType::f32, DType::f16, DType::bf16};
  Tensor plain(kTypes[static_cast<int>(type)], {dims.begin(), dims.end()});
  std::byte* out = plain.mutable_bytes().data();
  if (type == PanelType::f32)
    unpack_b(p.nr, reinterpret_cast<const float*>(packed.data()), p.k, p.n, reinterpret_cast<float*>(out), stride_k,
             stride_n);
  else
    unpack_half_b(type, p.nr, reinterpret_cast<const uint16_t*>(packed.data()), p.k, p.n,
                  reinterpret_cast<uint16_t*>(out), stride_k, stride_n);
  return plain;
}

void pack_nbits(const WeightLayout& layout, const Tensor& source, std::span<std::byte> packed) {
  check_nbits(layout, source.dtype());
  if (layout.scheme == kNBitsParameters)
    return nbits_pack_parameters(read_nbits_parameters(layout, source.dims()).nr, source, packed.data());
  const NBitsPanels p = read_nbits(layout, source.dims());
  nbits_pack(p.nr, p.bits, source, p.shape, reinterpret_cast<uint8_t*>(packed.data()));
}

Tensor unpack_nbits(const WeightLayout& layout, DType dtype, std::span<const int64_t> dims,
                    std::span<const std::byte> packed) {
  check_nbits(layout, dtype);
  Tensor plain(dtype, {dims.begin(), dims.end()});
  if (layout.scheme == kNBitsParameters) {
    nbits_unpack_parameters(read_nbits_parameters(layout, dims).nr, packed.data(), plain);
  } else {
    const NBitsPanels p = read_nbits(layout, dims);
    nbits_unpack(p.nr, p.bits, reinterpret_cast<const uint8_t*>(packed.data()), p.shape, plain);
  }
  return plain;
}

float* floats(std::span<std::byte> bytes) { return reinterpret_cast<float*>(bytes.data()); }
const float* floats(std::span<const std::byte> bytes) { return reinterpret_cast<const float*>(bytes.data()); }

}  // namespace

WeightLayout gemm_panels(DType type, int nr, bool transposed) {
  const std::string_view scheme = type == DType::f16    ? kGemmF16Panels
                                  : type == DType::bf16 ? kGemmBf16Panels
                                                        : kGemmPanels;
  return {std::string(scheme), {nr, transposed ? 1 : 0}};
}

WeightLayout gemm_int8_panels(int nr, bool transposed) {
  return {std::string(kGemmInt8Panels), {nr, transposed ? 1 : 0}};
}

WeightLayout nbits_panels(int nr, int bits, int64_t block) { return {std::string(kNBitsPanels), {nr, bits, block}}; }

WeightLayout nbits_parameters(int nr, DType type) { return {std::string(kNBitsParameters), {nr, stored_bytes(type)}}; }

WeightLayout conv_int8_panels(int nr, int64_t groups) { return {std::string(kConvInt8Panels), {nr, groups}}; }

WeightLayout conv_panels(int vec_width, int64_t groups, bool transposed) {
  return {std::string(kConvPanels), {vec_width, groups, transposed ? 1 : 0}};
}

WeightLayout gate_panels(int nr, int64_t gates) { return {std::string(kGatePanels), {nr, gates}}; }

size_t packed_bytes(const WeightLayout& layout, std::span<const int64_t> dims) {
  if (const auto type = gemm_type(layout)) {
    const GemmPanels p = read_gemm(layout, dims);
    return static_cast<size_t>(packed_b_bytes(*type, p.nr, p.k, p.n));
  }
  if (layout.scheme == kGemmInt8Panels) {
    const GemmPanels p = read_gemm(layout, dims);
    return static_cast<size_t>(int8_packed_bytes(p.nr, p.k, p.n));
  }
  if (layout.scheme == kNBitsPanels) {
    const NBitsPanels p = read_nbits(layout, dims);
    return static_cast<size_t>(nbits_packed_bytes(p.nr, p.bits, dims[0], p.shape));
  }
  if (layout.scheme == kNBitsParameters) {
    const NBitsParameters p = read_nbits_parameters(layout, dims);
    return static_cast<size_t>(nbits_parameter_bytes(p.nr, p.bytes, dims[0], dims[1]));
  }
  if (layout.scheme == kConvInt8Panels)
    return static_cast<size_t>(
        conv_int8_packed_bytes(read_conv_int8(layout, dims), static_cast<int>(layout.params[0])));
  if (layout.scheme == kGatePanels) {
    const GatePanels p = read_gates(layout, dims);
    return static_cast<size_t>(gate_panel_floats(p.nr, p.gates, p.hidden, p.k)) * sizeof(float);
  }
  if (layout.scheme != kConvPanels) unknown(layout);
  const ConvPanels p = read_conv(layout, dims);
  return static_cast<size_t>(conv_packed_size(p.shape, p.vec_width)) * sizeof(float);
}

void pack(const WeightLayout& layout, const Tensor& weight, std::span<std::byte> packed) {
  LATHE_CHECK(packed.size() == packed_bytes(layout, weight.dims()));
  const Tensor source = weight.aligned();  // in a model file it may lie anywhere
  if (const auto type = gemm_type(layout)) return pack_gemm(*type, layout, source, packed);
  auto* bytes = reinterpret_cast<int8_t*>(packed.data());
  if (layout.scheme == kGemmInt8Panels) {
    const GemmPanels p = read_gemm(layout, source.dims());
    return int8_pack(p.nr, source_of(p, source.dtype(), source.bytes().data()), p.k, p.n, bytes);
  }
  if (layout.scheme == kNBitsPanels || layout.scheme == kNBitsParameters) return pack_nbits(layout, source, packed);
  if (layout.scheme == kConvInt8Panels) {
    return conv_int8_pack(read_conv_int8(layout, source.dims()), static_cast<int>(layout.params[0]),
                          reinterpret_cast<const int8_t*>(source.bytes().data()), bytes);
  }
  if (layout.scheme == kGatePanels) {
    const GatePanels p = read_gates(layout, source.dims());
    return pack_gate_panels(p.nr, p.gates, p.hidden, p.k, source.bytes().data(), source.dtype(), floats(packed));
  }
  const ConvPanels p = read_conv(layout, source.dims());
  const Tensor wide = as_f32(source);
  conv_pack_weights(p.shape, p.vec_width, wide.as<float>().data(), floats(packed));
}

Tensor unpack(const WeightLayout& layout, DType dtype, std::span<const int64_t> dims,
              std::span<const std::byte> packed) {
  if (packed.size() != packed_bytes(layout, dims))
    fail(ErrorCode::invalid_model, "a weight of shape {} in layout {} has {} bytes", to_string(dims), layout.scheme,
         packed.size());
  if (const auto type = gemm_type(layout)) return unpack_gemm(*type, layout, dims, packed);
  if (layout.scheme == kNBitsPanels || layout.scheme == kNBitsParameters)
    return unpack_nbits(layout, dtype, dims, packed);
  const bool is_bytes = layout.scheme == kGemmInt8Panels || layout.scheme == kConvInt8Panels;
  Tensor plain(is_bytes ? dtype : DType::f32, {dims.begin(), dims.end()});
  if (is_bytes) {
    if (bit_width(dtype) != 8) fail(ErrorCode::invalid_model, "layout {} holds bytes", layout.scheme);
    const auto* bytes = reinterpret_cast<const int8_t*>(packed.data());
    void* data = plain.mutable_bytes().data();
    if (layout.scheme == kGemmInt8Panels) {
      const GemmPanels p = read_gemm(layout, dims);
      int8_unpack(p.nr, bytes, p.k, p.n, source_of(p, dtype, data));
    } else {
      conv_int8_unpack(read_conv_int8(layout, dims), static_cast<int>(layout.params[0]), bytes,
                       static_cast<int8_t*>(data));
    }
    return plain;
  }
  float* out = plain.mutable_as<float>().data();
  if (layout.scheme == kGatePanels) {
    const GatePanels p = read_gates(layout, dims);
    unpack_gate_panels(p.nr, p.gates, p.hidden, p.k, floats(packed), out);
  } else {
    const ConvPanels p = read_conv(layout, dims);
    conv_unpack_weights(p.shape, p.vec_width, floats(packed), out);
  }
  return plain;
}

}  // namespace lathe::cpu
