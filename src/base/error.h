// How code inside Lathe fails: fail() for what a caller, a file or a machine got wrong, LATHE_CHECK for our own broken
// invariants (ErrorCode::internal with the source line). The exception type itself is public: lathe/error.h.
#pragma once

#include <fmt/core.h>

#include <utility>

#include "lathe/error.h"

namespace lathe {

// fail(ErrorCode::invalid_model, "tensor '{}' has {} bytes, {} expected", ...) formats and throws.
template <class... Args>
[[noreturn]] void fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace lathe

// For our own invariants only; never for what a file or a caller can get wrong.
#define LATHE_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::lathe::check_failed(#condition, __FILE__, __LINE__))
