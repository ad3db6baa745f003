// A transposed convolution is what cuDNN calls the gradient of a convolution by its input. One handle serves all
// sessions: it is told the stream before each call, under a lock that is held only while work is queued.
#include "backends/cuda/lower/conv_dnn.h"

#include <array>

namespace lathe::cuda {
namespace {

constexpr int kMaxAlgorithms = 10;

int dnn_type(DType type) {
  if (type == DType::f16) return kDnnHalf;
  return type == DType::bf16 ? kDnnBfloat16 : kDnnFloat;
}

// The last axes of a list of three, at least two of them.
struct SpatialList {
  int first;
  std::span<const int> operator()(const int (&list)[3]) const { return std::span(list).subspan(first); }
  int count() const { return 3 - first; }
};

SpatialList spatial_of(const ConvSpec& spec) { return {spec.spatial() == 3 ? 0 : 1}; }

std::vector<int> sizes_of(int outer, int inner, std::span<const int> spatial) {
  std::vector<int> sizes = {outer, inner};
  sizes.insert(sizes.end(), spatial.begin(), spatial.end());
  return sizes;
}

}  // namespace

std::optional<LtEpilogue> match_dnn_epilogue(const ConvSpec& spec, const Epilogue& epilogue) {
  if (spec.transposed) return std::nullopt;
  const auto form = match_lt_epilogue(epilogue);
  const bool computes = form && form->bias >= 0 && (form->activation == 0 || form->activation == kEpilogueRelu);
  return computes ? form : std::nullopt;
}

std::string DnnConvPlan::why_not(const ConvSpec& spec, const Node& node) {
  const DType type = node.input(0)->dtype();
  if (type != node.input(1)->dtype() || (type != DType::f32 && type != DType::f16 && type != DType::bf16))
    return "cuDNN is used for f32, f16 and bf16";
  if (spec.input_last != spec.output_last) return "input and output have different layouts";
  for (size_t i = 0; i < spec.spatial(); ++i)
    if (spec.pads[i] != spec.pads[spec.spatial() + i]) return "padding differs at both ends";
  return {};
}

DnnConvPlan::~DnnConvPlan() {
  const CudnnApi& api = library_.api();
  for (const cudnnTensorDescriptor_t tensor : {x_, y_, bias_})
    if (tensor != nullptr) api.tensor_destroy(tensor);
  if (w_ != nullptr) api.filter_destroy(w_);
  if (convolution_ != nullptr) api.convolution_destroy(convolution_);
  if (activation_ != nullptr) api.activation_destroy(activation_);
}

std::unique_ptr<DnnConvPlan> DnnConvPlan::make(const Cudnn& library, const ConvSpec& spec, const ConvArgs& sizes,
                                               int64_t batch, DType type, bool tf32,
                                               const std::optional<LtEpilogue>& epilogue, int choice) {
  std::unique_ptr<DnnConvPlan> plan(new DnnConvPlan(library, spec.transposed));
  if (!plan->describe(spec, sizes, batch, type, tf32) || !plan->choose(choice, type == DType::f32 && !tf32))
    return nullptr;
  if (epilogue)
    plan->fuse(*epilogue, sizes.filters, 2 + spatial_of(spec).count(), spec.output_last ? kDnnNhwc : kDnnNchw,
               dnn_type(type));
  return plan;
}

bool DnnConvPlan::describe(const ConvSpec& spec, const ConvArgs& sizes, int64_t batch, DType type, bool tf32) {
  const CudnnApi& api = library_.api();
  const SpatialList spatial = spatial_of(spec);
  const int format = spec.output_last ? kDnnNhwc : kDnnNchw, element = dnn_type(type), images = static_cast<int>(batch);
  const auto x = sizes_of(images, sizes.channels, spatial(sizes.in)),
             y = sizes_of(images, sizes.filters, spatial(sizes.out)),
             w = spec.transposed ? sizes_of(sizes.channels, sizes.group_filters, spatial(sizes.kernel))
                                 : sizes_of(sizes.filters, sizes.group_channels, spatial(sizes.kernel));
  const auto rank = static_cast<int>(x.size());
  api.check(api.tensor_create(&x_), "describing a tensor");
  api.check(api.tensor_create(&y_), "describing a tensor");
  api.check(api.filter_create(&w_), "describing weights");
  api.check(api.convolution_create(&convolution_), "describing a convolution");
  const bool exact = type == DType::f32 && !tf32;
  const int math = exact ? kDnnFmaMath : type == DType::f32 ? kDnnDefaultMath : kDnnTensorOpMath;
  return api.tensor_set(x_, format, element, rank, x.data()) == 0 &&
         api.tensor_set(y_, format, element, rank, y.data()) == 0 &&
         api.filter_set(w_, element, format, rank, w.data()) == 0 &&
         api.convolution_set(convolution_, spatial.count(), spatial(sizes.pad).data(), spatial(sizes.stride).data(),
                             spatial(sizes.dilation).data(), kDnnCrossCorrelation, kDnnFloat) == 0 &&
         api.convolution_set_math(convolution_, math) == 0 &&
         api.convolution_set_groups(convolution_, static_cast<int>(spec.groups)) == 0;
}

// `exact`: only algorithms that compute in f32 throughout.
bool DnnConvPlan::choose(int choice, bool exact) {
  const CudnnApi& api = library_.api();
  std::array<cudnnAlgorithmPerf_t, kMaxAlgorithms> results;
  int found = 0;
  const Cudnn::Lock handle = library_.lock();
  const cudnnStatus_t status =
      transposed_
          ? api.backward_algorithms(handle.get(), w_, x_, convolution_, y_, kMaxAlgorithms, &found, results.data())
          : api.forward_algorithms(handle.get(), x_, w_, convolution_, y_, kMaxAlgorithms, &found, results.data());
  if (status != 0) return false;
  const cudnnAlgorithmPerf_t* chosen = nullptr;
  for (int i = 0; i < found && choice >= 0; ++i) {
    const cudnnAlgorithmPerf_t& perf = results[static_cast<size_t>(i)];
    if (perf.status != 0 || perf.memory > kDnnWorkspaceBytes || perf.determinism != kDnnDeterministic) continue;
    if (exact && perf.math_type != kDnnFmaMath) continue;
    chosen = &perf;
    --choice;
  }
  if (chosen == nullptr) return false;
  algo_ = chosen->algo;
  workspace_bytes_ = chosen->memory;
  return api.convolution_set_math(convolution_, chosen->math_type) == 0;
}

void DnnConvPlan::fuse(const LtEpilogue& epilogue, int filters, int rank, int format, int type) {
  const CudnnApi& api = library_.api();
  epilogue_ = epilogue;
  std::vector<int> sizes(static_cast<size_t>(rank), 1);
  sizes[1] = filters;
  api.check(api.tensor_create(&bias_), "describing a bias");
  api.check(api.tensor_set(bias_, format, type, rank, sizes.data()), "describing a bias");
  const bool relu = epilogue.activation == kEpilogueRelu;
  api.check(api.activation_create(&activation_), "describing an activation");
  api.check(api.activation_set(activation_, relu ? kDnnActivationRelu : kDnnActivationIdentity, kDnnPropagateNan, 0),
            "describing an activation");
  if (!relu) {
    algo_ = kDnnImplicitPrecompGemm;
    workspace_bytes_ = kDnnWorkspaceBytes;
  }
}

void DnnConvPlan::run(const void* x, const void* w, const void* bias, const void* residual, void* y, void* workspace,
                      CUstream stream) const {
  const CudnnApi& api = library_.api();
  const float one = 1, zero = 0;
  const Cudnn::Lock handle = library_.lock();
  api.check(api.set_stream(handle.get(), stream), "choosing a stream");
  if (transposed_) {
    api.check(api.backward_data(handle.get(), &one, w_, w, x_, x, convolution_, algo_, workspace, workspace_bytes_,
                                &zero, y_, y),
              "convolving");
  } else if (!epilogue_) {
    api.check(
        api.forward(handle.get(), &one, x_, x, w_, w, convolution_, algo_, workspace, workspace_bytes_, &zero, y_, y),
        "convolving");
  } else {
    const float alpha = epilogue_->alpha;
    api.check(api.forward_fused(handle.get(), &alpha, x_, x, w_, w, convolution_, algo_, workspace, workspace_bytes_,
                                residual != nullptr ? &one : &zero, y_, residual != nullptr ? residual : y, bias_, bias,
                                activation_, y_, y),
              "convolving");
  }
}

}  // namespace lathe::cuda
