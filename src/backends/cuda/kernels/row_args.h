// Arguments of the kernels that work on rows, shared between host and device.
#pragma once

constexpr int kRowMaxOperands = 11;
constexpr int kRowMaxRank = 8;
constexpr int kRowMaxDims = 8;

struct SoftmaxArgs {
  const void* input;
  void* output;
  long long rows;   // outer: slices along the axes before the one of the softmax
  long long width;  // elements that are normalised together
  long long inner;  // elements after the axis; 1 for rows
};

// Norm and embedding. Operands stand in the order of the node; scale and bias come after what is normalised, null when
// absent.
struct NormArgs {
  const void* operands[kRowMaxOperands];
  void* output;  // null where nobody wants it, as what was normalised
  void* sum;
  void* bytes;  // the output quantised row by row, and the rows' scales: norms compiled for that
  float* scales;
  long long rows, width;
  double epsilon;
  unsigned long long sizes[kRowMaxRank];            // of the normalised tensor, axes merged, outermost first
  long long strides[kRowMaxOperands][kRowMaxRank];  // in elements, 0 where an operand repeats
  long long table_rows[kRowMaxOperands];            // embedding: of the table at that operand; at `picked`, all rows
  long long dims[kRowMaxDims];                      // values of the prologue's dimension expressions
};

struct GroupNormArgs {
  const void *input, *scale, *bias;
  void* output;
  long long rows, width;  // batch * groups, channels of a group * space
  long long groups, group_channels, space;
  double epsilon;
};
