// Runs the tokens of a padded batch without its padding. Attention whose keys a mask hides as padding, and all that
// computes each token from itself (token_rows.h), move from [batch, length, ..] to [1, T, ..], the list of tokens that
// pack_tokens makes of the mask. What flows in is gathered, and what is read of the first token of each sequence is
// gathered from there.
//
// Nothing changes for tokens that are no padding: they never saw padding (padding_mask.h), nor did anything else in the
// area mix tokens. So models of which outputs show only first tokens give what they gave. Outputs that show all tokens
// get 0 for padding, where that is asked for; what mixes tokens in any other way keeps the graph as it is.
#include <unordered_map>
#include <unordered_set>

#include "graph/token_packing.h"
#include "passes/padding_mask.h"
#include "passes/passes.h"
#include "passes/rewrite.h"
#include "passes/token_rows.h"
#include "passes/view.h"

namespace lathe::passes {
namespace {

// ---- what can move ----

// Element 0 along the axis of tokens, nothing else along it and the batch.
bool reads_first_token(const Node& node) {
  if (const Slice* slice = node.as<Slice>()) {
    const auto axis = std::find(slice->axes.begin(), slice->axes.end(), 1);
    if (axis == slice->axes.end() || slice->axes.front() == 0) return false;
    const auto i = static_cast<size_t>(axis - slice->axes.begin());
    return slice->starts[i] == Dim(0) && slice->sizes[i] == Dim(1);
  }
  const Gather* gather = node.as<Gather>();
  if (gather == nullptr || gather->axis != 1) return false;
  const auto indices = constant_integers(node.input(1));
  return indices && indices->size() == 1 && indices->front() == 0;
}

// The nodes that move together, and how they are left.
class Area {
 public:
  Area(const Graph& graph, PaddingMask mask) : mask_(std::move(mask)) {
    complete_ = grow_forward(graph);
    if (complete_) grow_backward();
  }

  const PaddingMask& mask() const { return mask_; }
  bool complete() const { return complete_; }  // all that reads its values moves too, or reads first tokens
  bool shown() const { return shown_; }        // by outputs of the model
  bool contains(const Node* node) const { return nodes_.contains(node); }
  const std::vector<Node*>& readers() const { return readers_; }  // of first tokens
  bool mixed(const Value* value) const { return mixed_.contains(value); }

 private:
  // From the attentions on: values that hold something of other tokens.
  bool grow_forward(const Graph& graph) {
    for (const auto& owned : graph.nodes()) {
      Node* node = owned.get();
      const auto is_mixed = [&](const Value* v) { return v != nullptr && mixed_.contains(v); };
      const auto attended = padding_mask(*node);
      if (attended && *attended == mask_) {
        take(node);
      } else if (std::any_of(node->inputs().begin(), node->inputs().end(), is_mixed)) {
        if (moves(*node))
          take(node);
        else if (reads_first_token(*node) && is_mixed(node->input(0)))
          readers_.push_back(node);
        else
          return false;
      }
    }
    shown_ = std::any_of(mixed_.begin(), mixed_.end(), [](const Value* v) { return v->is_output(); });
    return true;
  }
  void take(Node* node) {
    nodes_.insert(node);
    order_.push_back(node);
    mixed_.insert(node->outputs().begin(), node->outputs().end());
  }
  bool moves(const Node& node) const {
    const auto uses = token_uses(node, mask_.axes);
    if (!uses) return false;
    for (size_t i = 0; i < uses->size(); ++i)
      if (node.input(i) != nullptr && mixed_.contains(node.input(i)) && (*uses)[i] != TokenUse::tokens) return false;
    return true;
  }

  // What they read is better computed for fewer tokens, too; others may go on reading it as it was.
  void grow_backward() {
    for (size_t i = 0; i < order_.size(); ++i) {
      for (const Value* operand : order_[i]->inputs()) {
        Node* producer = operand == nullptr || !is_token_tensor(operand, mask_.axes) ? nullptr : operand->producer();
        if (producer == nullptr || nodes_.contains(producer) || !token_uses(*producer, mask_.axes)) continue;
        nodes_.insert(producer);
        order_.push_back(producer);
      }
    }
  }

  PaddingMask mask_;
  std::unordered_set<const Node*> nodes_;
  std::vector<Node*> order_, readers_;
  std::unordered_set<const Value*> mixed_;
  bool complete_ = false, shown_ = false;
};

// ---- moving ----

class Mover {
 public:
  Mover(Graph& graph, const Area& area) : graph_(graph), area_(area), axes_(area.mask().axes) {}

  void run() {
    const std::vector<Node*> nodes = snapshot(graph_);
    const auto first = std::find_if(nodes.begin(), nodes.end(), [&](Node* n) { return area_.contains(n); });
    const PackTokens op{area_.mask().kept, !area_.readers().empty()};
    Node* pack = graph_.insert_before(*first, op, {area_.mask().input}, 3, "pack_tokens");
    tokens_ = pack->output(0);
    starts_ = pack->output(1);
    rows_ = pack->output(2);
    for (Node* node : nodes) {
      if (area_.contains(node))
        move(node);
      else if (std::find(area_.readers().begin(), area_.readers().end(), node) != area_.readers().end())
        read_first(node);
    }
    for (size_t i = 0; i < graph_.outputs().size(); ++i)
      if (area_.mixed(graph_.outputs()[i])) graph_.set_output(i, unpacked(graph_.outputs()[i]));
  }

 private:
  const Dim& count() const { return tokens_->shape()[0]; }

  void move(Node* node) {
    std::vector<Value*> inputs(node->inputs().begin(), node->inputs().end());
    Op op = on_tokens(node->op(), count());
    if (Attention* attention = std::get_if<Attention>(&op)) {
      for (size_t i = 0; i < inputs.size(); ++i) inputs[i] = i < 3 ? packed(node, inputs[i]) : keys(node, i);
      inputs.insert(inputs.begin() + 3, starts_);
      attention->packed = true;
      attention->longest = axes_.length;
    } else if (const Embedding* embedding = std::get_if<Embedding>(&op)) {
      inputs.resize(picked_operand(*embedding), nullptr);
      inputs.push_back(tokens_);
      Value* rows = graph_.insert_before(node, std::move(op), std::move(inputs), 1, node->name())->output();
      packed_[node->output()] = reshaped(graph_, node, rows, moved_shape(node->output()->shape()));
      return;
    } else {
      const std::vector<TokenUse> uses = *token_uses(*node, axes_);
      for (size_t i = 0; i < inputs.size(); ++i) {
        if (uses[i] == TokenUse::tokens) inputs[i] = packed(node, inputs[i]);
        if (uses[i] == TokenUse::positions) inputs[i] = at_positions(node, inputs[i], position_axis(*node, i));
      }
    }
    Node* moved = graph_.insert_before(node, std::move(op), std::move(inputs), node->outputs().size(), node->name());
    for (size_t i = 0; i < node->outputs().size(); ++i) packed_[node->output(i)] = moved->output(i);
  }

  // Where operand `i`, which broadcasts to the result, has the axis of places.
  static int64_t position_axis(const Node& node, size_t i) {
    return 1 - node.output()->type().rank() + node.input(i)->type().rank();
  }

  // [batch, length, ..] -> [1, T, ..]
  Value* packed(Node* before, Value* value) {
    Value*& made = packed_[value];
    if (made == nullptr) made = reshaped(graph_, before, gathered(before, value), moved_shape(value->shape()));
    return made;
  }
  Shape moved_shape(Shape shape) const {
    shape[0] = 1;
    shape[1] = count();
    return shape;
  }
  // Its tokens, one row each: [batch, length, ..] -> [T, ..].
  Value* gathered(Node* before, Value* value) {
    Value* list = reshaped(graph_, before, value, as_list(value->shape(), axes_.batch * axes_.length));
    return insert(graph_, before, Gather{0}, {list, tokens_});
  }
  static Shape as_list(const Shape& shape, const Dim& size) {
    Shape list = {size};
    list.insert(list.end(), shape.begin() + 2, shape.end());
    return list;
  }

  // An operand of the score.
  Value* keys(Node* attention, size_t i) {
    Value* value = attention->input(i);
    const TokenUse use = *key_use(*attention, i, axes_);
    if (use == TokenUse::whole) return value;
    if (use == TokenUse::positions) return at_positions(attention, value, value->type().rank() - 1);
    Value*& made = keys_[value];
    if (made == nullptr) {
      Value* list = gathered(attention, reshaped(graph_, attention, value, {axes_.batch, axes_.length}));
      made = reshaped(graph_, attention, list, {1, 1, 1, count()});
    }
    return made;
  }

  // What each place in a sequence has, for each token.
  Value* at_positions(Node* before, Value* value, int64_t axis) {
    if (positions_ == nullptr) {
      MapProgram p;
      const int token = p.cast(p.input(0, DType::i32), DType::i64);
      p.finish(p.binary(MapOp::floor_mod, token, p.dim(axes_.length)));
      positions_ = insert(graph_, before, Map{std::move(p), {}}, {tokens_});
    }
    Value*& made = placed_[value];
    if (made == nullptr) made = insert(graph_, before, Gather{axis}, {value, positions_});
    return made;
  }

  void read_first(Node* node) {
    Value* value = packed_.at(node->input(0));
    Value* list = reshaped(graph_, node, value, as_list(node->input(0)->shape(), count()));
    Value* firsts = insert(graph_, node, Slice{{0}, {0}, {axes_.batch}, {1}}, {starts_});
    Value* rows = insert(graph_, node, Gather{0}, {list, firsts});
    if (const Slice* slice = node->as<Slice>()) {
      Shape shape = node->input(0)->shape();
      shape[1] = 1;
      rows = reshaped(graph_, node, rows, shape);
      if (slice->axes.size() > 1) rows = insert(graph_, node, *slice, {rows});
    } else {
      rows = reshaped(graph_, node, rows, node->output()->shape());
    }
    graph_.replace_uses(node->output(), rows);
  }

  // [1, T, ..] -> [batch, length, ..], with 0 for padding.
  Value* unpacked(Value* value) {
    Value* list = graph_.emit(Reshape{as_list(value->shape(), count())}, {packed_.at(value)}, "unpack_tokens");
    Value* all = graph_.emit(Gather{0}, {list, rows_}, "unpack_tokens");
    Shape shape(static_cast<size_t>(value->type().rank()), Dim(1));
    shape[0] = axes_.batch;
    shape[1] = axes_.length;
    Value* rows = graph_.emit(Reshape{std::move(shape)}, {rows_}, "unpack_tokens");
    MapProgram p;
    const DType type = value->dtype();
    const int element = p.input(0, type), row = p.input(1, DType::i32);
    const int zero = is_float(type) ? p.constant(0, type) : p.constant_int(0, type);
    p.finish(p.select(p.binary(MapOp::ge, row, p.constant_int(0, DType::i32)), element, zero));
    return graph_.emit(Map{std::move(p), {}}, {all, rows}, "unpack_tokens");
  }

  Graph& graph_;
  const Area& area_;
  const TokenAxes& axes_;
  Value *tokens_ = nullptr, *starts_ = nullptr, *rows_ = nullptr, *positions_ = nullptr;
  std::unordered_map<Value*, Value*> packed_, keys_, placed_;
};

int pack(Graph& graph, bool may_be_shown) {
  std::vector<PaddingMask> seen;
  int rewrites = 0;
  for (const Node* node : snapshot(graph)) {
    const auto mask = padding_mask(*node);
    if (!mask || std::find(seen.begin(), seen.end(), *mask) != seen.end()) continue;
    seen.push_back(*mask);
    const Area area(graph, *mask);
    if (!area.complete() || (area.shown() && !may_be_shown)) continue;
    Mover(graph, area).run();
    ++rewrites;
  }
  return rewrites;
}

}  // namespace

int pack_tokens(Graph& graph) { return pack(graph, false); }
int pack_outputs(Graph& graph) { return pack(graph, true); }

}  // namespace lathe::passes
