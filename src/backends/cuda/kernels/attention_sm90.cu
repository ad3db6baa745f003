// Flash attention in f16 or bf16 for Hopper (wgmma, sm_90a). Two warpgroups of 64 rows each share the keys and values,
// which pass through two stages of swizzled shared memory. A warpgroup computes the scores of the next keys, then turns
// them into exponentials while its product with the values before them is still running. HEAD and VALUE, the padded
// head sizes, are 128.
// Floor: 4 * rows * keys * head size flops over the tensor peak.
#include "attention_rows.cuh"

static_assert(HEAD == 128 && VALUE == 128 && TILES == 1 && ROWS == 128 && THREADS == 256 && KEYS == 128 &&
              VECTOR == 8 && !K_TRANSPOSED && !V_TRANSPOSED);
constexpr int kLine = 64;  // elements of a line of shared memory: 128 bytes, swizzled in 16-byte units
constexpr int kStages = 2;

// ---- shared memory: WIDTH / 64 subtiles of LINES lines ----

// Where 16-byte unit `unit` of a line is kept.
template <int LINES>
inline __device__ T* place(T* tile, int line, int unit) {
  return tile + (unit / 8 * LINES + line) * kLine + ((unit % 8) ^ (line % 8)) * 8;
}

template <int WIDTH>
inline __device__ void load_swizzled(T* tile, const T* from, i64 stride, int lines, int width) {
  constexpr int kUnits = WIDTH / 8, kStep = THREADS / kUnits;  // kStep is a multiple of 8: the swizzle stays
  const int line = threadIdx.x / kUnits, unit = threadIdx.x % kUnits;
  copy_column<KEYS / kStep>(place<KEYS>(tile, line, unit), kStep * kLine, from + line * stride + unit * 8,
                            kStep * stride, line, kStep, unit * 8 < width ? lines : 0);
}

// Describes a tile to the matrix instructions: 8 lines of 128 bytes repeat every 1024 bytes; `leading` bytes lie
// between subtiles, where the instruction crosses them.
inline __device__ u64 describe(const T* tile, u32 leading) {
  const u64 address = (shared_address(tile) & 0x3ffff) >> 4;
  return address | u64(leading >> 4) << 16 | u64(1024 >> 4) << 32 | u64(1) << 62;
}

// ---- asynchronous matrix instructions ----

inline __device__ void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
inline __device__ void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int LEFT>
inline __device__ void wait_for_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LEFT) : "memory");
}
// Keeps the compiler from moving accesses of accumulators across waits.
template <int N>
inline __device__ void pin(float (&d)[N][4]) {
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int i = 0; i < 4; ++i) asm volatile("" : "+f"(d[n][i])::"memory");
}

#define TILE(n) "+f"(d[n][0]), "+f"(d[n][1]), "+f"(d[n][2]), "+f"(d[n][3])
#define TILES_8(n) TILE(n), TILE(n + 1), TILE(n + 2), TILE(n + 3), TILE(n + 4), TILE(n + 5), TILE(n + 6), TILE(n + 7)
#define REGISTERS                                                                                                   \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, " \
  "%24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, "  \
  "%46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}"

// d (+)= a * b, both in shared memory, their lines along the terms.
#define MULTIPLY(type)                                                                                            \
  asm volatile("{.reg .pred p; setp.ne.b32 p, %66, 0; wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type \
               " " REGISTERS ", %64, %65, p, 1, 1, 0, 0;}"                                                        \
               : TILES_8(0), TILES_8(8)                                                                           \
               : "l"(a), "l"(b), "r"(accumulate))
inline __device__ void multiply(float (&d)[16][4], u64 a, u64 b, int accumulate, f16) { MULTIPLY("f16"); }
inline __device__ void multiply(float (&d)[16][4], u64 a, u64 b, int accumulate, bf16) { MULTIPLY("bf16"); }

// d += a * b, a in registers, the lines of b along the results.
#define ADD(type)                                                                                               \
  asm volatile("{.reg .pred p; setp.ne.b32 p, 1, 0; wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type \
               " " REGISTERS ", {%64, %65, %66, %67}, %68, p, 1, 1, 1;}"                                        \
               : TILES_8(0), TILES_8(8)                                                                         \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b))
inline __device__ void add(float (&d)[16][4], const u32 (&a)[4], u64 b, f16) { ADD("f16"); }
inline __device__ void add(float (&d)[16][4], const u32 (&a)[4], u64 b, bf16) { ADD("bf16"); }

// ---- the kernel ----

struct Warpgroup : WarpRows {
  using WarpRows::WarpRows;
  u32 powers[KEYS / 16][4];

  __device__ void start_scores(const T* queries, const T* keys) {
    const T* mine = queries + threadIdx.x / 128 * 64 * kLine;
    begin_products();
#pragma unroll
    for (int k = 0; k < HEAD; k += 16) {
      const int subtile = k / kLine, column = k % kLine;
      multiply(scores[0], describe(mine + subtile * ROWS * kLine + column, 16),
               describe(keys + subtile * KEYS * kLine + column, 16), k > 0, T());
    }
    commit_products();
  }
  __device__ void start_results(const T* values) {
    begin_products();
#pragma unroll
    for (int k = 0; k < KEYS / 16; ++k)
      add(results[0], powers[k], describe(values + k * 16 * kLine, KEYS * kLine * sizeof(T)), T());
    commit_products();
  }
  // Ends the product with the values before, and takes the latest scores into account.
  __device__ void settle() {
    wait_for_products<0>();
    pin(results[0]);
    rescale_results();
#pragma unroll
    for (int k = 0; k < KEYS / 16; ++k) left_of_powers(powers[k], 0, 2 * k);
  }
};

// What the copies of this thread brought is there for the matrix instructions of all threads.
inline __device__ void publish_copies() {
  wait_for_copies();
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  __syncthreads();
}

extern "C" __global__ void __launch_bounds__(THREADS) ENTRY(const __grid_constant__ AttentionArgs args) {
  extern __shared__ u8 memory[];
  T* queries = reinterpret_cast<T*>(memory + (1024 - shared_address(memory) % 1024) % 1024);
  T* keys = queries + ROWS * HEAD;
  T* values = keys + kStages * KEYS * HEAD;
  const Part part(args);
  const T* q = part.line(args.q, 0);
  const T* k = part.line(args.k, part.kv_head);
  const T* v = part.line(args.v, part.kv_head);
  const int steps = (part.end - part.begin + KEYS - 1) / KEYS;
  const auto keys_of = [&](int step) { return keys + step % kStages * KEYS * HEAD; };
  const auto values_of = [&](int step) { return values + step % kStages * KEYS * VALUE; };
  const auto load_keys = [&](int step) {
    const int first = part.begin + step * KEYS;
    load_swizzled<HEAD>(keys_of(step), k + first * args.k.token, args.k.token, args.keys - first, HEAD_DIM);
  };
  const auto load_values = [&](int step) {
    const int first = part.begin + step * KEYS;
    load_swizzled<VALUE>(values_of(step), v + first * args.v.token, args.v.token, args.keys - first, VALUE_DIM);
  };

  Warpgroup group(args, part);
  if (steps <= 0) return group.store();
  for (int i = threadIdx.x; i < ROWS * HEAD / 8; i += THREADS) {
    const int line = i / (HEAD / 8), unit = i % (HEAD / 8), row = min(part.first_row + line, part.rows - 1);
    const T* from = q + part.head(args, row) * args.q.head + part.query(args, row) * args.q.token;
    copy_async(place<ROWS>(queries, line, unit), from + unit * 8, unit * 8 < HEAD_DIM);
  }
  load_keys(0);
  commit_copies();
  publish_copies();
  if (steps > 1) load_keys(1);
  load_values(0);
  commit_copies();
  group.start_scores(queries, keys_of(0));
  wait_for_products<0>();
  pin(group.scores[0]);
  if (!group.needs_no_score(part.begin)) group.score(part.begin);
  group.soften();
  // A branch while products are running would make the compiler wait for them, so each kind of tile has its own loop;
  // and it would wait before the exponentials if the wait stood in the same iteration.
  const auto advance = [&](int step) {
    group.settle();
    publish_copies();
    if (step + 1 < steps) load_keys(step + 1);
    load_values(step);
    commit_copies();
    group.start_scores(queries, keys_of(step));
    group.start_results(values_of(step - 1));
    wait_for_products<1>();
    pin(group.scores[0]);
  };
  int step = 1;
  for (; step < steps && group.needs_no_score(part.begin + step * KEYS); ++step) {
    advance(step);
    group.soften();
  }
  for (; step < steps; ++step) {
    advance(step);
    group.score(part.begin + step * KEYS);
    group.soften();
  }
  group.settle();
  publish_copies();
  group.start_results(values_of(steps - 1));
  wait_for_products<0>();
  pin(group.results[0]);
  group.store();
}
