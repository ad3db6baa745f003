#include "passes/rewrite.h"

#include "base/error.h"
#include "graph/symbols.h"

namespace lathe::passes {

void erase_if_dead(Graph& graph, Node* node) {
  std::vector<Node*> work = {node};
  while (!work.empty()) {
    Node* n = work.back();
    work.pop_back();
    const auto unused = [](const Value* v) { return v->is_unused(); };
    if (n->outputs().empty() || !std::all_of(n->outputs().begin(), n->outputs().end(), unused)) continue;
    if (!symbols_bound_by(*n).empty() || !written_operands(n->op()).empty()) continue;
    std::vector<Node*> producers;
    for (const Value* v : n->inputs())
      if (v != nullptr && v->producer() != nullptr &&
          std::find(producers.begin(), producers.end(), v->producer()) == producers.end())
        producers.push_back(v->producer());
    graph.erase(n);
    for (Node* p : producers)
      if (std::find(work.begin(), work.end(), p) == work.end()) work.push_back(p);
  }
}

Value* insert(Graph& graph, Node* position, Op op, std::vector<Value*> inputs) {
  return graph.insert_before(position, std::move(op), std::move(inputs), 1, position->name())->output();
}

void replace(Graph& graph, Node* position, Value* old, Op op, std::vector<Value*> inputs) {
  Node* node = graph.insert_before(position, std::move(op), std::move(inputs), 1, position->name());
  graph.replace_uses(old, node->output());
}

Node* only_user(const Value* value) {
  if (value->is_output() || value->users().empty()) return nullptr;
  Node* first = value->users().front();
  const bool alone = std::all_of(value->users().begin(), value->users().end(), [&](Node* n) { return n == first; });
  return alone ? first : nullptr;
}

const Tensor* constant_tensor(const Value* value) {
  const Constant* constant = producer_as<Constant>(value);
  return constant != nullptr && !constant->value.is_deferred() ? &constant->value : nullptr;
}

std::optional<double> uniform_number(const Value* value) {
  const Tensor* tensor = constant_tensor(value);
  if (tensor == nullptr || tensor->elements() == 0 || tensor->dtype() == DType::string ||
      bit_width(tensor->dtype()) > 64)
    return std::nullopt;
  const double first = tensor->read_double(0);
  for (int64_t i = 1; i < tensor->elements(); ++i)
    if (tensor->read_double(i) != first) return std::nullopt;
  return first;
}

std::optional<std::vector<int64_t>> constant_integers(const Value* value) {
  const Tensor* tensor = constant_tensor(value);
  if (tensor == nullptr || !is_integer(tensor->dtype())) return std::nullopt;
  std::vector<int64_t> numbers(static_cast<size_t>(tensor->elements()));
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = tensor->read_int(static_cast<int64_t>(i));
  return numbers;
}

bool is_static(const Value* value) {
  return value->type().is_tensor() && value->type().ranked && lathe::is_static(value->shape());
}

bool is_tensor_of_rank(const Value* value, int64_t rank) {
  return value != nullptr && value->type().is_tensor() && value->type().ranked && value->type().rank() == rank;
}

std::optional<Dim> divide_exactly(const Dim& product, const Dim& a) {
  if (a == Dim(0)) return std::nullopt;
  try {
    const Dim quotient = floor_div(product, a);
    if (quotient * a == product) return quotient;
  } catch (const Error&) {  // a quotient that is too large to be written down is no polynomial
  }
  return std::nullopt;
}

}  // namespace lathe::passes
