// Pads (or crops) every axis; what lies outside of x is a constant, or an element of x that the mode names.
#include "movement.cuh"

// The position along an axis of `limit` elements that stands for `at`, which lies outside.
template <class I>
inline __device__ I outside(PadKind kind, I at, I limit) {
  if (kind == PadKind::edge) return at < 0 ? 0 : limit - 1;
  const I period = kind == PadKind::wrap ? limit : (limit > 1 ? 2 * limit - 2 : 1);
  const I wrapped = (at % period + period) % period;
  return wrapped < limit ? wrapped : period - wrapped;  // the way back of a reflection
}

// The fill element, repeated up to 8 bytes.
inline __device__ u64 fill_pattern(const PadArgs& args) {
  if (args.fill == nullptr) return 0;
  switch (args.element_bytes) {
    case 1: return *static_cast<const u8*>(args.fill) * 0x0101010101010101ull;
    case 2: return *static_cast<const u16*>(args.fill) * 0x0001000100010001ull;
    case 4: return *static_cast<const u32*>(args.fill) * 0x0000000100000001ull;
    default: return *static_cast<const u64*>(args.fill);
  }
}
template <class U>
struct Fill {
  static __device__ U value(const PadArgs& args) { return static_cast<U>(fill_pattern(args)); }
};
template <>
struct Fill<Unit16> {
  static __device__ Unit16 value(const PadArgs& args) {
    if (args.element_bytes == 16 && args.fill != nullptr) return *static_cast<const Unit16*>(args.fill);
    const u64 pattern = fill_pattern(args);
    const u32 low = static_cast<u32>(pattern), high = static_cast<u32>(pattern >> 32);
    return {{low, high, low, high}};
  }
};

template <class I>
struct SignedOf {
  using type = i64;
};
template <>
struct SignedOf<u32> {
  using type = i32;
};
using Signed = SignedOf<INDEX>::type;

KERNEL(kMoveThreads, PadArgs) {
  dispatch_unit(args.unit, [&](auto zero) {
    using U = decltype(zero);
    const U* x = static_cast<const U*>(args.x);
    U* y = static_cast<U*>(args.y);
    const U fill = Fill<U>::value(args);
    move_units<U>(
        args.total,
        [&](INDEX i) {
          i64 offset = 0;
          bool inside = true;
          for (int axis = args.rank - 1; axis >= 0; --axis) {
            i64 at = i64(split(i, args.sizes[axis])) - args.begins[axis];
            if (u64(at) >= u64(args.limits[axis])) {
              if (args.kind == PadKind::constant)
                inside = false;
              else
                at = outside<Signed>(args.kind, Signed(at), Signed(args.limits[axis]));
            }
            offset += at * args.strides[axis];
          }
          return inside ? x[offset] : fill;
        },
        [&](INDEX i, const U& unit) { y[i] = unit; });
  });
}
