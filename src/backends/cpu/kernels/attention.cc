#include "backends/cpu/kernels/attention.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "backends/cpu/kernels/attention_bf16.h"

namespace lathe::cpu {
namespace {

// Query rows that one task carries through the keys together: enough to repay packing, few enough to stay in cache.
constexpr int64_t kTaskRows = 256;
constexpr int64_t kMaxKeyBlock = 512;
constexpr int64_t kPackedFloats = 128 * 1024;  // of keys and values together: half of a small L2
// A tile costs about as much again for being started, in rows.
constexpr int64_t kTaskOverheadRows = 16;
constexpr int kMaxTileRows = std::max(kGemmMaxRows, kMaxBf16Rows);

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

// How the work is cut into tasks and how much room a task needs. A task is some query rows of some query heads that
// share one key/value head of one sequence.
struct Plan {
  bool stacked;       // one query per sequence: the rows of a tile are the heads of a group
  int64_t sequences;  // that have tasks of their own
  int64_t heads_per_task, head_parts, query_parts;
  int64_t tasks;
  int64_t rows;  // most rows of a task
  int64_t key_block;
  bool rounded;  // to bf16
  int tile_rows;
  bool pack_k, pack_v, copy_q;
  int64_t v_columns;                                                       // v_dim rounded up to panels
  int64_t packed_k, packed_v, scores, accumulator, state, copy, products;  // floats
  int64_t workspace() const { return packed_k + packed_v + scores + accumulator + 2 * state + copy + products; }
};

void plan_tasks(Plan& plan, const GemmKernels& gemm, const Attention& p, int threads) {
  const int64_t group = p.heads / p.kv_heads;
  plan.stacked = p.q_len == 1 && p.score_map == nullptr;
  plan.sequences = p.fills_up ? std::max<int64_t>(p.batch - 1, 1) : p.batch;
  const int64_t units = std::max<int64_t>(plan.sequences * p.kv_heads, 1);
  plan.heads_per_task = std::clamp<int64_t>(kTaskRows / std::max<int64_t>(p.q_len, 1), 1, group);
  while (plan.heads_per_task > 1 && units * ceil_div(group, plan.heads_per_task) < threads)
    plan.heads_per_task = ceil_div(plan.heads_per_task, 2);
  plan.head_parts = ceil_div(group, plan.heads_per_task);

  // Among a few ways to cut the queries, the one whose busiest thread has the least to do.
  const int64_t least = std::max<int64_t>(ceil_div(p.q_len, kTaskRows), 1);
  int64_t best_cost = std::numeric_limits<int64_t>::max();
  for (int64_t parts = least; parts < least + 8 && (parts == least || parts <= ceil_div(p.q_len, gemm.max_rows));
       ++parts) {
    const int64_t cost =
        ceil_div(units * plan.head_parts * parts, threads) * (ceil_div(p.q_len, parts) + kTaskOverheadRows);
    if (cost < best_cost) {
      best_cost = cost;
      plan.query_parts = parts;
    }
  }
  plan.tasks = plan.sequences * p.kv_heads * plan.head_parts * plan.query_parts;
  plan.rows = plan.heads_per_task * ceil_div(p.q_len, plan.query_parts);
}

Plan make_plan(const GemmKernels& gemm, const Attention& p, int threads) {
  Plan plan{};
  plan_tasks(plan, gemm, p, threads);
  constexpr int64_t kFewTiles = 2, kFewDotRows = 2, kAlign = 16;
  const bool few_rows = plan.rows <= kFewTiles * gemm.max_rows;
  const bool dots = p.k.stride_d == 1 && plan.rows <= kFewDotRows;
  plan.rounded = p.unit != nullptr && !few_rows;
  plan.tile_rows = plan.rounded ? p.unit->max_rows : gemm.max_rows;
  plan.pack_k = plan.rounded || (!dots && !(p.k.stride_s == 1 && few_rows));
  plan.pack_v = plan.rounded || !(p.v.stride_d == 1 && few_rows);
  plan.copy_q = p.q.stride_d != 1;
  plan.v_columns = round_up(p.v_dim, gemm.nr);
  const int64_t fitting = kPackedFloats / std::max<int64_t>(p.head_dim + plan.v_columns, 1) / gemm.nr * gemm.nr;
  const int64_t block = std::clamp<int64_t>(fitting, gemm.nr, kMaxKeyBlock);
  plan.key_block = std::min(block, round_up(p.kv_len, gemm.nr));
  if (plan.pack_k) plan.packed_k = plan.key_block * p.head_dim;
  if (plan.pack_v) plan.packed_v = plan.key_block * plan.v_columns;
  if (plan.rounded) {
    plan.packed_k = RoundedAttention::key_floats(gemm, p.head_dim, plan.key_block);
    plan.packed_v = RoundedAttention::value_floats(gemm, p.v_dim, plan.key_block);
    plan.products = RoundedAttention::floats(*p.unit, gemm, p.head_dim, plan.key_block);
  }
  plan.scores = plan.tile_rows * plan.key_block;
  plan.accumulator = plan.rows * plan.v_columns;
  plan.state = round_up(plan.rows, kAlign);
  if (plan.copy_q) plan.copy = round_up(plan.tile_rows * p.head_dim, kAlign);
  return plan;
}

// One task on one thread.
class Task {
 public:
  Task(const GemmKernels& gemm, const AttentionKernels& kernels, const Attention& attention, const Plan& plan,
       float* workspace)
      : gemm_(gemm), kernels_(kernels), p_(attention), plan_(plan) {
    const auto take = [&](int64_t floats) { return std::exchange(workspace, workspace + floats); };
    packed_k_ = take(plan.packed_k);
    packed_v_ = take(plan.packed_v);
    scores_ = take(plan.scores);
    accumulator_ = take(plan.accumulator);
    row_max_ = take(plan.state);
    row_sum_ = take(plan.state);
    copy_ = take(plan.copy);
    if (plan.rounded) products_.emplace(*p_.unit, gemm, p_.head_dim, p_.v_dim, plan.key_block, take(plan.products));
  }

  void run(int64_t index);

 private:
  // What there is to do: of a sequence, a key head, some of its query heads, some queries.
  struct Part {
    int64_t batch, kv_head, head_part, query_part;
  };
  // Rows of one tile: queries query, query + 1, ... of a head, or, stacked, one query of heads head, head + 1, ...
  struct Tile {
    int64_t head, query;
    int rows;
    int64_t state;  // its first row in the arrays of the task
  };

  Part part_of(int64_t index) const;
  void locate(const Part& part);
  void compute(const Part& part);
  Range visible(int64_t query) const;
  template <class Body>
  void for_each_tile(Body body) const;
  void pack(Range keys);
  void attend(const Tile& tile, Range keys);
  void score(const Tile& tile, int64_t first_key, int64_t first, int64_t last);
  void weigh(const Tile& tile, int64_t first_key, int64_t first, int64_t last);
  void write(const Tile& tile);
  ScoreBlock block_of(const Tile& tile) const;
  // The step from one row of a tile to the next in an operand.
  int64_t row_stride(int64_t stride_s, int64_t stride_h) const { return plan_.stacked ? stride_h : stride_s; }

  const GemmKernels& gemm_;
  const AttentionKernels& kernels_;
  const Attention& p_;
  const Plan& plan_;
  float *packed_k_, *packed_v_, *scores_, *accumulator_, *row_max_, *row_sum_, *copy_;
  std::optional<RoundedAttention> products_;

  int64_t batch_ = 0, kv_head_ = 0;
  Range heads_, queries_;
  int64_t kv_len_ = 0, offset_ = 0;
  int64_t first_query_ = 0, first_key_ = 0;                 // of the sequence, in packed form
  const float *q_ = nullptr, *k_ = nullptr, *v_ = nullptr;  // of the sequence; k_ and v_ of the head
  float* out_ = nullptr;
};

Task::Part Task::part_of(int64_t index) const {
  const int64_t query_part = index % plan_.query_parts;
  index /= plan_.query_parts;
  const int64_t head_part = index % plan_.head_parts;
  index /= plan_.head_parts;
  // Threads get consecutive tasks: where sequences differ in length, each gets some heads of all of them.
  if (p_.q_offsets != nullptr) return {index % plan_.sequences, index / plan_.sequences, head_part, query_part};
  return {index / p_.kv_heads, index % p_.kv_heads, head_part, query_part};
}

void Task::locate(const Part& part) {
  kv_head_ = part.kv_head;
  batch_ = part.batch;
  int64_t q_len = p_.q_len;
  kv_len_ = p_.kv_len;
  int64_t q_at = batch_ * p_.q.stride_b, k_at = batch_ * p_.k.stride_b, v_at = batch_ * p_.v.stride_b;
  int64_t out_at = batch_ * p_.out_stride_b;
  if (p_.q_offsets != nullptr) {
    q_len = p_.q_offsets[batch_ + 1] - p_.q_offsets[batch_];
    first_query_ = p_.q_offsets[batch_];
    q_at = first_query_ * p_.q.stride_s;
    out_at = first_query_ * p_.out_stride_s;
  }
  if (p_.k_offsets != nullptr) {
    kv_len_ = p_.k_offsets[batch_ + 1] - p_.k_offsets[batch_];
    first_key_ = p_.k_offsets[batch_];
    k_at = first_key_ * p_.k.stride_s;
    v_at = first_key_ * p_.v.stride_s;
  }
  if (p_.kv_lens != nullptr) kv_len_ = std::min<int64_t>(kv_len_, p_.kv_lens[batch_]);
  q_ = p_.q.data + q_at;
  k_ = p_.k.data + k_at + kv_head_ * p_.k.stride_h;
  v_ = p_.v.data + v_at + kv_head_ * p_.v.stride_h;
  out_ = p_.out + out_at;
  offset_ = p_.offset + (p_.align_ends ? kv_len_ - q_len : 0);

  const int64_t group = p_.heads / p_.kv_heads;
  const Range heads = even_part(group, part.head_part, plan_.head_parts);
  heads_ = {kv_head_ * group + heads.begin, kv_head_ * group + heads.end};
  queries_ = even_part(q_len, part.query_part, plan_.query_parts);
}

// The keys that a query may see; empty ranges have end <= begin.
Range Task::visible(int64_t query) const {
  const int64_t center = query + offset_;
  const int64_t begin = p_.left == kUnlimited ? 0 : std::max<int64_t>(center - p_.left, 0);
  const int64_t end = p_.right == kUnlimited ? kv_len_ : std::min(center + p_.right + 1, kv_len_);
  return {begin, end};
}

template <class Body>
void Task::for_each_tile(Body body) const {
  const auto cut = [&](int64_t rows, auto make) {
    const int64_t tiles = ceil_div(rows, plan_.tile_rows);
    for (int64_t i = 0; i < tiles; ++i) make(even_part(rows, i, tiles));
  };
  if (plan_.stacked) {
    cut(heads_.size(), [&](Range part) {
      body(Tile{heads_.begin + part.begin, queries_.begin, static_cast<int>(part.size()), part.begin});
    });
    return;
  }
  for (int64_t head = heads_.begin; head < heads_.end; ++head) {
    cut(queries_.size(), [&](Range part) {
      body(Tile{head, queries_.begin + part.begin, static_cast<int>(part.size()),
                (head - heads_.begin) * queries_.size() + part.begin});
    });
  }
}

// Keys as panels [key / nr][d][nr], values as panels [d / nr][key][nr].
void Task::pack(Range keys) {
  const int64_t nr = gemm_.nr;
  const float *k = k_ + keys.begin * p_.k.stride_s, *v = v_ + keys.begin * p_.v.stride_s;
  if (products_) {
    products_->pack_keys(k, p_.k.stride_s, p_.k.stride_d, keys.size(), packed_k_);
    products_->pack_values(v, p_.v.stride_s, p_.v.stride_d, keys.size(), packed_v_);
    return;
  }
  if (plan_.pack_k) {
    for (int64_t key = 0; key < keys.size(); key += nr) {
      const int cols = static_cast<int>(std::min(nr, keys.size() - key));
      gemm_.pack_panel(k + key * p_.k.stride_s, p_.k.stride_d, p_.k.stride_s, p_.head_dim, cols,
                       packed_k_ + key * p_.head_dim);
    }
  }
  if (plan_.pack_v) {
    for (int64_t d = 0; d < p_.v_dim; d += nr) {
      const int cols = static_cast<int>(std::min(nr, p_.v_dim - d));
      gemm_.pack_panel(v + d * p_.v.stride_d, p_.v.stride_s, p_.v.stride_d, keys.size(), cols,
                       packed_v_ + d * plan_.key_block);
    }
  }
}

ScoreBlock Task::block_of(const Tile& tile) const {
  ScoreBlock block{};
  block.scores = scores_;
  block.ld = plan_.key_block;
  block.rows = tile.rows;
  block.scale = p_.scale;
  block.softcap = p_.softcap;
  block.row_max = row_max_ + tile.state;
  block.row_sum = row_sum_ + tile.state;
  block.accumulator = accumulator_ + tile.state * plan_.v_columns;
  block.ld_accumulator = plan_.v_columns;
  block.v_dim = p_.v_dim;
  return block;
}

// scores[:, first .. last) = Q Kᵀ; key numbers count from first_key, the start of the block.
void Task::score(const Tile& tile, int64_t first_key, int64_t first, int64_t last) {
  const int64_t ld = plan_.key_block, nr = gemm_.nr;
  const float* q = q_ + tile.query * p_.q.stride_s + tile.head * p_.q.stride_h;
  int64_t ld_q = row_stride(p_.q.stride_s, p_.q.stride_h);
  if (plan_.copy_q) {
    for (int r = 0; r < tile.rows; ++r)
      for (int64_t d = 0; d < p_.head_dim; ++d) copy_[r * p_.head_dim + d] = q[r * ld_q + d * p_.q.stride_d];
    q = copy_;
    ld_q = p_.head_dim;
  }
  if (products_) return products_->score(q, ld_q, tile.rows, packed_k_, first, last, scores_, ld);
  const float* k = k_ + first_key * p_.k.stride_s;
  if (!plan_.pack_k && p_.k.stride_s != 1) {
    kernels_.dots(q, ld_q, tile.rows, k + first * p_.k.stride_s, p_.k.stride_s, last - first, p_.head_dim,
                  scores_ + first, ld);
    return;
  }
  for (int64_t key = first / nr * nr; key < last; key += nr) {
    const float* b = plan_.pack_k ? packed_k_ + key * p_.head_dim : k + key;
    const int cols = static_cast<int>(std::min(nr, last - key));
    gemm_.tile[tile.rows](
        {q, ld_q, b, plan_.pack_k ? nr : p_.k.stride_d, p_.head_dim, scores_ + key, ld, cols, false, nullptr});
  }
}

// accumulator += weights[:, first .. last) V
void Task::weigh(const Tile& tile, int64_t first_key, int64_t first, int64_t last) {
  const int64_t nr = gemm_.nr;
  float* out = accumulator_ + tile.state * plan_.v_columns;
  if (products_) {
    return products_->weigh(scores_, plan_.key_block, tile.rows, packed_v_, first, last, out, plan_.v_columns);
  }
  for (int64_t d = 0; d < p_.v_dim; d += nr) {
    const float* b =
        plan_.pack_v ? packed_v_ + d * plan_.key_block + first * nr : v_ + (first_key + first) * p_.v.stride_s + d;
    const int cols = static_cast<int>(std::min(nr, p_.v_dim - d));
    gemm_.tile[tile.rows]({scores_ + first, plan_.key_block, b, plan_.pack_v ? nr : p_.v.stride_s, last - first,
                           out + d, plan_.v_columns, cols, true, nullptr});
  }
}

// Takes the keys of one block into the state of a tile's rows.
void Task::attend(const Tile& tile, Range keys) {
  int64_t begin[kMaxTileRows], end[kMaxTileRows];
  ScoreBlock block = block_of(tile);
  block.begin = begin;
  block.end = end;
  block.first = keys.size();
  block.last = 0;
  for (int r = 0; r < tile.rows; ++r) {
    const Range seen = visible(plan_.stacked ? tile.query : tile.query + r);
    begin[r] = std::max(seen.begin, keys.begin) - keys.begin;
    end[r] = std::min(seen.end, keys.end) - keys.begin;
    if (begin[r] >= end[r]) continue;
    block.first = std::min(block.first, begin[r]);
    block.last = std::max(block.last, end[r]);
  }
  if (block.first >= block.last) return;

  score(tile, keys.begin, block.first, block.last);
  if (p_.mask.data != nullptr) {
    block.mask = p_.mask.data + batch_ * p_.mask.stride_b + tile.head * p_.mask.stride_h +
                 (first_query_ + tile.query) * p_.mask.stride_q + (first_key_ + keys.begin) * p_.mask.stride_k;
    block.mask_stride_row = row_stride(p_.mask.stride_q, p_.mask.stride_h);
    block.mask_stride_key = p_.mask.stride_k;
  }
  kernels_.scale(block);
  if (p_.score_map != nullptr) {
    p_.score_map(p_.score_context, {scores_ + block.first, block.ld, tile.rows, block.last - block.first, batch_,
                                    tile.head, first_query_ + tile.query, first_key_ + keys.begin + block.first});
  }
  kernels_.exponentiate(block);
  weigh(tile, keys.begin, block.first, block.last);
}

void Task::write(const Tile& tile) {
  float* out = out_ + tile.query * p_.out_stride_s + tile.head * p_.out_stride_h;
  kernels_.divide(block_of(tile), p_.zero_masked_rows, out, row_stride(p_.out_stride_s, p_.out_stride_h));
}

void Task::compute(const Part& part) {
  locate(part);
  if (queries_.size() <= 0) return;
  const int64_t rows = heads_.size() * queries_.size();
  std::fill_n(row_max_, rows, -std::numeric_limits<float>::infinity());
  std::fill_n(row_sum_, rows, 0.0f);
  std::fill_n(accumulator_, rows * plan_.v_columns, 0.0f);
  // Later queries see keys that begin and end no earlier, so the first and the last bound what all of them see.
  const int64_t first = visible(queries_.begin).begin, last = visible(queries_.end - 1).end;
  for (int64_t key = first; key < last; key += plan_.key_block) {
    const Range keys{key, std::min(key + plan_.key_block, last)};
    pack(keys);
    for_each_tile([&](const Tile& tile) { attend(tile, keys); });
  }
  for_each_tile([&](const Tile& tile) { write(tile); });
}

void Task::run(int64_t index) {
  Part part = part_of(index);
  compute(part);
  for (++part.batch; part.batch >= plan_.sequences && part.batch < p_.batch; ++part.batch) compute(part);
}

}  // namespace

int64_t attention_workspace_floats(const GemmKernels& gemm, const Attention& attention, int threads) {
  return threads * make_plan(gemm, attention, threads).workspace();
}

void attention(ThreadTeam& team, const GemmKernels& gemm, const AttentionKernels& kernels, const Attention& attention,
               float* workspace) {
  const Plan plan = make_plan(gemm, attention, team.size());
  team.parallel_for(plan.tasks, [&](int64_t begin, int64_t end, int thread) {
    const bool prepares = plan.rounded && attention.unit->begin != nullptr;
    if (prepares) attention.unit->begin();
    Task task(gemm, kernels, attention, plan, workspace + thread * plan.workspace());
    for (int64_t index = begin; index < end; ++index) task.run(index);
    if (prepares) attention.unit->end();
  });
}

}  // namespace lathe::cpu
