// What templates can call by name: the methods of strings, lists and dicts, the filters and the tests. Methods that
// change their object do not exist, as in the sandbox that templates are rendered in elsewhere.
#pragma once

#include <string_view>

#include "text/chat_template/value.h"

namespace lathe::text {

using Method = Value (*)(Meter& meter, const Value& self, Arguments& arguments);
using FilterFunction = Value (*)(Meter& meter, const Value& input, Arguments& arguments);
using TestFunction = bool (*)(Meter& meter, const Value& input, Arguments& arguments);

// Each is null when there is no such thing.
Method find_method(const Value& self, std::string_view name);
FilterFunction find_filter(std::string_view name);
TestFunction find_test(std::string_view name);

// The same, with an error for unknown names.
FilterFunction require_filter(std::string_view name);
TestFunction require_test(std::string_view name);

}  // namespace lathe::text
