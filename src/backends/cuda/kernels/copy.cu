// A dense tensor written from a strided box: slices, and transposes that leave the innermost axis in place or have a
// very short one.
#include "movement.cuh"

KERNEL(kMoveThreads, CopyArgs) {
  dispatch_unit(args.unit, [&](auto zero) {
    using U = decltype(zero);
    const U* x = static_cast<const U*>(args.x);
    U* y = static_cast<U*>(args.y);
    move_units<U>(
        args.total,
        [&](INDEX i) {
          i64 offset = 0;
          for (int axis = args.rank - 1; axis > 0; --axis)
            offset += stretch(split(i, args.sizes[axis]), args.strides[axis]);
          return x[offset + stretch(i, args.strides[0])];
        },
        [&](INDEX i, const U& unit) { y[i] = unit; });
  });
}
