// What the names of an ONNX graph stand for while it is imported. A name is bound to knowledge (a constant, symbolic
// elements) or to a value of the graph under construction, or to both; the value is emitted only when somebody asks for
// it, so what only feeds shape arithmetic leaves no node behind.
//
// A map (ai.onnx.ml) has no value: it is two bindings, which its own names. Only inputs, outputs and the few operators
// that make or take maps meet them; anybody else who asks for a value gets Error(unsupported).
//
// Scopes nest like the subgraphs of If, Loop and Scan. A name of an enclosing scope is visible; if the inner scope
// builds a region, asking for its value makes it a capture: a region input, and an operand of the control-flow node.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "graph/graph.h"
#include "onnx/symbolic.h"

namespace lathe::onnx {

struct Binding {
  std::string_view name;  // for messages
  Type type;
  Value* value = nullptr;  // in the graph of the scope that owns the binding
  std::optional<Tensor> constant;
  std::optional<SymbolicTensor> symbolic;
  Binding* outer = nullptr;  // the same thing in the enclosing scope, of another graph
  bool poisoned = false;     // produced by a node that could not be imported
  // Of a map: keys [n], and values [n] or, of a sequence of maps that have the same keys, [maps, n]. Else null. They
  // belong to the scope that defines the map.
  Binding *keys = nullptr, *values = nullptr;

  bool is_map() const { return keys != nullptr; }
  static Binding of(std::string_view name, Value* value);
  static Binding of(std::string_view name, Tensor constant);
  static Binding of(std::string_view name, SymbolicTensor symbolic);
  // Both bindings are copied when a scope defines the map.
  static Binding map_of(std::string_view name, Binding& keys, Binding& values);
};

// The outer bindings that a region uses, in the order of the region's capture inputs. Both branches of an If share one.
using Captures = std::vector<Binding*>;

struct FunctionBody {};

class Scope {
 public:
  // A model's graph.
  explicit Scope(Graph& graph) : graph_(graph) {}
  // A subgraph inlined into the graph of `enclosing`.
  // NOLINTNEXTLINE(google-explicit-constructor): a new scope inside another one, not a copy of it
  explicit Scope(Scope& enclosing) : graph_(enclosing.graph_), enclosing_(&enclosing), region_(enclosing.region_) {}
  // The body of a function inlined into the graph of `caller`, whose names it does not see.
  Scope(Scope& caller, FunctionBody) : graph_(caller.graph_), region_(caller.region_) {}
  // A region. What it captures is appended to the list; adopt_captures() before and after the import of its nodes makes
  // two regions that share a list agree.
  Scope(Graph& region, Scope& enclosing, Captures& captures);
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

  Graph& graph() const { return graph_; }

  // Null when no scope defines the name.
  Binding* find(std::string_view name);
  // Throws Error(invalid_model) when this scope has the name already.
  Binding* define(std::string_view name, Binding binding);
  void alias(std::string_view name, Binding* binding);

  // The binding's value, emitted if it is not there yet.
  Value* value(Binding& binding);
  // For a region: makes region inputs of the captures that another region appended to the shared list.
  void adopt_captures();

 private:
  Binding* inner(Binding* outer);
  Value* capture(Binding* outer);
  Value* emit_symbolic(const SymbolicTensor& symbolic);

  Graph& graph_;
  Scope* enclosing_ = nullptr;
  Scope* region_ = nullptr;       // the scope that made the region which graph_ is; null for a model's graph
  Captures* captures_ = nullptr;  // null unless this scope made a region
  size_t adopted_ = 0;
  std::deque<Binding> bindings_;  // stable addresses
  std::unordered_map<std::string_view, Binding*> names_;
  std::unordered_map<Binding*, Binding*> inner_;
};

}  // namespace lathe::onnx
