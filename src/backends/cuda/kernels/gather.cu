// Slices along one axis, picked by index. An index out of range reads nothing and gives zeros.
#include "movement.cuh"

KERNEL(kMoveThreads, GatherArgs) {
  dispatch_unit(args.unit, [&](auto zero) {
    using U = decltype(zero);
    const U* x = static_cast<const U*>(args.x);
    U* y = static_cast<U*>(args.y);
    move_units<U>(
        args.total,
        [&](INDEX i) {
          const INDEX inner = split(i, args.inner), which = split(i, args.count);
          i64 index = read_index(args.indices, args.wide_indices, which);
          if (!resolve_index(index, args.limit)) return Zero<U>::value();
          return x[(i64(i) * args.limit + index) * i64(args.inner.value) + inner];
        },
        [&](INDEX i, const U& unit) { y[i] = unit; });
  });
}
