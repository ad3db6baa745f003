// Selection and recurrent layers on the GPU, which the CPU leaves to the reference evaluator.
#include <limits>

#include "tests/backends/cpu/lower_test_util.h"

namespace lathe::cpu {
namespace {

class CudaSelect : public LowerTest {};
LATHE_FOR_EACH_DEVICE(CudaSelect);

std::string type(DType dtype, const std::string& shape) { return std::string(to_string(dtype)) + shape; }

TEST_P(CudaSelect, TopKOfEveryType) {
  for (const DType t :
       {DType::f32, DType::f16, DType::bf16, DType::f64, DType::i64, DType::i32, DType::i8, DType::u8, DType::u64})
    for (const std::string largest : {"true", "false"}) {
      const std::string fields = ", largest = " + largest + "} return %v, %i }";
      // Few different values: ties.
      const Tensor x = random_tensor(t, {3, 500, 2}, 3, 0, 20);
      check_exact("(%x: " + type(t, "[a, b, c]") + ") { %v, %i = top_k(%x) {k = 77, axis = 1" + fields, {x});
      check_exact("(%x: " + type(t, "[a, b, c]") + ") { %v, %i = top_k(%x) {k = a, axis = 0" + fields, {x});
      check_exact("(%x: " + type(t, "[a, b, c]") + ") { %v, %i = top_k(%x) {k = 1, axis = 2" + fields, {x});
    }
}

TEST_P(CudaSelect, TopKOfLongRows) {
  for (const auto& [n, k] : std::vector<std::pair<int64_t, int64_t>>{
           {256, 256}, {257, 1}, {1000, 5}, {5000, 5000}, {20000, 1}, {20000, 6000}, {150000, 50}})
    check_exact("(%x: f32[a, b]) { %v, %i = top_k(%x) {k = " + std::to_string(k) + ", axis = 1} return %v, %i }",
                {floats({2, n}, 9)});
  check_exact("(%x: i64[b]) { %v, %i = top_k(%x) {k = 3000, axis = 0} return %v, %i }",
              {random_tensor(DType::i64, {9000}, 9, -1000, 1000)});
  check_exact("(%x: f32[a, b]) { %v, %i = top_k(%x) {k = 0, axis = 1} return %v, %i }", {floats({2, 5})});
}

TEST_P(CudaSelect, TopKOrdersNanAndZeros) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();
  const Tensor x = Tensor::of<float>({10}, {-0.0f, 0.0f, kNan, -kInf, 1, kInf, -1, 0.0f, kNan, -0.0f});
  for (const std::string largest : {"true", "false"})
    for (const std::string k : {"4", "7", "10"})
      check_exact(
          "(%x: f32[b]) { %v, %i = top_k(%x) {k = " + k + ", axis = 0, largest = " + largest + "} return %v, %i }",
          {x});
}

TEST_P(CudaSelect, NonZero) {
  for (const DType t : {DType::f32, DType::f16, DType::i64, DType::u8, DType::boolean})
    for (const Sizes& dims : std::vector<Sizes>{{7, 3}, {100, 100}, {1, 1}, {0, 4}})
      check_exact("(%x: " + type(t, "[a, b]") + ") { %y = non_zero(%x) return %y }", {random_tensor(t, dims, 3, 0, 1)});
  check_exact("(%x: i32[a]) { %y = non_zero(%x) return %y }", {random_tensor(DType::i32, {300000}, 3, 0, 1)});
  check_exact("(%x: i32[a, b, c]) { %y = non_zero(%x) return %y }", {random_tensor(DType::i32, {3, 50, 7}, 3, 0, 0)});
  check_exact("(%x: f32[]) { %y = non_zero(%x) return %y }", {floats({})});
}

TEST_P(CudaSelect, Nms) {
  for (const int64_t boxes : {1, 40, 700}) {
    const std::string shapes = "(%b: f32[n, m, 4], %s: f32[n, c, m]) { %y = nms(%b, %s) {";
    const std::vector<Tensor> inputs = {random_tensor(DType::f32, {2, boxes, 4}, 3, 0, 10),
                                        random_tensor(DType::f32, {2, 3, boxes}, 4, 0, 1)};
    check_exact(shapes + "max_per_class = 20, iou_threshold = 0.3} return %y }", inputs);
    check_exact(shapes + "max_per_class = m, iou_threshold = 0.5, score_threshold = 0.4} return %y }", inputs);
    check_exact(shapes + "max_per_class = 5, iou_threshold = 0.1, center_point = true} return %y }", inputs);
    check_exact(shapes + "max_per_class = 0, iou_threshold = 0.1} return %y }", inputs);
    check_exact(shapes + "max_per_class = 3, iou_threshold = 0.1, score_threshold = 2} return %y }", inputs);
  }
}

// Operands by kind: the graph's text up to the fields, and the tensors.
class CudaRnn : public LowerTest {
 protected:
  struct Sizing {
    int64_t steps = 5, batch = 3, input = 10, hidden = 12;
  };

  void check_layer(const std::string& kind, const std::string& direction, const std::string& dtype, const Sizing& s,
                   const std::string& activations, const std::string& fields, bool optional) {
    const int64_t gates = kind == "rnn" ? 1 : kind == "gru" ? 3 : 4, d = direction == "bidirectional" ? 2 : 1;
    const auto of = [&](Sizes dims) { return dtype + to_string(dims); };
    std::vector<Tensor> inputs;
    std::string params, operands;
    const auto add = [&](const std::string& name, Sizes dims, double range) {
      params += (inputs.empty() ? "%" : ", %") + name + ": " + of(dims);
      operands += (inputs.empty() ? "%" : ", %") + name;
      inputs.push_back(
          random_tensor(*dtype_from_string(dtype), dims, static_cast<uint32_t>(inputs.size() + 1), -range, range));
    };
    add("x", {s.steps, s.batch, s.input}, 1);
    add("w", {d, gates * s.hidden, s.input}, 0.3);
    add("r", {d, gates * s.hidden, s.hidden}, 0.3);
    if (optional) {
      add("bias", {d, 2 * gates * s.hidden}, 0.5);
      params += ", %lengths: i32[" + std::to_string(s.batch) + "]";
      operands += ", %lengths";
      Tensor lengths(DType::i32, {s.batch});
      for (int64_t b = 0; b < s.batch; ++b) lengths.write_int(b, (s.steps - b) > 0 ? s.steps - b : 0);
      inputs.push_back(lengths);
      add("h", {d, s.batch, s.hidden}, 1);
      if (kind == "lstm") {
        add("c", {d, s.batch, s.hidden}, 1);
        add("p", {d, 3 * s.hidden}, 0.3);
      }
    }
    const std::string results = kind == "lstm" ? "%y, %yh, %yc" : "%y, %yh";
    std::string all = activations;
    if (d == 2) all += ", " + activations;
    std::string alpha = "0.3", beta = "0.4";
    for (const char c : all) {
      if (c == ',') {
        alpha += ", 0.3";
        beta += ", 0.4";
      }
    }
    check("(" + params + ") { " + results + " = rnn(" + operands + ") {kind = " + kind + ", direction = " + direction +
              ", hidden = " + std::to_string(s.hidden) + ", activations = [" + all + "], alpha = [" + alpha +
              "], beta = [" + beta + "]" + fields + "} return " + results + " }",
          inputs,
          {dtype == "f16"    ? 3e-3
           : dtype == "bf16" ? 2e-2
                             : 2e-5,
           true,
           {}});
  }
};
LATHE_FOR_EACH_DEVICE(CudaRnn);

TEST_P(CudaRnn, KindsDirectionsAndTypes) {
  for (const std::string dtype : {"f32", "f16", "bf16", "f64"})
    for (const std::string direction : {"forward", "reverse", "bidirectional"})
      for (const bool optional : {false, true}) {
        check_layer("rnn", direction, dtype, {}, "tanh", "", optional);
        check_layer("gru", direction, dtype, {}, "sigmoid, tanh", "", optional);
        check_layer("gru", direction, dtype, {}, "sigmoid, tanh", ", linear_before_reset = true", optional);
        check_layer("lstm", direction, dtype, {}, "sigmoid, tanh, tanh", "", optional);
      }
}

TEST_P(CudaRnn, ActivationsAndFields) {
  for (const std::string a : {"relu", "tanh", "sigmoid", "affine", "leaky_relu", "thresholded_relu", "scaled_tanh",
                              "hard_sigmoid", "elu", "softsign", "softplus"})
    check_layer("rnn", "forward", "f32", {}, a, ", clip = 1", true);
  check_layer("lstm", "reverse", "f32", {}, "sigmoid, tanh, relu", ", clip = 0.2, input_forget = true", true);
}

TEST_P(CudaRnn, Sizes) {
  check_layer("lstm", "bidirectional", "f32", {1, 1, 1, 1}, "sigmoid, tanh, tanh", "", true);
  check_layer("lstm", "forward", "f32", {0, 2, 3, 4}, "sigmoid, tanh, tanh", "", true);
  check_layer("lstm", "forward", "f32", {7, 19, 130, 100}, "sigmoid, tanh, tanh", "", true);
  check_layer("gru", "bidirectional", "f32", {20, 9, 65, 70}, "sigmoid, tanh", "", true);
}

}  // namespace
}  // namespace lathe::cpu
