// Numbers as unsigned keys of the same order, so that sorting and selecting compare integers: NaN is above every number
// (all NaN alike), and -0 equals 0.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace lathe::cpu {

// 32 bits for types of up to 32 bits, else 64.
template <class T>
auto sort_key(T x) {
  using Key = std::conditional_t<sizeof(T) <= 4, uint32_t, uint64_t>;
  constexpr Key kTop = Key{1} << (sizeof(Key) * 8 - 1);
  if constexpr (std::is_floating_point_v<T>) {
    if (x != x) return ~Key{0};
    if (x == 0) return kTop;
    Key bits;
    std::memcpy(&bits, &x, sizeof bits);
    return (bits & kTop) != 0 ? ~bits : bits | kTop;
  } else if constexpr (std::is_signed_v<T>) {
    return static_cast<Key>(static_cast<Key>(x) ^ kTop);
  } else {
    return static_cast<Key>(x);
  }
}

}  // namespace lathe::cpu
