// Recurrent layers of ONNX: RNN, GRU, LSTM.
#pragma once

#include "graph/ops/field_types.h"

namespace lathe {

enum class RnnKind : uint8_t { rnn, gru, lstm };
enum class RnnDirection : uint8_t { forward, reverse, bidirectional };
enum class RnnActivation : uint8_t {
  relu,
  tanh,
  sigmoid,
  affine,
  leaky_relu,
  thresholded_relu,
  scaled_tanh,
  hard_sigmoid,
  elu,
  softsign,
  softplus
};

// (x [seq, batch, input], w, r, bias?, sequence_lens?, initial_h?, initial_c?, peepholes?) -> (y, y_h, y_c for lstm),
// weights and gate order as ONNX lays them out (RNN, GRU, LSTM; layout 1 is imported as transposes). clip 0 means none.
struct Rnn {
  static constexpr std::string_view kName = "rnn";
  RnnKind kind = RnnKind::lstm;
  RnnDirection direction = RnnDirection::forward;
  int64_t hidden = 0;
  std::vector<RnnActivation> activations;  // per direction: 1 (rnn), 2 (gru), 3 (lstm)
  std::vector<double> alpha, beta;         // one per activation
  double clip = 0;
  bool linear_before_reset = false;
  bool input_forget = false;
  template <class Self, class V>
  static void fields(Self& s, V&& visit) {
    visit("kind", s.kind);
    visit("direction", s.direction);
    visit("hidden", s.hidden);
    visit("activations", s.activations);
    visit("alpha", s.alpha);
    visit("beta", s.beta);
    visit("clip", s.clip);
    visit("linear_before_reset", s.linear_before_reset);
    visit("input_forget", s.input_forget);
  }
};

}  // namespace lathe
