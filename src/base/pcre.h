// Regular expressions on PCRE2, compiled to machine code where that works. Texts are UTF-8 and well formed. This file
// decides how much work one search may take: what needs more is an error, never an endless search.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace lathe {

enum class PcreRules : uint8_t {
  unicode_lines,  // classes are those of Unicode, ^ and $ stand at every line
  ascii,          // classes are those of ASCII, ^ and $ stand at the ends of the text, as RE2 has it
  ascii_whole,    // and only the whole text can match, as RE2's FullMatch has it
};

class Pcre {
 public:
  struct Match {
    size_t begin, end;
  };

  // Throws Error(unsupported), which quotes the pattern as it was `written`, when PCRE2 refuses it.
  Pcre(std::string_view pattern, PcreRules rules, std::string_view written);

  // Searches of one thread.
  class Searcher {
   public:
    explicit Searcher(const Pcre& pattern);
    ~Searcher();
    Searcher(const Searcher&) = delete;
    Searcher& operator=(const Searcher&) = delete;
    // The leftmost match that begins at `from` or behind. Throws Error(invalid_argument) when the text needs more steps
    // than the matcher allows.
    std::optional<Match> find(std::string_view text, size_t from = 0);

   private:
    struct State;
    const Pcre& pattern_;
    std::unique_ptr<State> state_;
  };

 private:
  std::string written_;
  std::shared_ptr<void> code_;  // pcre2_code, whose header stays out of this one
};

}  // namespace lathe
