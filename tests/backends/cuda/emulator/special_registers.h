// The special registers that the interpreter knows.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>

namespace lathe::emulator {

enum class Special : uint8_t {
  tid_x,
  tid_y,
  tid_z,
  ntid_x,
  ntid_y,
  ntid_z,
  ctaid_x,
  ctaid_y,
  ctaid_z,
  nctaid_x,
  nctaid_y,
  nctaid_z,
  laneid,
  lanemask_lt,
  lanemask_le,
  lanemask_gt,
  lanemask_ge,
  lanemask_eq,
  clock,
  none
};

inline Special special_register(std::string_view name) {
  constexpr std::pair<std::string_view, Special> kNames[] = {{"%tid.x", Special::tid_x},
                                                             {"%tid.y", Special::tid_y},
                                                             {"%tid.z", Special::tid_z},
                                                             {"%ntid.x", Special::ntid_x},
                                                             {"%ntid.y", Special::ntid_y},
                                                             {"%ntid.z", Special::ntid_z},
                                                             {"%ctaid.x", Special::ctaid_x},
                                                             {"%ctaid.y", Special::ctaid_y},
                                                             {"%ctaid.z", Special::ctaid_z},
                                                             {"%nctaid.x", Special::nctaid_x},
                                                             {"%nctaid.y", Special::nctaid_y},
                                                             {"%nctaid.z", Special::nctaid_z},
                                                             {"%laneid", Special::laneid},
                                                             {"%lanemask_lt", Special::lanemask_lt},
                                                             {"%lanemask_le", Special::lanemask_le},
                                                             {"%lanemask_gt", Special::lanemask_gt},
                                                             {"%lanemask_ge", Special::lanemask_ge},
                                                             {"%lanemask_eq", Special::lanemask_eq},
                                                             {"%clock", Special::clock}};
  for (const auto& [known, special] : kNames)
    if (known == name) return special;
  return Special::none;
}

}  // namespace lathe::emulator
