#include "graph/verifier.h"

#include <algorithm>
#include <unordered_set>

#include "base/error.h"
#include "graph/infer.h"
#include "graph/symbols.h"

namespace lathe {
namespace {

using Names = std::unordered_set<std::string>;

// Inference on trial hands out symbols beyond this one, so that they are equal to none of the graph.
constexpr std::string_view kLastOrdinarySymbol = "u99999999999999999";

class Verifier {
 public:
  // `outer` holds the symbols that the enclosing graph has bound; null for a whole model.
  Verifier(const Graph& graph, const Names* outer)
      : graph_(graph), is_model_(outer == nullptr), bound_(is_model_ ? Names() : *outer) {}

  void run() {
    inputs();
    for (const auto& node : graph_.nodes()) {
      try {
        this->node(*node);
      } catch (Error& error) {
        error.in_node(place(*node), op_name(node->op()));
        throw;
      }
    }
    outputs();
    use_lists();
  }

 private:
  template <class... Args>
  [[noreturn]] static void bad(fmt::format_string<Args...> format, Args&&... args) {
    fail(ErrorCode::invalid_model, format, std::forward<Args>(args)...);
  }

  // The node's own name, or its first output's.
  static std::string place(const Node& node) {
    if (!node.name().empty() || node.outputs().empty()) return node.name();
    return "%" + node.output()->name();
  }

  void define(const Value& value) {
    defined_.insert(&value);
    if (value.name().empty() || !names_.insert(value.name()).second) bad("two values are named '{}'", value.name());
    if (!value.type().ranked && !value.shape().empty()) bad("%{} has no rank but a shape", value.name());
    for (const Dim& dim : value.shape())
      if (dim.is_constant() && dim.value() < 0) bad("%{} has type {}", value.name(), to_string(value.type()));
  }

  // What cannot be read back cannot be printed or stored either.
  static bool is_readable(const std::string& symbol) {
    try {
      return Dim::parse(symbol) == Dim::symbol(symbol);
    } catch (const Error&) {
      return false;
    }
  }

  void bind(const std::string& symbol) {
    if (bound_.insert(symbol).second && !is_readable(symbol)) bad("'{}' cannot be the name of a symbol", symbol);
  }

  void expect_bound(const std::vector<std::string>& symbols) const {
    for (const std::string& symbol : symbols)
      if (bound_.count(symbol) == 0) bad("symbol '{}' is mentioned before it is bound", symbol);
  }

  void inputs() {
    std::vector<std::string> mentioned;
    for (size_t i = 0; i < graph_.inputs().size(); ++i) {
      const Value& input = *graph_.inputs()[i];
      if (input.producer() != nullptr || input.index() != i) bad("%{} is not input {}", input.name(), i);
      define(input);
      for (const Dim& dim : input.shape())
        if (dim.is_symbol()) bind(dim.to_string());
      collect_symbols(input.type(), mentioned);
    }
    expect_bound(mentioned);
  }

  void node(const Node& node) {
    for (const Value* input : node.inputs())
      if (input != nullptr && defined_.count(input) == 0) bad("operand %{} is not defined before", input->name());
    std::vector<std::string> mentioned;
    mentioned_outside_regions(node.op(), mentioned);
    expect_bound(mentioned);
    for (const Region* region : regions_of(node.op())) Verifier(region->graph(), &bound_).run();
    types(node);
    state(node);
    for (size_t i = 0; i < node.outputs().size(); ++i) {
      const Value& output = *node.output(i);
      if (output.producer() != &node || output.index() != i) bad("%{} is not output {}", output.name(), i);
      define(output);
    }
    outputs_bind(node);
  }

  static void mentioned_outside_regions(const Op& op, std::vector<std::string>& names) {
    if (regions_of(op).empty()) collect_symbols(op, names);
  }

  // A size that is one new symbol binds it; an expression over new symbols has nothing to bind them to.
  void outputs_bind(const Node& node) {
    if (const Bind* bind_op = node.as<Bind>())
      for (const std::string& symbol : bind_op->symbols) bind(symbol);
    std::vector<std::string> mentioned;
    for (const Value* output : node.outputs()) {
      for (const Dim& dim : output->shape())
        if (dim.is_symbol()) bind(dim.to_string());
      collect_symbols(output->type(), mentioned);
    }
    expect_bound(mentioned);
  }

  // What a node writes in place must be nobody else's, and come from whoever runs the model.
  void state(const Node& node) const {
    for (const size_t i : written_operands(node.op())) {
      const Value& value = *node.input(i);
      if (!is_model_ || value.producer() != nullptr) bad("writes operand {}, which is not an input of the model", i);
      if (value.users().size() != 1 || value.is_output())
        bad("writes operand {}, so nothing else may use %{}", i, value.name());
    }
  }

  // The stated types must be the inferred ones or refine them.
  static void types(const Node& node) {
    std::vector<const Type*> operands;
    for (const Value* input : node.inputs()) operands.push_back(input == nullptr ? nullptr : &input->type());
    SymbolSource symbols;
    symbols.reserve(kLastOrdinarySymbol);
    const std::vector<Type> inferred = infer(node.op(), operands, node.outputs().size(), symbols);
    if (inferred.size() != node.outputs().size())
      bad("gives {} results, has {} outputs", inferred.size(), node.outputs().size());
    for (size_t i = 0; i < inferred.size(); ++i)
      if (!refines(node.output(i)->type(), inferred[i]))
        bad("%{} is of type {}, but the op gives {}", node.output(i)->name(), to_string(node.output(i)->type()),
            to_string(inferred[i]));
  }

  static bool refines(const Type& stated, const Type& inferred) {
    if (stated.kind != inferred.kind || stated.dtype != inferred.dtype) return false;
    if (!inferred.ranked) return true;
    if (!stated.ranked) return false;
    return std::equal(stated.shape.begin(), stated.shape.end(), inferred.shape.begin(), inferred.shape.end(),
                      [](const Dim& s, const Dim& i) {
                        const Dim difference = s - i;
                        return !difference.is_constant() || difference.value() == 0;
                      });
  }

  void outputs() const {
    if (graph_.output_names().size() != graph_.outputs().size())
      bad("{} outputs have {} names", graph_.outputs().size(), graph_.output_names().size());
    for (const Value* output : graph_.outputs())
      if (output == nullptr || defined_.count(output) == 0) bad("an output of the graph is not defined in it");
  }

  void use_lists() const {
    std::unordered_map<const Value*, std::vector<const Node*>> users;
    for (const auto& node : graph_.nodes())
      for (const Value* input : node->inputs())
        if (input != nullptr) users[input].push_back(node.get());
    for (const Value* value : defined_) {
      std::vector<const Node*> expected = users[value], listed(value->users().begin(), value->users().end());
      std::sort(expected.begin(), expected.end());
      std::sort(listed.begin(), listed.end());
      const auto& outputs = graph_.outputs();
      const bool is_output = std::find(outputs.begin(), outputs.end(), value) != outputs.end();
      if (listed != expected || value->is_output() != is_output) bad("the use list of %{} is wrong", value->name());
    }
  }

  const Graph& graph_;
  const bool is_model_;
  Names bound_;
  Names names_;
  std::unordered_set<const Value*> defined_;
};

}  // namespace

void verify(const Graph& graph) { Verifier(graph, nullptr).run(); }

}  // namespace lathe
