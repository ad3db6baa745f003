// One pass with a bound: a buffer of somewhat more than 2k candidates is cut back to the best k whenever it is full,
// and from then on only what beats the worst of those is looked at. Only the final k are sorted.
#include "backends/cpu/kernels/top_k.h"

#include <algorithm>
#include <functional>

#include "backends/cpu/kernels/sort_key.h"
#include "backends/cpu/kernels/top_k_kernels.h"
#include "base/error.h"

namespace lathe::cpu {
namespace {

// Candidates beyond 2k, so that a small k does not cut back after every hit.
constexpr int64_t kSpareCandidates = 32;

int64_t capacity(const TopK& t) { return std::min(t.size, 2 * t.k + kSpareCandidates); }

// A candidate as one number, larger for what comes first: key, then lower index.
class SmallEntry {
 public:
  SmallEntry() = default;
  SmallEntry(uint32_t key, int64_t index) : bits_(uint64_t{key} << 32 | ~static_cast<uint32_t>(index)) {}
  uint32_t key() const { return static_cast<uint32_t>(bits_ >> 32); }
  int64_t index() const { return static_cast<uint32_t>(~bits_); }
  friend bool operator>(SmallEntry a, SmallEntry b) { return a.bits_ > b.bits_; }

 private:
  uint64_t bits_;
};

// The same for keys of 64 bits.
class LargeEntry {
 public:
  LargeEntry() = default;
  LargeEntry(uint64_t key, int64_t index) : key_(key), index_(index) {}
  uint64_t key() const { return key_; }
  int64_t index() const { return index_; }
  friend bool operator>(const LargeEntry& a, const LargeEntry& b) {
    return a.key_ != b.key_ ? a.key_ > b.key_ : a.index_ < b.index_;
  }

 private:
  uint64_t key_;
  int64_t index_;
};

template <class T>
using EntryOf = std::conditional_t<sizeof(T) <= 4, SmallEntry, LargeEntry>;

// One line of elements along the axis, contiguous.
template <class T>
class Lane {
 public:
  Lane(const TopK& shape, const TopKKernels& kernels, const T* x) : shape_(shape), kernels_(kernels), x_(x) {}

  // The best k, sorted, to the front of `best`, which has room for capacity().
  void select(EntryOf<T>* best) const {
    const int64_t k = shape_.k;
    int64_t filled = capacity(shape_), next = filled;
    for (int64_t i = 0; i < filled; ++i) best[i] = entry(i);
    while (next < shape_.size) {
      cut_back(best, filled);
      const EntryOf<T> worst = best[k - 1];
      for (filled = k; filled < capacity(shape_); ++filled, ++next) {
        next = find_better(next, worst);
        if (next == shape_.size) break;
        best[filled] = entry(next);
      }
    }
    cut_back(best, filled);
    std::sort(best, best + k, std::greater<>());
  }

 private:
  EntryOf<T> entry(int64_t i) const {
    const auto key = sort_key(x_[i]);
    return {shape_.largest ? key : ~key, i};
  }
  void cut_back(EntryOf<T>* best, int64_t filled) const {
    if (filled > shape_.k) std::nth_element(best, best + shape_.k - 1, best + filled, std::greater<>());
  }
  int64_t find_better(int64_t from, const EntryOf<T>& worst) const {
    if constexpr (std::is_same_v<T, float>) {
      const auto find = shape_.largest ? kernels_.find_above : kernels_.find_below;
      return find(x_, from, shape_.size, x_[worst.index()]);
    } else {
      while (from < shape_.size && entry(from).key() <= worst.key()) ++from;
      return from;
    }
  }

  const TopK& shape_;
  const TopKKernels& kernels_;
  const T* x_;
};

template <class T>
struct Scratch {
  EntryOf<T>* best;
  T* line;  // a copy of the line when its elements do not lie side by side

  static size_t bytes(const TopK& t) {
    const size_t line_bytes = t.inner == 1 ? 0 : static_cast<size_t>(t.size) * sizeof(T);
    const size_t all = static_cast<size_t>(capacity(t)) * sizeof(EntryOf<T>) + line_bytes;
    return (all + 63) / 64 * 64;
  }
  Scratch(const TopK& t, std::byte* memory)
      : best(reinterpret_cast<EntryOf<T>*>(memory)), line(reinterpret_cast<T*>(best + capacity(t))) {}
};

template <class T>
void select_lines(const TopK& t, const TopKKernels& kernels, Range lines, std::byte* memory) {
  const Scratch<T> scratch(t, memory);
  const T* x = static_cast<const T*>(t.x);
  T* values = static_cast<T*>(t.values);
  for (int64_t i = lines.begin; i < lines.end; ++i) {
    const int64_t outer = i / t.inner, inner = i % t.inner;
    const T* line = x + outer * t.size * t.inner + inner;
    if (t.inner != 1) {
      for (int64_t j = 0; j < t.size; ++j) scratch.line[j] = line[j * t.inner];
      line = scratch.line;
    }
    Lane<T>(t, kernels, line).select(scratch.best);
    for (int64_t j = 0; j < t.k; ++j) {
      const int64_t to = (outer * t.k + j) * t.inner + inner, index = scratch.best[j].index();
      values[to] = line[index];
      t.indices[to] = index;
    }
  }
}

// Calls visit with a null pointer of the C++ type; false for other types.
template <class Visit>
bool visit_type(DType type, Visit visit) {
  switch (type) {
    case DType::f64: visit(static_cast<double*>(nullptr)); return true;
    case DType::f32: visit(static_cast<float*>(nullptr)); return true;
    case DType::i64: visit(static_cast<int64_t*>(nullptr)); return true;
    case DType::i32: visit(static_cast<int32_t*>(nullptr)); return true;
    case DType::i16: visit(static_cast<int16_t*>(nullptr)); return true;
    case DType::i8: visit(static_cast<int8_t*>(nullptr)); return true;
    case DType::u64: visit(static_cast<uint64_t*>(nullptr)); return true;
    case DType::u32: visit(static_cast<uint32_t*>(nullptr)); return true;
    case DType::u16: visit(static_cast<uint16_t*>(nullptr)); return true;
    case DType::u8: visit(static_cast<uint8_t*>(nullptr)); return true;
    default: return false;
  }
}

}  // namespace

bool can_select(DType type) {
  return visit_type(type, [](auto*) {});
}

size_t top_k_workspace_bytes(const TopK& t, int threads) {
  size_t bytes = 0;
  visit_type(t.type, [&]<class T>(T*) { bytes = Scratch<T>::bytes(t); });
  return bytes * static_cast<size_t>(threads);
}

void top_k(ThreadTeam& team, const KernelTable& kernels, const TopK& t, std::byte* workspace) {
  LATHE_CHECK(t.k <= t.size && t.size <= UINT32_MAX);
  if (t.k == 0) return;
  visit_type(t.type, [&]<class T>(T*) {
    team.parallel_for(t.outer * t.inner, [&](int64_t begin, int64_t end, int thread) {
      select_lines<T>(t, kernels.top_k, {begin, end}, workspace + static_cast<size_t>(thread) * Scratch<T>::bytes(t));
    });
  });
}

}  // namespace lathe::cpu
