// What convolution and its transpose say, in one form, and the sizes of a run.
#pragma once

#include "backends/cpu/kernels/conv.h"
#include "backends/cpu/lower/lower.h"

namespace lathe::cpu {

struct ConvSpec {
  bool transposed = false;
  std::vector<int64_t> strides, dilations;
  Shape pads;
  int64_t groups = 1;
  bool input_last = false, output_last = false;  // channels
  MapProgram epilogue;

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
};

ConvShape shape_of(const ConvSpec& spec, const StepIo& io);

}  // namespace lathe::cpu
