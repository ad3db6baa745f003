// Where a command's words go. What a person or a program asked for goes to stdout: tables and sentences, or under
// --json one JSON document and nothing else. Everything said on the way there goes to stderr. Colour is used on a
// terminal only, and not where NO_COLOR is set (no-color.org).
//
// Names come from files and may hold anything. Text for people passes visible() on its way out, so that no file steers
// the terminal that shows it.
#pragma once

#include <fmt/core.h>

#include <cstdio>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>

namespace lathe::tools {

enum class Colour { plain, bold, dim, red, green, yellow };

// `text` with control characters, those that reorder text and bytes that are no UTF-8 spelt out: "\u001b", "\xff". What
// stays are the characters of `kept` and, if `colours`, what Console::paint() adds.
std::string visible(std::string_view text, std::string_view kept, bool colours);

class Console {
 public:
  // The streams are not owned. A stream is a terminal or not; `allow_colour` can only forbid colour on one.
  Console(std::FILE* out, std::FILE* err, bool allow_colour);

  // Under JSON, text for people is swallowed and only result() reaches stdout.
  void set_json(bool json) { json_ = json; }
  bool json() const { return json_; }

  template <class... Args>
  void print(fmt::format_string<Args...> format, Args&&... args) {
    if (!json_) print_text(fmt::format(format, std::forward<Args>(args)...));
  }
  // Shows what was printed so far, now: of a line that grows.
  void flush() { std::fflush(out_); }
  // A remark on stderr, a line of its own.
  template <class... Args>
  void note(fmt::format_string<Args...> format, Args&&... args) {
    note_text(fmt::format(format, std::forward<Args>(args)...));
  }
  // The answer for programs; does nothing without --json.
  void result(const nlohmann::json& document);

  // `text` in colour when stdout is a terminal, else unchanged.
  std::string paint(Colour colour, std::string_view text) const;
  bool colour() const { return colour_out_; }
  bool err_is_terminal() const { return err_is_terminal_; }
  std::FILE* err() const { return err_; }

  // Throws Error(io) when stdout did not take everything (a full disk, a closed pipe).
  void finish();

 private:
  void print_text(std::string_view text);
  void note_text(std::string_view line);

  std::FILE* out_;
  std::FILE* err_;
  bool json_ = false;
  bool colour_out_ = false;
  bool err_is_terminal_ = false;
};

}  // namespace lathe::tools
