#include "backends/cpu/kernels/rnn_kernels.h"

#include "backends/cpu/kernels/vec_math.h"

namespace lathe::cpu::LATHE_ISA {
namespace {

// Not inlined into the cells, where it would appear up to five times: the call costs little beside an exponential.
__attribute__((noinline)) Vec apply(const RnnFunction& f, Vec x) {
  const Vec a = splat(f.a), b = splat(f.b), one = splat(1.0f);
  switch (f.kind) {
    case RnnFunctionKind::relu: return max(zero(), x);
    case RnnFunctionKind::tanh: return tanh(x);
    case RnnFunctionKind::sigmoid: return sigmoid(x);
    case RnnFunctionKind::affine: return fma(a, x, b);
    case RnnFunctionKind::leaky_relu: return select(less(x, zero()), a * x, x);
    case RnnFunctionKind::thresholded_relu: return select(less(x, a), zero(), x);
    case RnnFunctionKind::scaled_tanh: return a * tanh(b * x);
    case RnnFunctionKind::hard_sigmoid: return clamp(fma(a, x, b), 0.0f, 1.0f);
    case RnnFunctionKind::elu: return select(less(x, zero()), a * (exp(x) - one), x);
    case RnnFunctionKind::softsign: return x / (one + abs(x));
  }
  return x;
}

// Reads and writes of one vector of units.
struct Units {
  const RnnCell& cell;
  int64_t i;
  int lanes;

  Vec at(const float* p) const { return load_lanes(p + i, lanes); }
  Vec input(int gate) const { return at(cell.input + gate * cell.gate_stride); }
  Vec state(int gate) const { return at(cell.state + gate * cell.state_stride); }
  Vec sum(int gate) const { return input(gate) + state(gate); }
  Vec peephole(int gate, Vec sum, Vec c) const {
    return cell.peephole == nullptr ? sum : fma(at(cell.peephole + gate * cell.peephole_stride), c, sum);
  }
  Vec gate(int function, Vec sum) const { return apply(cell.functions[function], clamp(sum, -cell.clip, cell.clip)); }
  void set(float* p, Vec v) const { store_lanes(p + i, v, lanes); }
  void finish(Vec h) const {
    set(cell.h_next, h);
    set(cell.y, h);
  }
};

template <class Body>
inline void for_units(const RnnCell& cell, Body body) {
  for_each_vec(0, cell.units, [&](int64_t i, int lanes) { body(Units{cell, i, lanes}); });
}

void rnn(const RnnCell& cell) noexcept {
  for_units(cell, [](const Units& u) { u.finish(u.gate(0, u.sum(0))); });
}

void lstm(const RnnCell& cell) noexcept {
  for_units(cell, [&](const Units& u) {
    const Vec c = u.at(cell.c);
    const Vec in = u.gate(0, u.peephole(0, u.sum(0), c));
    const Vec forget = cell.input_forget ? splat(1.0f) - in : u.gate(0, u.peephole(2, u.sum(2), c));
    const Vec next = fma(forget, c, in * u.gate(1, u.sum(3)));
    const Vec out = u.gate(0, u.peephole(1, u.sum(1), next));
    u.set(cell.c, next);
    u.finish(out * apply(cell.functions[2], next));
  });
}

// (1 - z) h' + z h
inline Vec blend(Vec update, Vec candidate, Vec h) { return fma(update, h - candidate, candidate); }

void gru_linear(const RnnCell& cell) noexcept {
  for_units(cell, [&](const Units& u) {
    const Vec update = u.gate(0, u.sum(0)), reset = u.gate(0, u.sum(1));
    const Vec recurrent = cell.reset_bias == nullptr ? u.state(2) : u.state(2) + u.at(cell.reset_bias);
    u.finish(blend(update, u.gate(1, fma(reset, recurrent, u.input(2))), u.at(cell.h)));
  });
}

void gru_first_half(const RnnCell& cell) noexcept {
  for_units(cell, [&](const Units& u) {
    u.set(cell.update, u.gate(0, u.sum(0)));
    u.set(cell.reset_h, u.gate(0, u.sum(1)) * u.at(cell.h));
  });
}

void gru_second_half(const RnnCell& cell) noexcept {
  for_units(cell, [&](const Units& u) {
    u.finish(blend(u.at(cell.update), u.gate(1, u.input(2) + u.state(0)), u.at(cell.h)));
  });
}

constexpr RnnKernels kKernels = {rnn, lstm, gru_linear, gru_first_half, gru_second_half};

}  // namespace

const RnnKernels& rnn() { return kKernels; }

}  // namespace lathe::cpu::LATHE_ISA
