#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/regex.h"

#include <pcre2.h>

#include <array>

#include "base/error.h"

namespace lathe::text {
namespace {

// Enough for any run of characters that a text of some megabytes may hold; taken from the system page by page.
constexpr size_t kStackStart = size_t{32} << 10, kStackEnd = size_t{64} << 20;

std::string message_of(int code) {
  std::array<PCRE2_UCHAR, 160> buffer{};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

struct MatchState {
  explicit MatchState(const pcre2_code* code)
      : data(pcre2_match_data_create_from_pattern(code, nullptr), pcre2_match_data_free),
        context(pcre2_match_context_create(nullptr), pcre2_match_context_free),
        stack(pcre2_jit_stack_create(kStackStart, kStackEnd, nullptr), pcre2_jit_stack_free) {
    LATHE_CHECK(data != nullptr && context != nullptr);
    if (stack != nullptr) pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
  }
  std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data;
  std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> context;
  std::unique_ptr<pcre2_jit_stack, decltype(&pcre2_jit_stack_free)> stack;
};

}  // namespace

Regex::Regex(std::string_view oniguruma_pattern) : pattern_(oniguruma_pattern) {
  const std::string translated = to_pcre2(oniguruma_pattern);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                   PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &error, &offset, nullptr);
  if (code == nullptr)
    fail(ErrorCode::unsupported, "the regular expression '{}' cannot be used: {}", oniguruma_pattern,
         message_of(error));
  code_ = std::shared_ptr<void>(code, [](void* p) { pcre2_code_free(static_cast<pcre2_code*>(p)); });
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // without it matching is slower, not wrong
}

std::vector<Span> Regex::find_all(std::string_view text) const {
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  const MatchState state(code);
  std::vector<Span> matches;
  for (size_t from = 0; from <= text.size();) {
    const int found = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                                  PCRE2_NO_UTF_CHECK, state.data.get(), state.context.get());
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0)
      fail(ErrorCode::invalid_argument, "the regular expression '{}' fails on this text: {}", pattern_,
           message_of(found));
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(state.data.get());
    const Span match = {bounds[0], bounds[1]};
    if (match.end == match.begin && !matches.empty() && matches.back().end == match.end) {
      for (++from; from < text.size() && (static_cast<unsigned char>(text[from]) & 0xC0u) == 0x80u;) ++from;
      continue;
    }
    matches.push_back(match);
    from = match.end;
  }
  return matches;
}

}  // namespace lathe::text
