// Sequences and optionals.
#include <algorithm>

#include "graph/reference/families.h"
#include "graph/reference/indexing.h"
#include "graph/reference/movement.h"

namespace lathe::reference {
namespace {

using Tensors = std::vector<Tensor>;

// The position that an operand names among `size` places; negative from the end, `fallback` when absent.
int64_t read_position(const Call& call, size_t operand, int64_t size, int64_t fallback) {
  const Tensor* position = call.optional_tensor(operand);
  if (position == nullptr && size == 0) fail(ErrorCode::invalid_argument, "the sequence is empty");
  return resolve_index(position == nullptr ? fallback : position->read_int(0), size);
}

Tensors construct(const Call& call) {
  Tensors sequence;
  for (const Tensor* tensor : call.tensors_from(0)) sequence.push_back(*tensor);
  return sequence;
}

Tensors insert(const Call& call) {
  Tensors sequence = call.sequence(0);
  const auto size = static_cast<int64_t>(sequence.size());
  // The end is one more place for an insertion, but -1 still names the last element.
  const Tensor* position = call.optional_tensor(2);
  const int64_t at = position == nullptr ? size : position->read_int(0);
  if (at < -size || at > size) fail(ErrorCode::invalid_argument, "position {} in a sequence of {}", at, size);
  sequence.insert(sequence.begin() + (at < 0 ? at + size : at), call.tensor(1));
  return sequence;
}

Tensors erase(const Call& call) {
  Tensors sequence = call.sequence(0);
  sequence.erase(sequence.begin() + read_position(call, 1, static_cast<int64_t>(sequence.size()), -1));
  return sequence;
}

// Sizes of the pieces: as listed, or all equal but the last.
std::vector<int64_t> piece_sizes(const Tensor* sizes, int64_t total) {
  std::vector<int64_t> pieces;
  if (sizes != nullptr && sizes->rank() > 0) {
    for (int64_t i = 0; i < sizes->elements(); ++i) pieces.push_back(sizes->read_int(i));
  } else {
    const int64_t each = sizes == nullptr ? 1 : sizes->read_int(0);
    if (each < 1) fail(ErrorCode::invalid_argument, "pieces of {} elements", each);
    for (int64_t done = 0; done < total; done += each) pieces.push_back(std::min(each, total - done));
  }
  int64_t sum = 0;
  for (const int64_t piece : pieces) sum += piece;
  if (sum != total) fail(ErrorCode::invalid_argument, "pieces of {} elements for an axis of {}", sum, total);
  return pieces;
}

Tensors split(const Sequence& op, const Call& call) {
  const Tensor& x = call.tensor(0);
  const size_t axis = resolve_axis(op.axis, x.rank());
  Tensors pieces;
  int64_t start = 0;
  for (const int64_t size : piece_sizes(call.optional_tensor(1), x.dims()[axis])) {
    const Tensor piece = slice(x, axis, start, size);
    pieces.push_back(call.has(1) || op.keep_dims ? piece : remove_axis(piece, axis));
    start += size;
  }
  return pieces;
}

Tensor join(const Sequence& op, const Call& call) {
  const Tensors& parts = call.sequence(0);
  if (parts.empty()) fail(ErrorCode::invalid_argument, "an empty sequence cannot be joined");
  const int64_t rank = parts[0].rank() + (op.new_axis ? 1 : 0);
  const size_t axis = resolve_axis(op.axis, rank);
  return op.new_axis ? stack(parts, axis) : concat(parts, axis);
}

RefValue optional_get(const Call& call) {
  if (std::holds_alternative<std::monostate>(call.value(0))) fail(ErrorCode::invalid_argument, "the optional is empty");
  return call.value(0);
}

}  // namespace

std::vector<RefValue> evaluate(const Sequence& op, const Call& call) {
  switch (op.kind) {
    case SequenceKind::construct: return {construct(call)};
    case SequenceKind::insert: return {insert(call)};
    case SequenceKind::erase: return {erase(call)};
    case SequenceKind::at: {
      const Tensors& sequence = call.sequence(0);
      return {sequence[static_cast<size_t>(
          resolve_index(call.tensor(1).read_int(0), static_cast<int64_t>(sequence.size())))]};
    }
    case SequenceKind::length: return {Tensor::scalar(static_cast<int64_t>(call.sequence(0).size()))};
    case SequenceKind::split: return {split(op, call)};
    case SequenceKind::concat: return {join(op, call)};
    case SequenceKind::optional_make: return {call.has(0) ? call.value(0) : RefValue{}};
    case SequenceKind::optional_has:
      return {Tensor::scalar(call.has(0) && !std::holds_alternative<std::monostate>(call.value(0)))};
    case SequenceKind::optional_get: return {optional_get(call)};
  }
  fail(ErrorCode::internal, "a sequence op of unknown kind");
}

}  // namespace lathe::reference
