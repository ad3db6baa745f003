// Matmuls of one activation by several constant weights become one with the weights side by side, when attention is all
// that reads their results: it takes its heads from the columns of the joint product, so nothing is copied. The joint
// weights are: where they are large, products stay apart, which are large enough as well, and their weights stay
// mapped.
#include "graph/epilogue.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace lathe::passes {
namespace {

constexpr size_t kLargestJoint = size_t{128} << 20;  // bytes

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
  const MapProgram& epilogue = *epilogue_of(node.op());
  bias = nullptr;
  if (epilogue.empty()) return true;
  const DType type = node.output()->dtype();
  const size_t extra = num_factors(node.op());
  if (node.inputs().size() != extra + 1 || epilogue.code().size() != 3 || epilogue.code()[2].op != MapOp::add)
    return false;
  bias = node.input(extra);
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

bool has_constant_weights(const Node& node) {
  if (const MatMul* m = node.as<MatMul>(); m != nullptr ? m->trans_a : !node.is<MatMulNBits>()) return false;
  for (size_t i = 1; i < std::min(num_factors(node.op()), node.inputs().size()); ++i)
    if (node.input(i) != nullptr && (constant_tensor(node.input(i)) == nullptr || !is_tensor_of_rank(node.input(i), 2)))
      return false;
  return true;
}

std::optional<Member> match_member(Node* node) {
  Member member;
  member.node = node;
  if (!has_constant_weights(*node)) return std::nullopt;
  if (!is_float(node->output()->dtype()) || !match_bias(*node, member.bias)) return std::nullopt;
  if (!collect_uses(node->output(), nullptr, member.uses)) return std::nullopt;
  member.columns = node->output()->shape().back().value();
  return member;
}

int64_t& offset_field(Attention& op, size_t operand) {
  return operand == 0 ? op.q_offset : (operand == 1 ? op.k_offset : op.v_offset);
}

// Whether the products differ in their weights and biases alone.
bool fit_together(const Node& a, const Node& b) {
  if (a.input(0) != b.input(0) || a.op().index() != b.op().index()) return false;
  const auto type = [](const Node& node, size_t i) {
    const bool present = i < node.inputs().size() && node.input(i) != nullptr;
    return present ? std::optional(node.input(i)->dtype()) : std::nullopt;
  };
  for (size_t i = 1; i < num_factors(a.op()); ++i)
    if (type(a, i) != type(b, i)) return false;
  if (const MatMulNBits* narrow = a.as<MatMulNBits>())
    return narrow->block == b.as<MatMulNBits>()->block && narrow->round_rows == b.as<MatMulNBits>()->round_rows;
  return a.as<MatMul>()->trans_b == b.as<MatMul>()->trans_b;
}

size_t weight_bytes(const std::vector<Member>& members) {
  size_t bytes = 0;
  for (const Member& m : members) {
    const Tensor& weight = *constant_tensor(m.node->input(1));
    bytes += storage_bytes(weight.dtype(), weight.elements());
  }
  return bytes;
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

// The rows of several matrices of integers smaller than a byte, which is nothing that folds.
Tensor joint_rows(const std::vector<const Tensor*>& parts) {
  int64_t rows = 0;
  for (const Tensor* part : parts) rows += part->dims()[0];
  Tensor joint(parts[0]->dtype(), {rows, parts[0]->dims()[1]});
  const int bits = bit_width(joint.dtype());
  const auto whole_bytes = [&](int64_t elements) { return elements * bits % 8 == 0; };
  int64_t at = 0;
  for (const Tensor* part : parts) {
    if (whole_bytes(at) && whole_bytes(part->elements()))
      std::copy(part->bytes().begin(), part->bytes().end(), joint.mutable_bytes().begin() + at * bits / 8);
    else
      for (int64_t i = 0; i < part->elements(); ++i) joint.write_int(at + i, part->read_int(i));
    at += part->elements();
  }
  return joint;
}

// Operand `i` of all members, side by side.
Value* joint_factor(Graph& graph, Node* position, const std::vector<Member>& members, size_t i) {
  const Value* first = members.front().node->input(i);
  if (first == nullptr) return nullptr;
  if (bit_width(first->dtype()) < 8) {
    std::vector<const Tensor*> parts;
    for (const Member& m : members) parts.push_back(constant_tensor(m.node->input(i)));
    return insert(graph, position, Constant{joint_rows(parts)}, {});
  }
  std::vector<Value*> parts;
  for (const Member& m : members) parts.push_back(constant_before(graph, position, m.node->input(i)));
  const MatMul* wide = position->as<MatMul>();
  return insert(graph, position, Concat{wide != nullptr && !wide->trans_b ? 1 : 0}, std::move(parts));
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
  Op op = position->op();
  std::vector<Value*> inputs = {position->input(0)};
  for (size_t i = 1; i < std::min(num_factors(position->op()), position->inputs().size()); ++i)
    inputs.push_back(joint_factor(graph, position, members, i));
  Value* bias = joint_bias(graph, position, members);
  const MapProgram epilogue = bias != nullptr ? binary_program(MapOp::add, bias->dtype()) : MapProgram();
  if (auto* narrow = std::get_if<MatMulNBits>(&op))
    narrow->epilogue = epilogue;
  else
    std::get<MatMul>(op).epilogue = epilogue;
  if (bias != nullptr) {
    inputs.resize(num_factors(position->op()));
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
    const auto fits = [&](const std::vector<Member>& group) { return fit_together(*group.front().node, *node); };
    const auto group = std::find_if(groups.begin(), groups.end(), fits);
    if (group == groups.end())
      groups.push_back({std::move(*member)});
    else
      group->push_back(std::move(*member));
  }
  for (const std::vector<Member>& group : groups) {
    if (group.size() < 2 || weight_bytes(group) > kLargestJoint) continue;
    merge(graph, group);
    ++merged;
  }
  return merged;
}

}  // namespace

int merge_matmuls(Graph& graph) { return merge_in(graph); }

}  // namespace lathe::passes
