// Which tokens of a padded batch are worth computing (graph/ops/pack_tokens.h), in one block: warps count the rows of
// the mask, the counts are summed up, and warps list the tokens. Floor: a launch; a mask of 128 x 384 takes 10 us.
// However the mask differs from the one whose tokens were counted beforehand, nothing is written out of place.
// TYPE: of the mask.
#include "prelude.cuh"
#include "select_args.h"

constexpr int kWarps = kPackThreads / kWarp;

inline __device__ int sum_of_warp(int x) {
  for (int lane = kWarp / 2; lane > 0; lane /= 2) x += __shfl_xor_sync(FULL_MASK, x, lane);
  return x;
}

inline __device__ int kept_of_row(const PackTokensArgs& args, const TYPE* row) {
  int zeros = 0, ones = 0;
  for (int i = threadIdx.x % kWarp; i < args.length; i += kWarp) {
    zeros += row[i] == TYPE(0);
    ones += row[i] == TYPE(1);
  }
  zeros = sum_of_warp(zeros);
  ones = sum_of_warp(ones);
  const int found = args.kept ? ones : zeros;
  if (zeros + ones != args.length || found == 0) return args.length;
  return found + (args.keep_first && row[0] != TYPE(args.kept));
}

// In place: counts become the sums of those before; the sum of all comes after them.
inline __device__ void sum_up(int* counts, int n) {
  __shared__ int sums[kWarps];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  int before = 0;
  for (int first = 0; first < n; first += kPackThreads) {
    const int i = first + threadIdx.x, count = i < n ? counts[i] : 0;
    int sum = warp_prefix_sum(count);
    if (lane == kWarp - 1) sums[warp] = sum;
    __syncthreads();
    int all = 0;
    for (int w = 0; w < kWarps; ++w) {
      if (w < warp) sum += sums[w];
      all += sums[w];
    }
    if (i < n) counts[i] = before + sum - count;
    before += all;
    __syncthreads();
  }
  if (threadIdx.x == 0) counts[n] = before;
  __syncthreads();
}

inline __device__ void list_row(const PackTokensArgs& args, const TYPE* row, int which) {
  const int lane = threadIdx.x % kWarp, end = args.starts[which + 1];
  int at = args.starts[which];
  const bool whole = end - at == args.length;
  for (int first = 0; first < args.length; first += kWarp) {
    const int i = first + lane;
    const bool kept =
        i < args.length && (whole || row[i] == TYPE(args.kept) || (i == 0 && args.keep_first));
    const u32 votes = __ballot_sync(FULL_MASK, kept);
    const int place = at + __popc(votes & ((1u << lane) - 1)), token = which * args.length + i;
    if (i < args.length) args.rows[token] = kept && place < args.size ? place : -1;
    if (kept && place < args.size) args.tokens[place] = token;
    at += __popc(votes);
  }
}

KERNEL(kPackThreads, PackTokensArgs) {
  const TYPE* mask = static_cast<const TYPE*>(args.mask);
  const int warp = threadIdx.x / kWarp;
  for (int row = warp; row < args.batch; row += kWarps) {
    const int kept = kept_of_row(args, mask + row * args.length);
    if (threadIdx.x % kWarp == 0) args.starts[row] = kept;
  }
  __syncthreads();
  sum_up(args.starts, args.batch);
  for (int row = warp; row < args.batch; row += kWarps) list_row(args, mask + row * args.length, row);
  const int total = args.starts[args.batch];
  for (int i = total + threadIdx.x; i < args.size; i += kPackThreads) args.tokens[i] = 0;
  if (threadIdx.x == 0) args.starts[args.batch + 1] = args.size;
}
