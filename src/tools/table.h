// Tables for people: aligned columns, two spaces apart. Widths count what a terminal shows, where a Chinese character
// takes two cells and a combining mark none.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tools/console.h"

namespace lathe::tools {

// Terminal cells that `text` takes. Colour escapes take none.
size_t display_width(std::string_view text);
// `text` cut to at most `cells`, with "…" at the end where something is missing.
std::string fit(std::string_view text, size_t cells);

class Table {
 public:
  enum class Align { left, right };
  struct Column {
    std::string title;
    Align align = Align::left;
    size_t max_cells = 0;  // longer cells are cut; 0: never
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // Missing cells at the end are empty. A cell is one line: what else it holds is made visible().
  void add_row(std::vector<std::string> cells);
  bool empty() const { return rows_.empty(); }

  // Title line, then the rows, each ended by a line break. Without any title (all empty) there is no title line.
  std::string render(const Console& console) const;

 private:
  std::string render_line(const std::vector<std::string>& cells, const std::vector<size_t>& widths) const;

  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace lathe::tools
