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

// Reads extras for two results that lie side by side.
struct PairReader {
  const EpilogueArgs& args;
  i64 row;
  int column, offset;  // the latter known when compiling
  bool inside;

  template <class T, int N>
  __device__ Pack<T, N> load(int input) const {
    const int i = input - 1;
    const T* from = static_cast<const T*>(args.extras[i]);
    if (ROW_EXTRAS >> i & 1) from += row * args.row[i];
    if (!(COLUMN_EXTRAS >> i & 1)) return {*from, *from};
    Pack<T, N> pack;  // beyond the matrix anything will do, as nothing is stored
    if (inside) pack = load_pack<N>(from + column + offset);
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
      multiply_stages(sums, ring_, at, first_row, steps, thread_ == 0);
      const Place place = tiles.place();
      store(sums, {place.row + first_row, place.column, place.batch});
    }
    if (lane_ == 0) wait_for_stores<0>();
  }

 private:
  // Stores the rows of this warp.
  __device__ void store(const Sums& sums, const Place& place) {
#pragma unroll
    for (int block = 0; block < kBlocks; ++block)
#pragma unroll
      for (int column = 0; column < BN; column += kBoxColumns) {
        Place at = {place.row + block * 64 + thread_ / kWarp * kBoxRows, place.column + column, place.batch};
        asm volatile("" : "+r"(at.column), "+r"(at.row)::"memory");  // or addresses of all boxes are kept in registers
        const u32 box = boxes_ + box_ % kBoxes * kBoxBytes;
        if (lane_ == 0) wait_for_stores<kBoxes - 1>();
        __syncwarp();
        fill(box, sums[block], column, at);
        publish_to_copies();
        __syncwarp();
        if (lane_ == 0) {
          store_box(map_y_, box, at.column, at.row, at.batch);
          commit_stores();
        }
        ++box_;
      }
  }

  // Computes the epilogue of a box, whose sums begin at `first`.
  __device__ void fill(u32 box, const SUM (&sums)[BN / 8][4], int first, const Place& place) const {
    const int line = lane_ / 4, pair = lane_ % 4 * 2;
    const i64 before = args_.first_row + place.batch * args_.m;
    const int last = int(args_.m) - 1;
    const i64 rows[2] = {before + min(place.row + line, last), before + min(place.row + line + 8, last)};
#pragma unroll
    for (int i = 0; i < kBoxColumns / 8; ++i) {
      const bool inside = place.column + i * 8 < int(args_.n);
      const u32 offset = (i * 8 + pair) * sizeof(Output);
      Program::Registers registers[2];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        if (half == 0 || ROW_EXTRAS != 0)
          Program::read<1, 2>(PairReader{args_.epilogue, rows[half], place.column + pair, i * 8, inside}, registers);
        registers[0].x0 = sums[first / 8 + i][half * 2];
        registers[1].x0 = sums[first / 8 + i][half * 2 + 1];
        store_to_shared(box + (line + half * 8) * kLine + (offset ^ (line % 8 * 16)), results_of(registers));
      }
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
