// Text form of expression programs (grammar in map_program.h).
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <map>

#include "base/error.h"
#include "graph/map_program.h"

namespace lathe {
namespace {

std::string constant_text(const MapInstr& in) {
  if (!is_float(in.type)) return fmt::format("{}:{}", in.integer, to_string(in.type));
  return fmt::format("{}:{}", in.real, to_string(in.type));  // shortest form that reads back exactly; also nan, inf
}

class Printer {
 public:
  Printer(const std::vector<MapInstr>& code, const std::vector<Dim>& dims)
      : code_(code), dims_(dims), uses_(code.size(), 0), name_(code.size()) {
    for (const MapInstr& in : code)
      for (int a = 0; a < arity(in.op); ++a) ++uses_[static_cast<size_t>(in.args[static_cast<size_t>(a)])];
  }

  std::string print(int num_inputs) {
    std::string head = "(", lets;
    for (int i = 0; i < num_inputs; ++i) head += (i > 0 ? ", x" : "x") + std::to_string(i);
    int next = 0;
    for (size_t i = 0; i + 1 < code_.size(); ++i) {
      if (uses_[i] < 2 || arity(code_[i].op) == 0) continue;
      const std::string value = expression(i);
      name_[i] = "t" + std::to_string(next++);
      lets += name_[i] + " = " + value + "; ";
    }
    const std::string result = expression(code_.size() - 1);
    return head + ") => " + (lets.empty() ? result : "{ " + lets + result + " }");
  }

 private:
  std::string expression(size_t i) const {
    if (!name_[i].empty()) return name_[i];
    const MapInstr& in = code_[i];
    switch (in.op) {
      case MapOp::input: return "x" + std::to_string(in.args[0]);
      case MapOp::constant: return constant_text(in);
      case MapOp::iota: return fmt::format("iota({})", in.args[0]);
      case MapOp::dim: return "dim(" + dims_[static_cast<size_t>(in.args[0])].to_string() + ")";
      default: break;
    }
    std::string text(to_string(in.op));
    if (in.op == MapOp::cast || in.op == MapOp::cast_sat) text += fmt::format("<{}>", to_string(in.type));
    text += "(";
    for (int a = 0; a < arity(in.op); ++a)
      text += (a > 0 ? ", " : "") + expression(static_cast<size_t>(in.args[static_cast<size_t>(a)]));
    return text + ")";
  }

  const std::vector<MapInstr>& code_;
  const std::vector<Dim>& dims_;
  std::vector<int> uses_;
  std::vector<std::string> name_;
};

class Parser {
 public:
  Parser(std::string_view text, const std::vector<DType>& input_types) : text_(text), input_types_(input_types) {}

  MapProgram parse() {
    expect("(");
    for (size_t i = 0; i < input_types_.size(); ++i) expect((i > 0 ? ",x" : "x") + std::to_string(i));
    expect(")");
    expect("=>");
    program_.set_num_inputs(static_cast<int>(input_types_.size()));
    const bool block = accept("{");
    int result = -1;
    while (block && is_let()) {
      const std::string name(word());
      expect("=");
      lets_[name] = expression(0);
      expect(";");
    }
    result = expression(0);
    if (block) expect("}");
    skip_space();
    if (pos_ != text_.size()) error("unexpected text at the end");
    program_.finish(result);
    return std::move(program_);
  }

 private:
  static constexpr int kMaxDepth = 256;

  [[noreturn]] void error(std::string_view why) const {
    fail(ErrorCode::invalid_argument, "map program '{}', column {}: {}", text_, pos_ + 1, why);
  }
  void skip_space() {
    while (pos_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[pos_]))) ++pos_;
  }
  bool accept(std::string_view token) {
    const size_t start = pos_;
    for (const char c : token) {  // a token may hold several lexemes ("," "x1"): white space between them is allowed
      skip_space();
      if (pos_ >= text_.size() || text_[pos_] != c) {
        pos_ = start;
        return false;
      }
      ++pos_;
    }
    return true;
  }
  void expect(std::string_view token) {
    if (!accept(token)) error(fmt::format("'{}' expected", token));
  }
  std::string_view word() {
    skip_space();
    const size_t begin = pos_;
    while (pos_ < text_.size() &&
           (std::isalnum(static_cast<unsigned char>(text_[pos_])) || text_[pos_] == '_' || text_[pos_] == '.' ||
            ((text_[pos_] == '-' || text_[pos_] == '+') && (pos_ == begin || text_[pos_ - 1] == 'e'))))
      ++pos_;
    return text_.substr(begin, pos_ - begin);
  }
  bool is_let() {
    const size_t start = pos_;
    const std::string_view name = word();
    skip_space();
    const bool yes = !name.empty() && pos_ < text_.size() && text_[pos_] == '=';
    pos_ = start;
    return yes;
  }

  int expression(int depth) {
    if (depth > kMaxDepth) error("nested too deeply");
    const std::string_view name = word();
    if (name.empty()) error("expression expected");
    if (accept(":")) return constant(name);
    if (const auto it = lets_.find(std::string(name)); it != lets_.end()) return it->second;
    if (name[0] == 'x' && name.size() > 1 && std::isdigit(static_cast<unsigned char>(name[1]))) return input(name);
    if (name == "iota" || name == "dim") return leaf(name);
    const MapOp op = op_named(name);
    DType type{};
    if (op == MapOp::cast || op == MapOp::cast_sat) {
      expect("<");
      type = dtype(word());
      expect(">");
    }
    return call(op, type, depth);
  }

  int call(MapOp op, DType cast_type, int depth) {
    int args[3] = {};
    expect("(");
    for (int a = 0; a < arity(op); ++a) {
      if (a > 0) expect(",");
      args[a] = expression(depth + 1);
    }
    expect(")");
    if (op == MapOp::cast || op == MapOp::cast_sat) return program_.push({op, cast_type, {args[0], 0, 0}});
    if (op == MapOp::select) return program_.select(args[0], args[1], args[2]);
    return arity(op) == 1 ? program_.unary(op, args[0]) : program_.binary(op, args[0], args[1]);
  }

  int constant(std::string_view number) {
    const DType type = dtype(word());
    if (is_float(type)) {
      double value = 0;
      const auto [end, ec] = std::from_chars(number.data(), number.data() + number.size(), value);
      if (ec != std::errc() || end != number.data() + number.size()) error("number expected");
      return program_.constant(value, type);
    }
    int64_t value = 0;
    const auto [end, ec] = std::from_chars(number.data(), number.data() + number.size(), value);
    if (ec != std::errc() || end != number.data() + number.size()) error("integer expected");
    return program_.constant_int(value, type);
  }
  int input(std::string_view name) {
    size_t which = 0;
    const auto [end, ec] = std::from_chars(name.data() + 1, name.data() + name.size(), which);
    if (ec != std::errc() || end != name.data() + name.size() || which >= input_types_.size()) error("no such input");
    return program_.input(static_cast<int>(which), input_types_[which]);
  }
  int leaf(std::string_view name) {
    expect("(");
    int depth = 1;
    const size_t begin = pos_;
    while (pos_ < text_.size() && depth > 0) {
      depth += text_[pos_] == '(' ? 1 : (text_[pos_] == ')' ? -1 : 0);
      ++pos_;
    }
    if (depth > 0) error("')' expected");
    const Dim value = Dim::parse(text_.substr(begin, pos_ - begin - 1));
    if (name == "dim") return program_.dim(value);
    if (!value.is_constant() || value.value() >= 0 || value.value() < -64) error("iota takes a negative axis");
    return program_.iota(static_cast<int>(value.value()));
  }
  MapOp op_named(std::string_view name) const {
    for (int i = static_cast<int>(MapOp::cast); i < kMapOpCount; ++i)
      if (to_string(static_cast<MapOp>(i)) == name) return static_cast<MapOp>(i);
    error(fmt::format("unknown operation '{}'", name));
  }
  DType dtype(std::string_view name) const {
    const auto type = dtype_from_string(name);
    if (!type) error(fmt::format("unknown element type '{}'", name));
    return *type;
  }

  std::string_view text_;
  const std::vector<DType>& input_types_;
  size_t pos_ = 0;
  MapProgram program_;
  std::map<std::string, int> lets_;
};

}  // namespace

std::string MapProgram::to_string() const {
  if (empty()) return "none";
  return Printer(code_, dims_).print(num_inputs_);
}

MapProgram MapProgram::parse(std::string_view text, const std::vector<DType>& input_types) {
  return Parser(text, input_types).parse();
}

}  // namespace lathe
