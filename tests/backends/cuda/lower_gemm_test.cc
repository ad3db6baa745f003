// Products and convolutions on the GPU: narrow types, sizes that choose each kernel, and results of other types.
#include "tests/backends/cpu/lower_test_util.h"

namespace lathe::cpu {
namespace {

class LowerGemm : public LowerTest {
 protected:
  // Runs every kernel that accepts the last node of the graph, on the graph as the backend legalises it.
  void check_candidates(const std::string& text, const std::vector<Tensor>& inputs, double tolerance) {
    SCOPED_TRACE(text);
    const std::unique_ptr<Graph> graph = graph_of(text);
    const auto expected = evaluate(*graph, std::vector<RefValue>(inputs.begin(), inputs.end()));
    const std::unique_ptr<Backend> backend = GetParam().make_backend();
    backend->legalize(*graph);
    size_t index = 0;
    for (const auto& node : graph->nodes()) {
      if (node->is<MatMul>() || node->is<Conv>() || node->is<ConvTranspose>())
        for (const Candidate& candidate : backend->candidates(*node)) {
          if (!candidate.declined.empty()) continue;
          SCOPED_TRACE(candidate.kernel);
          LoweredGraph lowered(*graph, GetParam(), 1, false, {{index, candidate.kernel}});
          expect_close(lowered.run(inputs)[0], std::get<Tensor>(expected[0]), tolerance);
        }
      ++index;
    }
  }
};
LATHE_FOR_EACH_DEVICE(LowerGemm);

double tolerance_of(const std::string& type) {
  if (type == "bf16") return 4e-2;
  return type == "f16" ? 5e-3 : 1e-4;
}

Tensor small(const std::string& type, Sizes dims, uint32_t seed) {
  return random_tensor(*dtype_from_string(type), std::move(dims), seed, -0.5, 0.5);
}

// Few rows go to the kernel for them, with and without a split of the inner sizes; odd sizes go elsewhere.
TEST_P(LowerGemm, FewRows) {
  for (const std::string type : {"f32", "f16", "bf16"})
    for (const std::string trans : {"false", "true"})
      for (const int64_t m : {1, 3, 8, 9})
        for (const Sizes& kn : std::vector<Sizes>{{64, 128}, {1024, 72}, {520, 1000}, {65, 33}}) {
          const Sizes w = trans == "true" ? Sizes{kn[1], kn[0]} : kn;
          check("(%x: " + type + "[m, " + std::to_string(kn[0]) + "], %w: " + type + to_string(w) + ", %b: " + type +
                    "[" + std::to_string(kn[1]) + "]) { %y = matmul(%x, %w, %b) {trans_b = " + trans +
                    ", epilogue = (x0, x1) => silu(add(x0, x1))} return %y }",
                {small(type, {m, kn[0]}, 1), small(type, w, 2), small(type, {kn[1]}, 3)},
                {tolerance_of(type), true, {}});
        }
}

// Weights that are constants are on their way before the kernels ahead are done.
TEST_P(LowerGemm, FewRowsOfHalvesByConstants) {
  for (const std::string type : {"f16", "bf16"})
    for (const int64_t m : {1, 5, 8, 9})
      for (const Sizes& nk : std::vector<Sizes>{{16, 32}, {40, 1024}, {4096, 256}, {7, 4128}})
        check("(%x: " + type + "[m, " + std::to_string(nk[1]) + "], %r: " + type + "[m, " + std::to_string(nk[0]) +
                  "]) { %w = constant {value = " + type + to_string(nk) +
                  " random(3)} %h = map(%x) {program = (x0) => mul(x0, x0)} %y = matmul(%h, %w, %r) {trans_b = true, "
                  "epilogue = (x0, x1) => add(x0, x1)} return %y }",
              {small(type, {m, nk[1]}, 1), small(type, {m, nk[0]}, 2)}, {tolerance_of(type), true, {}});
}

// Of all values that the type has.
std::string integers(const std::string& type, int64_t n, int64_t k) {
  const int bits = bit_width(*dtype_from_string(type)), low = type[0] == 'i' ? -(1 << (bits - 1)) : 0;
  const Tensor values = random_tensor(DType::i64, {n * k}, 7, low, low + (1 << bits) - 1);
  std::string text = type + to_string(Sizes{n, k}) + " [";
  for (int64_t i = 0; i < values.elements(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(values.read_int(i));
  return text + "]";
}

struct Narrow {
  std::string type, weights, scale;
  int64_t n, k, block;
  bool zeros;
};

// x, of `m` rows, times weights of a few bits plus a residual. The kernels' variants go by the rows, so these are
// known.
std::string narrow_product(const Narrow& c, int64_t m) {
  const int64_t blocks = (c.k + c.block - 1) / c.block;
  const auto constant = [](const std::string& value) { return " = constant {value = " + value + "} "; };
  return "(%x: " + c.type + to_string(Sizes{m, c.k}) + ", %r: " + c.type + to_string(Sizes{m, c.n}) + ") { %q" +
         constant(integers(c.weights, c.n, c.k)) + "%s" +
         constant(c.scale + to_string(Sizes{c.n, blocks}) + " random(5)") + "%z" +
         constant(integers(c.weights, c.n, blocks)) + "%y = matmul_nbits(%x, %q, %s, " + (c.zeros ? "%z" : "_") +
         ", %r) {block = " + std::to_string(c.block) + ", epilogue = (x0, x1) => add(x0, x1)} return %y }";
}

// Activations are small, since weights are not. Blocks that fit the kernels' steps, or that do not, and are widened; of
// all of a row; rows for each variant, and more than any has.
TEST_P(LowerGemm, NarrowWeights) {
  const auto run = [&](const Narrow& c, int64_t m) {
    const double scale = c.weights.ends_with("4") ? 0.02 : 0.002;
    const Tensor x = random_tensor(*dtype_from_string(c.type), {m, c.k}, 1, -scale, scale);
    const double tolerance = c.type == "bf16" ? 5e-2 : tolerance_of(c.type);  // rounded weights add to what sums lose
    check(narrow_product(c, m), {x, small(c.type, {m, c.n}, 2)}, {tolerance, true, {}});
  };
  const Sizes blocks = {32, 64, 128, 512, 768, 384, 24}, rows = {3, 1, 8, 9, 17, 64, 65, 0};
  size_t i = 0;
  for (const std::string type : {"f16", "bf16"})
    for (const std::string weights : {"i4", "u4", "i8", "u8"})
      for (const bool zeros : {false, true})
        for (const std::string scale : {"f32", "f16", "bf16"}) {
          run({type, weights, scale, 41, 768, blocks[i % blocks.size()], zeros}, rows[i % rows.size()]);
          ++i;
        }
  run({"f16", "i4", "f16", 8256, 256, 128, false}, 7);  // wide enough for another variant
  run({"f16", "i4", "f16", 24, 96, 32, true}, 5);       // too short for wide steps
  run({"f16", "i8", "f16", 16, 8192, 8192, false}, 2);
}

// A layer's products of one row: a norm and two or three products of its result, one of which takes another's result in
// its epilogue, become one launch; what else reads the norm gets it too. More rows go other ways.
struct OneRow {
  std::string type, weights, norm;  // weights: empty for `type`
  int64_t k, n, other_n;
  bool bias;
};

std::string one_row_layer(const OneRow& c) {
  const auto constant = [](const std::string& name, const std::string& value) {
    return " %" + name + " = constant {value = " + value + "}";
  };
  const auto product = [&](const std::string& name, int64_t n, const std::string& extra, const std::string& epilogue) {
    const std::string fields = epilogue.empty() ? "" : ", epilogue = " + epilogue, weight = name + "w";
    if (c.weights.empty())
      return constant(weight, c.type + to_string(Sizes{n, c.k}) + " random(" + std::to_string(n) + ")") + " %" + name +
             " = matmul(%h, %" + weight + extra + ") {trans_b = true" + fields + "}";
    const int64_t block = c.weights == "i4" ? 128 : c.k;
    return constant(weight, integers(c.weights, n, c.k)) +
           constant(name + "s", "f16" + to_string(Sizes{n, (c.k + block - 1) / block}) + " random(5)") + " %" + name +
           " = matmul_nbits(%h, %" + weight + ", %" + name + "s, _" + extra + ") {block = " + std::to_string(block) +
           fields + "}";
  };
  const std::string bias = c.bias ? "%c" : "_", wide = to_string(Sizes{c.k}), add = "(x0, x1) => add(x0, x1)";
  return "(%x: " + c.type + "[m, " + std::to_string(c.k) + "], %r: " + c.type + "[m, " + std::to_string(c.n) + "]) {" +
         constant("g", "f32" + wide + " random(3)") + constant("c", c.type + wide + " random(4)") +
         " %h = norm(%x, %g, " + bias + ") {kind = " + c.norm + ", axis = 1, num_x = 1}" + product("q", c.n, "", "") +
         product("k", c.other_n, "", "") + product("v", c.other_n, "", "") + product("o", c.n, ", %r", add) +
         product("u", c.n, "", "") + product("y", c.n, ", %u", "(x0, x1) => mul(silu(x0), x1)") +
         " %z = map(%h) {program = (x0) => mul(x0, x0)}" + " return %q, %k, %v, %o, %y, %z }";
}

TEST_P(LowerGemm, LayersOfOneRow) {
  for (const OneRow& c : std::vector<OneRow>{{"f16", "", "rms", 1024, 1040, 520, false},
                                             {"bf16", "", "layer", 2080, 512, 520, true},
                                             {"f16", "i8", "rms", 64, 4400, 512, true},
                                             {"bf16", "i8", "layer", 512, 528, 520, false},
                                             {"f16", "i4", "layer", 256, 1024, 512, true},
                                             {"bf16", "i4", "rms", 1024, 512, 520, false}})
    for (const int64_t m : {1, 2}) {
      const double scale = c.weights == "i8" ? 0.01 : 0.1;
      const Tensor x = random_tensor(*dtype_from_string(c.type), {m, c.k}, 1, -scale, scale);
      check(one_row_layer(c), {x, small(c.type, {m, c.n}, 2)}, {4 * tolerance_of(c.type), true, {}});
    }
}

TEST_P(LowerGemm, Epilogues) {
  for (const std::string type : {"f32", "f16", "bf16"})
    for (const int64_t m : {2, 70})
      for (const std::string& program : std::vector<std::string>{
               "relu(add(x0, x1))", "gelu_tanh(add(x0, x1))", "gelu_erf(add(x0, x1))", "add(add(x0, x1), x2)",
               "add(relu(add(x0, x1)), x2)", "relu(add(add(mul(x0, 0.5:" + type + "), x2), x1))", "mul(x0, x3)"})
        check("(%x: " + type + "[m, 96], %w: " + type + "[96, 136], %b: " + type + "[136], %r: " + type +
                  "[m, 136], %c: " + type +
                  "[m, 1]) { %y = matmul(%x, %w, %b, %r, %c) {epilogue = (x0, x1, x2, x3) => " + program +
                  "} return %y }",
              {small(type, {m, 96}, 1), small(type, {96, 136}, 2), small(type, {136}, 3), small(type, {m, 136}, 4),
               small(type, {m, 1}, 5)},
              {tolerance_of(type), true, {}});
}

TEST_P(LowerGemm, EveryCandidate) {
  for (const std::string type : {"f32", "f16", "bf16"})
    for (const std::string trans : {"false", "true"})
      for (const Sizes& mnk :
           std::vector<Sizes>{{5, 64, 128}, {200, 136, 520}, {130, 24, 2048}, {33, 50, 70}, {600, 1200, 72}}) {
        const int64_t m = mnk[0], n = mnk[1], k = mnk[2];
        const Sizes w = trans == "true" ? Sizes{n, k} : Sizes{k, n};
        check_candidates("(%x: " + type + "[m, k], %w: " + type + to_string(w) + ", %b: " + type + "[" +
                             std::to_string(n) + "], %r: " + type + "[m, " + std::to_string(n) +
                             "]) { %y = matmul(%x, %w, %b, %r) {trans_b = " + trans +
                             ", epilogue = (x0, x1, x2) => add(silu(add(x0, x1)), x2)} return %y }",
                         {small(type, {m, k}, 1), small(type, w, 2), small(type, {n}, 3), small(type, {m, n}, 4)},
                         tolerance_of(type));
      }
  check_candidates("(%a: f16[4, 3, 40, 64], %b: f16[3, 64, 56]) { %y = matmul(%a, %b) return %y }",
                   {small("f16", {4, 3, 40, 64}, 1), small("f16", {3, 64, 56}, 2)}, tolerance_of("f16"));
  check_candidates(
      "(%a: bf16[4, 300, 64], %b: bf16[4, 264, 64], %c: f32[264]) { %y = matmul(%a, %b, %c) {trans_b = "
      "true, epilogue = (x0, x1) => mul(cast<f32>(x0), x1)} return %y }",
      {small("bf16", {4, 300, 64}, 1), small("bf16", {4, 264, 64}, 2), small("f32", {264}, 3)}, tolerance_of("bf16"));
  // More tiles than multiprocessors: blocks go on to their next one.
  check_candidates(
      "(%a: f16[4096, 64], %b: f16[64, 2056], %c: f16[4096, 1]) { %y = matmul(%a, %b, %c) {epilogue = (x0, "
      "x1) => gelu_erf(add(x0, x1))} return %y }",
      {small("f16", {4096, 64}, 1), small("f16", {64, 2056}, 2), small("f16", {4096, 1}, 3)}, tolerance_of("f16"));
  for (const std::string type : {"f32", "f16", "bf16"}) {
    const std::string head =
        "(%x: " + type + "[n, 16, h, w], %b: " + type + "[24, 1, 1]) { %w = constant {value = " + type;
    const std::string more = "strides = [1, 2], dilations = [1, 1], pads = [1, 1, 1, 1]";
    for (const std::string program : {"relu(add(x0, x1))", "add(x0, x1)", "silu(add(x0, x1))"})
      check_candidates(head + "[24, 16, 3, 3] random(1)} %y = conv(%x, %w, %b) {" + more + ", epilogue = (x0, x1) => " +
                           program + "} return %y }",
                       {small(type, {2, 16, 9, 8}, 1), small(type, {24, 1, 1}, 2)}, 4 * tolerance_of(type));
    check_candidates(head + "[16, 24, 3, 3] random(1)} %y = conv_transpose(%x, %w, %b) {" + more +
                         ", output_padding = [0, 0], epilogue = (x0, x1) => relu(add(x0, x1))} return %y }",
                     {small(type, {2, 16, 9, 8}, 1), small(type, {24, 1, 1}, 2)}, 4 * tolerance_of(type));
  }
}

// Of open rows, whose algorithms are those of sizes nearby: exact powers of two, just off them, and between.
TEST_P(LowerGemm, OpenRowsOfEveryCandidate) {
  for (const std::string type : {"f32", "f16"})
    for (const int64_t m : {64, 65, 90, 91, 200})
      check_candidates(
          "(%x: " + type + "[m, 128], %w: " + type + "[192, 128], %b: " + type + "[192], %r: " + type +
              "[m, 192]) { %y = matmul(%x, %w, %b, %r) {trans_b = true, epilogue = (x0, x1, x2) => "
              "add(add(x0, x1), x2)} return %y }",
          {small(type, {m, 128}, 1), small(type, {192, 128}, 2), small(type, {192}, 3), small(type, {m, 192}, 4)},
          tolerance_of(type));
}

TEST_P(LowerGemm, Batches) {
  for (const std::string type : {"f16", "bf16", "f64"})
    for (const std::string trans : {"false", "true"}) {
      const std::string fields = " {trans_b = " + trans + "} return %y }";
      const bool swapped = trans == "true";
      check("(%a: " + type + "[2, 3, 40, 64], %b: " + type + (swapped ? "[2, 3, 56, 64]" : "[2, 3, 64, 56]") +
                ") { %y = matmul(%a, %b)" + fields,
            {small(type, {2, 3, 40, 64}, 1), small(type, swapped ? Sizes{2, 3, 56, 64} : Sizes{2, 3, 64, 56}, 2)},
            {tolerance_of(type), true, {}});
      check("(%a: " + type + "[2, 1, 5, 7], %b: " + type + (swapped ? "[3, 9, 7]" : "[3, 7, 9]") +
                ") { %y = matmul(%a, %b)" + fields,
            {small(type, {2, 1, 5, 7}, 1), small(type, swapped ? Sizes{3, 9, 7} : Sizes{3, 7, 9}, 2)},
            {tolerance_of(type), true, {}});
    }
}

TEST_P(LowerGemm, Integers) {
  const auto integers = [](DType type, Sizes dims, uint32_t seed) {
    return random_tensor(type, std::move(dims), seed, type == DType::u8 ? 0 : -100, 100);
  };
  for (const auto& [a, b] : std::vector<std::pair<DType, DType>>{
           {DType::i8, DType::i8}, {DType::u8, DType::i8}, {DType::i32, DType::i32}, {DType::i64, DType::i64}}) {
    const std::string head =
        "(%a: " + std::string(to_string(a)) + "[m, 70], %b: " + std::string(to_string(b)) + "[70, 67]";
    check_exact(head + ") { %y = matmul(%a, %b) return %y }", {integers(a, {66, 70}, 1), integers(b, {70, 67}, 2)});
  }
  check(
      "(%a: u8[m, 70], %b: i8[70, 67], %s: f32[67]) { %y = matmul(%a, %b, %s) {epilogue = (x0, x1) => "
      "mul(cast<f32>(x0), x1)} return %y }",
      {integers(DType::u8, {5, 70}, 1), integers(DType::i8, {70, 67}, 2), floats({67}, 3)});
  // Padded with the zero point, and unevenly.
  for (const std::string pads : {"pads = [1, 1, 1, 1], pad_value = 128", "pads = [0, 1, 2, 1]"})
    check("(%x: u8[n, 4, 9, 8], %w: i8[6, 4, 3, 3]) { %y = conv(%x, %w) {strides = [2, 1], dilations = [1, 1], " +
              pads + "} return %y }",
          {integers(DType::u8, {2, 4, 9, 8}, 1), integers(DType::i8, {6, 4, 3, 3}, 2)}, {0, true, {}});
  check("(%a: f16[m, 64], %b: f16[64, 64]) { %y = matmul(%a, %b) {epilogue = (x0) => cast<f32>(x0)} return %y }",
        {small("f16", {70, 64}, 1), small("f16", {64, 64}, 2)}, {5e-3, true, {}});
}

// Products of bytes on tensor cores: both operands given, and weights that are constants, which are kept transposed.
TEST_P(LowerGemm, BytesOfEveryCandidate) {
  const auto bytes = [](const std::string& type, Sizes dims, uint32_t seed) {
    return random_tensor(*dtype_from_string(type), std::move(dims), seed, type == "u8" ? 0 : -100, 100);
  };
  const std::string scaled =
      ") {trans_b = true, epilogue = (x0, x1, x2, x3) => cast<f16>(add(mul(mul(cast<f32>(x0), x1), x2), x3))} return "
      "%y }";
  for (const std::string a : {"i8", "u8"})
    for (const std::string b : {"i8", "u8"})
      for (const Sizes& mnk : std::vector<Sizes>{{5, 64, 128}, {300, 136, 528}, {130, 24, 2048}}) {
        const int64_t m = mnk[0], n = mnk[1], k = mnk[2];
        const std::string head = "(%a: " + a + "[m, " + std::to_string(k) + "], %b: " + b + to_string(Sizes{n, k});
        const std::vector<Tensor> factors = {bytes(a, {m, k}, 1), bytes(b, {n, k}, 2)};
        check_candidates(head + ") { %y = matmul(%a, %b) {trans_b = true} return %y }", factors, 0);
        std::vector<Tensor> with_scales = factors;
        with_scales.push_back(random_tensor(DType::f32, {m, 1}, 3, 0.001, 0.002));
        with_scales.push_back(random_tensor(DType::f32, {n}, 4, 0.001, 0.002));
        with_scales.push_back(floats({n}, 5));
        check_candidates(head + ", %r: f32[m, 1], %c: f32[" + std::to_string(n) + "], %d: f32[" + std::to_string(n) +
                             "]) { %y = matmul(%a, %b, %r, %c, %d" + scaled,
                         with_scales, 2e-3);
      }
  std::string values;
  for (int i = 0; i < 32 * 48; ++i) values += (i == 0 ? "" : ", ") + std::to_string(i * 37 % 251 - 125);
  check_candidates("(%a: u8[m, 32]) { %w = constant {value = i8[32, 48] [" + values +
                       "]} %y = matmul(%a, %w) {epilogue = (x0) => cast_sat<i8>(shift_right(x0, 7:i32))} return %y }",
                   {bytes("u8", {200, 32}, 1)}, 0);
}

TEST_P(LowerGemm, FloatsOfEightBits) {
  for (const Sizes& mnk : std::vector<Sizes>{{5, 64, 128}, {300, 136, 528}, {130, 24, 2048}}) {
    const int64_t m = mnk[0], n = mnk[1], k = mnk[2];
    check_candidates("(%a: f8e4m3" + to_string(Sizes{m, k}) + ", %b: f8e4m3" + to_string(Sizes{n, k}) + ", %r: f32[" +
                         std::to_string(m) +
                         ", 1]) { %y = matmul(%a, %b, %r) {trans_b = true, epilogue = (x0, x1) => "
                         "cast<f16>(mul(x0, x1))} return %y }",
                     {small("f8e4m3", {m, k}, 1), small("f8e4m3", {n, k}, 2), floats({m, 1}, 3)},
                     2e-2);  // the chip keeps sums of these with about 14 bits
  }
}

// Results that leave as bytes for the next product: rounded to the same byte but for what lies on an edge.
TEST_P(LowerGemm, BytesForTheNextProduct) {
  const std::string real = "cast<f32>(cast<f16>(gelu_erf(add(mul(mul(cast<f32>(x0), x1), x2), cast<f32>(x3)))))";
  for (const auto& [result, program, tolerance] : std::vector<std::tuple<std::string, std::string, double>>{
           {"u8", "cast_sat<u8>(add(round(mul(" + real + ", 50:f32)), 9:f32))", 0.021},
           {"f8e4m3", "cast_sat<f8e4m3>(mul(" + real + ", 0.2:f32))", 0.07}})
    for (const Sizes& mnk : std::vector<Sizes>{{5, 64, 128}, {300, 144, 512}, {130, 48, 2048}}) {
      const int64_t m = mnk[0], n = mnk[1], k = mnk[2];
      const std::string columns = "[" + std::to_string(n) + "]";
      const std::string rest =
          result == "u8" ? "%z = map(%y) {program = (x0) => mul(sub(cast<f32>(x0), 9:f32), 0.02:f32)} return %z }"
                         : "return %y }";
      check_candidates("(%a: i8" + to_string(Sizes{m, k}) + ", %b: i8" + to_string(Sizes{n, k}) + ", %r: f32[" +
                           std::to_string(m) + ", 1], %c: f32" + columns + ", %d: f16" + columns +
                           ") { %y = matmul(%a, %b, %r, %c, %d) {trans_b = true, epilogue = (x0, x1, x2, x3) => " +
                           program + "} " + rest,
                       {random_tensor(DType::i8, {m, k}, 1, -100, 100), random_tensor(DType::i8, {n, k}, 2, -100, 100),
                        random_tensor(DType::f32, {m, 1}, 3, 0.002, 0.004),
                        random_tensor(DType::f32, {n}, 4, 0.002, 0.004), small("f16", {n}, 5)},
                       tolerance);
    }
}

TEST_P(LowerGemm, Convolutions) {
  for (const std::string type : {"f32", "f16", "bf16"})
    for (const bool legalize : {true, false}) {
      const LowerOptions options{tolerance_of(type), legalize, {}};
      for (const std::string program : {"relu(add(x0, x1))", "relu(add(add(x0, x1), x2))", "silu(add(x0, x1))"})
        check("(%x: " + type + "[n, 16, h, w], %b: " + type + "[24, 1, 1], %r: " + type +
                  "[n, 24, h, w]) { %w = constant {value = " + type +
                  "[24, 16, 3, 3] random(1)} %y = conv(%x, %w, %b, %r) {strides = [1, 1], dilations = [1, 1], pads = "
                  "[1, 1, 1, 1], epilogue = (x0, x1, x2) => " +
                  program + "} return %y }",
              {small(type, {2, 16, 9, 7}, 1), small(type, {24, 1, 1}, 2), small(type, {2, 24, 9, 7}, 3)}, options);
      for (const auto& [fields, weights] : std::vector<std::pair<std::string, std::string>>{
               {"strides = [2, 2], dilations = [1, 1], pads = [0, 1, 1, 2]", "[8, 16, 3, 3]"},
               {"strides = [1, 1], dilations = [2, 1], pads = [2, 0, 2, 0]", "[24, 16, 3, 1]"},
               {"strides = [1, 1], dilations = [1, 1], pads = [0, 0, 0, 0]", "[40, 16, 1, 1]"},
               {"strides = [1, 1], dilations = [1, 1], pads = [1, 1, 1, 1], groups = 16", "[16, 1, 3, 3]"},
               {"strides = [2, 1], dilations = [1, 1], pads = [1, 1, 1, 1], groups = 4", "[24, 4, 3, 3]"}})
        check("(%x: " + type + "[n, 16, h, w]) { %w = constant {value = " + type + weights +
                  " random(1)} %y = conv(%x, %w) {" + fields + "} return %y }",
              {small(type, {2, 16, 9, 8}, 1)}, options);
      check(
          "(%x: " + type + "[n, 16, h, w]) { %w = constant {value = " + type +
              "[16, 8, 4, 4] random(1)} %y = conv_transpose(%x, %w) {strides = [2, 2], dilations = [1, 1], pads = [1, "
              "1, 1, 1], output_padding = [0, 0]} return %y }",
          {small(type, {2, 16, 5, 6}, 1)}, options);
      check("(%x: " + type + "[n, 8, h, w]) { %y = pool(%x) {kernel = [3, 3], strides = [2, 2], dilations = [1, 1], " +
                "pads = [1, 1, 1, 1]} %z = pool(%y) {kind = average, kernel = [2, 2], strides = [1, 1], dilations = "
                "[1, 1], pads = [0, 0, 0, 0]} %u = resize(%z) {mode = linear, axes = [2, 3], sizes = [11, 13]} return "
                "%u }",
            {small(type, {2, 8, 9, 8}, 1)}, options);
    }
}

}  // namespace
}  // namespace lathe::cpu
