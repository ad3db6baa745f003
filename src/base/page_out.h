// Memory that is not needed for now: weights that have been read, room that is written again before it is read.
#pragma once

#include <cstddef>
#include <span>

namespace lathe {

// The bytes stay the same, whatever memory they are in. Pages of a mapped file leave the process and come back when
// they are touched, from the system's cache as long as it has room; others go where the system swaps to. A hint.
void page_out(std::span<const std::byte> bytes) noexcept;

// The bytes, which no file backs, may be lost, and take no memory until they are written again.
void forget(std::span<std::byte> bytes) noexcept;

}  // namespace lathe
