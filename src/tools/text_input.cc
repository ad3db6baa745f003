#include "tools/text_input.h"

#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include "base/error.h"
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

std::string read_text_file(const std::string& path) {
  if (std::filesystem::is_directory(path))
    throw Error(ErrorCode::invalid_argument, "this is a folder, not a text").in_file(path);
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file) throw Error(ErrorCode::not_found, "cannot read the text").in_file(path);
  return text;
}

}  // namespace lathe::tools
