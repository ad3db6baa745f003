// Numbers as people read them: three significant digits and a unit. Sizes are decimal (1 MB = 1,000,000 bytes).
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace lathe::tools {

std::string format_bytes(double bytes);                  // "4.11 MB"
std::string format_count(double count);                  // "21.1 M"; up to 9999 in full
std::string format_time(double milliseconds);            // "12.3 us", "4.56 ms", "7.89 s"
std::string format_percent(double fraction);             // 0.123 -> "12.3 %"
std::string format_dims(std::span<const int64_t> dims);  // "1x128", "scalar" for rank 0

// Three significant digits without an exponent where that is readable: "0.00123", "12.3", "1234".
std::string format_number(double value);

}  // namespace lathe::tools
