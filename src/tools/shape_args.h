// The spellings of sizes on the command line:
//   shape      NAME:2x64           the sizes of one input; "NAME:scalar" for rank 0
//   dimension  SYMBOL=8            the value of a symbol that sizes of inputs mention
//   profile    [I:]NAME:MIN:OPT:MAX   three shapes; I numbers the profile, 0 if left out
//   sweep      SYMBOL=1,2,4        several values
// NAME may hold one '*' that stands for any characters, and colons: only the last parts are read as sizes. Malformed
// text is an Error(invalid_argument) that shows the right form.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "build/compiler.h"

namespace lathe::tools {

inline constexpr size_t kMaxProfiles = 64;

// The parts of a text between separators; an empty text is one empty part.
std::vector<std::string_view> split(std::string_view text, char separator);

struct ShapeArg {
  std::string pattern;
  std::vector<int64_t> dims;
};
ShapeArg parse_shape_arg(std::string_view text);

struct DimArg {
  std::string symbol;
  int64_t value = 0;
};
DimArg parse_dim_arg(std::string_view text);

struct ProfileArg {
  size_t index = 0;
  std::string pattern;
  SizeRange range;
};
ProfileArg parse_profile_arg(std::string_view text);

// Throws Error(invalid_argument) that mentions `text` unless the three have one rank and grow from min to max.
void check_range(const SizeRange& range, std::string_view text);

struct SweepArg {
  std::string symbol;
  std::vector<int64_t> values;
};
SweepArg parse_sweep_arg(std::string_view text);

// "2ms", "1.5 s", "800us"; a bare number is in milliseconds.
double parse_milliseconds(std::string_view text);

// Throws Error(invalid_argument) that lists the names when the pattern fits none of them.
void check_pattern(std::string_view pattern, std::span<const std::string> names);

// Profile I holds, for each input that a pattern of index I fits, its range; an exact name wins over a pattern. Indices
// must be 0, 1, .. without a gap. `names` are those of the model's inputs.
std::vector<Profile> make_profiles(std::span<const ProfileArg> args, std::span<const std::string> names);

}  // namespace lathe::tools
