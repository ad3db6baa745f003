// What serialize.cc and deserialize.cc have to agree on.
#pragma once

#include <cstdint>

namespace lathe {

enum class Storage : uint8_t { in_line, out_of_line };

// Increased when the encoding changes in a way that schema_hash() does not see.
inline constexpr uint64_t kEncodingVersion = 1;

// Changes when an op, a field, an enumerator or a map operation is added, removed, renamed or moved.
uint64_t schema_hash();

}  // namespace lathe
