#include "precision/range_file.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file_writer.h"
#include "base/mapped_file.h"

namespace lathe::precision {
namespace {

using Json = nlohmann::json;

constexpr int kFormat = 1;

Range range_from(const std::string& name, const Json& json) {
  const Range range{json.at(0).get<double>(), json.at(1).get<double>()};
  if (!std::isfinite(range.low) || !std::isfinite(range.high) || range.low > range.high)
    throw std::runtime_error(fmt::format("the range of '{}' is none", name));
  return range;
}

}  // namespace

Ranges load_ranges(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  const std::string_view text(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
  Ranges ranges;
  try {
    const Json root = Json::parse(text);
    if (root.at("lathe_calibration").get<int>() != kFormat) throw std::runtime_error("it has another format");
    for (const auto& [name, range] : root.at("ranges").items()) ranges[name] = range_from(name, range);
  } catch (const std::exception& error) {
    throw Error(ErrorCode::invalid_argument, fmt::format("not a calibration cache: {}", error.what()))
        .in_file(path.string())
        .remedy("Delete the file, or name another one");
  }
  return ranges;
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
