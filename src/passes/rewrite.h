// What all rewrites share: walking a graph while changing it, reading constants.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace lathe::passes {

// Erases `node` if nothing needs its outputs, then its producers likewise. Nodes that write state stay, and so do those
// that bind symbols: whether anybody mentions these is for dead_code() to find out.
void erase_if_dead(Graph& graph, Node* node);

// Calls visit(node) for each node in order, regions first, and counts how often it says that it rewrote something.
// visit may insert nodes before `node` and replace its outputs; it erases nothing. What becomes dead upstream of `node`
// is erased.
template <class Visit>
int rewrite_nodes(Graph& graph, const Visit& visit) {
  int rewrites = 0;
  for (Node* node : snapshot(graph)) {
    for (Region* region : regions_of(node->mutable_op())) rewrites += rewrite_nodes(region->graph(), visit);
    if (!visit(graph, *node)) continue;
    ++rewrites;
    erase_if_dead(graph, node);
  }
  return rewrites;
}

// Inserts a node with one output before `position` and replaces all uses of `old` by it; the new node gets the name of
// `position`.
void replace(Graph& graph, Node* position, Value* old, Op op, std::vector<Value*> inputs);
// A new value computed just before `position`, on behalf of that node, whose name it gets.
Value* insert(Graph& graph, Node* position, Op op, std::vector<Value*> inputs);

// The only user of a value that is no graph output; null if there are several or none. A user that takes it twice
// counts once.
Node* only_user(const Value* value);

template <class T>
const T* producer_as(const Value* value) {
  return value != nullptr && value->producer() != nullptr ? value->producer()->as<T>() : nullptr;
}

const Tensor* constant_tensor(const Value* value);  // null unless a Constant gives the value, with its elements
// The one number that all elements of a numeric constant have.
std::optional<double> uniform_number(const Value* value);
std::optional<std::vector<int64_t>> constant_integers(const Value* value);
bool is_static(const Value* value);  // a tensor of known rank with constant sizes
bool is_tensor_of_rank(const Value* value, int64_t rank);

// b when a * b is exactly `product`; nullopt if there is no such polynomial.
std::optional<Dim> divide_exactly(const Dim& product, const Dim& a);

}  // namespace lathe::passes
