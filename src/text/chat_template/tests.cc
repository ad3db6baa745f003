// What stands behind `is`.
#include <array>

#include "base/error.h"
#include "base/utf8.h"
#include "text/chat_template/arguments.h"
#include "text/chat_template/builtin_table.h"
#include "text/chat_template/operators.h"
#include "text/chat_template/python_string.h"

namespace lathe::text {
namespace {

bool is_boolean(const Value& value) { return std::holds_alternative<bool>(value.held); }
bool is_float(const Value& value) { return std::holds_alternative<double>(value.held); }
bool is_number(const Value& value) { return value.number().has_value(); }
bool is_integer(const Value& value) { return std::holds_alternative<int64_t>(value.held); }
bool is_string(const Value& value) { return value.text() != nullptr; }
bool is_mapping(const Value& value) { return value.dict() != nullptr; }
bool is_defined(const Value& value) { return !value.is_undefined(); }
bool is_undefined(const Value& value) { return value.is_undefined(); }
bool is_none(const Value& value) { return value.is_none(); }
bool is_true(const Value& value) { return is_boolean(value) && truth(value); }
bool is_false(const Value& value) { return is_boolean(value) && !truth(value); }
bool is_callable(const Value& value) { return value.object() != nullptr && value.object()->callable(); }
bool is_escaped(const Value&) { return false; }

bool is_iterable(const Value& value) {
  return is_string(value) || is_mapping(value) || value.list() != nullptr || value.is_undefined();
}

bool is_sequence(const Value& value) {
  return is_string(value) || is_mapping(value) || (value.list() != nullptr && value.list()->indexable()) ||
         value.is_undefined();
}

template <bool (*predicate)(const Value&)>
bool plain(Meter&, const Value& input, Arguments& arguments) {
  arguments.done("the test");
  return predicate(input);
}

template <ast::CompareOp op>
bool compared(Meter& meter, const Value& input, Arguments& arguments) {
  const Value other = required(arguments.next("other"), "the test", "other");
  arguments.done("the test");
  return apply_compare(op, input, other, meter);
}

bool same_as(Meter& meter, const Value& input, Arguments& arguments) {
  const Value other = required(arguments.next("other"), "sameas", "other");
  arguments.done("sameas");
  if (input.is_undefined()) return false;  // each of them is another
  return input.held.index() == other.held.index() && equal(input, other, meter);
}

bool divisible_by(Meter& meter, const Value& input, Arguments& arguments) {
  const Value divisor = required(arguments.next("num"), "divisibleby", "num");
  arguments.done("divisibleby");
  return equal(apply_binary(ast::BinaryOp::modulo, input, divisor, meter), Value(int64_t{0}), meter);
}

template <int64_t rest>
bool has_rest(Meter& meter, const Value& input, Arguments& arguments) {
  arguments.done("even, odd");
  return equal(apply_binary(ast::BinaryOp::modulo, input, Value(int64_t{2}), meter), Value(rest), meter);
}

template <const char* method>
bool is_of_case(Meter& meter, const Value& input, Arguments& arguments) {
  return input.text() != nullptr && truth(find_method(input, method)(meter, input, arguments));
}
constexpr char kIsLower[] = "islower", kIsUpper[] = "isupper";

bool names_filter(Meter&, const Value& input, Arguments& arguments) {
  arguments.done("filter");
  return input.text() != nullptr && find_filter(input.text()->bytes()) != nullptr;
}

bool names_test(Meter&, const Value& input, Arguments& arguments) {
  arguments.done("test");
  return input.text() != nullptr && find_test(input.text()->bytes()) != nullptr;
}

using ast::CompareOp;

constexpr std::array<Builtin<TestFunction>, 39> kTests = {{
    {"!=", compared<CompareOp::ne>},
    {"<", compared<CompareOp::lt>},
    {"<=", compared<CompareOp::le>},
    {"==", compared<CompareOp::eq>},
    {">", compared<CompareOp::gt>},
    {">=", compared<CompareOp::ge>},
    {"boolean", plain<is_boolean>},
    {"callable", plain<is_callable>},
    {"defined", plain<is_defined>},
    {"divisibleby", divisible_by},
    {"eq", compared<CompareOp::eq>},
    {"equalto", compared<CompareOp::eq>},
    {"escaped", plain<is_escaped>},
    {"even", has_rest<0>},
    {"false", plain<is_false>},
    {"filter", names_filter},
    {"float", plain<is_float>},
    {"ge", compared<CompareOp::ge>},
    {"greaterthan", compared<CompareOp::gt>},
    {"gt", compared<CompareOp::gt>},
    {"in", compared<CompareOp::in>},
    {"integer", plain<is_integer>},
    {"iterable", plain<is_iterable>},
    {"le", compared<CompareOp::le>},
    {"lessthan", compared<CompareOp::lt>},
    {"lower", is_of_case<kIsLower>},
    {"lt", compared<CompareOp::lt>},
    {"mapping", plain<is_mapping>},
    {"ne", compared<CompareOp::ne>},
    {"none", plain<is_none>},
    {"number", plain<is_number>},
    {"odd", has_rest<1>},
    {"sameas", same_as},
    {"sequence", plain<is_sequence>},
    {"string", plain<is_string>},
    {"test", names_test},
    {"true", plain<is_true>},
    {"undefined", plain<is_undefined>},
    {"upper", is_of_case<kIsUpper>},
}};

}  // namespace

TestFunction find_test(std::string_view name) {
  static_assert(is_sorted(kTests));
  return find_builtin(kTests, name);
}

TestFunction require_test(std::string_view name) {
  const TestFunction test = find_test(name);
  if (test == nullptr) fail(ErrorCode::unsupported, "there is no test '{}'", name);
  return test;
}

}  // namespace lathe::text
