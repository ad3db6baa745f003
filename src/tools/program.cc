#include "tools/program.h"

#include <CLI/CLI.hpp>
#include <new>
#include <nlohmann/json.hpp>

#include "base/cpu_features.h"
#include "base/error.h"
#include "base/suggest.h"
#include "lathe/version.h"
#include "tools/help.h"
#include "tools/interrupt.h"

namespace lathe::tools {
namespace {

// One command in the parser, with those below it.
struct Entry {
  Command* command = nullptr;
  CLI::App* app = nullptr;
  std::string path;
  std::vector<std::unique_ptr<Command>> owned;  // the subcommands
};

class Parser {
 public:
  Parser(const std::vector<std::unique_ptr<Command>>& commands, CLI::App& app) : app_(app) {
    app_.set_help_flag("-h,--help", "Show this help")->group("Output");
    app_.add_flag("--version", version_, "Show version, commit and instruction sets");
    app_.add_flag("--json", json_, "Print JSON instead of text");
    app_.formatter_fn(
        [&commands](const CLI::App*, const std::string&, CLI::AppFormatMode) { return program_help(commands); });
    app_.require_subcommand(0, 1);
    for (const auto& command : commands) add(*command, app_, "");
  }

  // The innermost command that was named; null when there is none.
  const Entry* chosen() const {
    const Entry* found = nullptr;
    for (const auto& entry : entries_)
      if (entry->app->parsed()) found = entry.get();
    return found;
  }
  bool json() const { return json_; }
  bool version() const { return version_; }

 private:
  void add(Command& command, CLI::App& parent, const std::string& prefix) {
    const CommandInfo info = command.info();
    auto entry = std::make_unique<Entry>();
    entry->command = &command;
    entry->path = prefix + std::string(info.name);
    entry->app = parent.add_subcommand(std::string(info.name), std::string(info.summary));
    CLI::App& app = *entry->app;
    app.option_defaults()->group("Options");
    app.set_help_flag();
    command.add_options(app);
    app.add_flag("--json", json_, "Print JSON to stdout and nothing else")->group("Output");
    app.set_help_flag("-h,--help", "Show this help")->group("Output");
    app.formatter_fn([path = entry->path, &command](const CLI::App* self, const std::string&, CLI::AppFormatMode) {
      return command_help(*self, command.info(), path);
    });
    entry->owned = command.subcommands();
    if (!entry->owned.empty()) app.require_subcommand(0, 1);
    const std::string below = entry->path + " ";
    entries_.push_back(std::move(entry));
    const auto& owned = entries_.back()->owned;
    for (const auto& subcommand : owned) add(*subcommand, app, below);
  }

  CLI::App& app_;
  std::vector<std::unique_ptr<Entry>> entries_;
  bool json_ = false;
  bool version_ = false;
};

// Throws the one-line Error that stands for a command line that does not parse.
[[noreturn]] void complain(const CLI::App& top, const Entry* entry, const CLI::ParseError& error) {
  const CLI::App& app = entry == nullptr ? top : *entry->app;
  const std::string path = entry == nullptr ? "" : entry->path + " ";
  const std::string help = fmt::format("`lathe {}--help` shows what there is", path);
  const std::vector<std::string> extras = app.remaining();
  if (extras.empty()) throw Error(ErrorCode::invalid_argument, error.what()).remedy(help);
  const std::string& word = extras.front();
  const bool option = word.size() > 1 && word[0] == '-';
  std::vector<std::string> known;
  if (option) {
    for (const CLI::Option* o : app.get_options())
      for (const std::string& name : o->get_lnames()) known.push_back("--" + name);
  } else {
    for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; }))
      known.push_back(sub->get_name());
  }
  const std::string kind = option ? "unknown option" : entry == nullptr ? "unknown command" : "unexpected argument";
  const auto near = suggest(word.substr(0, word.find('=')), known);
  throw Error(ErrorCode::invalid_argument, fmt::format("{} '{}'", kind, word))
      .remedy(near ? fmt::format("Did you mean '{}'?", *near) : help);
}

void print_version(Console& console) {
  const BuildInfo& build = build_info();
  const CpuFeatures machine = detect_cpu_features();
  std::string isas;
  nlohmann::json built = nlohmann::json::array();
  for (const std::string_view isa : build.isas) {
    isas += (isas.empty() ? "" : ", ") + std::string(isa);
    built.push_back(isa);
  }
  console.print("lathe {} (commit {}, {})\ninstruction sets built in: {}\nthis machine: {} ({})\n", build.version,
                build.commit, build.compiler, isas, to_string(machine.best_isa),
                machine.name.empty() ? "unknown processor" : machine.name);
  console.result({{"version", build.version},
                  {"commit", build.commit},
                  {"compiler", build.compiler},
                  {"isas", built},
                  {"machine", {{"isa", to_string(machine.best_isa)}, {"processor", machine.name}}}});
}

// `lathe help build` is `lathe build --help`.
std::vector<std::string> without_help_word(std::vector<std::string> arguments) {
  if (!arguments.empty() && arguments.front() == "help") {
    arguments.erase(arguments.begin());
    arguments.emplace_back("--help");
  }
  return arguments;
}

int parse_and_run(const std::vector<std::string>& arguments, Console& console) {
  const auto commands = make_commands();
  CLI::App app;
  Parser parser(commands, app);
  try {
    std::vector<std::string> reversed = without_help_word(arguments);
    std::reverse(reversed.begin(), reversed.end());
    app.parse(std::move(reversed));
  } catch (const CLI::CallForHelp&) {
    const Entry* entry = parser.chosen();
    console.print("{}", entry == nullptr ? app.help() : entry->app->help());
    return kExitOk;
  } catch (const CLI::ParseError& error) {
    complain(app, parser.chosen(), error);
  }
  console.set_json(parser.json());
  const Entry* entry = parser.chosen();
  if (parser.version()) {
    print_version(console);
    return kExitOk;
  }
  if (entry == nullptr) {
    console.print("{}", app.help());
    return kExitOk;
  }
  return entry->command->run(console);
}

int status_of(ErrorCode code) {
  if (code == ErrorCode::cancelled) return kExitInterrupted;
  return code == ErrorCode::internal ? kExitInternal : kExitBadInput;
}

}  // namespace

std::shared_ptr<CLI::App> make_parser(const std::vector<std::unique_ptr<Command>>& commands) {
  // The parser refers to the App and to options inside the Parser, so they live together.
  struct Owner {
    explicit Owner(const std::vector<std::unique_ptr<Command>>& all) : parser(all, app) {}
    CLI::App app;
    Parser parser;
  };
  auto owner = std::make_shared<Owner>(commands);
  return {owner, &owner->app};
}

int run_program(const std::vector<std::string>& arguments, Console& console) {
  try {
    const int status = parse_and_run(arguments, console);
    console.finish();
    return status;
  } catch (const Error& error) {
    const int status = interrupted() ? kExitInterrupted : status_of(error.code());
    console.note("lathe: {}: {}", status == kExitInterrupted ? "stopped" : "error", error.what());
    return status;
  } catch (const std::bad_alloc&) {
    console.note("lathe: error: there is not enough memory");
    return kExitBadInput;
  } catch (const std::exception& error) {
    console.note("lathe: internal error: {}. Please report this with the command that you ran", error.what());
    return kExitInternal;
  }
}

}  // namespace lathe::tools
