// The argument of the rotary kernel, shared between host and device.
#pragma once

constexpr int kRotaryMaxRank = 8;

struct RotaryArgs {
  const void *x, *cos, *sin;
  void* y;
  long long rows, width, half;               // half: pairs of a row
  unsigned long long sizes[kRotaryMaxRank];  // of the leading axes, merged, outermost first
  long long cos_strides[kRotaryMaxRank], sin_strides[kRotaryMaxRank];
};
