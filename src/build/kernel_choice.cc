#include "build/kernel_choice.h"

namespace lathe {

std::string to_string(const KernelChoice& choice) {
  std::string text;
  for (const KernelRange& range : choice.ranges) text += (text.empty() ? "" : "/") + range.kernel;
  return text;
}

}  // namespace lathe
