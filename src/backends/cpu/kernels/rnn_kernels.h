// The elementwise part of recurrent cells: gates and new state from products that are already there.
#pragma once

#include <cstdint>

namespace lathe::cpu {

enum class RnnFunctionKind : uint8_t {
  relu,
  tanh,
  sigmoid,
  affine,            // a x + b
  leaky_relu,        // x < 0 ? a x : x
  thresholded_relu,  // x < a ? 0 : x
  scaled_tanh,       // a tanh(b x)
  hard_sigmoid,      // min(max(a x + b, 0), 1)
  elu,               // x < 0 ? a (exp(x) - 1) : x
  softsign,          // x / (1 + |x|)
};

struct RnnFunction {
  RnnFunctionKind kind = RnnFunctionKind::tanh;
  float a = 0, b = 0;
};

// `units` neighbouring units of one sequence at one step. Gates are in ONNX's order: z r h of a GRU, i o f c of an
// LSTM. A gate is function(clip(input + state)).
struct RnnCell {
  int64_t units;
  const float* input;  // products with the step's input, biases included: gate g at input + g * gate_stride
  int64_t gate_stride;
  const float* state;  // products with the state: gate g at state + g * state_stride
  int64_t state_stride;
  const float* h;  // of the step before
  float* c;        // LSTM: cell state, updated in place
  float* h_next;
  float* y;  // the same as h_next
  RnnFunction functions[3];
  float clip;             // no clipping: infinity
  const float* peephole;  // LSTM: weights i o f at peephole + g * peephole_stride; null: none
  int64_t peephole_stride;
  bool input_forget;        // LSTM: f = 1 - i
  const float* reset_bias;  // GRU, linear: added to the state's product of gate h before the reset gate scales it
  float* update;            // GRU in two halves: the z gate in between
  float* reset_h;           // GRU in two halves: r * h in between
};

struct RnnKernels {
  void (*rnn)(const RnnCell&) noexcept;
  void (*lstm)(const RnnCell&) noexcept;
  void (*gru_linear)(const RnnCell&) noexcept;  // the reset gate scales the product with the state
  // The reset gate scales the state itself, so gate h of `state` (its gate 0 here) is known only after the first half.
  void (*gru_first_half)(const RnnCell&) noexcept;
  void (*gru_second_half)(const RnnCell&) noexcept;
};

}  // namespace lathe::cpu
