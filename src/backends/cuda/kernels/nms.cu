// Non-maximum suppression: one block per class of every image. Boxes above the score threshold are sorted by score;
// then, as long as the limit allows, the first one that is left is selected, and all threads mark what it suppresses in
// a bit mask. The second launch, when the numbers of selected boxes are summed up, writes the result.
// TYPE: of boxes and scores. Overlaps are computed in double, as the definition of the op does.
#include "ordering.cuh"
#include "select_args.h"

struct Box {
  double left, bottom, right, top;
  __device__ Box(const TYPE* numbers, bool center_point) {
    const double a = to_register(numbers[0]), b = to_register(numbers[1]), c = to_register(numbers[2]),
                 d = to_register(numbers[3]);
    if (center_point) {
      left = a - c / 2, right = a + c / 2;
      bottom = b - d / 2, top = b + d / 2;
    } else {  // any two opposite corners
      left = fmin(a, c), right = fmax(a, c);
      bottom = fmin(b, d), top = fmax(b, d);
    }
  }
  __device__ double area() const { return (right - left) * (top - bottom); }
};

// Intersection over union; 0 when either is empty.
inline __device__ double overlap(const Box& a, const Box& b) {
  const double width = fmin(a.right, b.right) - fmax(a.left, b.left);
  const double height = fmin(a.top, b.top) - fmax(a.bottom, b.bottom);
  if (width <= 0 || height <= 0 || a.area() <= 0 || b.area() <= 0) return 0;
  return width * height / (a.area() + b.area() - width * height);
}

// Collects the candidates of this block, sorted; returns how many.
inline __device__ u32 collect(const NmsArgs& args, u64* keys, u32* orders) {
  __shared__ u32 found;
  if (threadIdx.x == 0) found = 0;
  __syncthreads();
  const TYPE* scores = static_cast<const TYPE*>(args.scores) + u64(blockIdx.x) * args.n;
  for (u32 i = threadIdx.x; i < args.n; i += blockDim.x) {
    if (args.has_threshold && !(double(to_register(scores[i])) > args.score_threshold)) continue;
    const u32 at = atomicAdd(&found, 1);
    keys[at] = ordered_key(scores[i]);
    orders[at] = ordered_position(i);
  }
  __syncthreads();
  const u32 count = found;
  u32 padded = 1;
  while (padded < count) padded *= 2;
  for (u32 i = count + threadIdx.x; i < padded; i += blockDim.x) {
    keys[i] = 0;
    orders[i] = 0;
  }
  __syncthreads();
  sort_descending(keys, orders, padded);
  return count;
}

// The first candidate from `from` on that is left, found by the first warp for all; `count` when there is none.
inline __device__ u32 next_candidate(const u32* removed, u32 from, u32 count) {
  __shared__ u32 next;
  if (threadIdx.x < kWarp) {
    u32 result = count;
    for (u32 word = from / 32; word * 32 < count; word += kWarp) {
      const u32 at = word + threadIdx.x;
      u32 left = at * 32 < count ? ~removed[at] : 0;
      if (at == from / 32) left &= ~0u << from % 32;
      const u32 votes = __ballot_sync(FULL_MASK, left != 0);
      if (votes == 0) continue;
      const int lane = __ffs(votes) - 1;
      const u32 bits = __shfl_sync(FULL_MASK, left, lane);
      result = (word + lane) * 32 + __ffs(bits) - 1;
      break;
    }
    if (threadIdx.x == 0) next = result < count ? result : count;
  }
  __syncthreads();
  const u32 result = next;
  __syncthreads();
  return result;
}

inline __device__ void select(const NmsArgs& args) {
  const u64 block = blockIdx.x;
  u64* keys = args.keys + block * args.padded;
  u32* orders = args.order + block * args.padded;
  const u32 words = (args.n + 31) / 32;
  u32* removed = args.removed + block * words;
  const TYPE* boxes = static_cast<const TYPE*>(args.boxes) + block / args.classes * args.n * 4;
  for (u32 i = threadIdx.x; i < words; i += blockDim.x) removed[i] = 0;
  const u32 count = collect(args, keys, orders);
  const auto box_of = [&](u32 candidate) {
    return Box(boxes + u64(ordered_position(orders[candidate])) * 4, args.center_point);
  };
  u32 selected = 0;
  for (u32 at = next_candidate(removed, 0, count); at < count && selected < args.limit;
       at = next_candidate(removed, at + 1, count)) {
    if (threadIdx.x == 0) args.selected[block * args.limit + selected] = ordered_position(orders[at]);
    ++selected;
    const Box better = box_of(at);
    // Whole warps take 32 candidates each, one word of the mask.
    for (u32 word = at / 32 + threadIdx.x / kWarp; word * 32 < count; word += blockDim.x / kWarp) {
      const u32 candidate = word * 32 + threadIdx.x % kWarp;
      const bool suppressed =
          candidate > at && candidate < count && overlap(better, box_of(candidate)) > args.iou_threshold;
      const u32 votes = __ballot_sync(FULL_MASK, suppressed);
      if (threadIdx.x % kWarp == 0) removed[word] |= votes;
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) args.counts[block] = selected;
}

inline __device__ void write(const NmsArgs& args) {
  const u64 block = blockIdx.x, first = args.counts[block], count = args.counts[block + 1] - first;
  for (u64 i = threadIdx.x; i < count; i += blockDim.x) {
    long long* to = args.result + (first + i) * 3;
    to[0] = i64(block / args.classes);
    to[1] = i64(block % args.classes);
    to[2] = args.selected[block * args.limit + i];
  }
}

KERNEL(kNmsThreads, NmsArgs) {
  if (args.result == nullptr)
    select(args);
  else
    write(args);
}
