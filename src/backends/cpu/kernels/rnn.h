// Recurrent layers: RNN, GRU, LSTM, one or both directions.
//
// Floor: the products with the inputs of all steps are one matrix product and run at FMA peak; the products with the
// state depend on each other, so a step costs at least its recurrent weights' bytes over the bandwidth of where they
// lie (a core's share of them stays in its second-level cache up to 2 MB), or its FLOPs over the peak for large
// batches.
//
// Weights are packed by gate: the panels of kernels/gemm.h, where each gate of each direction starts a new panel. So a
// thread that owns some units has all their gates, and computes their new state without waiting for anyone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include "backends/cpu/kernels/kernel_table.h"
#include "backends/cpu/kernels/positions.h"
#include "backends/cpu/kernels/rnn_kernels.h"
#include "base/dtype.h"
#include "base/thread_team.h"

namespace lathe::cpu {

enum class RnnCellKind : uint8_t { rnn, gru, gru_linear, lstm };  // gru_linear: ONNX's linear_before_reset

struct RnnShape {
  RnnCellKind kind = RnnCellKind::lstm;
  int64_t steps = 0, batch = 0, input = 0, hidden = 0;
  int directions = 1;
  bool reverse = false;  // the only direction runs backwards; of two, the second always does

  int64_t gates() const { return kind == RnnCellKind::rnn ? 1 : kind == RnnCellKind::lstm ? 4 : 3; }
};

struct RnnArgs {
  const float* x = nullptr;     // [steps, batch, input]
  const float* w = nullptr;     // [directions, gates, panels of [input][nr]]
  const float* r = nullptr;     // [directions, gates, panels of [hidden][nr]]
  const float* bias = nullptr;  // [directions, 2, gates, hidden]: with input, with state; null: none
  IndexTensor lengths = {};     // [batch], each in [0, steps]; null: all are `steps`
  const float* h = nullptr;     // [directions, batch, hidden]; null: zeros
  const float* c = nullptr;
  const float* peepholes = nullptr;  // [directions, 3, hidden]; null: none
  float* y = nullptr;                // [steps, directions, batch, hidden]; 0 beyond a sequence's length
  float* y_h = nullptr;              // [directions, batch, hidden]
  float* y_c = nullptr;              // LSTM
  RnnFunction functions[2][3];       // by direction
  float clip = std::numeric_limits<float>::infinity();
  bool input_forget = false;
  std::byte* workspace = nullptr;  // rnn_workspace_bytes(), aligned to 64
};

// Packs `gates` matrices [hidden, k], those of all directions one after the other, as RnnArgs has them; and back.
int64_t gate_panel_floats(int nr, int64_t gates, int64_t hidden, int64_t k);
void pack_gate_panels(int nr, int64_t gates, int64_t hidden, int64_t k, const void* weights, DType type, float* packed);
void unpack_gate_panels(int nr, int64_t gates, int64_t hidden, int64_t k, const float* packed, float* weights);

size_t rnn_workspace_bytes(const KernelTable& kernels, const RnnShape& shape, int threads);
void rnn(ThreadTeam& team, const KernelTable& kernels, const RnnShape& shape, const RnnArgs& args);

}  // namespace lathe::cpu
