// Decides how a recurrent layer is cut: the products with the inputs of all steps first, as one matrix product per
// direction; then step by step, each thread with its own units of one direction, and a barrier where a step needs the
// state of all units.
#include "backends/cpu/kernels/rnn.h"

#include <algorithm>

#include "backends/cpu/kernels/gemm.h"

namespace lathe::cpu {
namespace {

// A step smaller than this is done before the others have arrived at a barrier.
constexpr double kSharedStepFlops = 2e5;

// Sizes that follow from the shape.
struct Extent {
  int64_t panels, padded;  // per gate; units rounded up to whole panels
  int64_t row;             // floats of all gates of one sequence

  Extent(const RnnShape& s, int nr) : panels(panel_count(nr, s.hidden)), padded(panels * nr), row(s.gates() * padded) {}
};

// The workspace of one run. Without memory, only its size.
struct Buffers {
  float* projected;  // [directions][steps, batch][row]
  float* bias;       // [directions][row]: what can be added before the steps
  float* h[2];       // [directions, batch, hidden]: of the step before, and the one that is computed
  float* c;
  float* update;    // [directions, batch, hidden]
  float* reset_h;   // the same
  float* products;  // per thread [kGemmMaxRows][gates][nr]
  int64_t products_per_thread;
  size_t bytes;

  Buffers(const RnnShape& s, const Extent& e, int nr, int threads, std::byte* memory) {
    size_t used = 0;
    const auto take = [&](int64_t floats) {
      float* piece = memory == nullptr ? nullptr : reinterpret_cast<float*>(memory + used);
      used += (static_cast<size_t>(floats) * sizeof(float) + 63) / 64 * 64;
      return piece;
    };
    const int64_t states = s.directions * s.batch * s.hidden;
    const bool halves = s.kind == RnnCellKind::gru;
    projected = take(s.directions * s.steps * s.batch * e.row);
    bias = take(s.directions * e.row);
    h[0] = take(states);
    h[1] = take(states);
    c = take(s.kind == RnnCellKind::lstm ? states : 0);
    update = take(halves ? states : 0);
    reset_h = take(halves ? states : 0);
    products_per_thread = kGemmMaxRows * s.gates() * nr;
    products = take(products_per_thread * threads);
    bytes = used;
  }
};

class Layer {
 public:
  Layer(const KernelTable& kernels, const RnnShape& shape, const RnnArgs& args, int threads)
      : kernels_(kernels),
        s_(shape),
        a_(args),
        nr_(kernels.gemm.nr),
        e_(shape, nr_),
        buffers_(shape, e_, nr_, threads, args.workspace) {}

  void run(ThreadTeam& team) {
    project_inputs(team);
    set_states();
    const int sharing = threads_per_direction(team.size());
    team.run([&](int thread, int) { run_thread(team, thread, sharing); });
    store_states();
  }

 private:
  // Biases with the input and with the state are added at once, but for the one that a linear GRU scales later.
  void project_inputs(ThreadTeam& team) {
    const int64_t gates = s_.gates();
    std::fill_n(buffers_.bias, s_.directions * e_.row, 0.0f);
    for (int64_t d = 0; d < s_.directions; ++d) {
      for (int64_t g = 0; g < gates && a_.bias != nullptr; ++g) {
        const float *with_input = a_.bias + (d * 2 * gates + g) * s_.hidden,
                    *with_state = with_input + gates * s_.hidden;
        const bool later = s_.kind == RnnCellKind::gru_linear && g == 2;
        float* sum = buffers_.bias + d * e_.row + g * e_.padded;
        for (int64_t i = 0; i < s_.hidden; ++i) sum[i] = with_input[i] + (later ? 0.0f : with_state[i]);
      }
      Gemm product{};
      product.m = s_.steps * s_.batch;
      product.n = e_.row;
      product.k = product.lda = s_.input;
      product.a = a_.x;
      product.packed_b = a_.w + d * e_.row * s_.input;
      product.epilogue.bias = a_.bias == nullptr ? nullptr : buffers_.bias + d * e_.row;
      product.epilogue.c = buffers_.projected + d * product.m * e_.row;
      product.epilogue.ldc = e_.row;
      gemm(team, kernels_, product);
    }
  }

  void set_states() {
    const auto set = [&](float* to, const float* from) {
      const int64_t states = s_.directions * s_.batch * s_.hidden;
      if (from == nullptr)
        std::fill_n(to, states, 0.0f);
      else
        std::copy_n(from, states, to);
    };
    set(buffers_.h[0], a_.h);
    if (s_.kind == RnnCellKind::lstm) set(buffers_.c, a_.c);
    longest_ = a_.lengths.data == nullptr ? s_.steps : 0;
    for (int64_t b = 0; b < s_.batch && a_.lengths.data != nullptr; ++b)
      longest_ = std::max(longest_, a_.lengths.at(b));
  }

  void store_states() const {
    const int64_t states = s_.directions * s_.batch * s_.hidden;
    std::copy_n(buffers_.h[longest_ % 2], states, a_.y_h);
    if (a_.y_c != nullptr) std::copy_n(buffers_.c, states, a_.y_c);
    for (int64_t t = 0; t < s_.steps && a_.lengths.data != nullptr; ++t)
      for (int64_t b = 0; b < s_.batch; ++b)
        for (int64_t d = 0; d < s_.directions && t >= a_.lengths.at(b); ++d)
          std::fill_n(y_at(t, d, b), s_.hidden, 0.0f);
  }

  float* y_at(int64_t t, int64_t d, int64_t b) const {
    return a_.y + ((t * s_.directions + d) * s_.batch + b) * s_.hidden;
  }
  int64_t length(int64_t b) const { return a_.lengths.data == nullptr ? s_.steps : a_.lengths.at(b); }

  // 1: no thread waits for another.
  int threads_per_direction(int threads) const {
    const double flops = 2.0 * static_cast<double>(s_.batch * s_.gates() * s_.hidden * s_.hidden);
    if (flops < kSharedStepFlops) return 1;
    return static_cast<int>(std::min<int64_t>(std::max(threads / s_.directions, 1), e_.panels));
  }

  void run_thread(ThreadTeam& team, int thread, int sharing) {
    if (sharing == 1) {
      for (int64_t d = thread; d < s_.directions; d += team.size())
        for (int64_t i = 0; i < longest_; ++i) run_step(nullptr, thread, d, i, {0, e_.panels});
      return;
    }
    const bool idle = thread >= s_.directions * sharing;  // but expected at the barriers
    const Range panels = idle ? Range{} : even_part(e_.panels, thread % sharing, sharing);
    for (int64_t i = 0; i < longest_; ++i) run_step(&team, thread, idle ? 0 : thread / sharing, i, panels);
  }

  // Without a team nobody else works on direction d.
  void run_step(ThreadTeam* team, int thread, int64_t d, int64_t i, Range panels) {
    const bool halves = s_.kind == RnnCellKind::gru;
    const int64_t state = d * s_.batch * s_.hidden;
    const float* h = buffers_.h[i % 2] + state;
    for (int64_t p = panels.begin; p < panels.end; ++p) run_panel(thread, d, i, p, h, 0, halves ? 2 : s_.gates());
    if (halves) {
      if (team != nullptr) team->barrier();
      for (int64_t p = panels.begin; p < panels.end; ++p) run_panel(thread, d, i, p, buffers_.reset_h + state, 2, 3);
    }
    if (team != nullptr) team->barrier();
  }

  // The units of one panel: their products of gates [first, last) with `state`, then the cell.
  void run_panel(int thread, int64_t d, int64_t i, int64_t panel, const float* state, int64_t first, int64_t last) {
    const GemmKernels& gemm = kernels_.gemm;
    float* products = buffers_.products + thread * buffers_.products_per_thread;
    const int64_t stride = (last - first) * nr_, tiles = (s_.batch + gemm.max_rows - 1) / gemm.max_rows;
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const Range rows = even_part(s_.batch, tile, tiles);
      for (int64_t g = first; g < last; ++g) {
        const float* weights = a_.r + ((d * s_.gates() + g) * e_.panels + panel) * s_.hidden * nr_;
        gemm.tile[rows.size()]({state + rows.begin * s_.hidden, s_.hidden, weights, nr_, s_.hidden,
                                products + (g - first) * nr_, stride, nr_, false, nullptr});
      }
      for (int64_t b = rows.begin; b < rows.end; ++b)
        run_cell(d, i, b, panel, products + (b - rows.begin) * stride, first != 0);
    }
  }

  void run_cell(int64_t d, int64_t i, int64_t b, int64_t panel, const float* products, bool second_half) const {
    const int64_t unit = panel * nr_, at = (d * s_.batch + b) * s_.hidden + unit;
    RnnCell cell{};
    cell.units = std::min<int64_t>(nr_, s_.hidden - unit);
    cell.h = buffers_.h[i % 2] + at;
    cell.h_next = buffers_.h[(i + 1) % 2] + at;
    if (i >= length(b)) {  // this sequence has ended: its state stays
      std::copy_n(cell.h, cell.units, cell.h_next);
      return;
    }
    const bool backwards = s_.reverse || d == 1;
    const int64_t t = backwards ? length(b) - 1 - i : i;
    cell.input = buffers_.projected + ((d * s_.steps + t) * s_.batch + b) * e_.row + unit;
    cell.gate_stride = e_.padded;
    cell.state = products;
    cell.state_stride = nr_;
    cell.c = buffers_.c + at;
    cell.y = y_at(t, d, b) + unit;
    std::copy_n(a_.functions[d], 3, cell.functions);
    cell.clip = a_.clip;
    cell.peephole = a_.peepholes == nullptr ? nullptr : a_.peepholes + d * 3 * s_.hidden + unit;
    cell.peephole_stride = s_.hidden;
    cell.input_forget = a_.input_forget;
    cell.reset_bias = a_.bias == nullptr ? nullptr : a_.bias + (d * 6 + 5) * s_.hidden + unit;
    cell.update = buffers_.update + at;
    cell.reset_h = buffers_.reset_h + at;
    kernel(second_half)(cell);
  }

  auto kernel(bool second_half) const -> void (*)(const RnnCell&) noexcept {
    switch (s_.kind) {
      case RnnCellKind::rnn: return kernels_.rnn.rnn;
      case RnnCellKind::lstm: return kernels_.rnn.lstm;
      case RnnCellKind::gru_linear: return kernels_.rnn.gru_linear;
      case RnnCellKind::gru: break;
    }
    return second_half ? kernels_.rnn.gru_second_half : kernels_.rnn.gru_first_half;
  }

  const KernelTable& kernels_;
  const RnnShape& s_;
  const RnnArgs& a_;
  int nr_;
  Extent e_;
  Buffers buffers_;
  int64_t longest_ = 0;
};

}  // namespace

int64_t gate_panel_floats(int nr, int64_t gates, int64_t hidden, int64_t k) {
  return gates * packed_b_floats(nr, k, hidden);
}

void pack_gate_panels(int nr, int64_t gates, int64_t hidden, int64_t k, const void* weights, DType type,
                      float* packed) {
  const int64_t bytes = hidden * k * bit_width(type) / 8, floats = packed_b_floats(nr, k, hidden);
  for (int64_t g = 0; g < gates; ++g)
    pack_b(nr, {static_cast<const std::byte*>(weights) + g * bytes, type, 1, k}, k, hidden,
           {0, panel_count(nr, hidden)}, packed + g * floats);
}

void unpack_gate_panels(int nr, int64_t gates, int64_t hidden, int64_t k, const float* packed, float* weights) {
  const int64_t floats = packed_b_floats(nr, k, hidden);
  for (int64_t g = 0; g < gates; ++g) unpack_b(nr, packed + g * floats, k, hidden, weights + g * hidden * k, 1, k);
}

size_t rnn_workspace_bytes(const KernelTable& kernels, const RnnShape& shape, int threads) {
  const int nr = kernels.gemm.nr;
  return Buffers(shape, Extent(shape, nr), nr, threads, nullptr).bytes;
}

void rnn(ThreadTeam& team, const KernelTable& kernels, const RnnShape& shape, const RnnArgs& args) {
  if (shape.batch == 0) return;
  Layer(kernels, shape, args, team.size()).run(team);
}

}  // namespace lathe::cpu
