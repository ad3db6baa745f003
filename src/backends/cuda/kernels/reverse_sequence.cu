// Reverses the first elements of every sequence, as many as its length says. A length out of range is taken for the
// nearest that is possible.
#include "movement.cuh"

KERNEL(kMoveThreads, ReverseSequenceArgs) {
  dispatch_unit(args.unit, [&](auto zero) {
    using U = decltype(zero);
    const U* x = static_cast<const U*>(args.x);
    U* y = static_cast<U*>(args.y);
    move_units<U>(
        args.total,
        [&](INDEX i) {
          INDEX time = i, batch = i;
          split(time, args.time_stride);
          time = split(time, args.times);
          split(batch, args.batch_stride);
          batch = split(batch, args.batches);
          const i64 steps = i64(args.times.value);
          const i64 length = read_index(args.lengths, args.wide_lengths, batch);
          const i64 reversed = (length > steps ? steps : length) - 1 - i64(time);
          const i64 from = reversed < 0 ? i64(time) : reversed;
          return x[i64(i) + (from - i64(time)) * i64(args.time_stride.value)];
        },
        [&](INDEX i, const U& unit) { y[i] = unit; });
  });
}
