// Attention in narrow types at the sizes that choose among kernels: head sizes, tiles of rows, tiles of keys of which
// none is seen, score programs that run once for each key, split keys.

#include "tests/backends/cpu/lower_test_util.h"

namespace lathe::cpu {
namespace {

struct Problem {
  int64_t batch = 1, heads = 1, kv_heads = 1, dim = 64, queries = 1, keys = 1;
  int64_t value_dim = 0;                    // 0: dim
  std::string fields = {};                  // of the op, beside the sizes
  std::string masks = {}, mask_types = {};  // further operands and their declarations
  std::vector<Tensor> mask_values = {};
};

class CudaAttention : public LowerTest {
 protected:
  // Operands [batch, heads, tokens, dim] as inputs of the graph.
  void check_attention(const Problem& p, const std::string& type, double roundings = 1) {
    const auto text = [](int64_t n) { return std::to_string(n); };
    const int64_t value_dim = p.value_dim == 0 ? p.dim : p.value_dim;
    const auto declare = [&](const char* name, int64_t heads, const char* tokens, int64_t dim) {
      return fmt::format("%{}: {}[b, {}, {}, {}]", name, type, heads, tokens, dim);
    };
    const DType dtype = *dtype_from_string(type);
    std::vector<Tensor> inputs = {random_tensor(dtype, {p.batch, p.heads, p.queries, p.dim}, 1),
                                  random_tensor(dtype, {p.batch, p.kv_heads, p.keys, p.dim}, 2),
                                  random_tensor(dtype, {p.batch, p.kv_heads, p.keys, value_dim}, 3)};
    inputs.insert(inputs.end(), p.mask_values.begin(), p.mask_values.end());
    check("(" + declare("q", p.heads, "s", p.dim) + ", " + declare("k", p.kv_heads, "t", p.dim) + ", " +
              declare("v", p.kv_heads, "t", value_dim) + p.mask_types + ") { %y = attention(%q, %k, %v" + p.masks +
              ") {heads = " + text(p.heads) + ", kv_heads = " + text(p.kv_heads) + ", head_dim = " + text(p.dim) +
              ", value_dim = " + text(value_dim) +
              ", scale = 0.15, q_order = head_major, k_order = head_major, v_order = head_major" + p.fields +
              "} return %y }",
          inputs,
          {roundings * (type == "f16"    ? 2e-3
                        : type == "bf16" ? 2e-2
                                         : 2e-5),
           true,
           {}});
  }

  // 1 for the first `seen[b]` of `keys` keys, or for the last.
  static Tensor visible(const std::vector<int64_t>& seen, int64_t keys, bool last = false) {
    Tensor mask(DType::i64, {static_cast<int64_t>(seen.size()), 1, 1, keys});
    for (size_t b = 0; b < seen.size(); ++b)
      for (int64_t k = 0; k < keys; ++k)
        mask.write_int(static_cast<int64_t>(b) * keys + k, (last ? keys - 1 - k : k) < seen[b] ? 1 : 0);
    return mask;
  }
};
LATHE_FOR_EACH_DEVICE(CudaAttention);

const std::vector<std::string> kNarrow = {"f16", "bf16"};

TEST_P(CudaAttention, HeadSizes) {
  for (const std::string& type : kNarrow)
    for (const int64_t dim : {32, 40, 64, 72, 80, 96, 128, 160, 200, 256})
      check_attention({.heads = 4, .kv_heads = 2, .dim = dim, .queries = 70, .keys = 200}, type);
  check_attention({.heads = 2, .kv_heads = 2, .dim = 64, .queries = 150, .keys = 150, .value_dim = 128}, "f16");
  check_attention({.heads = 2, .kv_heads = 2, .dim = 128, .queries = 150, .keys = 150, .value_dim = 48}, "f16");
}

// From less than a tile for each multiprocessor to several, so that each size of tile serves.
TEST_P(CudaAttention, BlocksGoFromTileToTile) {
  struct Case {
    int64_t batch, heads, length, dim;
  };
  for (const Case& c :
       std::vector<Case>{{1, 2, 129, 64}, {70, 2, 100, 32}, {40, 12, 60, 32}, {20, 12, 190, 32}, {40, 4, 70, 128}})
    for (const std::string fields : {"", ", causal = true, causal_offset = 0"})
      check_attention({.batch = c.batch,
                       .heads = c.heads,
                       .kv_heads = c.heads,
                       .dim = c.dim,
                       .queries = c.length,
                       .keys = c.length,
                       .fields = fields},
                      "f16");
}

TEST_P(CudaAttention, PackedSequences) {
  const auto ends = [](const std::vector<int32_t>& lengths, size_t sequences) {
    std::vector<int32_t> starts = {0};
    for (size_t i = 0; i < sequences; ++i) starts.push_back(starts.back() + lengths[i % lengths.size()]);
    return starts;
  };
  // What lies around tiles of rows and of keys; and so many that blocks go on from one to another.
  const std::vector<int32_t> few = ends({1, 0, 64, 65, 130}, 5), many = ends({5, 0, 12, 1, 30}, 40);
  for (const std::string& type : kNarrow)
    for (const int64_t dim : {32, 64, 128})
      for (const std::vector<int32_t>& starts : {few, many}) {
        const int64_t tokens = starts.back(), columns = 4 * dim;
        const Tensor qkv = random_tensor(*dtype_from_string(type), {1, tokens, 3 * columns}, 1);
        const Tensor bounds =
            Tensor::of<int32_t>({static_cast<int64_t>(starts.size())}, std::span<const int32_t>(starts));
        const Tensor bits = random_tensor(DType::i64, {1, 1, 1, tokens}, 4, 0, 5);
        for (const std::string& score :
             {std::string("x0"), "add(x0, cast<" + type + ">(select(eq(x1, 0:i64), -10000:f32, 0:f32)))",
              "select(eq(x1, 0:i64), -100:" + type + ", x0)"})
          check(fmt::format("(%x: {}[1, t, {}], %starts: i32[n], %b: i64[1, 1, 1, t]) {{ %y = attention(%x, %x, %x, "
                            "%starts, %b) {{heads = 4, kv_heads = 4, head_dim = {}, value_dim = {}, scale = 0.15, "
                            "q_stride = {}, k_offset = {}, k_stride = {}, v_offset = {}, v_stride = {}, packed = true, "
                            "longest = 200, score = (x0, x1) => {}}} return %y }}",
                            type, 3 * columns, dim, dim, dim, columns, dim, 2 * columns, dim, score),
                {qkv, bounds, bits}, {type == "f16" ? 4e-3 : 4e-2, true, {}});
      }
}

TEST_P(CudaAttention, CausalRowsOfSeveralHeads) {
  for (const int64_t offset : {-200, -100, 0, 51, 1000})
    for (const int64_t dim : {64, 128})
      check_attention({.heads = 6,
                       .kv_heads = 2,
                       .dim = dim,
                       .queries = 150,
                       .keys = 200,
                       .fields = fmt::format(", causal = true, causal_offset = {}", offset)},
                      "f16");
}

TEST_P(CudaAttention, KeyMasks) {
  const std::vector<std::string> programs = {
      "select(ne(x1, 0:i64), x0, -inf:{0})",
      "add(mul(x0, 0.5:{0}), select(eq(x1, 0:i64), -inf:{0}, 0:{0}))",
      "add(x0, mul(sub(1:{0}, cast<{0}>(x1)), -30000:{0}))",  // rounds away the scores of rows that see nothing
      "select(ge(iota(-1), add(x1, 40:i64)), -inf:{0}, x0)",
      "add(x0, cast<{0}>(mul(x1, iota(-3))))",  // of the head: runs on every score
  };
  for (const std::string& type : kNarrow)
    for (const std::string& program : programs)
      for (const bool last : {false, true})
        check_attention({.batch = 5,
                         .heads = 2,
                         .kv_heads = 2,
                         .dim = 32,
                         .queries = 100,
                         .keys = 300,
                         .fields = ", score = (x0, x1) => " + fmt::format(fmt::runtime(program), type),
                         .masks = ", %m",
                         .mask_types = ", %m: i64[b, 1, 1, t]",
                         .mask_values = {visible(
                             {300, 130, 1, program.find("-30000") == std::string::npos ? 0 : 2, 128}, 300, last)}},
                        type, 4);
}

// The largest finite number hides keys from rows that see others; rows that see no other keys see all of them alike.
TEST_P(CudaAttention, FiniteKeyMasks) {
  check_attention({.batch = 3,
                   .heads = 2,
                   .kv_heads = 2,
                   .dim = 64,
                   .queries = 40,
                   .keys = 200,
                   .fields = ", score = (x0, x1) => add(x0, mul(sub(1:bf16, cast<bf16>(x1)), -3.3e38:bf16))",
                   .masks = ", %m",
                   .mask_types = ", %m: i64[b, 1, 1, t]",
                   .mask_values = {visible({200, 0, 70}, 200)}},
                  "bf16", 2);
}

TEST_P(CudaAttention, KeyMasksBesideCausal) {
  for (const int64_t dim : {64, 128})
    check_attention({.batch = 3,
                     .heads = 2,
                     .kv_heads = 2,
                     .dim = dim,
                     .queries = 140,
                     .keys = 140,
                     .fields = ", causal = true, causal_offset = 0, score = (x0, x1) => select(ne(x1, 0:i64), x0, "
                               "-inf:f16)",
                     .masks = ", %m",
                     .mask_types = ", %m: i64[b, 1, 1, t]",
                     .mask_values = {visible({100, 140, 5}, 140, true)}},
                    "f16");
}

TEST_P(CudaAttention, ScoresOfEveryHeadSize) {
  for (const int64_t dim : {64, 128, 256})
    check_attention({.batch = 2,
                     .heads = 4,
                     .kv_heads = 2,
                     .dim = dim,
                     .queries = 150,
                     .keys = 170,
                     .fields = ", score = (x0, x1) => add(mul(tanh(div(x0, 5:f16)), 5:f16), x1)",
                     .masks = ", %m",
                     .mask_types = ", %m: f16[4, s, t]",
                     .mask_values = {random_tensor(DType::f16, {4, 150, 170}, 7)}},
                    "f16", 4);
}

TEST_P(CudaAttention, LongKeysAreSplit) {
  for (const std::string& type : kNarrow) {
    check_attention({.heads = 2, .kv_heads = 2, .dim = 64, .queries = 70, .keys = 3000}, type);
    check_attention({.heads = 2,
                     .kv_heads = 1,
                     .dim = 128,
                     .queries = 40,
                     .keys = 3000,
                     .fields = ", score = (x0, x1) => select(ne(x1, 0:i64), x0, -inf:" + type + ")",
                     .masks = ", %m",
                     .mask_types = ", %m: i64[b, 1, 1, t]",
                     .mask_values = {visible({700}, 3000)}},
                    type);
  }
}

}  // namespace
}  // namespace lathe::cpu
