// The sizes of a convolution as kernels want them.
#pragma once

#include "backends/conv_spec.h"
#include "backends/cuda/kernels/conv_args.h"
#include "backends/cuda/lower/epilogue.h"

namespace lathe::cuda {

// How an epilogue sees the result: pixels x channels when channels are last, else image x channel x pixel.
inline Epilogue::View view_of(const ConvSpec& spec) {
  return spec.output_last ? Epilogue::View{0, spec.spatial() + 1} : Epilogue::View{1, 2};
}

// Sizes and strides, without addresses and epilogue. Throws when the sizes do not fit each other. `packed`: weights are
// in the layout of channels_last_weights().
ConvArgs conv_args(const ConvSpec& spec, const StepIo& io, bool packed);

}  // namespace lathe::cuda
