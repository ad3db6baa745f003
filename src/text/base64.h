// Base64, the alphabet with + and /.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace lathe::text {

// Nothing for what is not base64; padding may be absent.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace lathe::text
