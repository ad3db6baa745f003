// Joins the parts of the keys of sequences with one new token. A block per sequence and head. Floor: the bytes of the
// partial results over the bandwidth.
#include "paged_attention.cuh"

KERNEL(THREADS, PagedAttentionArgs) {
  const Sequence sequence(args, blockIdx.x);
  if (!sequence.is_split()) return;
  const int head = blockIdx.y, index = sequence.index(0);
  const int splits = Splits(sequence.first_key(index), sequence.end_key(args, index)).count;
  if (splits < 2) return;
  float largest = minus_infinity();
  for (int split = 0; split < splits; ++split) {
    const float* state = PartialRow(args, sequence.number, head, split).state;
    if (state[1] != 0) largest = fmaxf(largest, state[0]);
  }
  float sum = 0;
  for (int split = 0; split < splits; ++split) {
    const float* state = PartialRow(args, sequence.number, head, split).state;
    if (state[1] != 0) sum += state[1] * exp2_fast(state[0] - largest);
  }
  T* to = result_row(args, sequence.start, head);
  for (int column = threadIdx.x; column < VALUE_DIM; column += THREADS) {
    float total = 0;
    for (int split = 0; split < splits; ++split) {
      const PartialRow part(args, sequence.number, head, split);
      if (part.state[1] != 0) total += part.sums[column] * exp2_fast(part.state[0] - largest);
    }
    to[column] = from_float<T>(sum == 0 ? 0 : total / sum);
  }
}
