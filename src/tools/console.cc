#include "tools/console.h"

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/utf8.h"

namespace lathe::tools {
namespace {

std::string_view escape(Colour colour) {
  switch (colour) {
    case Colour::plain: return "";
    case Colour::bold: return "\033[1m";
    case Colour::dim: return "\033[2m";
    case Colour::red: return "\033[31m";
    case Colour::green: return "\033[32m";
    case Colour::yellow: return "\033[33m";
  }
  return "";
}

}  // namespace

Console::Console(std::FILE* out, std::FILE* err, bool allow_colour)
    : out_(out),
      err_(err),
      colour_out_(allow_colour && isatty(fileno(out)) == 1),
      err_is_terminal_(isatty(fileno(err)) == 1) {}

void Console::result(const nlohmann::json& document) {
  if (!json_) return;
  // Names come from files and need not be UTF-8.
  write_out(document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

std::string Console::paint(Colour colour, std::string_view text) const {
  if (!colour_out_ || colour == Colour::plain) return std::string(text);
  return fmt::format("{}{}\033[0m", escape(colour), text);
}

void Console::finish() {
  if (std::fflush(out_) != 0 || std::ferror(out_) != 0) fail(ErrorCode::io, "cannot write to standard output");
}

void Console::write_out(std::string_view text) { std::fwrite(text.data(), 1, text.size(), out_); }

void Console::write_err(std::string_view line) {
  std::fflush(out_);
  fmt::print(err_, "{}\n", to_valid_utf8(line));
}

}  // namespace lathe::tools
