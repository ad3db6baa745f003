#include "tools/console.h"

#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/utf8.h"

namespace lathe::tools {
namespace {

constexpr std::string_view kReset = "\033[0m";
constexpr std::string_view kEscapes[] = {"", "\033[1m", "\033[2m", "\033[31m", "\033[32m", "\033[33m"};  // by Colour
constexpr std::string_view kLayout = "\n\t";  // the control characters of text for people

// The length of what paint() adds, where `text` starts with that.
size_t colour_length(std::string_view text) {
  if (text.starts_with(kReset)) return kReset.size();
  for (const std::string_view escape : kEscapes)
    if (!escape.empty() && text.starts_with(escape)) return escape.size();
  return 0;
}

// C0, DEL and C1; line and paragraph separators; embeddings, overrides and isolates of bidirectional text.
bool is_control(char32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
}

// finish() asks whether all of it arrived.
void write(std::FILE* file, std::string_view text) { std::fwrite(text.data(), 1, text.size(), file); }

}  // namespace

std::string visible(std::string_view text, std::string_view kept, bool colours) {
  std::string shown;
  shown.reserve(text.size());
  for (size_t position = 0; position < text.size();) {
    const size_t start = position;
    const size_t colour = colours ? colour_length(text.substr(start)) : 0;
    const char32_t c = next_code_point(text, position);
    position = std::max(position, start + colour);
    const std::string_view piece = text.substr(start, position - start);
    if (c == kReplacementCharacter && piece.size() == 1)  // the character itself has three bytes
      shown += fmt::format("\\x{:02x}", static_cast<unsigned char>(piece[0]));
    else if (is_control(c) && colour == 0 && kept.find(piece) == std::string_view::npos)
      shown += fmt::format("\\u{:04x}", static_cast<uint32_t>(c));
    else
      shown += piece;
  }
  return shown;
}

Console::Console(std::FILE* out, std::FILE* err, bool allow_colour)
    : out_(out),
      err_(err),
      colour_out_(allow_colour && isatty(fileno(out)) == 1),
      err_is_terminal_(isatty(fileno(err)) == 1) {}

void Console::result(const nlohmann::json& document) {
  if (!json_) return;
  // Names come from files and need not be UTF-8.
  write(out_, document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

std::string Console::paint(Colour colour, std::string_view text) const {
  if (!colour_out_ || colour == Colour::plain) return std::string(text);
  return fmt::format("{}{}{}", kEscapes[static_cast<size_t>(colour)], text, kReset);
}

void Console::finish() {
  if (std::fflush(out_) != 0 || std::ferror(out_) != 0) fail(ErrorCode::io, "cannot write to standard output");
}

void Console::print_text(std::string_view text) { write(out_, visible(text, kLayout, colour_out_)); }

void Console::note_text(std::string_view line) {
  std::fflush(out_);
  write(err_, visible(line, kLayout, false) + "\n");
}

}  // namespace lathe::tools
