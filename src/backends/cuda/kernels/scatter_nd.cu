// Updates of slices that rows of indices name; y holds a copy of the operand before. A row with an index out of range
// changes nothing.
#include "scatter.cuh"

KERNEL(kMoveThreads, SlicesArgs) {
  dispatch_element(args.unit, [&](auto zero) {
    using U = decltype(zero);
    const U* updates = static_cast<const U*>(args.x);
    U* y = static_cast<U*>(args.y);
    move_units<U>(
        args.total, [&](INDEX i) { return updates[i]; },
        [&](INDEX i, const U& unit) {
          const i64 offset = slice_offset(args, i);
          if (offset >= 0) update(y + offset, unit);
        });
  });
}
