// Attention over a paged cache in fp32 arithmetic, whatever the types: a warp per row. Each lane multiplies the query
// by one of 32 keys, then has every 32nd column of the values. Neighbouring rows find keys and values in the cache of
// the multiprocessor. Floor: the bytes of keys and values over the bandwidth where sequences have one new token, else
// 4 * rows * keys * head size flops over the fp32 peak, of which rereading keys leaves a fraction.
#include "paged_attention.cuh"

constexpr int kWarps = THREADS / kWarp;
constexpr int kColumns = (VALUE_DIM + kWarp - 1) / kWarp;  // of a lane
constexpr int kWholePack = 16 / sizeof(Cache);
constexpr int kPack = HEAD_DIM % kWholePack == 0 && head_elements(HEAD_DIM) % kWholePack == 0 ? kWholePack : 1;

// Lanes are keys from `first` on.
inline __device__ float multiply_key(const PagedAttentionArgs& args, const float* query, const Sequence& sequence,
                                     int key, int kv_head) {
  const Cache* row = cached_row(args, args.key_cache, sequence.number, key, kv_head, HEAD_DIM);
  float sum = 0;
#pragma unroll 4
  for (int d = 0; d < HEAD_DIM; d += kPack) {
    const auto pack = load_pack<kPack>(row + d);
#pragma unroll
    for (int e = 0; e < kPack; ++e) sum += query[d + e] * cached_to_float(pack[e]);
  }
  return sum * cached_scale(args, args.key_cache, sequence.number, key, kv_head, HEAD_DIM);
}

// Adds the values of the keys from `first` on, each times the power that its lane has.
inline __device__ void add_values(const PagedAttentionArgs& args, float (&results)[kColumns], const Sequence& sequence,
                                  int first, int end, int kv_head, float power) {
  const int count = min(kWarp, end - first), lane = threadIdx.x % kWarp;
  if (lane < count)
    power *= cached_scale(args, args.value_cache, sequence.number, first + lane, kv_head, VALUE_DIM);
#pragma unroll 4
  for (int i = 0; i < count; ++i) {
    const float weight = __shfl_sync(FULL_MASK, power, i);
    const Cache* row = cached_row(args, args.value_cache, sequence.number, first + i, kv_head, VALUE_DIM);
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      const int column = c * kWarp + lane;
      if (column < VALUE_DIM) results[c] += weight * cached_to_float(row[column]);
    }
  }
}

// blockIdx.x counts rows of all tokens, kWarps to a block; y splits.
extern "C" __global__ void __launch_bounds__(THREADS, 8)
    ENTRY(const __grid_constant__ PagedAttentionArgs args) {
  let_next_kernel_start();
  await_kernels_before();
  __shared__ float queries[kWarps][HEAD_DIM];
  const int lane = threadIdx.x % kWarp;
  const i64 row = i64(blockIdx.x) * kWarps + threadIdx.x / kWarp;
  const int token = int(row / kHeads), head = int(row % kHeads), kv_head = head / GROUP;
  if (token >= args.starts[args.sequences]) return;
  const Sequence sequence(args, find_sequence(args, token, [&](int s) { return args.starts[s]; }));
  const int index = sequence.index(token - sequence.start);
  int begin = sequence.first_key(index), end = sequence.end_key(args, index);
  const Splits splits(begin, end);
  const int split = blockIdx.y;
  const bool partial = sequence.is_split() && splits.count > 1;
  if (split > 0 && !partial) return;
  if (partial) {
    begin = max(begin, (splits.first + split) * SPLIT_KEYS);
    end = min(end, (splits.first + split + 1) * SPLIT_KEYS);
  }
  if (begin >= end) return;

  float* query = queries[threadIdx.x / kWarp];
  const T* q = static_cast<const T*>(args.q) + token * args.q_row + head * args.q_stride;
  for (int d = lane; d < HEAD_DIM; d += kWarp) query[d] = to_float(q[d]);
  __syncwarp();
  const PositionTerm term(args, head);
  const float factor = score_factor(args);
  RowState state = first_state(args, head, split, true);
  float results[kColumns] = {};
  for (int first = begin; first < end; first += kWarp) {
    const int key = first + lane;
    float score = minus_infinity();
    if (key < end) score = score_of(args, multiply_key(args, query, sequence, key, kv_head), term, key, index);
    const float rescale = state.raise(warp_reduce<Max>(score), factor);
    const float power = state.power(score, factor);
    state.sum += warp_reduce<Sum>(power);
#pragma unroll
    for (int c = 0; c < kColumns; ++c) results[c] *= rescale;
    add_values(args, results, sequence, first, end, kv_head, power);
  }
  const PartialRow to(args, sequence.number, head, split);
  if (partial && lane == 0) {
    to.state[0] = RowState::base(state.largest);
    to.state[1] = state.sum;
  }
  T* y = result_row(args, token, head);
#pragma unroll
  for (int c = 0; c < kColumns; ++c) {
    const int column = c * kWarp + lane;
    if (column >= VALUE_DIM) continue;
    if (partial)
      to.sums[column] = results[c];
    else
      y[column] = from_float<T>(results[c] * state.scale_of_result());
  }
  if (partial && completes_parts(to.arrived, 1, splits.count)) join_parts(args, sequence, head, splits.count);
}
