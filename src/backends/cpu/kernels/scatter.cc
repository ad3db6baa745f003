// Each thread owns a part of the result: it copies the data there, then walks the indices, all of them unless it is
// known which belong to its part, and applies what lands there. So updates of one element stay in order, and nothing
// needs locks.
#include "backends/cpu/kernels/scatter.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <type_traits>

#include "base/error.h"

namespace lathe::cpu {
namespace {

// Calls visit with a null pointer of the C++ type.
template <class Visit>
void visit_number(DType type, Visit visit) {
  switch (type) {
    case DType::f64: return visit(static_cast<double*>(nullptr));
    case DType::f32: return visit(static_cast<float*>(nullptr));
    case DType::i64: return visit(static_cast<int64_t*>(nullptr));
    case DType::i32: return visit(static_cast<int32_t*>(nullptr));
    case DType::i16: return visit(static_cast<int16_t*>(nullptr));
    case DType::i8: return visit(static_cast<int8_t*>(nullptr));
    case DType::u64: return visit(static_cast<uint64_t*>(nullptr));
    case DType::u32: return visit(static_cast<uint32_t*>(nullptr));
    case DType::u16: return visit(static_cast<uint16_t*>(nullptr));
    case DType::u8: return visit(static_cast<uint8_t*>(nullptr));
    default: fail(ErrorCode::internal, "elements of type {} cannot be combined", to_string(type));
  }
}

// Signed integers overflow in two's complement.
template <ScatterKind kind, class T>
T combine(T old, T update) {
  using Wide = std::conditional_t<std::is_floating_point_v<T>, T, uint64_t>;
  if constexpr (kind == ScatterKind::add) return static_cast<T>(static_cast<Wide>(old) + static_cast<Wide>(update));
  if constexpr (kind == ScatterKind::multiply)
    return static_cast<T>(static_cast<Wide>(old) * static_cast<Wide>(update));
  if constexpr (kind == ScatterKind::maximum) return old != old || update < old ? old : update;
  if constexpr (kind == ScatterKind::minimum) return old != old || update > old ? old : update;
}

// What one thread does.
struct Part {
  Range mine;    // elements of out
  Range slices;  // of the updates, that may lie there
};

// apply(to, from, count): elements of out and updates. Only those of out that are `mine` are touched.
template <class Apply>
void apply_updates(const Scatter& s, const Part& part, FirstWrong& wrong, Apply apply) {
  const int64_t slice = s.positions.slice_elements();
  int64_t starts[kPositionBlock];
  for (int64_t block = part.slices.begin; block < part.slices.end; block += kPositionBlock) {
    const int64_t count = std::min(kPositionBlock, part.slices.end - block);
    if (const int64_t found = s.positions.resolve(s.indices, block, block + count, starts); found >= 0)
      return wrong.report(found);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t begin = std::max(starts[i], part.mine.begin), end = std::min(starts[i] + slice, part.mine.end);
      if (begin < end) apply(begin, (block + i) * slice + begin - starts[i], end - begin);
    }
  }
}

template <ScatterKind kind>
void combine_part(const Scatter& s, const Part& part, FirstWrong& wrong) {
  visit_number(s.type, [&]<class T>(T*) {
    T* out = static_cast<T*>(s.out);
    const T* updates = static_cast<const T*>(s.updates);
    apply_updates(s, part, wrong, [=](int64_t to, int64_t from, int64_t count) {
      for (int64_t i = 0; i < count; ++i) out[to + i] = combine<kind>(out[to + i], updates[from + i]);
    });
  });
}

void replace_part(const Scatter& s, int64_t bytes, const Part& part, FirstWrong& wrong) {
  auto* out = static_cast<std::byte*>(s.out);
  const auto* updates = static_cast<const std::byte*>(s.updates);
  apply_updates(s, part, wrong, [=](int64_t to, int64_t from, int64_t count) {
    std::memcpy(out + to * bytes, updates + from * bytes, static_cast<size_t>(count * bytes));
  });
}

void scatter_part(const Scatter& s, const Part& part, FirstWrong& wrong) {
  const int64_t bytes = bit_width(s.type) / 8, offset = part.mine.begin * bytes;
  std::memcpy(static_cast<std::byte*>(s.out) + offset, static_cast<const std::byte*>(s.data) + offset,
              static_cast<size_t>(part.mine.size() * bytes));
  switch (s.kind) {
    case ScatterKind::replace: return replace_part(s, bytes, part, wrong);
    case ScatterKind::add: return combine_part<ScatterKind::add>(s, part, wrong);
    case ScatterKind::multiply: return combine_part<ScatterKind::multiply>(s, part, wrong);
    case ScatterKind::maximum: return combine_part<ScatterKind::maximum>(s, part, wrong);
    case ScatterKind::minimum: return combine_part<ScatterKind::minimum>(s, part, wrong);
  }
}

}  // namespace

bool can_combine(DType type) {
  switch (type) {
    case DType::f64:
    case DType::f32:
    case DType::i64:
    case DType::i32:
    case DType::i16:
    case DType::i8:
    case DType::u64:
    case DType::u32:
    case DType::u16:
    case DType::u8: return true;
    default: return false;
  }
}

int64_t scatter(ThreadTeam& team, const Scatter& s) {
  FirstWrong wrong;
  const int64_t parts = s.positions.parts(), slices = s.positions.count();
  if (s.elements == 0) {  // every index is out of range
    scatter_part(s, {{}, {0, slices}}, wrong);
  } else if (parts >= team.size()) {
    team.parallel_for(parts, [&](int64_t begin, int64_t end, int) {
      const int64_t elements = s.elements / parts, per_part = slices / parts;
      scatter_part(s, {{begin * elements, end * elements}, {begin * per_part, end * per_part}}, wrong);
    });
  } else {
    team.parallel_for(s.elements, [&](int64_t begin, int64_t end, int) {
      scatter_part(s, {{begin, end}, {0, slices}}, wrong);
    });
  }
  return wrong.result();
}

}  // namespace lathe::cpu
