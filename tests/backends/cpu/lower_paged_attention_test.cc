// Lowering of attention over a paged cache: chunks and single tokens in one step, scrambled blocks, every way to mask,
// and that a sequence is none the wiser about the others.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>

#include "graph/paged_cache.h"
#include "tests/backends/cpu/lower_test_util.h"

namespace lathe::cpu {
namespace {

struct Chunk {
  int64_t tokens, past;  // new ones, and those that the cache holds
  uint32_t seed = 0;     // of its numbers
  int64_t keys = 0;      // new ones, where they are of another text
};

struct Decoder {
  int64_t heads = 4, kv_heads = 4, head_dim = 32, value_dim = 32, block_size = 16, window = 0;
  bool chunked = false;
  double softcap = 0;
  bool prefix = false, slopes = false;
  int64_t distances = 0;  // of biases
  bool cross = false;     // keys are of another text
  bool sinks = false;
  int64_t turned = 0;  // features of queries and keys that rotary embeddings turn before
  bool interleaved = false;
  bool projected = false;  // queries, keys and values come out of a product with weights of bf16
  DType compute = DType::f32, cache = DType::f32;

  int64_t columns() const { return (heads + kv_heads) * head_dim + kv_heads * value_dim; }
  int64_t input_columns() const { return projected ? 2 : columns(); }
  CacheRows rows(int64_t features) const { return {cache, features, block_size}; }
  // Columns of the fused product as heads.
  static std::string cut(const std::string& name, int64_t first, int64_t count, int64_t dim) {
    return fmt::format(
        "%{0}1 = slice(%x) {{axes = [1], starts = [{1}], sizes = [{2}], steps = [1]}} %{0}2 = reshape(%{0}1) {{shape = "
        "[t, {3}, {4}]}} ",
        name, first, count * dim, count, dim);
  }
  std::string turn(const std::string& name, int64_t count) const {
    return fmt::format(
        "%{0}3 = rotary(%{0}2, %co, %sn) {{rotary_dim = {1}, interleaved = {2}}} %{0} = reshape(%{0}3) {{shape = "
        "[t, {3}]}} ",
        name, turned, interleaved, count * head_dim);
  }
  // One fused product stands for q, k and v.
  std::string text() const {
    std::string inputs =
        fmt::format("%{}: {}[t, {}], %kc: {}[n, {}, {}, {}], %vc: {}[n, {}, {}, {}]", projected ? "a" : "x",
                    to_string(compute), input_columns(), to_string(cache), kv_heads, block_size,
                    rows(head_dim).columns(), to_string(cache), kv_heads, block_size, rows(value_dim).columns());
    inputs += ", %st: i32[s + 1], %len: i32[s], %tab: i32[s, b]";
    if (prefix) inputs += ", %pre: i32[s]";
    if (slopes) inputs += fmt::format(", %sl: f32[{}]", heads);
    if (distances > 0) inputs += fmt::format(", %bi: f32[{}, {}]", heads, distances);
    if (cross) inputs += fmt::format(", %m: {}[u, {}], %ks: i32[s + 1]", to_string(compute), columns());
    if (sinks) inputs += fmt::format(", %si: f32[{}]", heads);
    const std::string optional = std::string(prefix ? ", %pre" : ", _") + (slopes ? ", %sl" : ", _") +
                                 (distances > 0 ? ", %bi" : ", _") + (cross ? ", %ks" : ", _") +
                                 (sinks ? ", %si" : ", _");
    int64_t k_offset = heads * head_dim;
    const int64_t v_offset = k_offset + kv_heads * head_dim;
    std::string before, queries = "%x", others = cross ? "%m, %m" : "%x, %x";
    if (projected)
      before = fmt::format("%w = constant {{value = bf16[2, {}] random(3)}} %x = matmul(%a, %w) ", columns());
    if (turned > 0) {
      inputs += fmt::format(", %co: f32[t, 1, {0}], %sn: f32[t, 1, {0}]", turned / 2);
      // One after the other, as kernels on GPUs that turn both expect them.
      before += cut("q", 0, heads, head_dim) + cut("k", k_offset, kv_heads, head_dim) + turn("q", heads) +
                turn("k", kv_heads);
      queries = "%q";
      others = "%k, %x";
      k_offset = 0;
    }
    return fmt::format(
        "({}) {{ {}%y = paged_attention({}, {}, %kc, %vc, %st, %len, %tab{}) {{heads = {}, kv_heads = {}, head_dim = "
        "{}, value_dim = {}, block_size = {}, scale = {}, window = {}, chunked = {}, softcap = {}, q_stride = {}, "
        "k_offset = {}, "
        "k_stride = {}, v_offset = {}, v_stride = {}}} return %y }}",
        inputs, before, queries, others, optional, heads, kv_heads, head_dim, value_dim, block_size,
        1 / std::sqrt(static_cast<double>(head_dim)), window, chunked, softcap, head_dim, k_offset, head_dim, v_offset,
        value_dim);
  }

  // Blocks in scrambled order; every row of the caches that no sequence has filled is NaN.
  std::vector<Tensor> step(const std::vector<Chunk>& chunks, int64_t unused_tokens = 0) const;
  Tensor pool_of_nan(int64_t blocks, int64_t features) const;
};

Tensor integers(Sizes dims, const std::vector<int64_t>& values) {
  Tensor t(DType::i32, std::move(dims));
  for (size_t i = 0; i < values.size(); ++i) t.write_int(static_cast<int64_t>(i), values[i]);
  return t;
}

// A row of a cache with numbers within [-2, 2].
void fill_row(Tensor& cache, const CacheRows& rows, int64_t head, int64_t slot, const std::function<double()>& number) {
  const int64_t first = rows.row(head, slot) * rows.features / rows.row_bytes();
  for (int64_t d = 0; d < rows.features; ++d) {
    if (rows.type == DType::i8)
      cache.write_int(first + d, static_cast<int64_t>(number() * 60));
    else
      cache.write_double(first + d, number());
  }
  const float scale = rows.type == DType::i8 ? 0.015f : 0.8f;
  if (rows.scaled()) std::memcpy(cache.mutable_bytes().data() + rows.scale(head, slot), &scale, sizeof scale);
}

Tensor Decoder::pool_of_nan(int64_t blocks, int64_t features) const {
  Tensor t(cache, {blocks, kv_heads, block_size, rows(features).columns()});
  if (rows(features).scaled())  // scales that are NaN
    std::fill_n(t.mutable_bytes().data(), t.bytes().size(), std::byte{0xff});
  else
    for (int64_t i = 0; i < t.elements(); ++i) t.write_double(i, std::nan(""));
  return t;
}

std::vector<Tensor> Decoder::step(const std::vector<Chunk>& chunks, int64_t unused_tokens) const {
  const auto sequences = static_cast<int64_t>(chunks.size());
  int64_t width = 1, blocks = 2, tokens = 0, keys_of_others = 0;
  std::vector<int64_t> starts = {0}, contexts, prefixes, key_starts = {0};
  for (const Chunk& chunk : chunks) {
    const int64_t context = chunk.past + (cross ? chunk.keys : chunk.tokens),
                  used = (context + block_size - 1) / block_size;
    width = std::max(width, used + 1);
    blocks += used;
    starts.push_back(tokens += chunk.tokens);
    key_starts.push_back(keys_of_others += chunk.keys);
    contexts.push_back(context);
    prefixes.push_back(context * 2 / 3);
  }
  std::vector<int64_t> order(static_cast<size_t>(blocks));
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937(7));
  Tensor keys = pool_of_nan(blocks, head_dim), values = pool_of_nan(blocks, value_dim),
         x(compute, {tokens + unused_tokens, input_columns()});
  for (int64_t i = 0; i < x.elements(); ++i) x.write_double(i, 1);
  std::vector<int64_t> table(static_cast<size_t>(sequences * width), 0);
  size_t next = 0;
  for (int64_t s = 0; s < sequences; ++s) {
    const Chunk& chunk = chunks[static_cast<size_t>(s)];
    std::mt19937 engine(100 + chunk.seed);
    std::uniform_real_distribution<double> real(-2, 2);
    for (int64_t j = 0; j < contexts[static_cast<size_t>(s)]; j += block_size)
      table[static_cast<size_t>(s * width + j / block_size)] = order[next++];
    const auto fill = [&](Tensor& t, int64_t features, int64_t j) {
      const int64_t block = table[static_cast<size_t>(s * width + j / block_size)];
      for (int64_t h = 0; h < kv_heads; ++h)
        fill_row(t, rows(features), block * kv_heads + h, j % block_size, [&] { return real(engine); });
    };
    for (int64_t j = 0; j < chunk.past; ++j) {
      fill(keys, head_dim, j);
      fill(values, value_dim, j);
    }
    const int64_t first = starts[static_cast<size_t>(s)] * input_columns();
    for (int64_t i = 0; i < chunk.tokens * input_columns(); ++i) x.write_double(first + i, real(engine));
  }
  std::vector<Tensor> inputs = {x,
                                keys,
                                values,
                                integers({sequences + 1}, starts),
                                integers({sequences}, contexts),
                                integers({sequences, width}, table)};
  if (prefix) inputs.push_back(integers({sequences}, prefixes));
  if (slopes) inputs.push_back(random_tensor(DType::f32, {heads}, 5, 0, 0.5));
  if (distances > 0) inputs.push_back(random_tensor(DType::f32, {heads, distances}, 6, -2, 2));
  if (cross) {
    inputs.push_back(random_tensor(compute, {keys_of_others, columns()}, 7, -2, 2));
    inputs.push_back(integers({sequences + 1}, key_starts));
  }
  if (sinks) inputs.push_back(random_tensor(DType::f32, {heads}, 8, -2, 4));
  for (const uint32_t seed : {9, 10})
    if (turned > 0) inputs.push_back(random_tensor(DType::f32, {tokens + unused_tokens, 1, turned / 2}, seed, -1, 1));
  return inputs;
}

// The rows of chunk `index`, bit for bit.
std::vector<std::byte> rows_of(const Tensor& y, const std::vector<Chunk>& chunks, size_t index) {
  int64_t first = 0;
  for (size_t i = 0; i < index; ++i) first += chunks[i].tokens;
  const size_t row = storage_bytes(y.dtype(), y.dims()[1]);
  const auto bytes =
      y.bytes().subspan(static_cast<size_t>(first) * row, static_cast<size_t>(chunks[index].tokens) * row);
  return {bytes.begin(), bytes.end()};
}

class LowerPagedAttention : public LowerTest {
 protected:
  void check(const Decoder& d, const std::vector<Chunk>& chunks, int64_t unused_tokens = 0) {
    const bool narrow = d.projected || d.compute == DType::bf16;
    const double tolerance = narrow ? 3e-2 : (d.compute == DType::f16 ? 4e-3 : 3e-5);
    LowerTest::check(d.text(), d.step(chunks, unused_tokens), {tolerance, true, {}});
  }
  void expect_independent(const Decoder& decoder);
};
LATHE_FOR_EACH_DEVICE(LowerPagedAttention);

void LowerPagedAttention::expect_independent(const Decoder& decoder) {
  const std::vector<Chunk> alone = {{1, 1500, 1}}, chunk = {{60, 37, 2}};
  const std::vector<Chunk> together = {{1, 12, 5}, {60, 37, 2}, {1, 900, 6}, {200, 0, 7}, {1, 1500, 1}, {1, 1501, 8}};
  const auto graph = graph_of(decoder.text());
  std::vector<std::byte> single, several;
  for (const int threads : GetParam().thread_counts()) {
    LoweredGraph lowered(*graph, GetParam(), threads, true);
    const Tensor all = lowered.run(decoder.step(together))[0];
    const auto of_alone = rows_of(lowered.run(decoder.step(alone))[0], alone, 0);
    const auto of_chunk = rows_of(lowered.run(decoder.step(chunk))[0], chunk, 0);
    EXPECT_EQ(of_alone, rows_of(all, together, 4));
    EXPECT_EQ(of_chunk, rows_of(all, together, 1));
    if (!single.empty()) {  // nor on the number of threads
      EXPECT_EQ(of_alone, single);
      EXPECT_EQ(of_chunk, several);
    }
    single = of_alone;
    several = of_chunk;
  }
}

const std::vector<Chunk> kMixed = {{1, 0, 1}, {40, 0, 2}, {1, 37, 3}, {23, 70, 4}, {1, 63, 5}, {3, 16, 6}};

TEST_P(LowerPagedAttention, MixedSteps) {
  check({}, kMixed);
  check({.cache = DType::f16}, kMixed);
  check({.cache = DType::bf16}, kMixed);
  check({}, kMixed, /*unused_tokens=*/5);
}

TEST_P(LowerPagedAttention, EmptySteps) {
  check({}, {});
  check({}, {}, 3);
  check({}, {{0, 5, 1}, {2, 5, 2}, {0, 0, 3}, {0, 9, 4}});
}

TEST_P(LowerPagedAttention, SharedHeads) {
  for (const int64_t kv_heads : {1, 2, 6, 12}) check({.heads = 12, .kv_heads = kv_heads}, kMixed);
  check({.heads = 71, .kv_heads = 1, .head_dim = 64, .value_dim = 64, .cache = DType::f16}, {{1, 40, 1}, {5, 0, 2}});
}

TEST_P(LowerPagedAttention, HeadSizes) {
  for (const auto& [head_dim, value_dim] :
       {std::pair{24, 24}, {64, 64}, {80, 80}, {96, 40}, {128, 128}, {192, 128}, {256, 256}}) {
    for (const DType cache : {DType::f32, DType::f16, DType::bf16})
      check({.heads = 2, .kv_heads = 1, .head_dim = head_dim, .value_dim = value_dim, .cache = cache},
            {{1, 45, 1}, {20, 9, 2}});
  }
}

TEST_P(LowerPagedAttention, MasksAndScores) {
  check({.window = 20}, kMixed);
  check({.window = 1}, kMixed);
  check({.softcap = 1.5}, kMixed);
  check({.prefix = true}, kMixed);
  check({.slopes = true}, kMixed);
  check({.kv_heads = 2, .window = 33, .softcap = 2, .prefix = true, .slopes = true, .cache = DType::f16}, kMixed);
}

TEST_P(LowerPagedAttention, ChunksBeginAtMultiplesOfTheirSize) {
  check({.window = 20, .chunked = true}, kMixed);
  check({.heads = 2, .kv_heads = 1, .window = 600, .chunked = true, .cache = DType::f16},
        {{1, 1500, 1}, {4, 1197, 2}, {1, 599, 3}, {1, 600, 4}, {150, 1100, 5}});
}

TEST_P(LowerPagedAttention, SinksTakeTheirShare) {
  check({.sinks = true}, kMixed);
  check({.sinks = true}, kMixed, /*unused_tokens=*/5);
  check({.heads = 8,
         .kv_heads = 2,
         .window = 25,
         .softcap = 3,
         .sinks = true,
         .compute = DType::f16,
         .cache = DType::f16},
        kMixed);
  const std::vector<Chunk> chunks = {{1, 1500, 1}, {4, 1021, 2}, {150, 1100, 5}};
  for (const DType cache : {DType::f32, DType::i8})
    check({.heads = 4, .kv_heads = 2, .sinks = true, .cache = cache}, chunks);
}

TEST_P(LowerPagedAttention, BiasesByDistance) {
  check({.distances = 33}, kMixed);
  check({.distances = 1}, kMixed);
  check({.kv_heads = 2, .prefix = true, .slopes = true, .distances = 200, .cache = DType::f16}, kMixed);
  check({.distances = 33, .compute = DType::f16, .cache = DType::f16}, kMixed);
}

TEST_P(LowerPagedAttention, KeysOfAnotherText) {
  const std::vector<Chunk> chunks = {{1, 40, 1}, {1, 0, 2, 70}, {30, 5, 3, 9}, {0, 3, 4, 20}, {3, 1, 5}, {40, 200, 6}};
  check({.cross = true}, chunks);
  check({.cross = true}, chunks, /*unused_tokens=*/200);
  check({.kv_heads = 2, .softcap = 2, .cross = true, .cache = DType::bf16}, chunks);
  check({.cross = true, .compute = DType::f16, .cache = DType::f16}, chunks);
  check({.heads = 2, .kv_heads = 2, .cross = true}, {{1, 1500, 1}, {2, 0, 2, 1300}, {150, 1100, 3}});
  check({.cross = true}, {{1, 40, 1}, {2, 3, 2}});  // nothing new
}

TEST_P(LowerPagedAttention, LongContexts) {
  const std::vector<Chunk> chunks = {{1, 1500, 1}, {4, 1021, 2}, {1, 511, 3}, {1, 512, 4}, {150, 1100, 5}};
  check({.heads = 2, .kv_heads = 1}, chunks);
  check({.heads = 2, .kv_heads = 1, .window = 600, .slopes = true, .cache = DType::bf16}, chunks);
}

// So many that on a GPU one block takes several parts of the longer ones.
TEST_P(LowerPagedAttention, ManySequences) {
  std::vector<Chunk> chunks;
  for (uint32_t s = 1; s <= 44; ++s) chunks.push_back({1, s % 11 == 0 ? 450 : 10, s});
  for (const DType cache : {DType::f16, DType::i8})
    check({.heads = 24, .kv_heads = 24, .head_dim = 16, .value_dim = 16, .compute = DType::f16, .cache = cache},
          chunks);
}

TEST_P(LowerPagedAttention, BlockSizes) {
  for (const int64_t block_size : {1, 8, 32, 48, 256})
    check({.block_size = block_size, .cache = DType::f16}, {{1, 100, 1}, {30, 75, 2}, {2, 0, 3}});
}

TEST_P(LowerPagedAttention, NarrowActivations) {
  for (const DType type : {DType::f16, DType::bf16}) {
    check({.heads = 8, .kv_heads = 2, .head_dim = 128, .value_dim = 128, .compute = type, .cache = type}, kMixed);
    check({.window = 25, .softcap = 3, .prefix = true, .slopes = true, .compute = type, .cache = type}, kMixed);
  }
}

// Queries, keys and values that are no more accurate than bf16 may be multiplied in it.
TEST_P(LowerPagedAttention, BehindProductsOfBf16) {
  for (const DType cache : {DType::f32, DType::bf16})
    check({.kv_heads = 2, .projected = true, .cache = cache}, kMixed, /*unused_tokens=*/5);
  check({.heads = 2,
         .kv_heads = 1,
         .head_dim = 20,
         .value_dim = 33,
         .window = 33,
         .softcap = 2,
         .prefix = true,
         .slopes = true,
         .projected = true},
        kMixed);
  check({.heads = 2, .kv_heads = 1, .sinks = true, .projected = true}, {{1, 1500, 1}, {150, 1100, 5}});
  check({.heads = 2, .kv_heads = 2, .turned = 16, .projected = true}, kMixed);
}

// Which kernels on GPUs do while they store keys: for few tokens, whole packs of features and caches of 16 bits.
TEST_P(LowerPagedAttention, TurnedQueriesAndKeys) {
  const std::vector<Chunk> few = {{1, 0, 1}, {10, 37, 3}, {1, 63, 5}, {3, 16, 6}};
  for (const bool interleaved : {false, true})
    for (const DType type : {DType::f16, DType::bf16})
      for (const int64_t turned : {64, 16, 8})
        for (const int64_t kv_heads : {8, 2})
          check({.heads = 8,
                 .kv_heads = kv_heads,
                 .head_dim = 64,
                 .value_dim = turned == 16 ? 32 : 64,
                 .turned = turned,
                 .interleaved = interleaved,
                 .compute = type,
                 .cache = type},
                few, kv_heads == 2 ? 5 : 0);
  check({.turned = 32, .compute = DType::f16, .cache = DType::f16}, kMixed);
  check({.turned = 32}, few);
}

// One sequence and one token, for which kernels on GPUs do everything at once: the key alone, at the ends of parts and
// blocks, among parts of a window, shared by many queries, and where one block takes several parts.
TEST_P(LowerPagedAttention, TurnedTokenAlone) {
  const auto decoder = [](int64_t heads, int64_t kv_heads) {
    return Decoder{.heads = heads, .kv_heads = kv_heads, .turned = 16, .compute = DType::f16, .cache = DType::f16};
  };
  Decoder d = decoder(4, 4);
  for (const int64_t past : {0, 15, 16, 63, 64, 700}) check(d, {{1, past, 3}});
  check(d, {{0, 9, 1}}, /*unused_tokens=*/1);
  d.window = 100;
  d.softcap = 3;
  check(d, {{1, 500, 1}});
  d = decoder(34, 2);  // two tiles of rows
  d.head_dim = 64;
  d.interleaved = true;
  check(d, {{1, 130, 1}});
  d.compute = d.cache = DType::bf16;
  check(d, {{1, 64, 1}});
  d = decoder(128, 128);
  d.head_dim = d.value_dim = 16;
  check(d, {{1, 2300, 1}});
}

TEST_P(LowerPagedAttention, CachesOf8Bits) {
  for (const DType cache : {DType::i8, DType::f8e4m3}) {
    check({.cache = cache}, kMixed);
    check({.heads = 12, .kv_heads = 3, .head_dim = 80, .value_dim = 24, .window = 30, .softcap = 2, .cache = cache},
          kMixed);
    check({.heads = 2, .kv_heads = 1, .head_dim = 128, .value_dim = 128, .slopes = true, .cache = cache},
          {{1, 1500, 1}, {150, 1100, 5}, {2, 5, 2}});
    check({.head_dim = 20, .value_dim = 20, .block_size = 3, .prefix = true, .cache = cache},
          {{1, 100, 1}, {30, 75, 2}});
    check({.heads = 8, .kv_heads = 2, .compute = DType::f16, .cache = cache}, kMixed);
  }
}

TEST_P(LowerPagedAttention, SequencesDoNotDependOnEachOther) {
  expect_independent({.heads = 4, .kv_heads = 2, .cache = DType::f16});
  expect_independent({.heads = 4, .kv_heads = 2, .compute = DType::f16, .cache = DType::f16});
  expect_independent({.heads = 4, .kv_heads = 2, .cache = DType::i8});
}

}  // namespace
}  // namespace lathe::cpu
