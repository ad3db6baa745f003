// The graph: an ordered list of nodes in SSA form. Order is meaning: a node comes after the producers of its operands
// and after the nodes that bind the symbols which it mentions. Values and nodes live as long as their graph and have
// stable addresses until erased. Use lists are kept exact by the mutating members; nobody else writes them.
#pragma once

#include <list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "graph/op.h"
#include "graph/type.h"

namespace lathe {

class Graph;
class Node;

class Value {
 public:
  const Type& type() const { return type_; }
  void set_type(Type type) { type_ = std::move(type); }
  const Shape& shape() const { return type_.shape; }
  DType dtype() const { return type_.dtype; }
  const std::string& name() const { return name_; }  // unique within the graph; never empty
  // The name was given (by a model, a plan), as opposed to made up from the node's. Rewrites keep given names alive.
  bool is_named() const { return named_; }
  Node* producer() const { return producer_; }  // null for graph inputs
  size_t index() const { return index_; }       // among the producer's outputs, or the graph's inputs

  // One entry per use, so a node that uses the value twice stands twice. Graph outputs are not users; see is_output().
  std::span<Node* const> users() const { return users_; }
  bool is_output() const { return output_uses_ > 0; }
  bool is_unused() const { return users_.empty() && output_uses_ == 0; }

 private:
  friend class Graph;
  Type type_;
  std::string name_;
  bool named_ = false;
  Node* producer_ = nullptr;
  size_t index_ = 0;
  size_t slot_ = 0;  // where the graph keeps it
  std::vector<Node*> users_;
  int output_uses_ = 0;
};

class Node {
 public:
  const Op& op() const { return op_; }
  Op& mutable_op() { return op_; }  // after changing fields that matter to types, call Graph::infer_types
  template <class T>
  const T* as() const {
    return std::get_if<T>(&op_);
  }
  template <class T>
  T* as() {
    return std::get_if<T>(&op_);
  }
  template <class T>
  bool is() const {
    return std::holds_alternative<T>(op_);
  }

  const std::string& name() const { return name_; }  // as in the source model, for messages; may repeat or be empty
  void set_name(std::string name) { name_ = std::move(name); }
  std::span<Value* const> inputs() const { return inputs_; }  // null for an absent optional operand
  std::span<Value* const> outputs() const { return outputs_; }
  Value* input(size_t i) const { return i < inputs_.size() ? inputs_[i] : nullptr; }
  Value* output(size_t i = 0) const { return outputs_[i]; }

 private:
  friend class Graph;
  Op op_;
  std::string name_;
  std::vector<Value*> inputs_;
  std::vector<Value*> outputs_;
  std::list<std::unique_ptr<Node>>::iterator position_;
};

// Hands out symbol names that are unique in a model: shared by a graph and all its regions.
class SymbolSource {
 public:
  std::string fresh(std::string_view prefix);  // never the name of an element type: "f32[u8]" would mislead
  // Makes sure that names like `name` (prefix and number) are not handed out again; for parsers and loaders.
  void reserve(std::string_view name);
  // How many numbers have been used up: names handed out later carry this number or a larger one.
  int64_t next() const { return next_; }

 private:
  int64_t next_ = 0;
};

class Graph {
 public:
  explicit Graph(std::shared_ptr<SymbolSource> symbols = std::make_shared<SymbolSource>());
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  std::unique_ptr<Graph> clone() const;

  const std::string& name() const { return name_; }
  void set_name(std::string name) { name_ = std::move(name); }
  SymbolSource& symbols() const { return *symbols_; }
  const std::shared_ptr<SymbolSource>& shared_symbols() const { return symbols_; }

  std::span<Value* const> inputs() const { return inputs_; }
  std::span<Value* const> outputs() const { return outputs_; }
  // Names that the outputs have for the outside (an output may be an input, or stand twice, so they are kept apart).
  const std::vector<std::string>& output_names() const { return output_names_; }
  const std::list<std::unique_ptr<Node>>& nodes() const { return nodes_; }
  size_t num_nodes() const { return nodes_.size(); }

  Value* add_input(std::string_view name, Type type);
  void add_output(Value* value, std::string name);
  void set_output(size_t index, Value* value);
  void erase_input(size_t index);  // which must be unused
  void erase_output(size_t index);

  // Creates a node at the end, or before `position`. Output types come from infer() (graph/infer.h); the names of the
  // outputs are derived from the node's name, and no other value of this graph ever gets them. `num_outputs`
  // matters only for ops with optional outputs (pool, norm, rnn). Throws Error(invalid_model) if the op does not fit
  // its operands.
  Node* append(Op op, std::vector<Value*> inputs, size_t num_outputs = 1, std::string name = {});
  Node* insert_before(Node* position, Op op, std::vector<Value*> inputs, size_t num_outputs = 1, std::string name = {});
  // append() for the common case of one output.
  Value* emit(Op op, std::vector<Value*> inputs, std::string name = {}) {
    return append(std::move(op), std::move(inputs), 1, std::move(name))->output();
  }

  // With given output types, not inferred: for parsers, loaders and ops whose types the caller knows better.
  Node* append_typed(Op op, std::vector<Value*> inputs, std::vector<Type> output_types, std::string name = {});
  Node* insert_typed_before(Node* position, Op op, std::vector<Value*> inputs, std::vector<Type> output_types,
                            std::string name = {});

  // With given output names as well, which must be free: for whatever copies or reads a graph.
  struct Output {
    std::string name;
    Type type;
  };
  Node* append_named(Op op, std::vector<Value*> inputs, std::vector<Output> outputs, std::string name = {});
  bool has_name(std::string_view name) const { return taken_.count(std::string(name)) > 0; }

  void set_input(Node* node, size_t index, Value* value);
  void set_inputs(Node* node, std::vector<Value*> inputs);
  // All uses of `from`, graph outputs included, become uses of `to`, which holds the same quantity: where `to` has no
  // given name yet, it takes over that of `from`, so that quantities can be followed by name through all rewrites.
  void replace_uses(Value* from, Value* to);
  // Recomputes the output types of a node from its operands. Symbols that stand for run-time sizes keep their names.
  void infer_types(Node* node);
  // The node's outputs must be unused.
  void erase(Node* node);
  void rename(Value* value, std::string_view wish);  // made unique if taken
  // Moves a node to just before `position`.
  void move_before(Node* node, Node* position);

 private:
  Value* new_value(Type type, std::string_view wish);
  std::string unique_name(std::string_view wish);
  void link(Node* node, Value* value);
  void unlink(Node* node, Value* value);
  Node* place(std::list<std::unique_ptr<Node>>::iterator position, Op op, std::vector<Value*> inputs,
              std::vector<Output> outputs, std::string name);
  Node* infer_and_place(std::list<std::unique_ptr<Node>>::iterator position, Op op, std::vector<Value*> inputs,
                        size_t num_outputs, std::string name);
  void discard(Value* value);

  std::string name_;
  std::shared_ptr<SymbolSource> symbols_;
  std::list<std::unique_ptr<Node>> nodes_;
  std::vector<std::unique_ptr<Value>> values_;
  std::vector<Value*> inputs_, outputs_;
  std::vector<std::string> output_names_;
  std::unordered_set<std::string> taken_;
  std::unordered_map<std::string, int> next_suffix_;  // per wish, the first suffix worth trying
};

// The nodes in their present order, for whoever changes the graph on the way.
std::vector<Node*> snapshot(const Graph& graph);

// Whether a node updates the value in place (written_operands in graph/op.h).
bool is_state(const Value& value);

// Same inputs, outputs, node order, ops, operands and types; value and node names do not count.
bool structurally_equal(const Graph& a, const Graph& b);

}  // namespace lathe
