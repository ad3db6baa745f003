#include "precision/range_file.h"

#include <bit>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file_writer.h"
#include "base/mapped_file.h"

namespace lathe::precision {
namespace {

using Json = nlohmann::json;

constexpr int kFormat = 1;

constexpr std::string_view kTensorRtMark = "TRT-";

std::string_view text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

Range checked(std::string_view name, Range range) {
  if (!std::isfinite(range.low) || !std::isfinite(range.high) || range.low > range.high)
    throw std::runtime_error(fmt::format("the range of '{}' is none", name));
  return range;
}

Ranges parse_json(std::string_view text) {
  const Json root = Json::parse(text);
  if (root.at("lathe_calibration").get<int>() != kFormat) throw std::runtime_error("it has another format");
  Ranges ranges;
  for (const auto& [name, range] : root.at("ranges").items())
    ranges[name] = checked(name, {range.at(0).get<double>(), range.at(1).get<double>()});
  return ranges;
}

Ranges parse_tensorrt(std::string_view text) {
  constexpr double kLargestByte = 127;
  Ranges ranges;
  text.remove_prefix(std::min(text.size(), text.find('\n')));
  while (!text.empty()) {
    text.remove_prefix(1);  // the end of the line before
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(line.size());
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    const size_t colon = line.rfind(": ");  // names may hold colons
    if (colon == std::string_view::npos) throw std::runtime_error(fmt::format("'{}' is no line of a tensor", line));
    const std::string_view name = line.substr(0, colon), digits = line.substr(colon + 2);
    uint32_t bits = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), bits, 16);
    if (error != std::errc() || end != digits.data() + digits.size())
      throw std::runtime_error(fmt::format("the scale of '{}' is '{}'", name, digits));
    const double largest = kLargestByte * std::bit_cast<float>(bits);
    ranges[std::string(name)] = checked(name, {-largest, largest});
  }
  return ranges;
}

}  // namespace

bool is_tensorrt_cache(const std::filesystem::path& path) {
  return std::filesystem::is_regular_file(path) && text_of(*MappedFile::open(path)).starts_with(kTensorRtMark);
}

Ranges load_ranges(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  const std::string_view text = text_of(*file);
  try {
    return text.starts_with(kTensorRtMark) ? parse_tensorrt(text) : parse_json(text);
  } catch (const std::exception& error) {
    throw Error(ErrorCode::invalid_argument, fmt::format("not a calibration cache: {}", error.what()))
        .in_file(path.string())
        .remedy("Delete the file, or name another one");
  }
}

void save_ranges(const std::filesystem::path& path, const Ranges& ranges, Calibrator calibrator) {
  Json list = Json::object();
  for (const auto& [name, range] : ranges) list[name] = {range.low, range.high};
  const Json root = {{"lathe_calibration", kFormat}, {"calibrator", to_string(calibrator)}, {"ranges", list}};
  FileWriter file(path);
  file.write(root.dump(1) + "\n");
  file.commit();
}

}  // namespace lathe::precision
