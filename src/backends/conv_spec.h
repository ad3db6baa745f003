// What convolution and its transpose say, in one form, and the sizes of a run.
#pragma once

#include <vector>

#include "backends/backend.h"
#include "backends/conv_shape.h"
#include "graph/op.h"

namespace lathe {

struct ConvSpec {
  bool transposed = false;
  std::vector<int64_t> strides, dilations;
  Shape pads;
  int64_t groups = 1;
  bool input_last = false, output_last = false;  // channels
  MapProgram epilogue;

  explicit ConvSpec(const Conv& op)
      : strides(op.strides),
        dilations(op.dilations),
        pads(op.pads),
        groups(op.groups),
        input_last(op.channels_last && !op.channels_first_input),
        output_last(op.channels_last),
        epilogue(op.epilogue) {}
  explicit ConvSpec(const ConvTranspose& op)
      : transposed(true),
        strides(op.strides),
        dilations(op.dilations),
        pads(op.pads),
        groups(op.groups),
        input_last(op.channels_last),
        output_last(op.channels_last),
        epilogue(op.epilogue) {}

  size_t spatial() const { return strides.size(); }

  // For one to three spatial axes. Throws Error(invalid_argument) when the sizes make no convolution or the weights
  // have others.
  ConvShape shape(const StepIo& io) const;
};

}  // namespace lathe
