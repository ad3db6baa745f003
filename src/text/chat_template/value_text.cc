#include "text/chat_template/value_text.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/utf8.h"
#include "text/chat_template/python_string.h"

namespace lathe::text {
namespace {

// repr() of a string: single quotes unless only those occur in it.
void append_quoted(MarkedText& out, const MarkedText& text, Meter& meter) {
  const std::string& bytes = text.bytes();
  meter.spend_bytes(bytes.size());
  const char quote = bytes.find('\'') != std::string::npos && bytes.find('"') == std::string::npos ? '"' : '\'';
  out.append(std::string_view(&quote, 1));
  for (size_t at = 0; at < bytes.size();) {
    const size_t begin = at;
    const char32_t c = next_code_point(bytes, at);
    if (c == '\n' || c == '\r' || c == '\t')
      out.append_as(c == '\n' ? "\\n" : (c == '\r' ? "\\r" : "\\t"), text, begin);
    else if (c == '\\' || c == static_cast<char32_t>(quote))
      out.append_as(fmt::format("\\{}", static_cast<char>(c)), text, begin);
    else if (is_printable(c))
      out.append(text, begin, at);
    else if (c < 0x100)
      out.append_as(fmt::format("\\x{:02x}", static_cast<uint32_t>(c)), text, begin);
    else if (c < 0x10000)
      out.append_as(fmt::format("\\u{:04x}", static_cast<uint32_t>(c)), text, begin);
    else
      out.append_as(fmt::format("\\U{:08x}", static_cast<uint32_t>(c)), text, begin);
  }
  out.append(std::string_view(&quote, 1));
}

void append_repr(MarkedText& out, const Value& value, Meter& meter);

void append_list(MarkedText& out, const List& list, Meter& meter) {
  if (list.kind == ListKind::generator) return out.append("<generator object>");
  const bool view = !list.indexable();
  if (view) out.append(fmt::format("{}(", kind_name(list.kind)));
  out.append(list.is_tuple() ? "(" : "[");
  for (size_t i = 0; i < list.values.size(); ++i) {
    if (i > 0) out.append(", ");
    append_repr(out, list.values[i], meter);
  }
  if (list.is_tuple() && list.values.size() == 1) out.append(",");
  out.append(list.is_tuple() ? ")" : "]");
  if (view) out.append(")");
}

void append_dict(MarkedText& out, const Dict& dict, Meter& meter) {
  out.append("{");
  bool first = true;
  for (const auto& [key, value] : dict.entries) {
    if (!std::exchange(first, false)) out.append(", ");
    append_repr(out, key, meter);
    out.append(": ");
    append_repr(out, value, meter);
  }
  out.append("}");
}

std::string scalar_text(const Value& value) {
  if (value.is_none()) return "None";
  if (const auto* flag = std::get_if<bool>(&value.held)) return *flag ? "True" : "False";
  if (const auto* number = std::get_if<double>(&value.held)) return python_float(*number);
  if (const auto number = value.integer()) return std::to_string(*number);
  if (value.is_undefined()) return "Undefined";
  return fmt::format("<{}>", type_name(value));
}

void append_repr(MarkedText& out, const Value& value, Meter& meter) {
  meter.spend(1);
  if (const MarkedText* text = value.text())
    append_quoted(out, *text, meter);
  else if (const List* list = value.list())
    append_list(out, *list, meter);
  else if (const Dict* dict = value.dict())
    append_dict(out, *dict, meter);
  else
    out.append(scalar_text(value));
}

class JsonWriter {
 public:
  JsonWriter(const JsonStyle& style, Meter& meter) : style_(style), meter_(meter) {}

  void write(const Value& value) {
    meter_.spend(1);
    if (const MarkedText* text = value.text()) return write_string(*text);
    if (const Dict* dict = value.dict()) return write_dict(*dict);
    const List* list = value.list();
    if (list != nullptr && list->indexable()) return write_list(*list);
    out_.append(scalar(value));
  }

  MarkedText take() { return std::move(out_); }

 private:
  static std::string scalar(const Value& value) {
    if (value.is_none()) return "null";
    if (const auto* flag = std::get_if<bool>(&value.held)) return *flag ? "true" : "false";
    if (const auto number = value.integer()) return std::to_string(*number);
    const auto number = value.number();
    if (!number) fail(ErrorCode::invalid_model, "'{}' cannot be written as JSON", type_name(value));
    if (std::isnan(*number)) return "NaN";
    if (std::isinf(*number)) return *number > 0 ? "Infinity" : "-Infinity";
    return python_float(*number);
  }

  void write_string(const MarkedText& text) {
    const std::string& bytes = text.bytes();
    meter_.spend_bytes(bytes.size());
    out_.append("\"");
    for (size_t at = 0; at < bytes.size();) {
      const size_t begin = at;
      const char32_t c = next_code_point(bytes, at);
      const std::string escape = escaped(c);
      if (escape.empty())
        out_.append(text, begin, at);
      else
        out_.append_as(escape, text, begin);
    }
    out_.append("\"");
  }

  // Empty when the character stands for itself.
  std::string escaped(char32_t c) const {
    switch (c) {
      case '"': return "\\\"";
      case '\\': return "\\\\";
      case '\n': return "\\n";
      case '\r': return "\\r";
      case '\t': return "\\t";
      case '\f': return "\\f";
      case '\b': return "\\b";
      default: break;
    }
    if (c >= 0x20 && (c < 0x7f || !style_.ensure_ascii)) return "";
    if (c == 0x7f) return "";
    if (c < 0x10000) return fmt::format("\\u{:04x}", static_cast<uint32_t>(c));
    const auto offset = static_cast<uint32_t>(c) - 0x10000;
    return fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (offset >> 10), 0xDC00 + (offset & 0x3FF));
  }

  void write_list(const List& list) {
    if (list.values.empty()) return out_.append("[]");
    out_.append("[");
    ++level_;
    for (size_t i = 0; i < list.values.size(); ++i) {
      begin_item(i == 0);
      write(list.values[i]);
    }
    --level_;
    new_line();
    out_.append("]");
  }

  void write_dict(const Dict& dict) {
    if (dict.entries.empty()) return out_.append("{}");
    std::vector<const std::pair<Value, Value>*> entries;
    for (const auto& entry : dict.entries) entries.push_back(&entry);
    if (style_.sort_keys)
      std::stable_sort(entries.begin(), entries.end(), [&](const auto* left, const auto* right) {
        return compare(left->first, right->first, meter_) < 0;
      });
    out_.append("{");
    ++level_;
    for (size_t i = 0; i < entries.size(); ++i) {
      begin_item(i == 0);
      const Value& key = entries[i]->first;
      write_string(key.text() != nullptr ? *key.text() : MarkedText(scalar(key)));
      out_.append(style_.key_separator);
      write(entries[i]->second);
    }
    --level_;
    new_line();
    out_.append("}");
  }

  void begin_item(bool first) {
    if (!first) out_.append(style_.item_separator);
    new_line();
  }

  void new_line() {
    if (!style_.indent) return;
    meter_.spend_bytes(1 + level_ * style_.indent->size());
    out_.append("\n");
    for (size_t i = 0; i < level_; ++i) out_.append(*style_.indent);
  }

  const JsonStyle& style_;
  Meter& meter_;
  MarkedText out_;
  size_t level_ = 0;
};

}  // namespace

std::string python_float(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  const double magnitude = std::abs(value);
  if (magnitude != 0 && (magnitude < 1e-4 || magnitude >= 1e16)) return fmt::format("{}", value);  // with an exponent
  std::string digits = fmt::format("{}", value);
  if (digits.find('.') == std::string::npos) digits += ".0";
  return digits;
}

MarkedText to_text(const Value& value, Meter& meter) {
  if (const MarkedText* text = value.text()) {
    meter.spend_bytes(text->size());
    return *text;
  }
  if (value.is_undefined()) return {};
  return to_repr(value, meter);
}

MarkedText to_repr(const Value& value, Meter& meter) {
  MarkedText out;
  append_repr(out, value, meter);
  return out;
}

MarkedText to_json(const Value& value, const JsonStyle& style, Meter& meter) {
  JsonWriter writer(style, meter);
  writer.write(value);
  return writer.take();
}

}  // namespace lathe::text
