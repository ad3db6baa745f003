// Convolutions by cuDNN: plans for one set of sizes.
#pragma once

#include "backends/cuda/libraries.h"
#include "backends/cuda/lower/conv_sizes.h"
#include "backends/cuda/lower/gemm_lt.h"

namespace lathe::cuda {

inline constexpr size_t kDnnWorkspaceBytes = size_t{64} << 20;

// What of an epilogue cuDNN computes itself: relu(product + residual + bias) or without the relu; it needs the bias.
std::optional<LtEpilogue> match_dnn_epilogue(const ConvSpec& spec, const Epilogue& epilogue);

class DnnConvPlan {
 public:
  // Why cuDNN cannot serve a node, as far as is known while lowering; empty when it can.
  static std::string why_not(const ConvSpec& spec, const Node& node);

  // Takes the algorithm that the heuristics rank as number `choice`, or the last one. Null when there is none.
  static std::unique_ptr<DnnConvPlan> make(const Cudnn& library, const ConvSpec& spec, const ConvArgs& sizes,
                                           int64_t batch, DType type, bool tf32,
                                           const std::optional<LtEpilogue>& epilogue, int choice);
  ~DnnConvPlan();
  DnnConvPlan(const DnnConvPlan&) = delete;
  DnnConvPlan& operator=(const DnnConvPlan&) = delete;

  // `bias` and `residual` are null where the epilogue has none.
  void run(const void* x, const void* w, const void* bias, const void* residual, void* y, void* workspace,
           CUstream stream) const;

 private:
  DnnConvPlan(const Cudnn& library, bool transposed) : library_(library), transposed_(transposed) {}
  bool describe(const ConvSpec& spec, const ConvArgs& sizes, int64_t batch, DType type, bool tf32);
  bool choose(int choice, bool exact);
  void fuse(const LtEpilogue& epilogue, int filters, int rank, int format, int type);

  const Cudnn& library_;
  bool transposed_;
  std::optional<LtEpilogue> epilogue_;
  int algo_ = 0;
  size_t workspace_bytes_ = 0;
  cudnnTensorDescriptor_t x_ = nullptr, y_ = nullptr, bias_ = nullptr;
  cudnnFilterDescriptor_t w_ = nullptr;
  cudnnConvolutionDescriptor_t convolution_ = nullptr;
  cudnnActivationDescriptor_t activation_ = nullptr;
};

}  // namespace lathe::cuda
