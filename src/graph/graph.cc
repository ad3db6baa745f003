#include "graph/graph.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "graph/infer.h"

namespace lathe {

std::string SymbolSource::fresh(std::string_view prefix) {
  std::string name;
  do name = std::string(prefix) + std::to_string(next_++);
  while (dtype_from_string(name));
  return name;
}

void SymbolSource::reserve(std::string_view name) {
  constexpr size_t kMaxDigits = 18;  // fresh() never gets as far as a longer number
  size_t begin = name.size();
  while (begin > 0 && std::isdigit(static_cast<unsigned char>(name[begin - 1]))) --begin;
  if (begin == name.size() || name.size() - begin > kMaxDigits) return;
  int64_t number = 0;
  for (const char c : name.substr(begin)) number = number * 10 + (c - '0');
  next_ = std::max(next_, number + 1);
}

namespace {

std::vector<const Type*> types_of(std::span<Value* const> values) {
  std::vector<const Type*> types;
  types.reserve(values.size());
  for (const Value* value : values) types.push_back(value == nullptr ? nullptr : &value->type());
  return types;
}

std::vector<Type> infer_in_node(const Op& op, std::span<Value* const> inputs, size_t num_outputs, SymbolSource& symbols,
                                std::string_view name) {
  try {
    return infer(op, types_of(inputs), num_outputs, symbols);
  } catch (Error& error) {
    error.in_node(name, op_name(op));
    throw;
  }
}

// For an output that nobody named: "layer.0/Attention:matmul".
std::string derived_name(const Node& node) {
  const std::string op(op_name(node.op()));
  return node.name().empty() ? op : node.name() + ":" + op;
}

void reserve_symbols(const Type& type, SymbolSource& source) {
  std::vector<std::string> names;
  for (const Dim& dim : type.shape) dim.collect_symbols(names);
  for (const std::string& name : names) source.reserve(name);
}

}  // namespace

Graph::Graph(std::shared_ptr<SymbolSource> symbols) : symbols_(std::move(symbols)) {}

std::unique_ptr<Graph> Graph::clone() const {
  auto copy = std::make_unique<Graph>(symbols_);
  copy->name_ = name_;
  std::unordered_map<const Value*, Value*> image{{nullptr, nullptr}};
  for (const Value* input : inputs_) image[input] = copy->add_input(input->name(), input->type());
  for (const auto& node : nodes_) {
    std::vector<Value*> inputs;
    for (const Value* input : node->inputs()) inputs.push_back(image.at(input));
    std::vector<Output> outputs;
    for (const Value* output : node->outputs()) outputs.push_back({output->name(), output->type()});
    const Node* twin = copy->append_named(node->op(), std::move(inputs), std::move(outputs), node->name());
    for (size_t i = 0; i < node->outputs_.size(); ++i) {
      twin->outputs_[i]->named_ = node->outputs_[i]->named_;
      image[node->outputs_[i]] = twin->outputs_[i];
    }
  }
  for (size_t i = 0; i < outputs_.size(); ++i) copy->add_output(image.at(outputs_[i]), output_names_[i]);
  return copy;
}

// --- Names and values -------------------------------------------------------------------------------------------

std::string Graph::unique_name(std::string_view wish) {
  std::string name(wish.empty() ? "value" : wish);
  if (taken_.insert(name).second) return name;
  int& suffix = next_suffix_[name];
  for (;;) {
    std::string candidate = name + "_" + std::to_string(++suffix);
    if (taken_.insert(candidate).second) return candidate;
  }
}

Value* Graph::new_value(Type type, std::string_view wish) {
  reserve_symbols(type, *symbols_);
  auto value = std::make_unique<Value>();
  value->type_ = std::move(type);
  value->name_ = unique_name(wish);
  value->slot_ = values_.size();
  values_.push_back(std::move(value));
  return values_.back().get();
}

void Graph::discard(Value* value) {
  LATHE_CHECK(value->is_unused());  // its name stays taken: it must not come to mean something else
  const size_t slot = value->slot_;
  std::swap(values_[slot], values_.back());
  values_[slot]->slot_ = slot;
  values_.pop_back();
}

void Graph::rename(Value* value, std::string_view wish) {
  value->named_ = true;
  if (value->name_ == wish) return;
  taken_.erase(value->name_);
  value->name_ = unique_name(wish);
}

// --- Inputs and outputs -----------------------------------------------------------------------------------------

Value* Graph::add_input(std::string_view name, Type type) {
  Value* value = new_value(std::move(type), name);
  value->named_ = true;
  value->index_ = inputs_.size();
  inputs_.push_back(value);
  return value;
}

void Graph::erase_input(size_t index) {
  LATHE_CHECK(index < inputs_.size());
  discard(inputs_[index]);
  inputs_.erase(inputs_.begin() + static_cast<std::ptrdiff_t>(index));
  for (size_t i = index; i < inputs_.size(); ++i) inputs_[i]->index_ = i;
}

void Graph::add_output(Value* value, std::string name) {
  LATHE_CHECK(value != nullptr);
  outputs_.push_back(value);
  output_names_.push_back(std::move(name));
  ++value->output_uses_;
}

void Graph::set_output(size_t index, Value* value) {
  LATHE_CHECK(index < outputs_.size() && value != nullptr);
  --outputs_[index]->output_uses_;
  outputs_[index] = value;
  ++value->output_uses_;
}

void Graph::erase_output(size_t index) {
  LATHE_CHECK(index < outputs_.size());
  --outputs_[index]->output_uses_;
  outputs_.erase(outputs_.begin() + static_cast<std::ptrdiff_t>(index));
  output_names_.erase(output_names_.begin() + static_cast<std::ptrdiff_t>(index));
}

// --- Nodes ------------------------------------------------------------------------------------------------------

void Graph::link(Node* node, Value* value) {
  if (value != nullptr) value->users_.push_back(node);
}

void Graph::unlink(Node* node, Value* value) {
  if (value == nullptr) return;
  const auto it = std::find(value->users_.begin(), value->users_.end(), node);
  LATHE_CHECK(it != value->users_.end());
  value->users_.erase(it);
}

Node* Graph::place(std::list<std::unique_ptr<Node>>::iterator position, Op op, std::vector<Value*> inputs,
                   std::vector<Output> outputs, std::string name) {
  const auto it = nodes_.insert(position, std::make_unique<Node>());
  Node* node = it->get();
  node->op_ = std::move(op);
  node->name_ = std::move(name);
  node->inputs_ = std::move(inputs);
  node->position_ = it;
  if (const Bind* bind = node->as<Bind>())
    for (const std::string& symbol : bind->symbols) symbols_->reserve(symbol);
  for (Value* input : node->inputs_) link(node, input);
  for (Output& output : outputs) {
    const bool named = !output.name.empty();
    Value* value = new_value(std::move(output.type), named ? output.name : derived_name(*node));
    value->named_ = named;
    value->producer_ = node;
    value->index_ = node->outputs_.size();
    node->outputs_.push_back(value);
  }
  return node;
}

Node* Graph::infer_and_place(std::list<std::unique_ptr<Node>>::iterator position, Op op, std::vector<Value*> inputs,
                             size_t num_outputs, std::string name) {
  std::vector<Output> outputs;
  for (Type& type : infer_in_node(op, inputs, num_outputs, *symbols_, name)) outputs.push_back({{}, std::move(type)});
  return place(position, std::move(op), std::move(inputs), std::move(outputs), std::move(name));
}

Node* Graph::append(Op op, std::vector<Value*> inputs, size_t num_outputs, std::string name) {
  return infer_and_place(nodes_.end(), std::move(op), std::move(inputs), num_outputs, std::move(name));
}

Node* Graph::insert_before(Node* position, Op op, std::vector<Value*> inputs, size_t num_outputs, std::string name) {
  return infer_and_place(position->position_, std::move(op), std::move(inputs), num_outputs, std::move(name));
}

Node* Graph::append_typed(Op op, std::vector<Value*> inputs, std::vector<Type> output_types, std::string name) {
  std::vector<Output> outputs;
  for (Type& type : output_types) outputs.push_back({{}, std::move(type)});
  return place(nodes_.end(), std::move(op), std::move(inputs), std::move(outputs), std::move(name));
}

Node* Graph::insert_typed_before(Node* position, Op op, std::vector<Value*> inputs, std::vector<Type> output_types,
                                 std::string name) {
  std::vector<Output> outputs;
  for (Type& type : output_types) outputs.push_back({{}, std::move(type)});
  return place(position->position_, std::move(op), std::move(inputs), std::move(outputs), std::move(name));
}

Node* Graph::append_named(Op op, std::vector<Value*> inputs, std::vector<Output> outputs, std::string name) {
  for (const Output& output : outputs) LATHE_CHECK(!output.name.empty() && !has_name(output.name));
  return place(nodes_.end(), std::move(op), std::move(inputs), std::move(outputs), std::move(name));
}

// --- Changes ----------------------------------------------------------------------------------------------------

void Graph::set_input(Node* node, size_t index, Value* value) {
  LATHE_CHECK(index < node->inputs_.size());
  unlink(node, node->inputs_[index]);
  node->inputs_[index] = value;
  link(node, value);
}

void Graph::set_inputs(Node* node, std::vector<Value*> inputs) {
  for (Value* input : node->inputs_) unlink(node, input);
  node->inputs_ = std::move(inputs);
  for (Value* input : node->inputs_) link(node, input);
}

void Graph::replace_uses(Value* from, Value* to) {
  LATHE_CHECK(to != nullptr);
  if (from == to) return;
  for (Node* user : from->users_) *std::find(user->inputs_.begin(), user->inputs_.end(), from) = to;
  if (from->named_ && !to->named_) {
    std::swap(from->name_, to->name_);
    std::swap(from->named_, to->named_);
  }
  to->users_.insert(to->users_.end(), from->users_.begin(), from->users_.end());
  from->users_.clear();
  if (from->output_uses_ == 0) return;
  std::replace(outputs_.begin(), outputs_.end(), from, to);
  to->output_uses_ += from->output_uses_;
  from->output_uses_ = 0;
}

namespace {

// The fresh symbols of `inferred` (numbers first .. last) take the names that the old type had for them, so that types
// further down which mention them stay true.
void keep_symbols(Type& inferred, const Type& old, int64_t first, int64_t last) {
  if (!inferred.ranked || !old.ranked || inferred.rank() != old.rank()) return;
  for (size_t i = 0; i < inferred.shape.size(); ++i)
    for (int64_t n = first; n < last; ++n)
      if (old.shape[i].is_symbol() && inferred.shape[i] == Dim::symbol("u" + std::to_string(n)))
        inferred.shape[i] = old.shape[i];
}

}  // namespace

void Graph::infer_types(Node* node) {
  const int64_t first = symbols_->next();
  std::vector<Type> types = infer_in_node(node->op_, node->inputs_, node->outputs_.size(), *symbols_, node->name_);
  LATHE_CHECK(types.size() == node->outputs_.size());
  for (size_t i = 0; i < types.size(); ++i) {
    keep_symbols(types[i], node->outputs_[i]->type_, first, symbols_->next());
    node->outputs_[i]->type_ = std::move(types[i]);
  }
}

void Graph::erase(Node* node) {
  for (Value* output : node->outputs_) LATHE_CHECK(output->is_unused());
  for (Value* input : node->inputs_) unlink(node, input);
  for (Value* output : node->outputs_) discard(output);
  nodes_.erase(node->position_);
}

void Graph::move_before(Node* node, Node* position) {
  if (node != position) nodes_.splice(position->position_, nodes_, node->position_);
}

std::vector<Node*> snapshot(const Graph& graph) {
  std::vector<Node*> nodes;
  nodes.reserve(graph.num_nodes());
  for (const auto& node : graph.nodes()) nodes.push_back(node.get());
  return nodes;
}

bool is_state(const Value& value) {
  return std::any_of(value.users().begin(), value.users().end(), [&](const Node* user) {
    const std::span<const size_t> written = written_operands(user->op());
    return std::any_of(written.begin(), written.end(), [&](size_t i) { return user->input(i) == &value; });
  });
}

bool structurally_equal(const Graph& a, const Graph& b) {
  if (a.inputs().size() != b.inputs().size() || a.outputs().size() != b.outputs().size() ||
      a.num_nodes() != b.num_nodes() || a.output_names() != b.output_names())
    return false;
  std::unordered_map<const Value*, const Value*> image{{nullptr, nullptr}};
  const auto same = [&](std::span<Value* const> x, std::span<Value* const> y) {
    return std::equal(x.begin(), x.end(), y.begin(), y.end(), [&](const Value* v, const Value* w) {
      const auto it = image.find(v);
      return it != image.end() && it->second == w;
    });
  };
  const auto define = [&](std::span<Value* const> x, std::span<Value* const> y) {
    for (size_t i = 0; i < x.size(); ++i) image[x[i]] = y[i];
    return std::equal(x.begin(), x.end(), y.begin(), y.end(),
                      [](const Value* v, const Value* w) { return v->type() == w->type(); });
  };
  if (!define(a.inputs(), b.inputs())) return false;
  for (auto x = a.nodes().begin(), y = b.nodes().begin(); x != a.nodes().end(); ++x, ++y) {
    const Node &left = **x, &right = **y;
    if (left.outputs().size() != right.outputs().size() || !same(left.inputs(), right.inputs()) ||
        !op_equal(left.op(), right.op()) || !define(left.outputs(), right.outputs()))
      return false;
  }
  return same(a.outputs(), b.outputs());
}

}  // namespace lathe
