#include "tools/table.h"

#include <gtest/gtest.h>

#include <cstdio>

#include "tools/help.h"
#include "tools/progress.h"

namespace lathe::tools {
namespace {

// A console on files is no terminal, so nothing is coloured.
struct PlainConsole {
  std::FILE* file = std::tmpfile();
  Console console{file, file, true};
  ~PlainConsole() { std::fclose(file); }
};

TEST(Table, WidthCountsTerminalCells) {
  EXPECT_EQ(display_width(""), 0u);
  EXPECT_EQ(display_width("abc"), 3u);
  EXPECT_EQ(display_width("房间"), 4u);
  EXPECT_EQ(display_width("e\u0301"), 1u);  // a combining accent
  EXPECT_EQ(display_width("\033[1mab\033[0m"), 2u);
}

TEST(Table, FitCutsWholeCharacters) {
  EXPECT_EQ(fit("abcdef", 6), "abcdef");
  EXPECT_EQ(fit("abcdef", 4), "abc…");
  EXPECT_EQ(fit("房间很干", 5), "房间…");
  EXPECT_EQ(fit("房间很干", 4), "房…");
}

TEST(Table, ColumnsAlignUnderWideCharacters) {
  PlainConsole plain;
  Table table({{"token"}, {"share", Table::Align::right}});
  table.add_row({"净", "99.4"});
  table.add_row({"ab", "5"});
  table.add_row({"only"});
  EXPECT_EQ(table.render(plain.console), "token  share\n净      99.4\nab         5\nonly\n");
}

TEST(Table, WithoutTitlesThereIsNoTitleLine) {
  PlainConsole plain;
  Table table({{""}, {""}});
  table.add_row({"a", "b"});
  EXPECT_EQ(table.render(plain.console), "a  b\n");
}

TEST(Table, MalformedTextIsShownNotTrusted) {
  PlainConsole plain;
  Table table({{""}});
  table.add_row({"a\xff"});
  EXPECT_EQ(table.render(plain.console), "a\xEF\xBF\xBD\n");
}

TEST(Progress, BarFillsUp) {
  EXPECT_EQ(progress_bar(0, 4), "[----]   0 %");
  EXPECT_EQ(progress_bar(0.5, 4), "[##--]  50 %");
  EXPECT_EQ(progress_bar(7, 4), "[####] 100 %");
}

TEST(Progress, NothingIsDrawnBesideATerminal) {
  PlainConsole plain;
  {
    Progress progress(plain.console);
    progress.show("working", 0.5);
  }
  EXPECT_EQ(std::ftell(plain.file), 0);
}

TEST(Help, WrapKeepsToTheWidth) {
  EXPECT_EQ(wrap("one two three", 7, 0), "one two\nthree\n");
  EXPECT_EQ(wrap("one two", 5, 2), "  one\n  two\n");
  EXPECT_EQ(wrap("a\nb", 10, 0), "a\nb\n");
  EXPECT_EQ(wrap("", 10, 0), "");
}

}  // namespace
}  // namespace lathe::tools
