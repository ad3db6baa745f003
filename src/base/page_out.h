// Memory that is not needed for now: weights that have been read, room that is written again before it is read.
#pragma once

#include <cstddef>
#include <span>

namespace lathe {

// The bytes stay the same, whatever memory they are in: pages of a mapped file are read again when touched. A hint.
void page_out(std::span<const std::byte> bytes) noexcept;

// The bytes, which no file backs, may be lost, and take no memory until they are written again.
void forget(std::span<std::byte> bytes) noexcept;

}  // namespace lathe
