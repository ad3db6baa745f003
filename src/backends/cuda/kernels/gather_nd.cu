// Slices picked by rows of indices. A row with an index out of range reads nothing and gives zeros.
#include "movement.cuh"

KERNEL(kMoveThreads, SlicesArgs) {
  dispatch_unit(args.unit, [&](auto zero) {
    using U = decltype(zero);
    const U* x = static_cast<const U*>(args.x);
    U* y = static_cast<U*>(args.y);
    move_units<U>(
        args.total,
        [&](INDEX i) {
          const i64 offset = slice_offset(args, i);
          return offset < 0 ? Zero<U>::value() : x[offset];
        },
        [&](INDEX i, const U& unit) { y[i] = unit; });
  });
}
