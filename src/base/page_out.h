// Weights that have been read and will hardly be read again: their pages may leave memory.
#pragma once

#include <cstddef>
#include <span>

namespace lathe {

// The bytes stay the same, whatever memory they are in: pages of a mapped file are read again when touched. A hint.
void page_out(std::span<const std::byte> bytes) noexcept;

}  // namespace lathe
