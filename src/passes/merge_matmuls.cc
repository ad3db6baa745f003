// Matmuls of one activation by several constant weights become one with the weights side by side, when attention is all
// that reads their results: it takes its heads from the columns of the joint product, so nothing is copied.
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace lathe::passes {
namespace {

// One use of a product: an operand (0, 1, 2: q, k, v) of an attention, by way of a reshape that keeps the columns, or
// directly.
struct Use {
  Node* attention = nullptr;
  size_t operand = 0;
  Node* reshape = nullptr;
};

bool reads_columns(const Attention& op, size_t operand) {
  const HeadOrder order = operand == 0 ? op.q_order : (operand == 1 ? op.k_order : op.v_order);
  return order == HeadOrder::token_major || order == HeadOrder::seq_major;
}

bool collect_uses(Value* value, Node* reshape, std::vector<Use>& uses) {
  if (value->is_output() || value->users().empty()) return false;
  std::vector<Node*> users(value->users().begin(), value->users().end());
  std::sort(users.begin(), users.end());
  users.erase(std::unique(users.begin(), users.end()), users.end());
  for (Node* user : users) {
    if (const Attention* attention = user->as<Attention>()) {
      for (size_t i = 0; i < user->inputs().size(); ++i) {
        if (user->input(i) != value) continue;
        if (i > 2 || !reads_columns(*attention, i)) return false;
        uses.push_back({user, i, reshape});
      }
    } else if (reshape == nullptr && user->is<Reshape>() && user->output()->shape().back() == value->shape().back()) {
      if (!collect_uses(user->output(), user, uses)) return false;
    } else {
      return false;
    }
  }
  return true;
}

// The bias of a product whose epilogue is nothing or "product + bias"; false if the epilogue is anything else.
bool match_bias(const Node& node, Value*& bias) {
  const MapProgram& epilogue = node.as<MatMul>()->epilogue;
  bias = nullptr;
  if (epilogue.empty()) return true;
  const DType type = node.output()->dtype();
  if (node.inputs().size() != 3 || epilogue.code().size() != 3 || epilogue.code()[2].op != MapOp::add) return false;
  bias = node.input(2);
  const bool plain =
      epilogue.code()[0].op == MapOp::input && epilogue.code()[1].op == MapOp::input && bias->dtype() == type;
  return plain && constant_tensor(bias) != nullptr && is_tensor_of_rank(bias, 1) &&
         bias->shape()[0] == node.output()->shape().back();
}

struct Member {
  Node* node = nullptr;
  Value* bias = nullptr;
  int64_t columns = 0;
  std::vector<Use> uses;
};

std::optional<Member> match_member(Node* node) {
  const MatMul* m = node->as<MatMul>();
  Member member;
  member.node = node;
  if (m == nullptr || m->trans_a || constant_tensor(node->input(1)) == nullptr || !is_tensor_of_rank(node->input(1), 2))
    return std::nullopt;
  if (!is_float(node->output()->dtype()) || !match_bias(*node, member.bias)) return std::nullopt;
  if (!collect_uses(node->output(), nullptr, member.uses)) return std::nullopt;
  member.columns = node->output()->shape().back().value();
  return member;
}

int64_t& offset_field(Attention& op, size_t operand) {
  return operand == 0 ? op.q_offset : (operand == 1 ? op.k_offset : op.v_offset);
}

// The constant again, before `position`: it may be stored later in the graph. The bytes are shared.
Value* constant_before(Graph& graph, Node* position, const Value* value) {
  return insert(graph, position, Constant{*constant_tensor(value)}, {});
}

Value* joint_bias(Graph& graph, Node* position, const std::vector<Member>& members) {
  const auto has_bias = [](const Member& m) { return m.bias != nullptr; };
  if (std::none_of(members.begin(), members.end(), has_bias)) return nullptr;
  std::vector<Value*> parts;
  for (const Member& m : members)
    parts.push_back(has_bias(m)
                        ? constant_before(graph, position, m.bias)
                        : insert(graph, position, Constant{Tensor(m.node->output()->dtype(), {m.columns})}, {}));
  return insert(graph, position, Concat{0}, std::move(parts));
}

// Points the readers of one product at its columns of the joint one.
void redirect(Graph& graph, const Member& member, Value* joint, int64_t first_column) {
  for (const Use& use : member.uses) {
    Value* operand = joint;
    if (use.reshape != nullptr) {
      Shape shape = use.reshape->output()->shape();
      shape.back() = joint->shape().back();
      operand = insert(graph, use.reshape, Reshape{std::move(shape)}, {joint});
    }
    offset_field(std::get<Attention>(use.attention->mutable_op()), use.operand) += first_column;
    graph.set_input(use.attention, use.operand, operand);
  }
}

void merge(Graph& graph, const std::vector<Member>& members) {
  Node* position = members.front().node;
  MatMul op = *position->as<MatMul>();
  std::vector<Value*> weights;
  for (const Member& m : members) weights.push_back(constant_before(graph, position, m.node->input(1)));
  std::vector<Value*> inputs = {position->input(0),
                                insert(graph, position, Concat{op.trans_b ? 0 : 1}, std::move(weights))};
  op.epilogue = MapProgram();
  if (Value* bias = joint_bias(graph, position, members)) {
    op.epilogue = binary_program(MapOp::add, bias->dtype());
    inputs.push_back(bias);
  }
  Value* joint = graph.insert_before(position, std::move(op), std::move(inputs), 1, position->name())->output();
  int64_t column = 0;
  for (const Member& m : members) {
    redirect(graph, m, joint, column);
    column += m.columns;
  }
  for (const Member& m : members) erase_if_dead(graph, m.node);
}

int merge_in(Graph& graph) {
  int merged = 0;
  // In the order of the first member, so that the result does not depend on addresses.
  std::vector<std::vector<Member>> groups;
  for (Node* node : snapshot(graph)) {
    for (Region* region : regions_of(node->mutable_op())) merged += merge_in(region->graph());
    auto member = match_member(node);
    if (!member) continue;
    const auto fits = [&](const std::vector<Member>& group) {
      const Node& first = *group.front().node;
      return first.input(0) == node->input(0) && first.as<MatMul>()->trans_b == node->as<MatMul>()->trans_b &&
             first.input(1)->dtype() == node->input(1)->dtype();
    };
    const auto group = std::find_if(groups.begin(), groups.end(), fits);
    if (group == groups.end())
      groups.push_back({std::move(*member)});
    else
      group->push_back(std::move(*member));
  }
  for (const std::vector<Member>& group : groups) {
    if (group.size() < 2) continue;
    merge(graph, group);
    ++merged;
  }
  return merged;
}

}  // namespace

int merge_matmuls(Graph& graph) { return merge_in(graph); }

}  // namespace lathe::passes
