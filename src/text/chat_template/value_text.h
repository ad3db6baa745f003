// Values as text: Python's str() and repr(), JSON as json.dumps writes it, and its numbers. Marks of what users wrote
// stay on the characters that came from them.
#pragma once

#include <optional>
#include <string>

#include "text/chat_template/value.h"

namespace lathe::text {

std::string python_float(double value);  // repr(): shortest digits that read back as the same number

MarkedText to_text(const Value& value, Meter& meter);  // str(); nothing for undefined
MarkedText to_repr(const Value& value, Meter& meter);

struct JsonStyle {
  std::optional<std::string> indent;  // one level of it; everything in one line without
  std::string item_separator = ", ", key_separator = ": ";
  bool ensure_ascii = false, sort_keys = false;
};
MarkedText to_json(const Value& value, const JsonStyle& style, Meter& meter);

}  // namespace lathe::text
