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
  table.add_row({"two\nlines"});
  EXPECT_EQ(table.render(plain.console), "a\\xff\ntwo\\u000alines\n");
}

TEST(Console, WhatSteersATerminalIsSpeltOut) {
  EXPECT_EQ(visible("房间 \"é\"\n", "\n", false), "房间 \"é\"\n");
  EXPECT_EQ(visible("a\033[2Jb\x7f\r", "\n", true), "a\\u001b[2Jb\\u007f\\u000d");
  EXPECT_EQ(visible("\u009b1m \u202egpj.exe", "", true), "\\u009b1m \\u202egpj.exe");
  EXPECT_EQ(visible("\xc3(\xff", "", true), "\\xc3(\\xff");
  EXPECT_EQ(visible("\xEF\xBF\xBD", "", true), "\xEF\xBF\xBD");  // U+FFFD itself is text
  EXPECT_EQ(visible(std::string_view("\0", 1), "", true), "\\u0000");
  EXPECT_EQ(visible("\033[1mx\033[0m", "", true), "\033[1mx\033[0m");
  EXPECT_EQ(visible("\033[1mx", "", false), "\\u001b[1mx");
}

TEST(Console, BothStreamsShowWhatNamesHold) {
  PlainConsole plain;
  plain.console.print("{}\n", "in\033]0;title\007");
  plain.console.note("'{}'", "out\xff");
  std::rewind(plain.file);
  char text[100] = {};
  const size_t size = std::fread(text, 1, sizeof(text), plain.file);
  EXPECT_EQ(std::string(text, size), "in\\u001b]0;title\\u0007\n'out\\xff'\n");
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
