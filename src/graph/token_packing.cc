#include "graph/token_packing.h"

#include <algorithm>
#include <bit>

#include "base/error.h"

namespace lathe {
namespace {

// A size in so many is left to be filled up, which costs a token in as many.
constexpr int64_t kSizesPerOctave = 32;
constexpr int64_t kLeastStep = 8;  // what matrix units like

template <class Visit>
void visit_mask(DType type, Visit&& visit) {
  switch (type) {
    case DType::i64: return visit.template operator()<int64_t>();
    case DType::i32: return visit.template operator()<int32_t>();
    case DType::i8: return visit.template operator()<int8_t>();
    case DType::u8:
    case DType::boolean: return visit.template operator()<uint8_t>();
    case DType::f32: return visit.template operator()<float>();
    default: fail(ErrorCode::internal, "a mask of {}", to_string(type));
  }
}

// How a row is read: which tokens stay.
template <class T>
class Row {
 public:
  Row(const PackTokens& op, const T* mask, int64_t length)
      : mask_(mask), length_(length), wanted_(static_cast<T>(op.kept)) {
    int64_t zeros = 0, ones = 0;
    for (int64_t i = 0; i < length; ++i) zeros += mask[i] == T(0);
    for (int64_t i = 0; i < length; ++i) ones += mask[i] == T(1);
    const int64_t found = op.kept == 1 ? ones : zeros;
    whole_ = zeros + ones != length || found == 0;
    first_ = op.keep_first && length > 0 && mask[0] != wanted_;
    kept_ = whole_ ? length : found + (first_ ? 1 : 0);
  }
  int64_t kept() const { return kept_; }
  bool keeps(int64_t i) const { return whole_ || mask_[i] == wanted_ || (first_ && i == 0); }

 private:
  const T* mask_;
  int64_t length_, kept_ = 0;
  T wanted_;
  bool whole_ = false;
  bool first_ = false;  // kept though the mask would not
};

// Binds the size of a list of as many tokens as `count` makes of a batch and its length; false where none are packed.
template <class Count>
bool bind_tokens(const Node& node, const Count& count, SymbolBindings& symbols) {
  if (!node.is<PackTokens>()) return false;
  const Shape& mask = node.input(0)->shape();
  const auto batch = symbols.try_evaluate(mask[0]), length = symbols.try_evaluate(mask[1]);
  const Dim& size = node.output()->shape()[0];
  if (!batch || !length || !size.is_symbol()) return false;
  symbols.bind(size.to_string(), packed_size(count(*batch, *length), *batch, *length));
  return true;
}

}  // namespace

bool can_be_mask(DType type) {
  return type == DType::i64 || type == DType::i32 || type == DType::i8 || type == DType::u8 || type == DType::boolean ||
         type == DType::f32;
}

int64_t packed_size(int64_t kept, int64_t batch, int64_t length) {
  if (kept <= 0) return 0;
  const auto floor = [](int64_t x) { return static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(x))); };
  const int64_t step = std::min(std::max(floor(kept) / kSizesPerOctave, kLeastStep), floor(length));
  return std::min((kept + step - 1) / step * step, batch * length);
}

int64_t packed_size(const PackTokens& op, const TokenMask& mask) {
  int64_t kept = 0;
  visit_mask(mask.dtype, [&]<class T>() {
    for (int64_t b = 0; b < mask.batch; ++b)
      kept += Row(op, static_cast<const T*>(mask.data) + b * mask.length, mask.length).kept();
  });
  return packed_size(kept, mask.batch, mask.length);
}

void pack_tokens(const PackTokens& op, const TokenMask& mask, std::span<int32_t> tokens, std::span<int32_t> starts,
                 std::span<int32_t> rows) {
  if (mask.batch * mask.length > INT32_MAX)
    fail(ErrorCode::unsupported, "a batch of {} x {} tokens", mask.batch, mask.length);
  const auto size = static_cast<int64_t>(tokens.size());
  int64_t at = 0;
  visit_mask(mask.dtype, [&]<class T>() {
    for (int64_t b = 0; b < mask.batch; ++b) {
      const Row row(op, static_cast<const T*>(mask.data) + b * mask.length, mask.length);
      starts[static_cast<size_t>(b)] = static_cast<int32_t>(at);
      if (at + row.kept() > size) fail(ErrorCode::invalid_argument, "more than {} tokens are to be packed", size);
      for (int64_t i = 0; i < mask.length; ++i) {
        const bool kept = row.keeps(i);
        rows[static_cast<size_t>(b * mask.length + i)] = kept ? static_cast<int32_t>(at) : -1;
        if (kept) tokens[static_cast<size_t>(at++)] = static_cast<int32_t>(b * mask.length + i);
      }
    }
  });
  if (packed_size(at, mask.batch, mask.length) != size)
    fail(ErrorCode::invalid_argument, "{} tokens are to be packed into {} rows", at, size);
  starts[static_cast<size_t>(mask.batch)] = static_cast<int32_t>(at);
  starts[static_cast<size_t>(mask.batch) + 1] = static_cast<int32_t>(size);
  std::fill(tokens.begin() + at, tokens.end(), 0);
}

void bind_all_tokens(const Node& node, SymbolBindings& symbols) {
  bind_tokens(
      node, [](int64_t batch, int64_t length) { return batch * length; }, symbols);
}

void bind_all_tokens(const Graph& graph, SymbolBindings& symbols) {
  for (const auto& node : graph.nodes()) bind_all_tokens(*node, symbols);
}

bool bind_half_of_tokens(const Graph& graph, SymbolBindings& symbols, int64_t more) {
  bool any = false;
  for (const auto& node : graph.nodes())
    any |= bind_tokens(
        *node, [more](int64_t batch, int64_t length) { return batch * length / 2 + more; }, symbols);
  return any;
}

}  // namespace lathe
