// Help texts: the page of the program, with its commands in groups, and the page of one command.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "tools/command.h"

namespace lathe::tools {

std::string program_help(std::span<const std::unique_ptr<Command>> commands);
// `app` holds the options; `path` is what the user types: "inspect capability".
std::string command_help(const CLI::App& app, const CommandInfo& info, std::string_view path);

// Words in lines of at most `width` cells, each behind `indent` spaces.
std::string wrap(std::string_view text, size_t width, size_t indent);

}  // namespace lathe::tools
