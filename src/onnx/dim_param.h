// The text of an ONNX dim_param as an expression: exporters write "past_sequence_length + 1" or "floor(height/8)".
#pragma once

#include <functional>
#include <optional>
#include <string_view>

#include "graph/dim.h"

namespace lathe::onnx {

bool is_identifier(std::string_view text);

// Sums, differences, products, floor divisions (a//b, floor(a/b)), min, max and parentheses over integers and
// identifiers. `meaning` gives the size that an identifier names. Nullopt where the text is anything else, or where one
// of its names has no meaning: such a text is a name like any other, and what it says is the exporter's affair.
std::optional<Dim> parse_dim_param(std::string_view text,
                                   const std::function<std::optional<Dim>(std::string_view)>& meaning);

}  // namespace lathe::onnx
