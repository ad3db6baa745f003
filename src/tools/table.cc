#include "tools/table.h"

#include <utf8proc.h>

#include <algorithm>

#include "base/error.h"
#include "base/utf8.h"

namespace lathe::tools {
namespace {

constexpr char kEscape = '\033';

// Skips a colour escape that starts at `position`.
bool skip_escape(std::string_view text, size_t& position) {
  if (text[position] != kEscape) return false;
  const size_t end = text.find('m', position);
  position = end == std::string_view::npos ? text.size() : end + 1;
  return true;
}

size_t cells_of(char32_t code_point) {
  return static_cast<size_t>(std::max(0, utf8proc_charwidth(static_cast<utf8proc_int32_t>(code_point))));
}

}  // namespace

size_t display_width(std::string_view text) {
  size_t width = 0;
  for (size_t position = 0; position < text.size();)
    if (!skip_escape(text, position)) width += cells_of(next_code_point(text, position));
  return width;
}

std::string fit(std::string_view text, size_t cells) {
  if (display_width(text) <= cells) return std::string(text);
  size_t width = 0, position = 0, end = 0;
  while (position < text.size()) {
    if (!skip_escape(text, position)) width += cells_of(next_code_point(text, position));
    if (width + 1 > cells) break;
    end = position;
  }
  return std::string(text.substr(0, end)) + "…";
}

void Table::add_row(std::vector<std::string> cells) {
  LATHE_CHECK(cells.size() <= columns_.size());
  cells.resize(columns_.size());
  for (size_t i = 0; i < cells.size(); ++i) {
    cells[i] = visible(cells[i], "", true);
    if (columns_[i].max_cells > 0) cells[i] = fit(cells[i], columns_[i].max_cells);
  }
  rows_.push_back(std::move(cells));
}

std::string Table::render(const Console& console) const {
  std::vector<std::string> titles;
  std::vector<size_t> widths;
  for (size_t i = 0; i < columns_.size(); ++i) {
    titles.push_back(columns_[i].title);
    size_t width = display_width(titles.back());
    for (const auto& row : rows_) width = std::max(width, display_width(row[i]));
    widths.push_back(width);
  }
  std::string text;
  const bool titled = std::any_of(titles.begin(), titles.end(), [](const std::string& t) { return !t.empty(); });
  if (titled) text += console.paint(Colour::bold, render_line(titles, widths)) + "\n";
  for (const auto& row : rows_) text += render_line(row, widths) + "\n";
  return text;
}

std::string Table::render_line(const std::vector<std::string>& cells, const std::vector<size_t>& widths) const {
  std::string line;
  for (size_t i = 0; i < cells.size(); ++i) {
    const std::string padding(widths[i] - display_width(cells[i]), ' ');
    if (i > 0) line += "  ";
    line += columns_[i].align == Align::right ? padding + cells[i] : cells[i] + padding;
  }
  line.erase(line.find_last_not_of(' ') + 1);
  return line;
}

}  // namespace lathe::tools
