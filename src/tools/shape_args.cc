#include "tools/shape_args.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "base/error.h"
#include "base/glob.h"

namespace lathe::tools {
namespace {

constexpr std::string_view kShapeForm = "Write a shape as NAME:2x64";
constexpr std::string_view kDimForm = "Write a dimension as SYMBOL=8";
constexpr std::string_view kProfileForm = "Write a profile as NAME:MIN:OPT:MAX, as in input_ids:1x8:1x128:8x512";
constexpr std::string_view kSweepForm = "Write a sweep as SYMBOL=1,2,4";
constexpr std::string_view kTimeForm = "Write a time as 2ms, 800us or 1.5s";

[[noreturn]] void bad(std::string_view what, std::string_view text, std::string_view form) {
  throw Error(ErrorCode::invalid_argument, fmt::format("'{}' is not a {}", text, what)).remedy(form);
}

bool parse_int(std::string_view text, int64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

bool parse_dims(std::string_view text, std::vector<int64_t>& dims) {
  if (text == "scalar") return true;
  for (const std::string_view part : split(text, 'x')) {
    int64_t dim = 0;
    if (!parse_int(part, dim) || dim < 0) return false;
    dims.push_back(dim);
  }
  return true;
}

void check_name(std::string_view name, std::string_view what, std::string_view text, std::string_view form) {
  if (name.empty() || std::count(name.begin(), name.end(), '*') > 1) bad(what, text, form);
}

// Takes the part behind the last `separator` off the end of `text`.
bool take_last(std::string_view& text, char separator, std::string_view& part) {
  const size_t position = text.rfind(separator);
  if (position == std::string_view::npos) return false;
  part = text.substr(position + 1);
  text = text.substr(0, position);
  return true;
}

}  // namespace

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (size_t begin = 0;;) {
    const size_t end = text.find(separator, begin);
    parts.push_back(text.substr(begin, end - begin));
    if (end == std::string_view::npos) return parts;
    begin = end + 1;
  }
}

ShapeArg parse_shape_arg(std::string_view text) {
  ShapeArg arg;
  std::string_view name = text, dims;
  if (!take_last(name, ':', dims) || !parse_dims(dims, arg.dims)) bad("shape", text, kShapeForm);
  check_name(name, "shape", text, kShapeForm);
  arg.pattern = name;
  return arg;
}

DimArg parse_dim_arg(std::string_view text) {
  DimArg arg;
  std::string_view name = text, value;
  if (!take_last(name, '=', value) || !parse_int(value, arg.value) || arg.value < 0 || name.empty())
    bad("dimension", text, kDimForm);
  arg.symbol = name;
  return arg;
}

ProfileArg parse_profile_arg(std::string_view text) {
  ProfileArg arg;
  std::string_view name = text, min, opt, max;
  if (!take_last(name, ':', max) || !take_last(name, ':', opt) || !take_last(name, ':', min) ||
      !parse_dims(min, arg.range.min) || !parse_dims(opt, arg.range.opt) || !parse_dims(max, arg.range.max))
    bad("profile", text, kProfileForm);
  const size_t colon = name.find(':');
  int64_t index = 0;
  if (colon != std::string_view::npos && parse_int(name.substr(0, colon), index)) {
    if (index < 0 || index >= static_cast<int64_t>(kMaxProfiles))
      fail(ErrorCode::invalid_argument, "profile {} of '{}' is out of range: there may be {}", index, text,
           kMaxProfiles);
    name = name.substr(colon + 1);
  }
  check_name(name, "profile", text, kProfileForm);
  check_range(arg.range, text);
  arg.index = static_cast<size_t>(index);
  arg.pattern = name;
  return arg;
}

void check_range(const SizeRange& range, std::string_view text) {
  if (range.min.size() != range.opt.size() || range.min.size() != range.max.size())
    fail(ErrorCode::invalid_argument, "the three shapes of profile '{}' differ in rank", text);
  for (size_t i = 0; i < range.min.size(); ++i)
    if (range.min[i] > range.opt[i] || range.opt[i] > range.max[i])
      fail(ErrorCode::invalid_argument, "axis {} of profile '{}' does not grow from MIN over OPT to MAX", i, text);
}

SweepArg parse_sweep_arg(std::string_view text) {
  SweepArg arg;
  std::string_view name = text, values;
  if (!take_last(name, '=', values) || name.empty()) bad("sweep", text, kSweepForm);
  for (const std::string_view part : split(values, ',')) {
    int64_t value = 0;
    if (!parse_int(part, value) || value < 0) bad("sweep", text, kSweepForm);
    arg.values.push_back(value);
  }
  arg.symbol = name;
  return arg;
}

double parse_milliseconds(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  if (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  // The comparison is false for NaN as well.
  if (error != std::errc() || !(value >= 0) || value > 1e12) bad("time", text, kTimeForm);
  if (unit.empty() || unit == "ms") return value;
  if (unit == "us") return value / 1000;
  if (unit == "s") return value * 1000;
  bad("time", text, kTimeForm);
}

void check_pattern(std::string_view pattern, std::span<const std::string> names) {
  if (std::any_of(names.begin(), names.end(), [&](const std::string& name) { return glob_matches(pattern, name); }))
    return;
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  throw Error(ErrorCode::invalid_argument, fmt::format("the model has no input '{}'", pattern))
      .remedy("Its inputs are: " + list);
}

std::vector<Profile> make_profiles(std::span<const ProfileArg> args, std::span<const std::string> names) {
  std::vector<Profile> profiles;
  std::set<size_t> used;
  for (const ProfileArg& arg : args) {
    check_pattern(arg.pattern, names);
    used.insert(arg.index);
    profiles.resize(std::max(profiles.size(), arg.index + 1));
  }
  if (used.size() != profiles.size())
    fail(ErrorCode::invalid_argument, "profiles are numbered up to {}, but some numbers are missing",
         profiles.size() - 1);
  for (const bool exact : {false, true})
    for (const ProfileArg& arg : args)
      for (const std::string& name : names)
        if ((arg.pattern.find('*') == std::string::npos) == exact && glob_matches(arg.pattern, name))
          profiles[arg.index][name] = arg.range;
  return profiles;
}

}  // namespace lathe::tools
