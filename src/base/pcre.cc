#define PCRE2_CODE_UNIT_WIDTH 8
#include "base/pcre.h"

#include <pcre2.h>

#include <array>

#include "base/error.h"

namespace lathe {
namespace {

// Enough for any run of characters that a text of some megabytes may hold; taken from the system page by page.
constexpr size_t kStackStart = size_t{32} << 10, kStackEnd = size_t{64} << 20;

uint32_t options_of(PcreRules rules) {
  switch (rules) {
    case PcreRules::unicode_lines: return PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE;
    case PcreRules::ascii: return PCRE2_UTF | PCRE2_DOLLAR_ENDONLY;
    case PcreRules::ascii_whole: break;
  }
  return PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_ANCHORED | PCRE2_ENDANCHORED;
}

std::string message_of(int code) {
  std::array<PCRE2_UCHAR, 160> buffer{};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

}  // namespace

struct Pcre::Searcher::State {
  explicit State(const pcre2_code* code)
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

Pcre::Pcre(std::string_view pattern, PcreRules rules, std::string_view written) : written_(written) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), options_of(rules),
                                   &error, &offset, nullptr);
  if (code == nullptr)
    fail(ErrorCode::unsupported, "the regular expression '{}' cannot be used: {}", written_, message_of(error));
  code_ = std::shared_ptr<void>(code, [](void* p) { pcre2_code_free(static_cast<pcre2_code*>(p)); });
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // without it matching is slower, not wrong
}

Pcre::Searcher::Searcher(const Pcre& pattern)
    : pattern_(pattern), state_(std::make_unique<State>(static_cast<const pcre2_code*>(pattern.code_.get()))) {}

Pcre::Searcher::~Searcher() = default;

std::optional<Pcre::Match> Pcre::Searcher::find(std::string_view text, size_t from) {
  const auto* code = static_cast<const pcre2_code*>(pattern_.code_.get());
  const int found = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from, PCRE2_NO_UTF_CHECK,
                                state_->data.get(), state_->context.get());
  if (found == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (found < 0)
    fail(ErrorCode::invalid_argument, "the regular expression '{}' fails on this text: {}", pattern_.written_,
         message_of(found));
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(state_->data.get());
  return Match{bounds[0], bounds[1]};
}

}  // namespace lathe
