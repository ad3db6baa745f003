#include "text/chat_template/format.h"

#include <algorithm>

#include "base/error.h"
#include "base/utf8.h"
#include "text/chat_template/value_text.h"

namespace lathe::text {
namespace {

constexpr size_t kMaxWidth = 10'000;
constexpr size_t kMaxPrecision = 300;

struct Spec {
  std::string fill = " ";
  char align = 0;  // < > ^ =, or 0: what the type of the value says
  bool plus = false, space = false, alternate = false, thousands = false;
  size_t width = 0;
  std::optional<size_t> precision;
  char type = 0;
};

[[noreturn]] void malformed(std::string_view format) {
  fail(ErrorCode::invalid_model, "the format \"{}\" is malformed or not supported", format);
}

// Reads digits at text[at]; 0 when there are none.
size_t read_number(std::string_view text, size_t& at, size_t limit) {
  size_t value = 0;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
    value = value * 10 + static_cast<size_t>(text[at] - '0');
    if (value > limit) malformed(text);
  }
  return value;
}

MarkedText pad(MarkedText text, const Spec& spec, char default_align, Meter& meter) {
  const size_t length = count_code_points(text.bytes());
  if (length >= spec.width) return text;
  const size_t missing = spec.width - length;
  meter.spend_bytes(missing * spec.fill.size());
  const char align = spec.align != 0 ? spec.align : default_align;
  size_t before = align == '<' ? 0 : (align == '^' ? missing / 2 : missing);
  const bool behind_sign =
      align == '=' && !text.empty() && std::string_view("+- ").find(text.bytes()[0]) != std::string_view::npos;
  MarkedText out = behind_sign ? text.slice(0, 1) : MarkedText();
  for (size_t i = 0; i < before; ++i) out.append(spec.fill);
  out.append(text, behind_sign, text.size());
  for (size_t i = before; i < missing; ++i) out.append(spec.fill);
  return out;
}

std::string with_sign(const std::string& digits, bool negative, const Spec& spec) {
  const char* sign = negative ? "-" : (spec.plus ? "+" : (spec.space ? " " : ""));
  return sign + digits;
}

std::string with_thousands(std::string digits) {
  size_t end = std::min(digits.find('.'), digits.size());
  for (; end > 3; end -= 3) digits.insert(end - 3, 1, ',');
  return digits;
}

std::string integer_digits(int64_t value, const Spec& spec) {
  const uint64_t magnitude = value < 0 ? uint64_t{0} - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
  switch (spec.type) {
    case 'x': return fmt::format(fmt::runtime(spec.alternate ? "0x{:x}" : "{:x}"), magnitude);
    case 'X': return fmt::format(fmt::runtime(spec.alternate ? "0X{:X}" : "{:X}"), magnitude);
    case 'o': return fmt::format(fmt::runtime(spec.alternate ? "0o{:o}" : "{:o}"), magnitude);
    case 'b': return fmt::format(fmt::runtime(spec.alternate ? "0b{:b}" : "{:b}"), magnitude);
    default: return spec.thousands ? with_thousands(std::to_string(magnitude)) : std::to_string(magnitude);
  }
}

std::string real_digits(double magnitude, const Spec& spec) {
  const size_t precision = spec.precision.value_or(6);
  std::string digits;
  switch (spec.type) {
    case 'e': digits = fmt::format("{:.{}e}", magnitude, precision); break;
    case 'E': digits = fmt::format("{:.{}E}", magnitude, precision); break;
    case 'g': digits = fmt::format("{:.{}g}", magnitude, precision); break;
    case 'G': digits = fmt::format("{:.{}G}", magnitude, precision); break;
    case '%': digits = fmt::format("{:.{}f}%", magnitude * 100, precision); break;
    default: digits = fmt::format("{:.{}f}", magnitude, precision); break;
  }
  return spec.thousands ? with_thousands(std::move(digits)) : digits;
}

// One value through one conversion; `text_align` is where strings go in a wider field.
MarkedText convert(const Value& value, const Spec& spec, char text_align, Meter& meter) {
  const bool as_integer = spec.type != 0 && std::string_view("dixXob").find(spec.type) != std::string_view::npos;
  const bool as_real = spec.type != 0 && std::string_view("fFeEgG%").find(spec.type) != std::string_view::npos;
  if (as_integer || as_real) {
    const auto number = value.number();
    if (!number) type_error("a number is expected, not", value);
    const bool integral = as_integer && value.integer().has_value();
    if (as_integer && !integral && !(std::abs(*number) < 9e18)) type_error("no integer is in", value);
    const std::string digits = as_integer
                                   ? integer_digits(integral ? *value.integer() : static_cast<int64_t>(*number), spec)
                                   : real_digits(std::abs(*number), spec);
    return pad(MarkedText(with_sign(digits, *number < 0, spec)), spec, '>', meter);
  }
  MarkedText text = spec.type == 'r' ? to_repr(value, meter) : to_text(value, meter);
  if (spec.precision) {
    size_t end = 0;
    for (size_t i = 0; i < *spec.precision && end < text.size(); ++i) next_code_point(text.bytes(), end);
    text = text.slice(0, end);
  }
  return pad(std::move(text), spec, text_align, meter);
}

class PercentFormat {
 public:
  PercentFormat(const MarkedText& format, const Value& arguments, Meter& meter)
      : format_(format), bytes_(format.bytes()), arguments_(arguments), meter_(meter) {}

  MarkedText run() {
    while (at_ < bytes_.size()) {
      const size_t percent = std::min(bytes_.find('%', at_), bytes_.size());
      out_.append(format_, at_, percent);
      at_ = percent;
      if (at_ < bytes_.size()) conversion();
    }
    const List* list = arguments_.list();
    const bool is_tuple = list != nullptr && list->is_tuple();
    const bool may_be_left = arguments_.dict() != nullptr || list != nullptr;  // whatever could be asked by key
    if (is_tuple ? taken_ < list->values.size() : taken_ == 0 && !may_be_left)
      fail(ErrorCode::invalid_model, "more values than the format \"{}\" has places", bytes_);
    return std::move(out_);
  }

 private:
  void conversion() {
    ++at_;
    const Value* named = nullptr;
    if (at_ < bytes_.size() && bytes_[at_] == '(') {
      const size_t close = bytes_.find(')', at_);
      if (close == std::string::npos || arguments_.dict() == nullptr) malformed(bytes_);
      named = arguments_.dict()->find(std::string_view(bytes_).substr(at_ + 1, close - at_ - 1));
      if (named == nullptr) malformed(bytes_);
      at_ = close + 1;
    }
    Spec spec = read_spec();
    if (spec.type == '%') return out_.append("%");
    if (std::string_view("srdifFeEgGxXo").find(spec.type) == std::string_view::npos) malformed(bytes_);
    if (spec.type == 's') spec.type = 0;
    out_.append(convert(named != nullptr ? *named : next_argument(), spec, '>', meter_));
  }

  Spec read_spec() {
    Spec spec;
    for (; at_ < bytes_.size(); ++at_) {
      const char c = bytes_[at_];
      if (std::string_view("-0+ #").find(c) == std::string_view::npos) break;
      if (c == '-') spec.align = '<';
      if (c == '0' && spec.align == 0) spec.align = '=';
      spec.plus = spec.plus || c == '+';
      spec.space = spec.space || c == ' ';
      spec.alternate = spec.alternate || c == '#';
    }
    spec.fill.assign(1, spec.align == '=' ? '0' : ' ');
    spec.width = read_number(bytes_, at_, kMaxWidth);
    if (at_ < bytes_.size() && bytes_[at_] == '.') spec.precision = read_number(bytes_, ++at_, kMaxPrecision);
    if (at_ == bytes_.size()) malformed(bytes_);
    spec.type = bytes_[at_++];
    return spec;
  }

  const Value& next_argument() {
    const List* list = arguments_.list();
    const bool is_tuple = list != nullptr && list->is_tuple();
    const size_t index = taken_++;
    if (index >= (is_tuple ? list->values.size() : 1))
      fail(ErrorCode::invalid_model, "fewer values than the format \"{}\" has places", bytes_);
    return is_tuple ? list->values[index] : arguments_;
  }

  const MarkedText& format_;
  const std::string& bytes_;
  const Value& arguments_;
  Meter& meter_;
  MarkedText out_;
  size_t at_ = 0, taken_ = 0;
};

Spec read_brace_spec(std::string_view text) {
  Spec spec;
  size_t at = 0;
  if (!text.empty()) {
    size_t behind = 0;
    next_code_point(text, behind);
    const auto is_align = [&](size_t i) {
      return i < text.size() && std::string_view("<>^=").find(text[i]) != std::string_view::npos;
    };
    if (is_align(behind)) {
      spec.fill = text.substr(0, behind);
      spec.align = text[behind];
      at = behind + 1;
    } else if (is_align(0)) {
      spec.align = text[0];
      at = 1;
    }
  }
  for (; at < text.size() && std::string_view("+- #").find(text[at]) != std::string_view::npos; ++at) {
    spec.plus = spec.plus || text[at] == '+';
    spec.space = spec.space || text[at] == ' ';
    spec.alternate = spec.alternate || text[at] == '#';
  }
  if (at < text.size() && text[at] == '0') {
    spec.fill.assign(1, '0');
    if (spec.align == 0) spec.align = '=';
  }
  spec.width = read_number(text, at, kMaxWidth);
  if (at < text.size() && text[at] == ',') spec.thousands = true, ++at;
  if (at < text.size() && text[at] == '.') spec.precision = read_number(text, ++at, kMaxPrecision);
  if (at < text.size()) spec.type = text[at++];
  if (at != text.size()) malformed(text);
  return spec;
}

class BraceFormat {
 public:
  BraceFormat(const MarkedText& format, const Arguments& arguments, Meter& meter)
      : format_(format), bytes_(format.bytes()), arguments_(arguments), meter_(meter) {}

  MarkedText run() {
    while (at_ < bytes_.size()) {
      const size_t brace = std::min(bytes_.find_first_of("{}", at_), bytes_.size());
      out_.append(format_, at_, brace);
      at_ = brace;
      if (at_ == bytes_.size()) break;
      if (at_ + 1 < bytes_.size() && bytes_[at_ + 1] == bytes_[at_]) {  // doubled: the brace itself
        out_.append(format_, at_, at_ + 1);
        at_ += 2;
        continue;
      }
      const size_t close = bytes_.find('}', at_);
      if (bytes_[at_] == '}' || close == std::string::npos) malformed(bytes_);
      out_.append(field(std::string_view(bytes_).substr(at_ + 1, close - at_ - 1)));
      at_ = close + 1;
    }
    return std::move(out_);
  }

 private:
  MarkedText field(std::string_view text) {
    const size_t colon = std::min(text.find(':'), text.size());
    std::string_view name = text.substr(0, colon);
    const std::string_view spec_text = text.substr(std::min(colon + 1, text.size()));
    Spec spec = read_brace_spec(spec_text);
    const bool repr = name.ends_with("!r");
    const bool as_text = repr || name.ends_with("!s");
    if (as_text) name.remove_suffix(2);
    Value value = argument(name);
    if (repr)
      value = to_repr(value, meter_);
    else if (as_text || spec_text.empty())
      value = to_text(value, meter_);
    if (value.text() == nullptr && !value.number()) type_error("a string or number is expected, not", value);
    if (spec.type == 0 && std::holds_alternative<double>(value.held) && spec.precision) spec.type = 'g';
    if (spec.type == 0 && value.integer()) spec.type = 'd';
    if (spec.type == 's') spec.type = 0;
    return convert(value, spec, value.number() ? '>' : '<', meter_);
  }

  const Value& argument(std::string_view name) {
    size_t at = 0;
    const size_t number = read_number(name, at, kMaxWidth);
    if (at == name.size()) {
      (name.empty() ? numbers_itself_ : names_numbers_) = true;
      const size_t index = name.empty() ? taken_++ : number;
      if ((numbers_itself_ && names_numbers_) || index >= arguments_.positional.size()) malformed(bytes_);
      return arguments_.positional[index];
    }
    for (const auto& [key, value] : arguments_.named)
      if (key == name) return value;
    malformed(bytes_);
  }

  const MarkedText& format_;
  const std::string& bytes_;
  const Arguments& arguments_;
  Meter& meter_;
  MarkedText out_;
  size_t at_ = 0, taken_ = 0;
  bool numbers_itself_ = false, names_numbers_ = false;
};

}  // namespace

MarkedText format_percent(const MarkedText& format, const Value& arguments, Meter& meter) {
  meter.spend_bytes(format.size());
  return PercentFormat(format, arguments, meter).run();
}

MarkedText format_braces(const MarkedText& format, const Arguments& arguments, Meter& meter) {
  meter.spend_bytes(format.size());
  return BraceFormat(format, arguments, meter).run();
}

std::string format_time(std::string_view format, const std::tm& time) {
  if (format.empty()) return {};
  if (format.size() > kMaxWidth) malformed(format.substr(0, 40));
  // Each directive writes tens of bytes at most; none at all is told apart from too many by the last character.
  const std::string guarded = std::string(format) + "!";
  std::string out(guarded.size() * 64, '\0');
  out.resize(std::strftime(out.data(), out.size(), guarded.c_str(), &time));
  if (out.empty()) malformed(format);
  out.pop_back();
  return out;
}

}  // namespace lathe::text
