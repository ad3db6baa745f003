// Two passes over the same parts: each thread counts in its part, then writes from where the parts before it end.
#include "backends/cpu/kernels/non_zero.h"

#include <algorithm>

#include "base/error.h"

namespace lathe::cpu {
namespace {

// The bits of a half-precision number but its sign.
struct HalfBits {
  uint16_t bits;
};

bool is_set(HalfBits x) { return (x.bits & 0x7fff) != 0; }
template <class T>
bool is_set(T x) {
  return x != T{0};
}

template <class Visit>
bool visit_type(DType type, Visit visit) {
  switch (type) {
    case DType::f64: visit(static_cast<const double*>(nullptr)); return true;
    case DType::f32: visit(static_cast<const float*>(nullptr)); return true;
    case DType::f16:
    case DType::bf16: visit(static_cast<const HalfBits*>(nullptr)); return true;
    case DType::i64:
    case DType::u64: visit(static_cast<const uint64_t*>(nullptr)); return true;
    case DType::i32:
    case DType::u32: visit(static_cast<const uint32_t*>(nullptr)); return true;
    case DType::i16:
    case DType::u16: visit(static_cast<const uint16_t*>(nullptr)); return true;
    case DType::i8:
    case DType::u8:
    case DType::boolean: visit(static_cast<const uint8_t*>(nullptr)); return true;
    default: return false;
  }
}

template <class T>
int64_t count_set(const T* x, Range part) {
  int64_t count = 0;
  for (int64_t i = part.begin; i < part.end; ++i) count += is_set(x[i]) ? 1 : 0;
  return count;
}

// Flat positions, without a branch: a place that turns out to hold a zero is written over by the next.
template <class T>
void write_flat(const T* x, int64_t begin, int64_t count, int64_t* out) {
  for (int64_t i = begin, found = 0; found < count; ++i) {
    out[found] = i;
    found += is_set(x[i]) ? 1 : 0;
  }
}

// `total` positions apart lie the rows of the result; the last one holds the flat positions and keeps the last
// coordinate.
void split_coordinates(std::span<const int64_t> dims, int64_t total, Range part, int64_t* out) {
  int64_t* flat = out + static_cast<int64_t>(dims.size() - 1) * total;
  for (int64_t j = part.begin; j < part.end; ++j) {
    int64_t rest = flat[j];
    for (size_t axis = dims.size() - 1; axis > 0; --axis) {
      const int64_t next = rest / dims[axis];
      out[static_cast<int64_t>(axis) * total + j] = rest - next * dims[axis];
      rest = next;
    }
    out[j] = rest;
  }
}

}  // namespace

bool can_test_for_zero(DType type) {
  return visit_type(type, [](auto*) {});
}

void non_zero(ThreadTeam& team, DType type, std::span<const int64_t> dims, const void* x, std::span<int64_t> counts,
              const std::function<int64_t*(int64_t count)>& allocate) {
  int64_t elements = 1;
  for (const int64_t size : dims) elements *= size;
  visit_type(type, [&]<class T>(const T*) {
    const T* data = static_cast<const T*>(x);
    const std::span<int64_t> ends = counts.first(static_cast<size_t>(team.size()) + 1);  // by thread + 1: counts, sums
    std::fill(ends.begin(), ends.end(), 0);
    team.parallel_for(elements, [&](int64_t begin, int64_t end, int thread) {
      ends[static_cast<size_t>(thread) + 1] = count_set(data, {begin, end});
    });
    for (size_t t = 1; t < ends.size(); ++t) ends[t] += ends[t - 1];
    const int64_t total = ends.back();
    int64_t* out = allocate(total);
    if (dims.empty() || total == 0) return;
    int64_t* flat = out + static_cast<int64_t>(dims.size() - 1) * total;
    team.parallel_for(elements, [&](int64_t begin, int64_t, int thread) {
      const auto t = static_cast<size_t>(thread);
      const Range mine{ends[t], ends[t + 1]};
      write_flat(data, begin, mine.size(), flat + mine.begin);
      split_coordinates(dims, total, mine, out);
    });
  });
}

}  // namespace lathe::cpu
