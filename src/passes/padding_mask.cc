#include "passes/padding_mask.h"

#include <algorithm>

#include "graph/token_packing.h"
#include "passes/map_writer.h"
#include "passes/rewrite.h"

namespace lathe::passes {
namespace {

constexpr int64_t kSpaceAxes = 4;  // batch, head, query, key
// exp() of less is 0 in f32 from about 100 on; models write 10000 and more. Products of queries and keys stay far
// below.
constexpr double kGap = 5000;

Shape without_ones(const Shape& shape) {
  Shape rest;
  std::copy_if(shape.begin(), shape.end(), std::back_inserter(rest), [](const Dim& d) { return !(d == Dim(1)); });
  return rest;
}

bool is_plain_self_attention(const Attention& op, const Node& node) {
  for (const HeadOrder order : {op.q_order, op.k_order, op.v_order, op.output_order})
    if (order != HeadOrder::token_major) return false;
  if (op.packed || op.causal || op.score.empty() || op.score.uses_iota()) return false;
  if (!is_tensor_of_rank(node.input(0), 3)) return false;
  const Shape& q = node.input(0)->shape();
  const TokenAxes axes{q[0], q[1]};
  return !(axes.length == Dim(1)) && is_token_tensor(node.input(1), axes) && is_token_tensor(node.input(2), axes);
}

// The score as one program of the product and of the mask.
class ScoreReader {
 public:
  ScoreReader(const Node& node, const TokenAxes& axes) : node_(node), axes_(axes), writer_({node.input(0)->dtype()}) {}

  // The result as a function of what the mask holds at a key, and of the product.
  bool read() {
    const Attention& op = *node_.as<Attention>();
    std::vector<int> inputs = {writer_.leading(0)};
    for (size_t i = first_extra(op); i < node_.inputs().size(); ++i) {
      const auto use = key_use(node_, i, axes_);
      if (!use) return false;
      const auto value = *use == TokenUse::tokens ? follow(node_.input(i)) : writer_.operand(node_.input(i));
      if (!value) return false;
      inputs.push_back(*value);
    }
    const MapWriter::Result result = writer_.finish(writer_.program().inline_program(op.score, inputs));
    program_ = result.program;
    const auto at = std::find(result.operands.begin(), result.operands.end(), mask_);
    mask_input_ = static_cast<int>(at - result.operands.begin()) + 1;
    return mask_ != nullptr && at != result.operands.end();
  }
  Value* mask() const { return mask_; }

  struct Sum {
    bool constant;
    double number;  // added to the rest, unless that is constant
  };
  // The score where the mask holds `element`.
  Sum score_at(int64_t element) const {
    MapProgram p;
    std::vector<int> inputs;
    std::vector<DType> types(static_cast<size_t>(program_.num_inputs()), DType::f32);
    for (const MapInstr& in : program_.code())
      if (in.op == MapOp::input) types[static_cast<size_t>(in.args[0])] = in.type;
    for (int i = 0; i < program_.num_inputs(); ++i) {
      const DType type = types[static_cast<size_t>(i)];
      inputs.push_back(i == mask_input_ ? number(p, static_cast<double>(element), type) : p.input(i, type));
    }
    p.finish(p.inline_program(program_, inputs));
    const MapProgram simple = simplify_program(p);
    return sum_of(simple, static_cast<int>(simple.code().size()) - 1);
  }

 private:
  static int number(MapProgram& p, double value, DType type) {
    return is_float(type) ? p.constant(value, type) : p.constant_int(static_cast<int64_t>(value), type);
  }

  static Sum sum_of(const MapProgram& p, int index) {
    const MapInstr& in = p.code()[static_cast<size_t>(index)];
    const auto arg = [&](size_t i) { return sum_of(p, in.args[i]); };
    if (in.op == MapOp::constant) return {true, is_float(in.type) ? in.real : static_cast<double>(in.integer)};
    if (in.op == MapOp::cast && is_float(in.type)) return arg(0);
    if (in.op != MapOp::add && in.op != MapOp::sub) return {false, 0};
    const Sum a = arg(0), b = arg(1);
    if (in.op == MapOp::add) return {a.constant && b.constant, a.number + b.number};
    return b.constant ? Sum{a.constant, a.number - b.number} : Sum{false, a.number};
  }

  // What a value that has an element for each key is made of.
  std::optional<int> follow(Value* value) {
    if (value->producer() == nullptr) return read_mask(value);
    const Node& producer = *value->producer();
    const Shape elements = without_ones({axes_.batch, axes_.length});
    if (producer.is<Reshape>() && without_ones(producer.input(0)->shape()) == elements)
      return follow(producer.input(0));
    const Map* map = producer.as<Map>();
    if (map == nullptr || map->program.uses_iota()) return std::nullopt;
    std::vector<int> inputs;
    for (Value* operand : producer.inputs()) {
      if (!operand->type().is_tensor() || !operand->type().ranked) return std::nullopt;
      const auto uniform = uniform_number(operand);
      const bool same = without_ones(operand->shape()) == elements;
      if (!uniform && !same) return std::nullopt;
      const auto input = uniform ? number(writer_.program(), *uniform, operand->dtype()) : follow(operand);
      if (!input) return std::nullopt;
      inputs.push_back(*input);
    }
    return writer_.program().inline_program(map->program, inputs);
  }

  std::optional<int> read_mask(Value* value) {
    const bool fits = value->shape() == Shape{axes_.batch, axes_.length} && can_be_mask(value->dtype());
    if (!fits || (mask_ != nullptr && mask_ != value)) return std::nullopt;
    mask_ = value;
    return writer_.operand(value);
  }

  const Node& node_;
  const TokenAxes& axes_;
  MapWriter writer_;
  MapProgram program_;
  Value* mask_ = nullptr;
  int mask_input_ = 0;
};

}  // namespace

std::optional<TokenUse> key_use(const Node& attention, size_t i, const TokenAxes& axes) {
  const Value* extra = attention.input(i);
  if (extra == nullptr || !extra->type().ranked || extra->type().rank() > kSpaceAxes) return std::nullopt;
  const auto size_at = [&](int64_t axis) {
    const int64_t own = axis - kSpaceAxes + extra->type().rank();
    return own < 0 ? Dim(1) : extra->shape()[static_cast<size_t>(own)];
  };
  const Dim one = 1, batch = size_at(0), heads = size_at(1), queries = size_at(2), keys = size_at(3);
  if (!(queries == one)) return std::nullopt;
  if (batch == axes.batch && heads == one && keys == axes.length) return TokenUse::tokens;
  if (!(batch == one)) return std::nullopt;
  if (keys == one) return TokenUse::whole;
  return keys == axes.length ? std::optional(TokenUse::positions) : std::nullopt;
}

std::optional<PaddingMask> padding_mask(const Node& node) {
  const Attention* op = node.as<Attention>();
  if (op == nullptr || !is_plain_self_attention(*op, node)) return std::nullopt;
  const Shape& q = node.input(0)->shape();
  const TokenAxes axes{q[0], q[1]};
  ScoreReader reader(node, axes);
  if (!reader.read()) return std::nullopt;
  const auto at_0 = reader.score_at(0), at_1 = reader.score_at(1);
  if (!at_1.constant && at_1.number - at_0.number >= kGap) return PaddingMask{reader.mask(), 1, axes};
  if (!at_0.constant && at_0.number - at_1.number >= kGap) return PaddingMask{reader.mask(), 0, axes};
  return std::nullopt;
}

}  // namespace lathe::passes
