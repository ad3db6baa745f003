#include "backends/cpu/lower/lower.h"

#include <algorithm>

namespace lathe::cpu {
namespace {

// Ops that only the reference backend runs so far. When one gets a kernel, it moves from here to lower.h.
template <class T, class... List>
inline constexpr bool kOneOf = (std::is_same_v<T, List> || ...);

template <class T>
concept WithoutKernel = kOneOf<T, Constant, Bind, If, Loop, Scan, Sequence, Extern>;

template <WithoutKernel T>
Candidates lower(const T&, const Node&, const Target&) {
  return {};
}

bool all_ranked(std::span<Value* const> values) {
  return std::all_of(values.begin(), values.end(),
                     [](const Value* v) { return v == nullptr || !v->type().is_tensor() || v->type().ranked; });
}

}  // namespace

// Kernels are chosen by the ranks of their operands, so these must be known when lowering.
Candidates candidates_for(const Node& node, const Target& target) {
  if (!all_ranked(node.inputs()) || !all_ranked(node.outputs()))
    return {decline("any", "the rank of a tensor is not known before running")};
  return std::visit([&](const auto& op) { return lower(op, node, target); }, node.op());
}

std::string not_f32(const Node& node) {
  const auto check = [](std::span<Value* const> values) -> std::string {
    for (const Value* value : values) {
      if (value == nullptr || (value->type().is_tensor() && value->dtype() == DType::f32)) continue;
      return "computes in f32 only, not " + to_string(value->type());
    }
    return {};
  };
  std::string why = check(node.inputs());
  return why.empty() ? check(node.outputs()) : why;
}

std::string not_whole_bytes(DType type) {
  const int bits = bit_width(type);
  return bits == 0 || bits % 8 != 0 ? fmt::format("elements of type {} have no address", to_string(type))
                                    : std::string();
}

bool is_row(const Shape& shape, std::span<const Dim> row) {
  const auto trimmed = [](std::span<const Dim> s) {
    while (!s.empty() && s.front() == Dim(1)) s = s.subspan(1);
    return s;
  };
  const auto a = trimmed(shape), b = trimmed(row);
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

std::vector<int64_t> dense_strides(std::span<const int64_t> dims) {
  std::vector<int64_t> strides(dims.size());
  int64_t stride = 1;
  for (size_t axis = dims.size(); axis-- > 0;) {
    strides[axis] = stride;
    stride *= dims[axis];
  }
  return strides;
}

std::vector<int64_t> broadcast_strides(std::span<const int64_t> sizes, std::span<const int64_t> dims) {
  std::vector<int64_t> strides(dims.size(), 0);
  int64_t stride = 1;
  for (size_t back = 1; back <= sizes.size(); ++back) {
    const int64_t size = sizes[sizes.size() - back];
    if (size != 1) strides[dims.size() - back] = stride;
    stride *= size;
  }
  return strides;
}

}  // namespace lathe::cpu
