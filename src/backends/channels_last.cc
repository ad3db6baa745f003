// The layout pass. Convolutions run channels-last; an area of channels-last values grows from each of them
// through whatever can work in either layout, and is left through a transpose where something else needs a value.
//
// Nodes are visited in order. For each value of such an area the pass keeps its twin, which holds the same elements
// channels-last. A node is rewritten on the twins of its operands and its result gets a twin in turn; the old node
// stays until nothing uses it. Every other node that uses a value with a twin gets the value back, transposed once.
#include "backends/channels_last.h"

#include <algorithm>
#include <unordered_map>

#include "graph/reference/evaluator.h"
#include "graph/rewrite_program.h"

namespace lathe {
namespace {

constexpr size_t kMinRank = 3, kMaxRank = 5;  // batch, channels and one to three spatial axes

bool fits(const Value* value) {
  const Type& type = value->type();
  return type.is_tensor() && type.ranked && type.shape.size() >= kMinRank && type.shape.size() <= kMaxRank;
}

// Where axis `axis` of a channels-first tensor lies channels-last.
size_t last_axis(size_t axis, size_t rank) { return axis == 0 ? 0 : (axis == 1 ? rank - 1 : axis - 1); }

std::vector<int64_t> to_last_permutation(size_t rank) {
  std::vector<int64_t> perm(rank);
  for (size_t axis = 0; axis < rank; ++axis) perm[last_axis(axis, rank)] = static_cast<int64_t>(axis);
  return perm;
}

std::vector<int64_t> to_first_permutation(size_t rank) {
  std::vector<int64_t> perm(rank);
  for (size_t axis = 0; axis < rank; ++axis) perm[axis] = static_cast<int64_t>(last_axis(axis, rank));
  return perm;
}

template <class T>
std::vector<T> permuted(const std::vector<T>& list) {
  std::vector<T> result(list.size());
  for (size_t axis = 0; axis < list.size(); ++axis) result[last_axis(axis, list.size())] = list[axis];
  return result;
}

bool is_identity(const std::vector<int64_t>& perm) {
  for (size_t i = 0; i < perm.size(); ++i)
    if (perm[i] != static_cast<int64_t>(i)) return false;
  return true;
}

// True when both layouts hold the elements in the same order: no channels beside each other, or no pixels.
bool same_order(const Shape& shape) {
  return shape[1] == Dim(1) || std::all_of(shape.begin() + 2, shape.end(), [](const Dim& d) { return d == Dim(1); });
}

// The program for an index space that was permuted.
MapProgram with_permuted_iota(const MapProgram& program, size_t rank) {
  return rewrite_program(program, [&](const ProgramRewrite& at) -> std::optional<int> {
    const auto from_end = static_cast<size_t>(-at.instr.args[0]);
    if (at.instr.op != MapOp::iota || from_end > rank) return std::nullopt;
    return at.out.iota(static_cast<int>(last_axis(rank - from_end, rank)) - static_cast<int>(rank));
  });
}

class ChannelsLast {
 public:
  ChannelsLast(Graph& graph, const ChannelsLastOptions& options) : graph_(graph), options_(options) {}

  int run() {
    for (Node* node : snapshot(graph_)) {
      at_ = node;
      const bool rewritten = std::visit([&](const auto& op) { return rewrite(op, *node); }, node->op());
      if (rewritten)
        replaced_.push_back(node);
      else
        give_plain_operands(*node);
    }
    at_ = nullptr;
    for (size_t i = 0; i < graph_.outputs().size(); ++i) graph_.set_output(i, plain(graph_.outputs()[i]));
    for (auto node = replaced_.rbegin(); node != replaced_.rend(); ++node) {
      hand_on_name(**node);
      graph_.erase(*node);
    }
    return static_cast<int>(replaced_.size());
  }

 private:
  // ---- values in both layouts ----

  Value* emit(Op op, std::vector<Value*> inputs) {
    Node* node = at_ == nullptr ? graph_.append(std::move(op), std::move(inputs))
                                : graph_.insert_before(at_, std::move(op), std::move(inputs));
    if (at_ != nullptr) node->set_name(at_->name());
    return node->output();
  }

  // A transpose or reshape; of a constant whose bytes are at hand, a constant.
  Value* moved(const Op& op, Value* value) {
    const auto* constant = value->producer() == nullptr ? nullptr : value->producer()->as<Constant>();
    if (constant == nullptr || constant->value.is_deferred()) return emit(op, {value});
    const RefValue source = constant->value;
    const RefValue* const inputs[] = {&source};
    SymbolBindings symbols;
    return emit(Constant{std::get<Tensor>(evaluate_op(op, inputs, 1, symbols)[0])}, {});
  }

  Value* twin(const Value* value) const {
    const auto found = twins_.find(value);
    return found == twins_.end() ? nullptr : found->second;
  }
  bool has_twin(const Value* value) const { return twin(value) != nullptr; }

  // The value channels-last, transposed here if nobody did before.
  Value* last(Value* value) {
    Value*& known = twins_[value];
    if (known != nullptr) return known;
    const Shape& shape = value->shape();
    known = same_order(shape) ? moved(Reshape{permuted(shape)}, value)
                              : moved(Transpose{to_last_permutation(shape.size())}, value);
    plain_[value] = value;
    return known;
  }

  // The value as it was; values whose producer is replaced are transposed back.
  Value* plain(Value* value) {
    Value* last_value = twin(value);
    if (last_value == nullptr) return value;
    Value*& known = plain_[value];
    if (known == nullptr)
      known = same_order(value->shape()) ? emit(Reshape{value->shape()}, {last_value})
                                         : emit(Transpose{to_first_permutation(value->shape().size())}, {last_value});
    return known;
  }

  void give_plain_operands(Node& node) {
    for (size_t i = 0; i < node.inputs().size(); ++i) {
      Value* input = node.input(i);
      if (input == nullptr || !has_twin(input)) continue;
      Value* value = plain(input);
      if (value != input) graph_.set_input(&node, i, value);
    }
  }

  // The name of a replaced result goes to the value as it was, if there is one; that of the twin tells of it.
  void hand_on_name(const Node& node) {
    Value* value = node.output();
    Value* last_value = twin(value);
    if (last_value == nullptr) return;
    if (!last_value->is_named()) graph_.rename(last_value, value->name() + std::string(kChannelsLastSuffix));
    if (const auto known = plain_.find(value); known != plain_.end()) graph_.replace_uses(value, known->second);
  }

  bool finish(const Node& node, Value* result) {
    twins_[node.output()] = result;
    return true;
  }

  // An operand that is broadcast to a channels-first tensor of `rank` axes, for the channels-last one.
  Value* broadcast_operand(Value* value, size_t rank) {
    if (Value* known = twin(value); known != nullptr && value->shape().size() == rank) return known;
    value = plain(value);
    Shape shape = value->shape();
    if (std::all_of(shape.begin(), shape.end(), [](const Dim& d) { return d == Dim(1); })) return value;
    const size_t missing = rank - shape.size();
    shape.insert(shape.begin(), missing, Dim(1));
    if (same_order(shape) && shape[0] == Dim(1)) {
      const Shape reshaped = shape[1] == Dim(1) ? permuted(shape) : Shape{shape[1]};
      return moved(Reshape{reshaped}, value);
    }
    if (missing == 0) return last(value);
    return moved(Transpose{to_last_permutation(rank)}, moved(Reshape{shape}, value));
  }

  // ---- ops ----

  bool computes_in(DType type) const {
    return type == DType::f32 || (options_.halves && (type == DType::f16 || type == DType::bf16));
  }

  template <class T>
  bool rewrite(const T&, const Node&) {
    return false;
  }

  bool rewrite(const Conv& op, const Node& node) {
    const bool floats = computes_in(node.output()->dtype()) && computes_in(node.input(0)->dtype());
    const bool bytes =
        options_.bytes && bit_width(node.input(0)->dtype()) == 8 && bit_width(node.input(1)->dtype()) == 8;
    if (op.channels_last || !fits(node.input(0)) || !(floats || bytes)) return false;
    const size_t rank = node.output()->shape().size();
    Conv conv = op;
    conv.channels_last = true;
    conv.epilogue = with_permuted_iota(op.epilogue, rank);
    conv.channels_first_input = options_.channels_first_images && floats && op.groups == 1 && !has_twin(node.input(0));
    std::vector<Value*> inputs = {conv.channels_first_input ? node.input(0) : last(node.input(0)),
                                  plain(node.input(1))};
    for (size_t i = 2; i < node.inputs().size(); ++i) inputs.push_back(broadcast_operand(node.input(i), rank));
    return finish(node, emit(std::move(conv), std::move(inputs)));
  }

  // Its kernel reads channels-last only, so a lone one gains nothing; one inside an area stays there.
  bool rewrite(const ConvTranspose& op, const Node& node) {
    if (op.channels_last || !has_twin(node.input(0)) || !computes_in(node.output()->dtype())) return false;
    const size_t rank = node.output()->shape().size();
    ConvTranspose conv = op;
    conv.channels_last = true;
    conv.epilogue = with_permuted_iota(op.epilogue, rank);
    std::vector<Value*> inputs = {twin(node.input(0)), plain(node.input(1))};
    for (size_t i = 2; i < node.inputs().size(); ++i) inputs.push_back(broadcast_operand(node.input(i), rank));
    return finish(node, emit(std::move(conv), std::move(inputs)));
  }

  bool rewrite(const Pool& op, const Node& node) {
    if (op.channels_last || !has_twin(node.input(0)) || node.outputs().size() > 1) return false;
    Pool pool = op;
    pool.channels_last = true;
    return finish(node, emit(std::move(pool), {twin(node.input(0))}));
  }

  bool rewrite(const Map& op, const Node& node) {
    if (!fits(node.output())) return false;
    const size_t rank = node.output()->shape().size();
    const auto counts = [&](const Value* v) { return has_twin(v) && v->shape().size() == rank; };
    const auto must_be_transposed = [&](const Value* v) { return !counts(v) && v->shape() == node.output()->shape(); };
    const auto inputs = node.inputs();
    // Not worth it where more operands come from outside than from the area.
    if (std::count_if(inputs.begin(), inputs.end(), counts) <=
        std::count_if(inputs.begin(), inputs.end(), must_be_transposed))
      return false;
    if (!std::all_of(inputs.begin(), inputs.end(),
                     [&](const Value* v) { return v->type().ranked && v->shape().size() <= rank; }))
      return false;
    Map map{with_permuted_iota(op.program, rank), op.shape};
    if (map.shape) map.shape = permuted(*map.shape);
    std::vector<Value*> operands;
    for (Value* input : inputs) operands.push_back(broadcast_operand(input, rank));
    return finish(node, emit(std::move(map), std::move(operands)));
  }

  bool rewrite(const Concat& op, const Node& node) {
    const auto inputs = node.inputs();
    const auto twins = std::count_if(inputs.begin(), inputs.end(), [&](const Value* v) { return has_twin(v); });
    if (2 * twins <= static_cast<std::ptrdiff_t>(inputs.size()) - 1 || twins == 0 || !fits(node.output())) return false;
    std::vector<Value*> operands;
    for (Value* input : inputs) operands.push_back(last(input));
    const auto axis = last_axis(static_cast<size_t>(op.axis), node.output()->shape().size());
    return finish(node, emit(Concat{static_cast<int64_t>(axis)}, std::move(operands)));
  }

  std::vector<int64_t> mapped_axes(const std::vector<int64_t>& axes, size_t rank) const {
    std::vector<int64_t> result;
    for (const int64_t axis : axes) result.push_back(static_cast<int64_t>(last_axis(static_cast<size_t>(axis), rank)));
    return result;
  }

  bool rewrite(const Resize& op, const Node& node) {
    if (!has_twin(node.input(0)) || node.input(1) != nullptr) return false;
    Resize resize = op;
    resize.axes = mapped_axes(op.axes, node.output()->shape().size());
    return finish(node, emit(std::move(resize), {twin(node.input(0))}));
  }

  bool rewrite(const Pad& op, const Node& node) {
    if (!has_twin(node.input(0))) return false;
    std::vector<Value*> inputs = {twin(node.input(0))};
    if (node.input(1) != nullptr) inputs.push_back(plain(node.input(1)));
    return finish(node, emit(Pad{op.mode, permuted(op.begins), permuted(op.ends)}, std::move(inputs)));
  }

  bool rewrite(const Slice& op, const Node& node) {
    if (!has_twin(node.input(0))) return false;
    const std::vector<int64_t> axes = mapped_axes(op.axes, node.output()->shape().size());
    std::vector<size_t> order(axes.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return axes[a] < axes[b]; });
    Slice slice;
    for (const size_t i : order) {
      slice.axes.push_back(axes[i]);
      slice.starts.push_back(op.starts[i]);
      slice.sizes.push_back(op.sizes[i]);
      slice.steps.push_back(op.steps[i]);
    }
    return finish(node, emit(std::move(slice), {twin(node.input(0))}));
  }

  bool rewrite(const Reduce& op, const Node& node) {
    if (!has_twin(node.input(0))) return false;
    const size_t rank = node.input(0)->shape().size();
    Reduce reduce = op;
    reduce.axes = mapped_axes(op.axes, rank);
    std::sort(reduce.axes.begin(), reduce.axes.end());
    if (op.keep_dims) return finish(node, emit(std::move(reduce), {twin(node.input(0))}));
    // Without the reduced axes the result is in the same order only if channels or all pixels are gone.
    const bool channels = std::find(op.axes.begin(), op.axes.end(), 1) != op.axes.end();
    const auto pixels =
        static_cast<size_t>(std::count_if(op.axes.begin(), op.axes.end(), [](int64_t axis) { return axis >= 2; }));
    if (!channels && pixels != rank - 2) return false;
    graph_.replace_uses(node.output(), emit(std::move(reduce), {twin(node.input(0))}));
    return true;
  }

  bool rewrite(const Softmax& op, const Node& node) {
    const auto rank = static_cast<int64_t>(node.output()->shape().size());
    if (!has_twin(node.input(0))) return false;
    Softmax softmax = op;
    const int64_t axis = op.axis < 0 ? op.axis + rank : op.axis;
    softmax.axis = static_cast<int64_t>(last_axis(static_cast<size_t>(axis), static_cast<size_t>(rank)));
    if (op.safe && softmax.axis != rank - 1) return false;
    return finish(node, emit(softmax, {twin(node.input(0))}));
  }

  // A transpose of the plain value is another one of the twin, or none at all; one that makes a picture of a
  // channels-last value, as models of tokens and pixels have them, gives that value its meaning as a twin.
  bool rewrite(const Transpose& op, const Node& node) {
    Value* source = twin(node.input(0));
    if (source == nullptr) {
      const size_t rank = op.perm.size();
      if (rank < 4 || !fits(node.output()) || op.perm != to_first_permutation(rank)) return false;
      return finish(node, node.input(0));
    }
    const std::vector<int64_t> perm = mapped_axes(op.perm, op.perm.size());
    graph_.replace_uses(node.output(), is_identity(perm) ? source : emit(Transpose{perm}, {source}));
    return true;
  }

  Graph& graph_;
  ChannelsLastOptions options_;
  Node* at_ = nullptr;  // new nodes go before this one; null: to the end
  std::unordered_map<const Value*, Value*> twins_, plain_;
  std::vector<Node*> replaced_;
};

}  // namespace

int use_channels_last(Graph& graph, const ChannelsLastOptions& options) { return ChannelsLast(graph, options).run(); }

}  // namespace lathe
