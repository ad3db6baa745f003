#include "tools/help.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>

#include "tools/table.h"

namespace lathe::tools {
namespace {

constexpr size_t kWidth = 100;
constexpr size_t kOptionColumn = 28;

// "  head  description", the description wrapped beside the head, or below it when the head is too wide.
std::string entry(std::string_view head, std::string_view description, size_t column) {
  std::string text = "  " + std::string(head);
  const std::string wrapped = wrap(description, kWidth, column + 2);
  if (head.size() + 2 > column) return text + "\n" + wrapped;
  text.resize(column + 2, ' ');
  return text + wrapped.substr(std::min(column + 2, wrapped.size()));
}

std::string option_head(const CLI::Option& option) {
  std::string head;
  for (const std::string& name : option.get_snames()) head += (head.empty() ? "-" : ", -") + name;
  for (const std::string& name : option.get_lnames()) head += (head.empty() ? "--" : ", --") + name;
  if (option.get_items_expected_max() > 0 && !option.get_type_name().empty()) head += " " + option.get_type_name();
  return head;
}

std::string usage(const CLI::App& app, std::string_view path) {
  std::string text = "Usage: lathe " + std::string(path);
  for (const CLI::Option* option : app.get_options([](const CLI::Option* o) { return o->get_positional(); })) {
    std::string name = option->get_name(true);
    if (option->get_items_expected_max() > 1) name += "...";
    text += option->get_required() ? " " + name : " [" + name + "]";
  }
  return text + " [OPTIONS]\n";
}

std::string option_group(const CLI::App& app, const std::string& group) {
  std::string text;
  const auto options =
      app.get_options([&](const CLI::Option* o) { return o->get_group() == group && o->nonpositional(); });
  for (const CLI::Option* option : options)
    text += entry(option_head(*option), option->get_description(), kOptionColumn);
  return text;
}

}  // namespace

std::string wrap(std::string_view text, size_t width, size_t indent) {
  std::string result, line;
  const auto flush = [&] {
    if (!line.empty()) result += std::string(indent, ' ') + line + "\n";
    line.clear();
  };
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find_first_of(" \n", begin), text.size());
    const std::string_view word = text.substr(begin, end - begin);
    if (!word.empty()) {
      if (!line.empty() && indent + display_width(line) + 1 + display_width(word) > width) flush();
      line += (line.empty() ? "" : " ") + std::string(word);
    }
    if (end < text.size() && text[end] == '\n') flush();
    begin = end + 1;
  }
  flush();
  return result;
}

std::string program_help(std::span<const std::unique_ptr<Command>> commands) {
  std::string text =
      "Lathe turns neural networks into engines: it optimises an ONNX model or a checkpoint for this machine,\n"
      "runs it, checks it and measures it; language models generate and chat.\n\n"
      "Usage: lathe COMMAND [ARGUMENTS] [OPTIONS]\n";
  std::string_view group;
  for (const auto& command : commands) {
    const CommandInfo info = command->info();
    if (info.group != group) text += fmt::format("\n{}:\n", info.group);
    group = info.group;
    text += entry(info.name, info.summary, 14);
  }
  text += "\nOptions:\n";
  text += entry("-h, --help", "Show help; `lathe COMMAND --help` shows that of a command", 14);
  text += entry("--version", "Show version, commit and instruction sets", 14);
  text += "\nExamples:\n";
  for (const auto& command : commands) {
    const CommandInfo info = command->info();
    if (!info.examples.empty() && info.group != "More")
      text += fmt::format("  lathe {}\n", info.examples.front().command);
  }
  text +=
      "\nModels (.onnx) and plans (.plan) can be used alike everywhere. Every command takes --json.\n"
      "Exit status: 0 done, 1 the answer is no, 2 wrong usage or input, 3 an accuracy that cannot be met,\n"
      "70 a bug in Lathe, 130 interrupted.\n";
  return text;
}

std::string command_help(const CLI::App& app, const CommandInfo& info, std::string_view path) {
  std::string text = wrap(std::string(info.summary) + ".", kWidth, 0) + "\n" + usage(app, path);
  if (!info.details.empty()) text += "\n" + wrap(info.details, kWidth, 0);
  const auto positionals = app.get_options([](const CLI::Option* o) { return o->get_positional(); });
  if (!positionals.empty()) text += "\nArguments:\n";
  for (const CLI::Option* option : positionals)
    text += entry(option->get_name(true), option->get_description(), kOptionColumn);
  const auto subcommands = app.get_subcommands([](const CLI::App*) { return true; });
  if (!subcommands.empty()) text += "\nSubcommands:\n";
  for (const CLI::App* sub : subcommands) text += entry(sub->get_name(), sub->get_description(), kOptionColumn);
  for (const std::string& group : app.get_groups()) {
    const std::string options = option_group(app, group);
    if (!options.empty()) text += fmt::format("\n{}:\n{}", group, options);
  }
  if (!info.examples.empty()) text += "\nExamples:\n";
  for (const Example& example : info.examples)
    text += fmt::format("  # {}\n  lathe {}\n", example.does, example.command);
  return text;
}

}  // namespace lathe::tools
