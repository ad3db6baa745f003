// Window functions of signal processing: programs over positions, of any (also symbolic) length.
#include <numbers>

#include "onnx/importers/context.h"
#include "onnx/importers/table.h"

namespace lathe::onnx {
namespace {

// sum over k of (-1)^k a_k cos(2 pi k n / N), N = size, or size - 1 for a symmetric window.
void import_window(Context& ctx, const std::vector<double>& coefficients) {
  const Dim size = ctx.sizes(0).at(0);
  const DType dtype = ctx.attr_dtype("output_datatype", DType::f32);
  const Dim period = ctx.attr_bool("periodic", true) ? size : size - Dim(1);
  ctx.set_output(
      0, ctx.map(
             {},
             [&](MapProgram& p, const auto&) {
               const auto real = [&](double v) { return p.constant(v, DType::f64); };
               const int turn = p.binary(
                   MapOp::div, p.binary(MapOp::mul, p.cast(p.iota(-1), DType::f64), real(2 * std::numbers::pi)),
                   p.cast(p.dim(period), DType::f64));
               int y = real(coefficients[0]);
               for (size_t k = 1; k < coefficients.size(); ++k) {
                 const int wave = p.unary(MapOp::cos, p.binary(MapOp::mul, turn, real(static_cast<double>(k))));
                 y = p.binary(MapOp::add, y,
                              p.binary(MapOp::mul, real(k % 2 == 1 ? -coefficients[k] : coefficients[k]), wave));
               }
               return p.cast(y, dtype);
             },
             Shape{size}));
}

void import_hann(Context& ctx) { import_window(ctx, {0.5, 0.5}); }
void import_hamming(Context& ctx) { import_window(ctx, {25.0 / 46, 21.0 / 46}); }
void import_blackman(Context& ctx) { import_window(ctx, {0.42, 0.5, 0.08}); }

constexpr OpRow kRows[] = {
    {"", "BlackmanWindow", 17, import_blackman},
    {"", "HammingWindow", 17, import_hamming},
    {"", "HannWindow", 17, import_hann},
};

}  // namespace

std::span<const OpRow> signal_ops() { return kRows; }

}  // namespace lathe::onnx
