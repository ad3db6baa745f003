#include "tools/units.h"

#include <fmt/core.h>

#include <cmath>

namespace lathe::tools {
namespace {

std::string scaled(double value, std::span<const char* const> units, double step = 1000) {
  size_t unit = 0;
  // 999.95 would print as "1000": the next unit takes over where rounding does.
  while (unit + 1 < units.size() && std::fabs(value) >= step * 0.9995) {
    value /= step;
    ++unit;
  }
  const std::string number = format_number(value);
  return units[unit][0] == '\0' ? number : number + " " + units[unit];
}

}  // namespace

std::string format_number(double value) {
  if (!std::isfinite(value)) return std::isnan(value) ? "nan" : value < 0 ? "-inf" : "inf";
  const double size = std::fabs(value);
  if (size == 0) return "0";
  if (size < 1e-3 || size >= 1e7) return fmt::format("{:.2e}", value);
  // Digits after the point such that three significant ones remain.
  const int decimals = 2 - static_cast<int>(std::floor(std::log10(size * 1.0005)));
  return fmt::format("{:.{}f}", value, decimals < 0 ? 0 : decimals);
}

std::string format_bytes(double bytes) {
  static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  return bytes < 1000 ? fmt::format("{:.0f} B", bytes) : scaled(bytes, kUnits);
}

std::string format_count(double count) {
  static constexpr const char* kUnits[] = {"", "k", "M", "G", "T", "P"};
  return count < 10000 ? fmt::format("{:.0f}", count) : scaled(count, kUnits);
}

std::string format_time(double milliseconds) {
  static constexpr const char* kUnits[] = {"us", "ms", "s"};
  return scaled(milliseconds * 1000, kUnits);
}

std::string format_percent(double fraction) {
  return std::isfinite(fraction) ? fmt::format("{:.1f} %", fraction * 100) : "-";
}

std::string format_dims(std::span<const int64_t> dims) {
  if (dims.empty()) return "scalar";
  std::string text;
  for (const int64_t dim : dims) text += (text.empty() ? "" : "x") + std::to_string(dim);
  return text;
}

}  // namespace lathe::tools
