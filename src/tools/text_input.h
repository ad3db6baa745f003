// Where the texts of a command come from: its arguments, or without any, the lines of standard input.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace lathe::tools {

// Calls `use` for each text, as it comes; empty lines of standard input are left out. Stops at Ctrl-C.
void for_each_text(const std::vector<std::string>& arguments, const std::function<void(const std::string&)>& use);

// All of a file. Throws Error(not_found).
std::string read_text_file(const std::string& path);

}  // namespace lathe::tools
