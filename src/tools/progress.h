// A progress bar on stderr, drawn on a terminal only: elsewhere it is silent, so that logs hold no half lines.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "tools/console.h"

namespace lathe::tools {

class Progress {
 public:
  explicit Progress(const Console& console);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { clear(); }  // an exception leaves no bar behind

  // Shows what is going on and how far it is, `fraction` in [0, 1]; a negative one says that nobody knows. Redraws at
  // most every 50 ms, except when the text changes.
  void show(std::string_view text, double fraction = -1);
  void clear();

 private:
  std::FILE* stream_;  // null when nothing is drawn
  std::string text_;
  std::chrono::steady_clock::time_point drawn_;
  bool visible_ = false;
};

// "[#######---]  70 %": `cells` wide inside the brackets.
std::string progress_bar(double fraction, int cells);

}  // namespace lathe::tools
