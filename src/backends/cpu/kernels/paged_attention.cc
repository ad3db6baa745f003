#include "backends/cpu/kernels/paged_attention.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "backends/cpu/kernels/attention_bf16.h"
#include "backends/cpu/kernels/attention_kernels.h"
#include "backends/cpu/kernels/gemm_kernels.h"
#include "backends/cpu/kernels/map_kernels.h"
#include "backends/cpu/kernels/paged_attention_kernels.h"

namespace lathe::cpu {
namespace {

constexpr int64_t kTaskRows = 128;   // query rows that one task carries through the keys: they repay gathering them
constexpr int64_t kKeyBlock = 128;   // keys that are scored before they are weighed
constexpr int64_t kSplitKeys = 512;  // keys of one task, where few tokens see many
constexpr int64_t kSplitTokens = 4;
constexpr int64_t kAlign = 16;  // floats
constexpr int kMaxTileRows = std::max({kGemmMaxRows, kPagedMaxRows, kMaxBf16Rows});

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

int64_t group_of(const PagedAttention& p) { return p.heads / p.kv_heads; }

int64_t first_key(const PagedAttention& p, int64_t index) { return p.step.first_key(index, p.window, p.chunked); }

// How the work of one sequence is cut, for each of its key/value heads.
struct Cut {
  int64_t rows = 0;    // query rows
  int64_t tiles = 0;   // tasks that share them
  int64_t splits = 1;  // tasks that share the keys of a tile, from key first_split * kSplitKeys on
  int64_t first_split = 0;

  int64_t partial_rows(int64_t kv_heads) const { return splits > 1 ? rows * kv_heads * splits : 0; }
};

Cut cut_sequence(const PagedAttention& p, int64_t s) {
  const int64_t tokens = p.step.new_tokens(s), rows = tokens * group_of(p);
  Cut cut{rows, ceil_div(rows, kTaskRows)};
  if (p.uniform || tokens == 0 || tokens > kSplitTokens || cut.tiles > 1) return cut;
  const int64_t first = p.step.first_new(s), last = first + tokens - 1;
  cut.first_split = first_key(p, first) / kSplitKeys;
  cut.splits = ceil_div(p.step.end_key(s, last), kSplitKeys) - cut.first_split;
  return cut;
}

// Bounds of what the cuts of any step of these sizes need.
struct Room {
  int64_t rows;      // most of a task
  int64_t partials;  // rows of all splits together
  int64_t v_columns;
  int64_t q, scores, sums, state, keys, packed, values;  // floats of a thread
  int64_t packed_values = 0, products = 0;               // the same, in bf16
  int64_t thread() const { return q + scores + sums + 2 * state + keys + packed + values + packed_values + products; }

  Room(const KernelTable& kernels, const PagedAttention& p) {
    const GemmKernels& gemm = kernels.gemm;
    const int64_t tokens = p.step.tokens;
    rows = round_up(std::min(kTaskRows, tokens * group_of(p)), kAlign);
    const int64_t splits = ceil_div(p.step.table_width * p.step.block_size, kSplitKeys);
    partials = splits > 1 && !p.uniform ? std::min(tokens, kSplitTokens * p.step.sequences()) * p.heads * splits : 0;
    v_columns = round_up(p.value_dim, gemm.nr);
    q = round_up(rows * p.head_dim, kAlign);
    scores = kMaxTileRows * kKeyBlock;
    sums = round_up(rows * v_columns, kAlign);
    state = rows;
    keys = round_up(kKeyBlock * p.head_dim, kAlign);
    packed = round_up(kKeyBlock, gemm.nr) * p.head_dim;
    values = round_up(kKeyBlock * p.value_dim, kAlign);
    if (p.unit == nullptr) return;
    packed_values = RoundedAttention::value_floats(gemm, p.value_dim, kKeyBlock);
    products = RoundedAttention::floats(*p.unit, gemm, p.head_dim, kKeyBlock);
  }
};

// The workspace: per sequence where its tasks and partial rows begin, the partial rows, and what each thread needs.
struct Places {
  int64_t *first_task, *first_partial;  // [sequences + 1]
  float *partial_sums, *partial_max, *partial_sum;
  float* threads;
  size_t bytes;

  Places(const Room& room, const PagedAttention& p, int count, void* memory) {
    size_t used = 0;
    const auto take = [&]<class T>(T*& place, int64_t n) {
      place = memory == nullptr ? nullptr : reinterpret_cast<T*>(static_cast<std::byte*>(memory) + used);
      used += (static_cast<size_t>(n) * sizeof(T) + 63) / 64 * 64;
    };
    take(first_task, p.step.sequences() + 1);
    take(first_partial, p.step.sequences() + 1);
    take(partial_sums, room.partials * p.value_dim);
    take(partial_max, room.partials);
    take(partial_sum, room.partials);
    take(threads, room.thread() * count);
    bytes = used;
  }
};

// Null for types without scales.
const ScaledRowKernels* scaled_kernels(const PagedAttentionKernels& kernels, DType cache) {
  return cache == DType::i8 ? &kernels.i8 : (cache == DType::f8e4m3 ? &kernels.f8e4m3 : nullptr);
}

const CachedRowKernels& row_kernels(const PagedAttentionKernels& kernels, DType cache) {
  if (const ScaledRowKernels* scaled = scaled_kernels(kernels, cache)) return scaled->rows;
  return cache == DType::f32 ? kernels.f32 : (cache == DType::f16 ? kernels.f16 : kernels.bf16);
}

// Rows of one cache.
class Cache {
 public:
  Cache(const PagedAttention& p, void* data, int64_t width)
      : step_(p.step),
        kv_heads_(p.kv_heads),
        rows_{p.cache, width, p.step.block_size},
        data_(static_cast<char*>(data)) {}

  int64_t width() const { return rows_.features; }
  char* row(int64_t s, int64_t j, int64_t head) const {
    return data_ + rows_.row(step_.block(s, j) * kv_heads_ + head, j % step_.block_size);
  }
  // Of the row, where the type has scales; those of a run of rows lie side by side.
  float* scale(int64_t s, int64_t j, int64_t head) const {
    return reinterpret_cast<float*>(data_ + rows_.scale(step_.block(s, j) * kv_heads_ + head, j % step_.block_size));
  }
  // Calls visit(rows, first, count) for each run of neighbouring rows of keys.
  template <class Visit>
  void for_each_run(int64_t s, int64_t head, Range keys, Visit visit) const {
    for (int64_t j = keys.begin; j < keys.end;) {
      const int64_t count = std::min(step_.block_size - j % step_.block_size, keys.end - j);
      visit(row(s, j, head), j, count);
      j += count;
    }
  }

 private:
  const PagedStep& step_;
  int64_t kv_heads_;
  CacheRows rows_;
  char* data_;
};

// Some rows of one key/value head of a sequence, and the keys that they are taken through.
struct Item {
  int64_t sequence, kv_head;
  Range rows, keys;
  int64_t partial;  // the first of its partial rows; -1: it finishes its rows by itself
  bool is_first;    // of the items that share its rows
};

class Task {
 public:
  Task(const KernelTable& kernels, const PagedAttention& p, const Room& room, const Places& places, int thread)
      : p_(p),
        kernels_(kernels),
        cached_(row_kernels(kernels.paged_attention, p.cache)),
        scaled_(scaled_kernels(kernels.paged_attention, p.cache)),
        widen_(kernels.map.load(p.cache)),
        places_(places),
        v_columns_(room.v_columns),
        keys_cache_(p, p.key_cache, p.head_dim),
        values_cache_(p, p.value_cache, p.value_dim) {
    float* at = places.threads + room.thread() * thread;
    const auto take = [&](int64_t floats) { return std::exchange(at, at + floats); };
    q_ = take(room.q);
    scores_ = take(room.scores);
    sums_ = take(room.sums);
    row_max_ = take(room.state);
    row_sum_ = take(room.state);
    keys_ = take(room.keys);
    packed_ = take(room.packed);
    values_ = take(room.values);
    packed_values_ = take(room.packed_values);
    if (p.unit != nullptr)
      products_.emplace(*p.unit, kernels.gemm, p.head_dim, p.value_dim, kKeyBlock, take(room.products));
  }

  void run(const Item& item) {
    item_ = item;
    const int64_t rows = item.rows.size();
    begin_softmax();
    std::fill_n(sums_, rows * v_columns_, 0.0f);
    copy_queries();
    const bool direct = rows <= kPagedMaxRows || p_.uniform;
    const int64_t tile = direct ? kPagedMaxRows : (products_ ? p_.unit->max_rows : kernels_.gemm.max_rows);
    for (int64_t key = item.keys.begin / kKeyBlock * kKeyBlock; key < item.keys.end; key += kKeyBlock) {
      const Range keys{std::max(key, item.keys.begin), std::min(key + kKeyBlock, item.keys.end)};
      if (!direct) gather(keys);
      for (int64_t row = 0; row < rows; row += tile) attend(row, std::min(tile, rows - row), keys, direct);
    }
    finish();
  }

 private:
  int64_t group() const { return group_of(p_); }
  // Of a row of the item: its token within the sequence, and its head.
  int64_t token(int64_t row) const { return (item_.rows.begin + row) / group(); }
  int64_t head(int64_t row) const { return item_.kv_head * group() + (item_.rows.begin + row) % group(); }
  int64_t index(int64_t row) const { return p_.step.first_new(item_.sequence) + token(row); }

  // A sink is a key that has been seen before all others, by the first of the tasks that share the keys of a row.
  void begin_softmax() {
    const int64_t rows = item_.rows.size();
    std::fill_n(row_max_, rows, kMinusInfinity);
    std::fill_n(row_sum_, rows, 0.0f);
    if (p_.sinks == nullptr || !item_.is_first) return;
    for (int64_t r = 0; r < rows; ++r) {
      row_max_[r] = p_.sinks[head(r)];
      row_sum_[r] = row_max_[r] == kMinusInfinity ? 0.0f : 1.0f;
    }
  }

  void copy_queries() {
    for (int64_t r = 0; r < item_.rows.size(); ++r) {
      const float* from = p_.q.data + (p_.step.start(item_.sequence) + token(r)) * p_.q.row + head(r) * p_.q.stride;
      float* to = q_ + r * p_.head_dim;
      for (int64_t d = 0; d < p_.head_dim; ++d) to[d] = p_.scale * from[d];
    }
  }

  void widen(const Cache& cache, Range keys, float* to) const {
    cache.for_each_run(item_.sequence, item_.kv_head, keys, [&](const char* rows, int64_t first, int64_t count) {
      float* out = to + (first - keys.begin) * cache.width();
      if (scaled_ != nullptr)
        scaled_->widen(rows, count * cache.width(), out);
      else if (widen_ == nullptr)
        std::memcpy(out, rows, static_cast<size_t>(count * cache.width()) * sizeof(float));
      else
        widen_(out, rows, nullptr, nullptr, count * cache.width());
    });
  }

  // Keys as panels [key / nr][d][nr], values as they are.
  void gather(Range keys) {
    widen(keys_cache_, keys, keys_);
    widen(values_cache_, keys, values_);
    if (products_) {
      products_->pack_keys(keys_, p_.head_dim, 1, keys.size(), packed_);
      products_->pack_values(values_, p_.value_dim, 1, keys.size(), packed_values_);
      return;
    }
    const int64_t nr = kernels_.gemm.nr;
    for (int64_t key = 0; key < keys.size(); key += nr) {
      const int cols = static_cast<int>(std::min(nr, keys.size() - key));
      kernels_.gemm.pack_panel(keys_ + key * p_.head_dim, 1, p_.head_dim, p_.head_dim, cols,
                               packed_ + key * p_.head_dim);
    }
  }

  ScoreBlock block_of(int64_t row, int64_t rows) const {
    ScoreBlock block{};
    block.scores = scores_;
    block.ld = kKeyBlock;
    block.rows = static_cast<int>(rows);
    block.scale = 1;  // that of the op is in the queries
    block.softcap = p_.softcap;
    block.row_max = row_max_ + row;
    block.row_sum = row_sum_ + row;
    block.accumulator = sums_ + row * v_columns_;
    block.ld_accumulator = v_columns_;
    block.v_dim = p_.value_dim;
    return block;
  }

  // Takes a block of keys into the state of some rows.
  void attend(int64_t row, int64_t rows, Range keys, bool direct) {
    int64_t begin[kMaxTileRows], end[kMaxTileRows];
    ScoreBlock block = block_of(row, rows);
    block.begin = begin;
    block.end = end;
    block.first = keys.size();
    block.last = 0;
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t own = index(row + r);
      begin[r] = std::max(first_key(p_, own), keys.begin) - keys.begin;
      end[r] = std::min(p_.step.end_key(item_.sequence, own), keys.end) - keys.begin;
      if (begin[r] >= end[r]) continue;
      block.first = std::min(block.first, begin[r]);
      block.last = std::max(block.last, end[r]);
    }
    if (block.first >= block.last) return;
    const Range seen{block.first, block.last};
    if (direct)
      score_cached(row, rows, keys.begin, seen);
    else
      score_gathered(row, rows, seen);
    multiply_by_scales(keys_cache_, rows, keys.begin, seen);
    if (p_.softcap > 0) kernels_.attention.scale(block);
    for (int64_t r = 0; r < rows; ++r)
      add_terms(row + r, {keys.begin + seen.begin, keys.begin + seen.end}, scores_ + r * kKeyBlock + seen.begin);
    kernels_.attention.exponentiate(block);
    multiply_by_scales(values_cache_, rows, keys.begin, seen);
    if (direct)
      weigh_cached(row, rows, keys.begin, seen);
    else
      weigh_gathered(row, rows, seen);
  }

  // Scores by those of keys, weights by those of values.
  void multiply_by_scales(const Cache& cache, int64_t rows, int64_t first_key, Range seen) const {
    if (scaled_ == nullptr) return;
    const Range keys{first_key + seen.begin, first_key + seen.end};
    cache.for_each_run(item_.sequence, item_.kv_head, keys, [&](const char*, int64_t first, int64_t count) {
      const float* scales = cache.scale(item_.sequence, first, item_.kv_head);
      for (int64_t r = 0; r < rows; ++r)
        kernels_.paged_attention.multiply(scores_ + r * kKeyBlock + first - first_key, scales, count);
    });
  }

  // What depends on how far the keys are from the row's token.
  void add_terms(int64_t row, Range keys, float* scores) const {
    const int64_t own = index(row);
    if (p_.slopes != nullptr)
      kernels_.paged_attention.add_slope(scores, keys.size(), p_.slopes[head(row)],
                                         static_cast<float>(keys.begin - own));
    if (p_.biases == nullptr) return;
    const float* biases = p_.biases + head(row) * p_.distances;
    for (int64_t key = keys.begin; key < keys.end; ++key)
      scores[key - keys.begin] += biases[std::clamp<int64_t>(own - key, 0, p_.distances - 1)];
  }

  // What is read after the row `key` of a cache: the first rows of the next block, or of `other`.
  const char* after(const Cache& cache, int64_t key, int64_t end, const char* other) const {
    return key < end ? cache.row(item_.sequence, key, item_.kv_head) : other;
  }

  void score_cached(int64_t row, int64_t rows, int64_t first_key, Range seen) {
    const Range keys{first_key + seen.begin, first_key + seen.end};
    const char* values = values_cache_.row(item_.sequence, keys.begin, item_.kv_head);
    keys_cache_.for_each_run(item_.sequence, item_.kv_head, keys, [&](const char* at, int64_t first, int64_t count) {
      const CachedRows run{at, count, p_.head_dim, after(keys_cache_, first + count, keys.end, values)};
      cached_.dots[rows](run, q_ + row * p_.head_dim, scores_ + first - first_key, kKeyBlock);
    });
  }

  void weigh_cached(int64_t row, int64_t rows, int64_t first_key, Range seen) {
    const Range keys{first_key + seen.begin, first_key + seen.end};
    values_cache_.for_each_run(item_.sequence, item_.kv_head, keys, [&](const char* at, int64_t first, int64_t count) {
      const char* next_keys = after(keys_cache_, keys.end, item_.keys.end, at);
      const CachedRows run{at, count, p_.value_dim, after(values_cache_, first + count, keys.end, next_keys)};
      cached_.weigh[rows](run, scores_ + first - first_key, kKeyBlock, sums_ + row * v_columns_, v_columns_);
    });
  }

  void score_gathered(int64_t row, int64_t rows, Range seen) {
    const int64_t nr = kernels_.gemm.nr;
    const float* q = q_ + row * p_.head_dim;
    if (products_)
      return products_->score(q, p_.head_dim, static_cast<int>(rows), packed_, seen.begin, seen.end, scores_,
                              kKeyBlock);
    for (int64_t key = seen.begin / nr * nr; key < seen.end; key += nr) {
      const int cols = static_cast<int>(std::min(nr, seen.end - key));
      kernels_.gemm.tile[rows]({q, p_.head_dim, packed_ + key * p_.head_dim, nr, p_.head_dim, scores_ + key, kKeyBlock,
                                cols, false, nullptr});
    }
  }

  void weigh_gathered(int64_t row, int64_t rows, Range seen) {
    const int64_t nr = kernels_.gemm.nr;
    if (products_) {
      return products_->weigh(scores_, kKeyBlock, static_cast<int>(rows), packed_values_, seen.begin, seen.end,
                              sums_ + row * v_columns_, v_columns_);
    }
    for (int64_t d = 0; d < p_.value_dim; d += nr) {
      const int cols = static_cast<int>(std::min(nr, p_.value_dim - d));
      kernels_.gemm.tile[rows]({scores_ + seen.begin, kKeyBlock, values_ + seen.begin * p_.value_dim + d, p_.value_dim,
                                seen.size(), sums_ + row * v_columns_ + d, v_columns_, cols, true, nullptr});
    }
  }

  void finish() const {
    for (int64_t r = 0; r < item_.rows.size(); ++r) {
      if (item_.partial >= 0) {
        const int64_t at = item_.partial + r;
        std::copy_n(sums_ + r * v_columns_, p_.value_dim, places_.partial_sums + at * p_.value_dim);
        places_.partial_max[at] = row_max_[r];
        places_.partial_sum[at] = row_sum_[r];
        continue;
      }
      const int64_t t = p_.step.start(item_.sequence) + token(r);
      kernels_.attention.divide(block_of(r, 1), /*zero_masked=*/true, p_.out + (t * p_.heads + head(r)) * p_.value_dim,
                                p_.value_dim);
    }
  }

  const PagedAttention& p_;
  const KernelTable& kernels_;
  const CachedRowKernels& cached_;
  const ScaledRowKernels* const scaled_;
  const MapFn widen_;  // of 16 bits; null for other caches
  const Places& places_;
  const int64_t v_columns_;
  const Cache keys_cache_, values_cache_;
  float *q_, *scores_, *sums_, *row_max_, *row_sum_, *keys_, *packed_, *values_, *packed_values_;
  std::optional<RoundedAttention> products_;
  Item item_{};
};

// Everything that the threads of one run share.
class Run {
 public:
  Run(const KernelTable& kernels, const PagedAttention& p, int threads, void* workspace)
      : kernels_(kernels), p_(p), room_(kernels, p), places_(room_, p, threads, workspace) {
    int64_t tasks = 0, partials = 0;
    for (int64_t s = 0; s < p.step.sequences(); ++s) {
      const Cut cut = cut_sequence(p, s);
      places_.first_task[s] = tasks;
      places_.first_partial[s] = partials;
      tasks += p.kv_heads * cut.tiles * cut.splits;
      partials += cut.partial_rows(p.kv_heads);
    }
    places_.first_task[p.step.sequences()] = tasks;
  }

  // This thread's share of the new keys and values.
  void store(int thread, int threads) const {
    const PagedStep& step = p_.step;
    const Cache keys(p_, p_.key_cache, p_.head_dim), values(p_, p_.value_cache, p_.value_dim);
    for (int64_t s = 0; s < step.sequences(); ++s) {
      const Range share = even_part(step.new_keys(s), (thread + s) % threads, threads);
      for (int64_t i = share.begin; i < share.end; ++i) {
        for (int64_t h = 0; h < p_.kv_heads; ++h) {
          const int64_t t = step.key_start(s) + i, j = step.first_new_key(s) + i;
          narrow(p_.k.data + t * p_.k.row + h * p_.k.stride, keys, s, j, h);
          narrow(p_.v.data + t * p_.v.row + h * p_.v.stride, values, s, j, h);
        }
      }
    }
  }

  void attend(int thread) {
    const bool prepares = p_.unit != nullptr && p_.unit->begin != nullptr;
    if (prepares) p_.unit->begin();
    Task task(kernels_, p_, room_, places_, thread);
    const int64_t tasks = places_.first_task[p_.step.sequences()];
    for (int64_t i = next_++; i < tasks; i = next_++) task.run(item(i));
    if (prepares) p_.unit->end();
  }

  // Puts the splits of rows together.
  void combine(int thread, int threads) const {
    for (int64_t s = 0; s < p_.step.sequences(); ++s) {
      const Cut cut = cut_sequence(p_, s);
      if (cut.splits == 1) continue;
      const Range share = even_part(cut.rows * p_.kv_heads, thread, threads);
      for (int64_t row = share.begin; row < share.end; ++row) combine_row(s, cut, row);
    }
    const int64_t row = p_.heads * p_.value_dim, used = p_.step.start(p_.step.sequences());
    if (thread == 0) std::fill(p_.out + used * row, p_.out + p_.step.tokens * row, 0.0f);
  }

 private:
  void narrow(const float* from, const Cache& cache, int64_t s, int64_t j, int64_t head) const {
    char* const to = cache.row(s, j, head);
    if (const ScaledRowKernels* scaled = scaled_kernels(kernels_.paged_attention, p_.cache))
      *cache.scale(s, j, head) = scaled->narrow(from, cache.width(), to);
    else if (p_.cache == DType::f32)
      std::memcpy(to, from, static_cast<size_t>(cache.width()) * sizeof(float));
    else
      kernels_.map.store(p_.cache)(to, from, nullptr, nullptr, cache.width());
  }

  Item item(int64_t task) const {
    const int64_t* first_task = places_.first_task;
    const int64_t s = std::upper_bound(first_task, first_task + p_.step.sequences(), task) - first_task - 1;
    const Cut cut = cut_sequence(p_, s);
    task -= places_.first_task[s];
    const int64_t split = task % cut.splits, kv_head = task / cut.splits % p_.kv_heads;
    // The last rows see the most keys, so they come first.
    const int64_t tile = cut.tiles - 1 - task / cut.splits / p_.kv_heads;
    Item item{s, kv_head, {tile * kTaskRows, std::min((tile + 1) * kTaskRows, cut.rows)}, {}, -1, split == 0};
    const int64_t own = p_.step.first_new(s);
    item.keys = {first_key(p_, own + item.rows.begin / group_of(p_)),
                 p_.step.end_key(s, own + (item.rows.end - 1) / group_of(p_))};
    if (cut.splits == 1) return item;
    const int64_t first = (cut.first_split + split) * kSplitKeys;
    item.keys = {std::max(item.keys.begin, first), std::min(item.keys.end, first + kSplitKeys)};
    item.partial = places_.first_partial[s] + (split * p_.kv_heads + kv_head) * cut.rows;
    return item;
  }

  // `row` counts the rows of all key/value heads of the sequence.
  void combine_row(int64_t s, const Cut& cut, int64_t row) const {
    const int64_t first = places_.first_partial[s] + row, step = cut.rows * p_.kv_heads;
    float largest = kMinusInfinity;
    for (int64_t i = 0; i < cut.splits; ++i) largest = std::max(largest, places_.partial_max[first + i * step]);
    const float shift = largest == kMinusInfinity ? 0.0f : largest;
    const int64_t group = group_of(p_), token = row % cut.rows / group, head = row / cut.rows * group + row % group;
    float* out = p_.out + ((p_.step.start(s) + token) * p_.heads + head) * p_.value_dim;
    std::fill_n(out, p_.value_dim, 0.0f);
    float total = 0;
    for (int64_t i = 0; i < cut.splits; ++i) {
      const int64_t at = first + i * step;
      const float weight = std::exp(places_.partial_max[at] - shift);
      total += weight * places_.partial_sum[at];
      const float* sums = places_.partial_sums + at * p_.value_dim;
      for (int64_t d = 0; d < p_.value_dim; ++d) out[d] += weight * sums[d];
    }
    const float factor = total == 0 ? 0.0f : 1.0f / total;
    for (int64_t d = 0; d < p_.value_dim; ++d) out[d] *= factor;
  }

  const KernelTable& kernels_;
  const PagedAttention& p_;
  const Room room_;
  const Places places_;
  std::atomic<int64_t> next_{0};
};

}  // namespace

size_t paged_attention_workspace_bytes(const KernelTable& kernels, const PagedAttention& attention, int threads) {
  return Places(Room(kernels, attention), attention, threads, nullptr).bytes;
}

void paged_attention(ThreadTeam& team, const KernelTable& kernels, const PagedAttention& attention, void* workspace) {
  Run run(kernels, attention, team.size(), workspace);
  team.run([&](int thread, int threads) {
    run.store(thread, threads);
    if (threads > 1) team.barrier();
    run.attend(thread);
    if (threads > 1) team.barrier();
    run.combine(thread, threads);
  });
}

}  // namespace lathe::cpu
