// Writes a copy of an ONNX file in which products and convolutions with constant weights read quantised operands, in
// the Q/DQ spelling that every runtime reads: QuantizeLinear and DequantizeLinear around the activation, bytes and a
// DequantizeLinear for the weights. All else is copied byte by byte.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "graph/tensor.h"

namespace lathe::onnx {

// A node of the main graph that can be quantised: Conv, Gemm or MatMul with constant float weights.
struct QdqLayer {
  size_t node = 0;  // its place in the file
  std::string name, op, activation;
  Tensor weights;   // f32
  size_t axis = 0;  // of the weights: output channels
};
std::vector<QdqLayer> qdq_layers(const std::filesystem::path& model);

// What replaces the operands of a layer. x becomes saturate_u8(round(x / scale) + zero_point).
struct QdqOperands {
  size_t node = 0;
  float scale = 1;
  uint8_t zero_point = 0;
  Tensor weights;               // i8, symmetric
  std::vector<float> w_scales;  // by output channel
};

// Throws Error(unsupported) for a model of an opset below 13, whose DequantizeLinear knows no axes; for one whose
// external data lies in another folder than `target`; and for a result beyond the 2 GB of a protobuf file.
void write_qdq(const std::filesystem::path& model, const std::filesystem::path& target,
               std::span<const QdqOperands> layers);

}  // namespace lathe::onnx
