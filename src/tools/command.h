// A subcommand of `lathe`: its words for --help, its options, and what it does. commands.cc lists all of them.
//
// Exit status of every command: 0 done; 1 done, and the answer is no (outputs differ, nodes are unsupported); 2 wrong
// usage or input; 3 done, but a bound (of accuracy) is missed; 70 a bug in Lathe; 130 interrupted. Only 1 and 3 are a
// command's own business: everything else is an exception.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tools/console.h"

namespace CLI {  // NOLINT(readability-identifier-naming): as the library spells it
class App;
}

namespace lathe::tools {

inline constexpr int kExitOk = 0;
inline constexpr int kExitNo = 1;
inline constexpr int kExitBadInput = 2;
inline constexpr int kExitMissedBound = 3;
inline constexpr int kExitInternal = 70;
inline constexpr int kExitInterrupted = 130;

struct Example {
  std::string_view command;  // without "lathe "
  std::string_view does;
};

struct CommandInfo {
  std::string_view name;
  std::string_view group;    // heading in `lathe --help`
  std::string_view summary;  // one line, no full stop
  std::string_view details;  // a paragraph for `lathe NAME --help`; may be empty
  std::vector<Example> examples;
};

class Command {
 public:
  virtual ~Command() = default;
  virtual CommandInfo info() const = 0;
  // Binds options to members; the command outlives the parser.
  virtual void add_options(CLI::App& app) = 0;
  virtual int run(Console& console) = 0;
  // `lathe NAME SUBCOMMAND`.
  virtual std::vector<std::unique_ptr<Command>> subcommands() const { return {}; }
};

std::unique_ptr<Command> make_build_command();
std::unique_ptr<Command> make_quantize_command();
std::unique_ptr<Command> make_run_command();
std::unique_ptr<Command> make_compare_command();
std::unique_ptr<Command> make_bench_command();
std::unique_ptr<Command> make_ppl_command();
std::unique_ptr<Command> make_trtexec_command();
std::unique_ptr<Command> make_inspect_command();
std::unique_ptr<Command> make_classify_command();
std::unique_ptr<Command> make_fill_mask_command();
std::unique_ptr<Command> make_generate_command();
std::unique_ptr<Command> make_chat_command();
std::unique_ptr<Command> make_devices_command();
std::unique_ptr<Command> make_completion_command();

// In the order of `lathe --help`.
std::vector<std::unique_ptr<Command>> make_commands();

}  // namespace lathe::tools
