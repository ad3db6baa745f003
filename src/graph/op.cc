// What can be said about every op through its fields alone: its name, equality, its regions.
#include "graph/op.h"

#include "graph/fields.h"

namespace lathe {

template <OneOfOps T>
Op::Op(T op) : AnyOp(std::move(op)) {}
template Op::Op(Constant);
template Op::Op(Dims);
template Op::Op(Bind);
template Op::Op(Map);
template Op::Op(Reduce);
template Op::Op(ArgReduce);
template Op::Op(Cumulative);
template Op::Op(MatMul);
template Op::Op(MatMulNBits);
template Op::Op(GroupedMatMul);
template Op::Op(Conv);
template Op::Op(ConvTranspose);
template Op::Op(Pool);
template Op::Op(Norm);
template Op::Op(GroupNorm);
template Op::Op(Softmax);
template Op::Op(Attention);
template Op::Op(PagedAttention);
template Op::Op(Rotary);
template Op::Op(Embedding);
template Op::Op(Resize);
template Op::Op(Rnn);
template Op::Op(DynamicQuantize);
template Op::Op(Reshape);
template Op::Op(Transpose);
template Op::Op(Slice);
template Op::Op(Concat);
template Op::Op(Pad);
template Op::Op(ReverseSequence);
template Op::Op(Gather);
template Op::Op(GatherElements);
template Op::Op(GatherNd);
template Op::Op(ScatterElements);
template Op::Op(ScatterNd);
template Op::Op(TopK);
template Op::Op(NonZero);
template Op::Op(Nms);
template Op::Op(PackTokens);
template Op::Op(If);
template Op::Op(Loop);
template Op::Op(Scan);
template Op::Op(Sequence);
template Op::Op(Extern);

Op::Op() = default;
Op::Op(const Op& other) = default;
Op::Op(Op&& other) noexcept = default;
Op& Op::operator=(const Op& other) = default;
Op& Op::operator=(Op&& other) noexcept = default;
Op::~Op() = default;

namespace {

template <class AnyRegion, class AnyOp>
std::vector<AnyRegion*> find_regions(AnyOp& op) {
  std::vector<AnyRegion*> regions;
  std::visit(
      [&](auto& o) {
        std::decay_t<decltype(o)>::fields(o, [&](std::string_view, auto& field) {
          if constexpr (std::is_same_v<std::decay_t<decltype(field)>, Region>) regions.push_back(&field);
        });
      },
      op);
  return regions;
}

}  // namespace

std::string_view op_name(const Op& op) {
  return std::visit([](const auto& o) { return o.kName; }, op);
}

bool op_equal(const Op& a, const Op& b) {
  if (a.index() != b.index()) return false;
  bool equal = true;
  std::visit(
      [&](const auto& left) {
        const auto& right = std::get<std::decay_t<decltype(left)>>(b);
        for_each_field_pair(
            left, right, [&](std::string_view, const auto& x, const auto& y) { equal = equal && field_equal(x, y); });
      },
      a);
  return equal;
}

namespace {

template <class... Ops>
std::optional<Op> make_named(std::string_view name, const std::variant<Ops...>*) {
  std::optional<Op> op;
  static_cast<void>(((name == Ops::kName && (op.emplace(Ops{}), true)) || ...));
  return op;
}

}  // namespace

std::optional<Op> op_from_name(std::string_view name) { return make_named(name, static_cast<const Op*>(nullptr)); }

std::vector<Region*> regions_of(Op& op) { return find_regions<Region>(op); }
std::vector<const Region*> regions_of(const Op& op) { return find_regions<const Region>(op); }

std::span<const size_t> written_operands(const Op& op) {
  return std::visit(
      [](const auto& o) -> std::span<const size_t> {
        if constexpr (requires { o.kWrittenOperands; })
          return o.kWrittenOperands;
        else
          return {};
      },
      op);
}

}  // namespace lathe
