#include "tools/progress.h"

#include <algorithm>

namespace lathe::tools {

constexpr std::chrono::milliseconds kRedrawInterval(50);
constexpr int kBarCells = 24;

Progress::Progress(const Console& console)
    : stream_(console.err_is_terminal() && !console.json() ? console.err() : nullptr) {}

void Progress::show(std::string_view text, double fraction) {
  if (stream_ == nullptr) return;
  const auto now = std::chrono::steady_clock::now();
  if (visible_ && text == text_ && now - drawn_ < kRedrawInterval) return;
  text_ = text;
  drawn_ = now;
  visible_ = true;
  fmt::print(stream_, "\r\033[K{}{}", fraction < 0 ? "" : progress_bar(fraction, kBarCells) + "  ",
             visible(text, "", false));
  std::fflush(stream_);
}

void Progress::clear() {
  if (!visible_) return;
  fmt::print(stream_, "\r\033[K");
  std::fflush(stream_);
  visible_ = false;
}

std::string progress_bar(double fraction, int cells) {
  fraction = std::clamp(fraction, 0.0, 1.0);
  const int done = static_cast<int>(fraction * cells);
  return fmt::format("[{}{}] {:3.0f} %", std::string(static_cast<size_t>(done), '#'),
                     std::string(static_cast<size_t>(cells - done), '-'), fraction * 100);
}

}  // namespace lathe::tools
