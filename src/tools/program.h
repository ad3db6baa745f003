// The program `lathe`: reads the command line, runs one command, and turns whatever comes of it into an exit status.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tools/command.h"

namespace lathe::tools {

// A parser for these commands, with help texts; the commands outlive it. Each command that was given on the command
// line shows as a parsed subcommand of the App. Exposed for shell completion.
std::shared_ptr<CLI::App> make_parser(const std::vector<std::unique_ptr<Command>>& commands);

// `arguments` are those behind the program's name. Errors go to the console's stderr as one line.
int run_program(const std::vector<std::string>& arguments, Console& console);

}  // namespace lathe::tools
