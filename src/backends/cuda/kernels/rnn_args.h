// Arguments of the kernels of recurrent layers, shared between host and device. `acc` is the type in which sums and
// states are kept: double for f64, else float.
#pragma once

constexpr int kRnnTile = 64;  // of the input projection: rows and columns of a block's result
constexpr int kRnnProjectThreads = 256;
constexpr int kRnnWarps = 4;  // of one block of a step: one hidden unit each
constexpr int kRnnBatch = 8;  // sequences of one block of a step

enum class RnnCell : int { rnn, gru, lstm };

// gates[d][row][column] = x[row] . w[d][column] + biases
struct RnnProjectArgs {
  const void* x;     // [rows, depth]
  const void* w;     // [directions, columns, depth]
  const void* bias;  // [directions, 2 * columns], of input and state; null: none
  void* gates;       // acc [directions, rows, columns]
  long long rows, columns, depth;
  long long state_biases;  // columns for which the bias of the state is added too
};

// Converts between states of the model and those that steps keep; a null `from` gives zeros.
struct RnnStateArgs {
  const void* from;
  void* to;
  long long n;
};

struct RnnActivationArgs {
  int kind;
  double alpha, beta;
};

struct RnnStepArgs {
  const void* gates;      // acc [directions, steps * batch, gates * hidden]: the input's part
  const void* r;          // [directions, gates * hidden, hidden]
  const void* bias;       // [directions, 2 * gates * hidden]; null: none
  const void* lengths;    // of the sequences; null: all steps
  const void* peepholes;  // [directions, 3 * hidden]; null: none
  const void* h_in;       // acc [directions, batch, hidden]
  void *h_out, *c;
  void *update, *gated;  // gru: between its two phases
  void* y;               // [steps, directions, batch, hidden]; null: not wanted
  long long steps, batch, hidden, step;
  int directions, reverse, wide_lengths;
  int phase;  // of a gru that resets before the product: 0 makes update and gated, 1 the state
  int linear_before_reset, input_forget;
  double clip;
  RnnActivationArgs activations[2][3];  // by direction
};
