// One time step of a recurrent layer for all directions and sequences: the state times the recurrent weights, gates,
// and the new state, in one launch (two for a gru that resets before the product). A warp computes one hidden unit for
// up to kRnnBatch sequences, so every row of weights is read once per kRnnBatch sequences, from the L2 cache: the floor
// of a step is gates * hidden^2 * bytes / 5.5 TB/s on an H100, or the 1.2 us that a launch takes.
// CELL: rnn, gru or lstm.
#include "rnn.cuh"

constexpr RnnCell kCell = RnnCell::CELL;
constexpr int kGates = kCell == RnnCell::rnn ? 1 : kCell == RnnCell::gru ? 3 : 4;

inline __device__ float exp_of(float x) { return expf(x); }
inline __device__ double exp_of(double x) { return exp(x); }

inline __device__ ACC apply(const RnnActivationArgs& activation, ACC x) {
  const ACC alpha = activation.alpha, beta = activation.beta;
  switch (activation.kind) {  // enum RnnActivation of graph/ops/rnn.h
    case 0: return x < 0 ? ACC(0) : x;
    case 1: return tanh(x);
    case 2: return 1 / (1 + exp_of(-x));
    case 3: return alpha * x + beta;
    case 4: return x < 0 ? alpha * x : x;
    case 5: return x < alpha ? ACC(0) : x;
    case 6: return alpha * tanh(beta * x);
    case 7: return fmin(fmax(alpha * x + beta, ACC(0)), ACC(1));
    case 8: return x < 0 ? alpha * expm1(x) : x;
    case 9: return x / (1 + fabs(x));
    default: return fmax(x, ACC(0)) + log1p(exp_of(-fabs(x)));
  }
}

// What one thread needs to update one hidden unit of one sequence.
struct Unit {
  const RnnStepArgs& args;
  const ACC* gates;     // of the input, at this unit
  const ACC* products;  // of the state, by gate
  i64 d, unit, at;      // at: in [directions, batch, hidden]

  __device__ ACC activate(int which, ACC x) const {
    const ACC clip = args.clip;
    return apply(args.activations[d][which], clip > 0 ? fmin(fmax(x, -clip), clip) : x);
  }
  __device__ ACC sum(int gate) const { return gates[gate * args.hidden] + products[gate]; }
  __device__ ACC state() const { return static_cast<const ACC*>(args.h_in)[at]; }
  __device__ ACC peephole(int gate, ACC c) const {
    if (args.peepholes == nullptr) return 0;
    return to_acc(static_cast<const TYPE*>(args.peepholes)[(d * 3 + gate) * args.hidden + unit]) * c;
  }

  __device__ ACC rnn() const { return activate(0, sum(0)); }

  // Gates: update, reset, hidden.
  __device__ ACC gru_before_product() const {
    static_cast<ACC*>(args.update)[at] = activate(0, sum(0));
    static_cast<ACC*>(args.gated)[at] = activate(0, sum(1)) * state();
    return state();
  }
  __device__ ACC gru() const {
    ACC update, recurrent = products[2];
    if (args.linear_before_reset) {
      update = activate(0, sum(0));
      if (args.bias != nullptr)
        recurrent +=
            to_acc(static_cast<const TYPE*>(args.bias)[(d * 2 + 1) * 3 * args.hidden + 2 * args.hidden + unit]);
      recurrent *= activate(0, sum(1));
    } else {
      update = static_cast<const ACC*>(args.update)[at];
    }
    return (1 - update) * activate(1, gates[2 * args.hidden] + recurrent) + update * state();
  }

  // Gates: input, output, forget, cell.
  __device__ ACC lstm() const {
    ACC& c = static_cast<ACC*>(args.c)[at];
    const ACC in = activate(0, sum(0) + peephole(0, c));
    const ACC forget = args.input_forget ? 1 - in : activate(0, sum(2) + peephole(2, c));
    c = forget * c + in * activate(1, sum(3));
    const ACC out = activate(0, sum(1) + peephole(1, c));
    return out * apply(args.activations[d][2], c);
  }
};

// products[gate][sequence] of the gates [First, Last): the unit's rows of weights times the states, in every lane.
template <int First, int Last>
inline __device__ void multiply(const RnnStepArgs& args, const ACC* states, i64 d, i64 unit, i64 batch0,
                                ACC (&products)[kGates][kRnnBatch]) {
  const TYPE* r = static_cast<const TYPE*>(args.r) + (d * kGates * args.hidden + unit) * args.hidden;
  const ACC* h = states + (d * args.batch + batch0) * args.hidden;
  const int sequences = args.batch - batch0 < kRnnBatch ? int(args.batch - batch0) : kRnnBatch;
  for (i64 k = threadIdx.x % kWarp; k < args.hidden; k += kWarp) {
    ACC weights[kGates];
#pragma unroll
    for (int gate = First; gate < Last; ++gate) weights[gate] = to_acc(r[gate * args.hidden * args.hidden + k]);
#pragma unroll
    for (int b = 0; b < kRnnBatch; ++b) {
      if (b >= sequences) break;
      const ACC state = h[b * args.hidden + k];
#pragma unroll
      for (int gate = First; gate < Last; ++gate) products[gate][b] += weights[gate] * state;
    }
  }
#pragma unroll
  for (int b = 0; b < kRnnBatch; ++b) {
    if (b >= sequences) break;
#pragma unroll
    for (int gate = First; gate < Last; ++gate) products[gate][b] = warp_reduce<Sum>(products[gate][b]);
  }
}

KERNEL(kRnnWarps * kWarp, RnnStepArgs) {
  const i64 unit = i64(blockIdx.x) * kRnnWarps + threadIdx.x / kWarp, batch0 = i64(blockIdx.y) * kRnnBatch;
  const i64 d = blockIdx.z;
  if (unit >= args.hidden) return;
  const ACC* h_in = static_cast<const ACC*>(args.h_in);
  ACC products[kGates][kRnnBatch] = {};
  if constexpr (kCell == RnnCell::gru) {
    if (args.linear_before_reset)
      multiply<0, 3>(args, h_in, d, unit, batch0, products);
    else if (args.phase == 0)
      multiply<0, 2>(args, h_in, d, unit, batch0, products);
    else
      multiply<2, 3>(args, static_cast<const ACC*>(args.gated), d, unit, batch0, products);
  } else {
    multiply<0, kGates>(args, h_in, d, unit, batch0, products);
  }

  // Lane b finishes sequence b.
  ACC own[kGates] = {};
  const int lane = threadIdx.x % kWarp;
#pragma unroll
  for (int b = 0; b < kRnnBatch; ++b)
#pragma unroll
    for (int gate = 0; gate < kGates; ++gate)
      if (lane == b) own[gate] = products[gate][b];
  const i64 b = batch0 + lane;
  if (lane >= kRnnBatch || b >= args.batch) return;
  i64 length = args.steps;
  if (args.lengths != nullptr) {
    length = read_index(args.lengths, args.wide_lengths, b);
    length = length < 0 ? 0 : length > args.steps ? args.steps : length;
  }
  const i64 at = (d * args.batch + b) * args.hidden + unit;
  const bool runs = args.step < length, reverse = d == 1 || args.reverse;
  const i64 t = runs && reverse ? length - 1 - args.step : args.step;
  const bool prepares = kCell == RnnCell::gru && !args.linear_before_reset && args.phase == 0;
  ACC h = h_in[at];
  if (runs) {
    const ACC* gates =
        static_cast<const ACC*>(args.gates) + ((d * args.steps + t) * args.batch + b) * kGates * args.hidden + unit;
    const Unit state = {args, gates, own, d, unit, at};
    if constexpr (kCell == RnnCell::rnn)
      h = state.rnn();
    else if constexpr (kCell == RnnCell::lstm)
      h = state.lstm();
    else
      h = prepares ? state.gru_before_product() : state.gru();
  }
  if (prepares) return;
  static_cast<ACC*>(args.h_out)[at] = h;
  if (args.y != nullptr)  // steps after the end of a sequence are 0
    static_cast<TYPE*>(args.y)[((t * args.directions + d) * args.batch + b) * args.hidden + unit] =
        from_acc(runs ? h : ACC(0));
}
