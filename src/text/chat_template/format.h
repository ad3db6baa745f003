// Python's two ways to fill text: "%s of %d" % (a, b) and "{} of {name}".format(a, name=b), each with the conversions
// that templates use; and strftime.
#pragma once

#include <ctime>
#include <string>

#include "text/chat_template/value.h"

namespace lathe::text {

// `arguments` is a tuple, a dict for %(name)s, or the one value. Flags, width, precision; s r d i f F e E g G x X o c
// %.
MarkedText format_percent(const MarkedText& format, const Value& arguments, Meter& meter);

// {} {0} {name}, each with an optional !r or !s and a :[[fill]align][0][width][,][.precision][type].
MarkedText format_braces(const MarkedText& format, const Arguments& arguments, Meter& meter);

std::string format_time(std::string_view format, const std::tm& time);

}  // namespace lathe::text
