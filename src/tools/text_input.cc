#include "tools/text_input.h"

#include <iostream>

#include "tools/interrupt.h"

namespace lathe::tools {

void for_each_text(const std::vector<std::string>& arguments, const std::function<void(const std::string&)>& use) {
  for (const std::string& text : arguments) {
    check_interrupted();
    use(text);
  }
  if (!arguments.empty()) return;
  for (std::string line; std::getline(std::cin, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (!line.empty()) use(line);
    check_interrupted();
  }
  check_interrupted();  // which also ends the wait for a line
}

}  // namespace lathe::tools
