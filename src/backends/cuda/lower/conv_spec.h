// What a convolution and its transpose say, in one form, and their sizes as kernels want them.
#pragma once

#include "backends/cuda/kernels/conv_args.h"
#include "backends/cuda/lower/epilogue.h"

namespace lathe::cuda {

struct ConvSpec {
  bool transposed = false;
  std::vector<int64_t> strides, dilations;
  Shape pads;
  int64_t groups = 1;
  bool input_last = false, output_last = false;  // channels
  const MapProgram& epilogue;

  explicit ConvSpec(const lathe::Conv& op)
      : strides(op.strides),
        dilations(op.dilations),
        pads(op.pads),
        groups(op.groups),
        input_last(op.channels_last && !op.channels_first_input),
        output_last(op.channels_last),
        epilogue(op.epilogue) {}
  explicit ConvSpec(const lathe::ConvTranspose& op)
      : transposed(true),
        strides(op.strides),
        dilations(op.dilations),
        pads(op.pads),
        groups(op.groups),
        input_last(op.channels_last),
        output_last(op.channels_last),
        epilogue(op.epilogue) {}

  size_t spatial() const { return strides.size(); }
  // How an epilogue sees the result: pixels x channels when channels are last, else image x channel x pixel.
  Epilogue::View view() const { return output_last ? Epilogue::View{0, spatial() + 1} : Epilogue::View{1, 2}; }
  // Sizes and strides, without addresses and epilogue. Throws when the sizes do not fit each other. `packed`: weights
  // are in the layout of channels_last_weights().
  ConvArgs args(const StepIo& io, bool packed) const;
};

}  // namespace lathe::cuda
