// Joins tensors along an axis. Seen from the result: a row is one piece of each input, and every thread looks up the
// piece that its column lies in, so inputs of very different sizes share the work evenly.
#include "movement.cuh"

KERNEL(kMoveThreads, ConcatArgs) {
  dispatch_unit(args.unit, [&](auto zero) {
    using U = decltype(zero);
    U* y = static_cast<U*>(args.y);
    move_units<U>(
        args.total,
        [&](INDEX i) {
          const INDEX column = split(i, args.row);
          int piece = 0;
          for (int step = kConcatMaxInputs / 2; step > 0; step /= 2)
            if (piece + step < args.count && args.starts[piece + step] <= column) piece += step;
          const u64 start = args.starts[piece], width = args.starts[piece + 1] - start;
          return static_cast<const U*>(args.inputs[piece])[i * width + (column - start)];
        },
        [&](INDEX i, const U& unit) {
          const INDEX column = split(i, args.row);
          y[i * args.pitch + column] = unit;
        });
  });
}
