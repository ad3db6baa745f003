#include "precision/range_file.h"

#include <algorithm>
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

Range checked(std::string_view name, Range range) {
  if (!std::isfinite(range.low) || !std::isfinite(range.high) || range.low > range.high)
    throw std::runtime_error(fmt::format("the range of '{}' is none", name));
  return range;
}

Calibrator calibrator_named(const std::string& name) {
  if (const auto known = calibrator_from_string(name)) return *known;
  throw std::runtime_error(fmt::format("there is no calibrator '{}'", name));
}

std::vector<float> columns_of(const std::string& name, const Json& list) {
  auto columns = list.get<std::vector<float>>();
  if (!std::all_of(columns.begin(), columns.end(), [](float x) { return std::isfinite(x) && x >= 0; }))
    throw std::runtime_error(fmt::format("the columns of '{}' are not magnitudes", name));
  return columns;
}

CalibrationCache parse_json(std::string_view text) {
  const Json root = Json::parse(text);
  if (root.at("lathe_calibration").get<int>() != kFormat) throw std::runtime_error("it has another format");
  CalibrationCache cache;
  for (const auto& [name, range] : root.at("ranges").items())
    cache.ranges[name] = checked(name, {range.at(0).get<double>(), range.at(1).get<double>()});
  if (const auto columns = root.find("columns"); columns != root.end())
    for (const auto& [name, list] : columns->items()) cache.columns[name] = columns_of(name, list);
  if (root.contains("model")) cache.model = std::stoull(root["model"].get<std::string>(), nullptr, 16);
  if (root.contains("calibrator")) cache.calibrator = calibrator_named(root["calibrator"].get<std::string>());
  if (root.contains("smoothing")) cache.smoothing = root["smoothing"].get<double>();
  return cache;
}

// One line for each value.
template <class Map, class ToJson>
std::string lines_of(const Map& values, const ToJson& to_json) {
  std::string lines;
  for (const auto& [name, value] : values)
    lines += fmt::format("{}\n  {}: {}", lines.empty() ? "" : ",", Json(name).dump(), to_json(value).dump());
  return "{" + lines + "}";
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
  return std::filesystem::is_regular_file(path) && MappedFile::open(path)->text().starts_with(kTensorRtMark);
}

CalibrationCache load_cache(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  const std::string_view text = file->text();
  try {
    return text.starts_with(kTensorRtMark) ? CalibrationCache{.ranges = parse_tensorrt(text)} : parse_json(text);
  } catch (const std::exception& error) {
    throw Error(ErrorCode::invalid_argument, fmt::format("not a calibration cache: {}", error.what()))
        .in_file(path.string())
        .remedy("Delete the file, or name another one");
  }
}

void save_cache(const std::filesystem::path& path, const CalibrationCache& cache) {
  FileWriter file(path);
  file.write(fmt::format("{{\n \"lathe_calibration\": {},\n", kFormat));
  if (cache.model) file.write(fmt::format(" \"model\": \"{:016x}\",\n", *cache.model));
  if (cache.calibrator) file.write(fmt::format(" \"calibrator\": \"{}\",\n", to_string(*cache.calibrator)));
  if (cache.smoothing) file.write(fmt::format(" \"smoothing\": {},\n", *cache.smoothing));
  const auto range_json = [](const Range& range) { return Json::array({range.low, range.high}); };
  file.write(fmt::format(" \"ranges\": {},\n", lines_of(cache.ranges, range_json)));
  file.write(fmt::format(" \"columns\": {}\n}}\n", lines_of(cache.columns, [](const auto& c) { return Json(c); })));
  file.commit();
}

}  // namespace lathe::precision
