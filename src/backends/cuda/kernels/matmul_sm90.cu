// Products on the tensor cores of Hopper, the epilogue computed while storing. Blocks stay and work through tiles of BM
// x BN results. One warpgroup asks the copy engine for tiles of 128 bytes of terms, STAGES of them ahead; two share the
// rows of the tile, one a few stages behind the other, so that one multiplies while the other computes the epilogue.
// Results pass through shared memory to the copy engine, which leaves out what lies beyond the matrix. Extras of the
// epilogue that have their bit in ROW_EXTRAS or COLUMN_EXTRAS differ from row to row or column to column. Floor: 2 m n
// k over the tensor peak. Shared memory is close to its own: for a tile of 128 x 256 the instructions read 80 bytes a
// cycle and copies write 48, of 128 that there are.
#include "epilogue.cuh"
#include "matmul_sm90.cuh"

static_assert(ROWS * 2 == BM);
constexpr int kGroupThreads = 128, kConsumers = 2, kThreads = (kConsumers + 1) * kGroupThreads;
constexpr int kTileGroup = 8;  // rows of tiles that are worked through column by column: their terms stay in the cache

// Results leave in boxes of 16 rows by 128 bytes; each warp fills one while the other is under way.
using Output = Program::Output;
constexpr int kBoxRows = 16, kBoxColumns = kLine / sizeof(Output);
constexpr u32 kBoxBytes = kBoxRows * kLine, kBoxes = 2;
static_assert(BN % kBoxColumns == 0 && sizeof(Output) <= 4);

constexpr int kLag = STAGES - 2;  // stages by which the second warpgroup starts later

struct Place {
  int row, column, batch;
};

// Of the results that a lane has in the rows of its warpgroup, which begin at `place`: of every 64 rows 16 are a
// warp's, of which the lane has one of the first 8 and the one 8 further down.
constexpr int kLaneRows = kBlocks * 2;
inline __device__ i64 row_of_result(const MatmulArgs& args, const Place& place, int lane_row) {
  const int in_group = threadIdx.x % kGroupThreads;
  const int row = lane_row / 2 * 64 + in_group / kWarp * kBoxRows + lane_row % 2 * 8 + in_group % kWarp / 4;
  return args.first_row + place.batch * args.m + min(place.row + row, int(args.m) - 1);
}

// ---- extras of the epilogue ----

// Extras of the row alone or of the column alone are read before the tile's sums are there, so that nobody waits for
// them. Each lane keeps those of its rows, and of two columns among every 64, which lanes hand to each other.
class TileExtras {
 public:
  __device__ TileExtras(const MatmulArgs& args, const Place& place) {
    Program::Registers ignored[1];
    Program::read<1, 1>(Fetcher{*this, args, place}, ignored);
  }

  template <class T>
  static constexpr __device__ bool keeps(int extra) {
    return sizeof(T) <= sizeof(u32) && (ROW_EXTRAS & COLUMN_EXTRAS & 1 << extra) == 0;
  }
  template <class T>
  __device__ T of_row(int extra, int row) const {
    return *reinterpret_cast<const T*>(&rows_[extra][row]);
  }
  // Of the lane's two columns among the eight from `first` on, by all lanes of a warp.
  template <class T>
  __device__ Pack<T, 2> of_columns(int extra, int first) const {
    u32 words[2];
#pragma unroll
    for (int w = 0; w < kWords<T>; ++w)
      words[w] = __shfl_sync(FULL_MASK, columns_[extra][first / 64][w], first % 64 / 2 + threadIdx.x % 4);
    return *reinterpret_cast<const Pack<T, 2>*>(words);
  }

 private:
  template <class T>
  static constexpr int kWords = sizeof(T) * 2 <= sizeof(u32) ? 1 : 2;

  struct Fetcher {
    TileExtras& to;
    const MatmulArgs& args;
    const Place& place;

    template <class T, int N>
    __device__ Pack<T, N> load(int input) const {
      const int i = input - 1;
      const T* from = static_cast<const T*>(args.epilogue.extras[i]);
      if (ROW_EXTRAS & COLUMN_EXTRAS & 1 << i) bring_near(from, args.epilogue.row[i]);
      if (!keeps<T>(i)) return {};
      if (COLUMN_EXTRAS >> i & 1) {
        const int column = place.column + threadIdx.x % kWarp * 2;
#pragma unroll
        for (int c = 0; c < BN / 64; ++c)
          if (column + c * 64 < int(args.n))
            *reinterpret_cast<Pack<T, 2>*>(to.columns_[i][c]) = load_pack<2>(from + column + c * 64);
      } else {
#pragma unroll
        for (int r = 0; r < kLaneRows; ++r)
          *reinterpret_cast<T*>(&to.rows_[i][r]) = from[row_of_result(args, place, r) * args.epilogue.row[i]];
      }
      return {};
    }
    // What differs from result to result is too much to keep: it comes into the cache.
    template <class T>
    __device__ void bring_near(const T* from, i64 row_stride) const {
      constexpr int kColumns = kLine / sizeof(T), kLines = BN / kColumns;
      for (int i = threadIdx.x % kGroupThreads; i < ROWS * kLines; i += kGroupThreads) {
        const int row = place.row + i / kLines, column = place.column + i % kLines * kColumns;
        if (row >= int(args.m) || column >= int(args.n)) continue;
        bring_to_l2(from + (args.first_row + place.batch * args.m + row) * row_stride + column);
      }
    }
  };

  u32 rows_[kEpilogueMaxExtras][kLaneRows], columns_[kEpilogueMaxExtras][BN / 64][2];
};

// Gives extras for four results: two side by side in each of two rows.
struct QuadReader {
  const MatmulArgs& args;
  const TileExtras& extras;
  const Place& place;
  int row, first;  // of the lane's rows; the first of eight columns, two of which are the lane's

  template <class T, int N>
  __device__ Pack<T, N> load(int input) const {
    const int i = input - 1;
    Pack<T, 2> upper{}, lower{};
    if (!extras.keeps<T>(i)) {
      upper = read<T>(i, row);
      lower = read<T>(i, row + 1);
    } else if (COLUMN_EXTRAS >> i & 1) {
      upper = lower = extras.of_columns<T>(i, first);
    } else {
      upper[0] = upper[1] = extras.of_row<T>(i, row);
      lower[0] = lower[1] = extras.of_row<T>(i, row + 1);
    }
    return {upper[0], upper[1], lower[0], lower[1]};
  }

 private:
  template <class T>
  __device__ Pack<T, 2> read(int i, int lane_row) const {
    const T* from = static_cast<const T*>(args.epilogue.extras[i]);
    if (ROW_EXTRAS >> i & 1) from += row_of_result(args, place, lane_row) * args.epilogue.row[i];
    if (!(COLUMN_EXTRAS >> i & 1)) return {*from, *from};
    Pack<T, 2> pack{};  // beyond the matrix anything will do, as nothing is stored
    const int column = place.column + first + threadIdx.x % 4 * 2;
    if (column < int(args.n)) pack = load_pack<2>(from + column);
    return pack;
  }
};

// The tiles of this block, in the order in which it computes them.
class Tiles {
 public:
  explicit __device__ Tiles(const MatmulArgs& args)
      : rows_((int(args.m) + BM - 1) / BM),
        columns_((int(args.n) + BN - 1) / BN),
        end_(rows_ * columns_ * int(args.batches)),
        at_(blockIdx.x) {}

  __device__ bool more() const { return at_ < end_; }
  __device__ void advance() { at_ += gridDim.x; }
  __device__ Place place() const {
    const int batch = at_ / (rows_ * columns_), i = at_ % (rows_ * columns_);
    const int first = i / (kTileGroup * columns_) * kTileGroup, in_group = i - first * columns_;
    const int rows = min(rows_ - first, kTileGroup);
    return {(first + in_group % rows) * BM, in_group / rows * BN, batch};
  }

 private:
  int rows_, columns_, end_, at_;
};

// ---- the warpgroup that asks for terms: one thread of it ----

struct Producer {
  const MatmulArgs& args;
  const TensorMap &map_a, &map_b;
  const Ring& ring;
  int steps;

  __device__ Producer(const MatmulArgs& a, const TensorMap& of_a, const TensorMap& of_b, const Ring& r)
      : args(a), map_a(of_a), map_b(of_b), ring(r), steps(int((a.k + kTerms - 1) / kTerms)) {}

  // The first terms of b may come while kernels before are still at work.
  __device__ int ahead() const { return args.constant_b ? min(steps, STAGES) : 0; }
  __device__ void fill_ahead() const {
    const Place place = Tiles(args).place();  // there is one for every block
    for (int step = 0; step < ahead(); ++step) load_b(step, step, place);
  }
  __device__ void fill() const {
    int done = ahead();
    Position at;
    for (Tiles tiles(args); tiles.more(); tiles.advance(), done = 0) {
      const Place place = tiles.place();
      const int batch = args.a_batch == 0 ? 0 : place.batch;
      for (int step = 0; step < steps; ++step, at.advance()) {
        if (step >= done) {
          wait(ring.empty(at.stage), at.parity ^ 1);
          load_b(step, at.stage, place);
        }
        load_rows(ring.a(at.stage), map_a, ring.full(at.stage), step * kTerms, place.row, batch);
      }
    }
  }
  // Announces both factors.
  __device__ void load_b(int step, int stage, const Place& place) const {
    arrive_expecting(ring.full(stage), kStageBytes);
    load_columns(ring.b(stage), map_b, ring.full(stage), step * kTerms, place.column,
                 args.b_batch == 0 ? 0 : place.batch);
  }
};

// ---- the warpgroups that multiply ----

class Consumer {
 public:
  __device__ Consumer(const MatmulArgs& args, const TensorMap& map_y, const Ring& ring, u32 boxes)
      : args_(args),
        map_y_(map_y),
        ring_(ring),
        group_(threadIdx.x / kGroupThreads),
        thread_(threadIdx.x % kGroupThreads),
        lane_(threadIdx.x % kWarp),
        boxes_(boxes + threadIdx.x / kWarp * kBoxes * kBoxBytes) {}

  __device__ void work() {
    const int steps = int((args_.k + kTerms - 1) / kTerms);
    const int first_row = group_ * ROWS;
    Tiles tiles(args_);
    Position at;
    Sums sums;
    if (group_ == 1) wait(ring_.full(min(kLag, steps - 1)), 0);
    for (; tiles.more(); tiles.advance(), at.advance(steps)) {
      Place place = tiles.place();
      place.row += first_row;
      const TileExtras extras(args_, place);
      multiply_stages(sums, ring_, at, first_row, steps, thread_ == 0);
      store(sums, extras, place);
    }
    if (lane_ == 0) wait_for_stores<0>();
  }

 private:
  // Stores the rows of this warp.
  __device__ void store(const Sums& sums, const TileExtras& extras, const Place& place) {
#pragma unroll
    for (int block = 0; block < kBlocks; ++block)
#pragma unroll
      for (int column = 0; column < BN; column += kBoxColumns) {
        Place at = place;
        asm volatile("" : "+r"(at.column), "+r"(at.row)::"memory");  // or addresses of all boxes are kept in registers
        const u32 box = boxes_ + box_ % kBoxes * kBoxBytes;
        if (lane_ == 0) wait_for_stores<kBoxes - 1>();
        __syncwarp();
        fill(box, sums[block], {args_, extras, at, block * 2, column});
        publish_to_copies();
        __syncwarp();
        if (lane_ == 0) {
          store_box(map_y_, box, at.column + column, at.row + block * 64 + thread_ / kWarp * kBoxRows, at.batch);
          commit_stores();
        }
        ++box_;
      }
  }

  // Computes the epilogue of a box, whose first columns are those of the reader.
  __device__ void fill(u32 box, const SUM (&sums)[BN / 8][4], QuadReader reader) const {
    const u32 line = lane_ / 4, first = box + line * kLine, pair = lane_ % 4 * 2 * sizeof(Output);
#pragma unroll
    for (int i = 0; i < kBoxColumns / 8; ++i, reader.first += 8) {
      Program::Registers registers[4];
      Program::read<1, 4>(reader, registers);
#pragma unroll
      for (int n = 0; n < 4; ++n) registers[n].x0 = sums[reader.first / 8][n];
      const auto results = results_of(registers);
      const u32 to = first + ((i * 8 * sizeof(Output) + pair) ^ line * 16);
      store_to_shared(to, Pack<Output, 2>{results[0], results[1]});
      store_to_shared(to + 8 * kLine, Pack<Output, 2>{results[2], results[3]});
    }
  }

  const MatmulArgs& args_;
  const TensorMap& map_y_;
  const Ring& ring_;
  int group_, thread_, lane_;
  u32 boxes_;
  int box_ = 0;
};

extern "C" __global__ void __launch_bounds__(kThreads, 1)
    ENTRY(const __grid_constant__ MatmulArgs args, const __grid_constant__ TensorMap map_a,
          const __grid_constant__ TensorMap map_b, const __grid_constant__ TensorMap map_y) {
  extern __shared__ __align__(1024) u8 memory[];
  const u32 start = (shared_address(memory) + 1023) / 1024 * 1024;
  constexpr u32 kBoxMemory = kConsumers * kGroupThreads / kWarp * kBoxes * kBoxBytes;
  const Ring ring(start + kBoxMemory);
  const Producer producer(args, map_a, map_b, ring);
  let_next_kernel_start();
  if (threadIdx.x == kConsumers * kGroupThreads) {
    prefetch_map(map_a);
    prefetch_map(map_b);
    ring.make(kConsumers);
    producer.fill_ahead();
  }
  __syncthreads();
  await_kernels_before();
  if (threadIdx.x >= kConsumers * kGroupThreads) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
    if (threadIdx.x == kConsumers * kGroupThreads) producer.fill();
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
    Consumer(args, map_y, ring, start).work();
  }
}
