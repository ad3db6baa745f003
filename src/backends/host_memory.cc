// What the host can still give: Linux's own estimate, which counts page cache that it would drop.
#include <fstream>
#include <string>

#include "backends/backend.h"

namespace lathe {

size_t DeviceContext::free_bytes() const {
  std::ifstream file("/proc/meminfo");
  std::string name;
  size_t kibibytes = 0;
  for (std::string rest; file >> name >> kibibytes; std::getline(file, rest))
    if (name == "MemAvailable:") return kibibytes * 1024;
  return 0;
}

}  // namespace lathe
