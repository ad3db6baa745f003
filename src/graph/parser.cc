// Reads the text form of text.h. Field values are read by type, so a new op needs nothing here.
#include <fmt/format.h>

#include <charconv>
#include <map>

#include "graph/fields.h"
#include "graph/infer.h"
#include "graph/ops/enum_names.h"
#include "graph/tensor_text.h"
#include "graph/text.h"
#include "graph/text_cursor.h"

namespace lathe {
namespace {

constexpr int kMaxRegionDepth = 32;

class Parser {
 public:
  explicit Parser(std::string_view text) : cursor_(text) {}

  std::unique_ptr<Graph> parse() {
    auto symbols = std::make_shared<SymbolSource>();
    reserve_words(*symbols);
    auto graph = parse_graph_at(0, symbols);
    if (!cursor_.at_end()) cursor_.error("nothing may follow the graph");
    return graph;
  }

 private:
  // A program cannot be read before the types of its inputs are known; they may depend on other fields.
  struct PendingProgram {
    MapProgram* target;
    size_t position;
    std::string_view text;
  };

  using Scope = std::map<std::string, Value*, std::less<>>;

  // Symbols that stand anywhere in the text must not be handed out for types which the text leaves to inference.
  void reserve_words(SymbolSource& symbols) const {
    for (TextCursor scan = cursor_; !scan.at_end();) {
      const std::string_view word = scan.word();
      if (word.empty())
        scan.skip_one();
      else if (word[0] == 'u' && !dtype_from_string(word))
        symbols.reserve(word);
    }
  }

  std::unique_ptr<Graph> parse_graph_at(int depth, const std::shared_ptr<SymbolSource>& symbols) {
    if (depth > kMaxRegionDepth) cursor_.error("regions are nested too deeply");
    auto graph = std::make_unique<Graph>(symbols);
    Scope scope;
    cursor_.expect("graph");
    if (!cursor_.accept("(")) {
      graph->set_name(cursor_.name());
      cursor_.expect("(");
    }
    for (bool first = true; !cursor_.accept(")"); first = false) {
      if (!first) cursor_.expect(",");
      const std::string name = new_name(scope);
      cursor_.expect(":");
      scope[name] = graph->add_input(name, type());
    }
    cursor_.expect("{");
    while (!cursor_.accept("return")) node(*graph, scope, depth);
    while (!cursor_.accept("}")) {
      if (!graph->outputs().empty()) cursor_.expect(",");
      Value* value = operand(scope);
      if (value == nullptr) cursor_.error("an output cannot be absent");
      cursor_.expect("as");
      graph->add_output(value, cursor_.quoted_string());
    }
    return graph;
  }

  std::string new_name(Scope& scope) {
    const size_t position = cursor_.position();
    cursor_.expect("%");
    std::string name = cursor_.name();
    if (!scope.emplace(name, nullptr).second) cursor_.error_at(position, fmt::format("%{} is defined twice", name));
    return name;
  }

  Value* operand(const Scope& scope) {
    if (cursor_.accept("_")) return nullptr;
    const size_t position = cursor_.position();
    cursor_.expect("%");
    const std::string name = cursor_.name();
    const auto it = scope.find(name);
    if (it == scope.end() || it->second == nullptr) cursor_.error_at(position, fmt::format("%{} is not defined", name));
    return it->second;
  }

  void node(Graph& graph, Scope& scope, int depth) {
    std::vector<std::string> names;
    const size_t begin = cursor_.position();
    if (cursor_.starts_with('%')) {
      do names.push_back(new_name(scope));
      while (cursor_.accept(","));
      cursor_.expect("=");
    }
    const size_t position = cursor_.position();
    const std::string_view op_word = cursor_.word();
    std::optional<Op> op = op_from_name(op_word);
    if (!op) cursor_.error_at(position, fmt::format("there is no op named '{}'", op_word));
    std::vector<Value*> inputs = operands(scope);
    if (cursor_.accept("{")) std::visit([&](auto& o) { fields(o, graph.shared_symbols(), depth); }, *op);
    parse_programs(*op, inputs);
    std::vector<Type> types;
    if (cursor_.accept(":")) {
      do types.push_back(type());
      while (cursor_.accept(","));
    } else {
      cursor_.located(position, [&] { types = infer(*op, types_of(inputs), names.size(), graph.symbols()); });
    }
    if (types.size() != names.size())
      cursor_.error_at(begin, fmt::format("{} names for {} results", names.size(), types.size()));
    std::vector<Graph::Output> outputs;
    for (size_t i = 0; i < names.size(); ++i) outputs.push_back({names[i], types[i]});
    std::string node_name = cursor_.accept("@") ? cursor_.quoted_string() : std::string();
    const Node* node = graph.append_named(std::move(*op), std::move(inputs), std::move(outputs), std::move(node_name));
    for (size_t i = 0; i < names.size(); ++i) scope[names[i]] = node->output(i);
  }

  std::vector<Value*> operands(const Scope& scope) {
    std::vector<Value*> inputs;
    if (!cursor_.accept("(")) return inputs;
    for (bool first = true; !cursor_.accept(")"); first = false) {
      if (!first) cursor_.expect(",");
      inputs.push_back(operand(scope));
    }
    return inputs;
  }

  static std::vector<const Type*> types_of(const std::vector<Value*>& values) {
    std::vector<const Type*> types;
    for (const Value* value : values) types.push_back(value == nullptr ? nullptr : &value->type());
    return types;
  }

  void parse_programs(const Op& op, const std::vector<Value*>& inputs) {
    for (const PendingProgram& program : pending_)
      cursor_.located(program.position,
                      [&] { *program.target = MapProgram::parse(program.text, program_inputs(op, types_of(inputs))); });
    pending_.clear();
  }

  template <class T>
  void fields(T& op, const std::shared_ptr<SymbolSource>& symbols, int depth) {
    for (bool first = true; !cursor_.accept("}"); first = false) {
      if (!first) cursor_.expect(",");
      const size_t position = cursor_.position();
      const std::string_view wanted = cursor_.word();
      bool found = false;
      T::fields(op, [&](std::string_view name, auto& value) {
        if (name != wanted) return;
        found = true;
        cursor_.expect("=");
        if constexpr (std::is_same_v<std::decay_t<decltype(value)>, Region>)
          value = region(symbols, depth);
        else
          field(value);
      });
      if (!found) cursor_.error_at(position, fmt::format("{} has no field '{}'", T::kName, wanted));
    }
  }

  // The programs that wait for the types of the enclosing node are kept apart from those of the region's nodes.
  Region region(const std::shared_ptr<SymbolSource>& symbols, int depth) {
    std::vector<PendingProgram> outer = std::exchange(pending_, {});
    Region result(parse_graph_at(depth + 1, symbols));
    pending_ = std::move(outer);
    return result;
  }

  void field(bool& value) {
    value = cursor_.accept("true");
    if (!value) cursor_.expect("false");
  }
  template <class T>
  requires(std::is_same_v<T, int64_t> || std::is_same_v<T, double>) void field(T& value) {
    const size_t position = cursor_.position();
    const std::string_view text = cursor_.number();
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (ec != std::errc() || end != text.data() + text.size() || text.empty())
      cursor_.error_at(position, fmt::format("'{}' is not a number", text));
  }
  void field(std::string& value) { value = cursor_.quoted_string(); }
  void field(DType& value) { value = dtype(); }
  void field(Dim& value) {
    const size_t position = cursor_.position();
    const std::string_view text = cursor_.balanced();
    cursor_.located(position, [&] { value = Dim::parse(trimmed(text)); });
  }
  void field(MapProgram& value) {
    const size_t position = cursor_.position();
    pending_.push_back({&value, position, trimmed(cursor_.balanced())});
  }
  void field(Tensor& value) {
    const DType type = dtype();
    value = parse_tensor(cursor_, type);
  }
  template <class E>
  requires std::is_enum_v<E>
  void field(E& value) {
    const size_t position = cursor_.position();
    const std::string_view word = cursor_.word();
    for (size_t i = 0; i < kEnumNames<E>.size(); ++i) {
      if (kEnumNames<E>[i] != word) continue;
      value = static_cast<E>(i);
      return;
    }
    cursor_.error_at(position, fmt::format("'{}' is none of: {}", word, fmt::join(kEnumNames<E>, ", ")));
  }
  template <class T>
  void field(std::optional<T>& value) {
    field(value.emplace());
  }
  template <class T>
  void field(std::vector<T>& values) {
    values.clear();
    cursor_.expect("[");
    while (!cursor_.accept("]")) {
      if (!values.empty()) cursor_.expect(",");
      field(values.emplace_back());
    }
  }

  static std::string_view trimmed(std::string_view text) {
    while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
    return text;
  }

  DType dtype() {
    const size_t position = cursor_.position();
    const std::string_view word = cursor_.word();
    const auto type = dtype_from_string(word);
    if (!type) cursor_.error_at(position, fmt::format("'{}' is not an element type", word));
    return *type;
  }

  Type type() {
    Type result;
    const bool optional = cursor_.accept("optional");
    if (optional) cursor_.expect("<");
    const bool sequence = cursor_.accept("seq");
    if (sequence) cursor_.expect("<");
    result.dtype = dtype();
    cursor_.expect("[");
    if (cursor_.accept("*")) {
      result.ranked = false;
    } else {
      for (bool first = true; !cursor_.starts_with(']'); first = false) {
        if (!first) cursor_.expect(",");
        field(result.shape.emplace_back());
      }
    }
    cursor_.expect("]");
    if (sequence) cursor_.expect(">");
    if (optional) cursor_.expect(">");
    if (optional)
      result.kind = sequence ? Type::Kind::optional_sequence : Type::Kind::optional;
    else if (sequence)
      result.kind = Type::Kind::sequence;
    return result;
  }

  TextCursor cursor_;
  std::vector<PendingProgram> pending_;
};

}  // namespace

std::unique_ptr<Graph> parse_graph(std::string_view text) { return Parser(text).parse(); }

}  // namespace lathe
