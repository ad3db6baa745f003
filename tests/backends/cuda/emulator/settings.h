// What the emulated GPU is, where LATHE_EMULATED_GPU says otherwise, in words such as
// "arch=75 memory_mb=64 driver=12020 lost_after=10": so tests meet GPUs and drivers that are too old or too small, and
// one that fails after so many launches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <sstream>
#include <string>

namespace lathe::emulator {

struct Settings {
  int arch = 80;
  size_t memory_bytes = size_t{4} << 30;
  int driver = 13000;
  uint64_t lost_after = UINT64_MAX;
};

inline const Settings& settings() {
  static const Settings the_settings = [] {
    Settings read;
    const char* const text = std::getenv("LATHE_EMULATED_GPU");
    std::istringstream words(text == nullptr ? "" : text);
    for (std::string word; words >> word;) {
      const size_t equals = word.find('=');
      const std::string name = word.substr(0, equals);
      const int value = equals == std::string::npos ? 0 : std::atoi(word.c_str() + equals + 1);
      if (name == "arch") read.arch = value;
      if (name == "memory_mb") read.memory_bytes = static_cast<size_t>(value) << 20;
      if (name == "driver") read.driver = value;
      if (name == "lost_after") read.lost_after = static_cast<uint64_t>(value);
    }
    return read;
  }();
  return the_settings;
}

}  // namespace lathe::emulator
