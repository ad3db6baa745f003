// Gives the nodes of an f32 graph the types of an assignment. 16-bit layers read and leave 16-bit values and compute
// their programs in f32; values are converted where layers of different types meet. 8-bit layers get their operands
// quantised and dequantised in the spelling of ONNX (graph/ops/quantize.h, matmul.h), which the passes of the quantised
// stage turn into products of bytes.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "precision/layers.h"

namespace lathe::precision {

// What quantised activations map to: [low, high], the range of a value of the f32 graph, by its name.
struct Range {
  double low = 0, high = 0;
};
using Ranges = std::map<std::string, Range>;

// Bytes for a range, which is widened to hold 0, whose byte must be exact: x = (byte - zero) * scale, byte within
// [low, high]; u8 with a zero point, or i8 around 0.
struct Affine {
  double scale = 1, zero = 0, low = 0, high = 0;
};
Affine affine_of(Range range, bool asymmetric);
// The same for f8e4m3, where steps are as fine relative to what they stand for over a wide range: the largest of the
// range lies at a quarter of the largest number, so that there is room for values that calibration did not see.
Affine float8_of(Range range);

// Weights that were converted before: an assignment is tried after another, and their weights are the same.
class ConvertedWeights {
 public:
  // `lets_go`: nobody reads weights again once they are converted, so they leave memory.
  explicit ConvertedWeights(bool lets_go = false) : lets_go_(lets_go) {}

  const Tensor& as_type(const Tensor& weights, DType type);
  struct Quantized {
    Tensor elements;
    Tensor scales;  // f32, of the sizes of the weights with 1 for all axes but `axis`
  };
  // Symmetric, one scale for each index of `axis`.
  const Quantized& quantized(const Tensor& weights, size_t axis, DType type);

 private:
  using Key = std::tuple<const void*, size_t, DType>;  // where the weights lie, the axis
  bool lets_go_;
  std::map<Key, Quantized> quantized_;
  std::map<Key, Tensor> converted_;
};

struct ApplyOptions {
  const PrecisionSupport& support;
  const Ranges& ranges;
  bool static_activations = false;  // of matrix products; convolutions always have them
};

void apply(Graph& graph, const Assignment& assignment, const ApplyOptions& options, ConvertedWeights& weights);

}  // namespace lathe::precision
