// Tokens to syntax trees, with Jinja's precedences: filters and tests bind tighter than any operator.
#pragma once

#include <string_view>

#include "text/chat_template/ast.h"

namespace lathe::text {

// Throws Error(invalid_model) with the line, and Error(unsupported) for tags that load other templates.
ast::Template parse_template(std::string_view source);

}  // namespace lathe::text
