// What Hopper's kernels for products share: the ring of stages through which tiles of both matrices pass, and their
// multiplication. Defined by the host: A, B and SUM (types), BM x BN (tile of the results), ROWS (of it, those of one
// warpgroup), STAGES, and RIGHT: whether lines of b run along the results (halves only), not along the terms.
#pragma once

#include "matmul_args.h"
#include "tma.cuh"
#include "wgmma.cuh"

constexpr int kLine = 128;                           // bytes of a line in shared memory, swizzled
constexpr int kTerms = kLine / sizeof(A);            // that a stage holds of each row and column
constexpr int kInstructionBytes = 32;                // of a line, that one instruction takes
constexpr int kInstructionTerms = kTerms / 4;
constexpr int kBlocks = ROWS / 64;                   // of rows, one instruction each
constexpr u32 kBytesA = BM * kLine, kBytesB = BN * kLine, kStageBytes = kBytesA + kBytesB;
constexpr u32 kRingBytes = STAGES * kStageBytes;

using Sums = SUM[kBlocks][BN / 8][4];

// Addresses in shared memory: stages of both tiles, and for each stage a barrier that says that it is full and one that
// says that it may be filled again. Tiles begin at multiples of 1024 bytes, as the swizzle counts from there.
struct Ring {
  u32 stages, barriers;

  explicit __device__ Ring(u32 memory) : stages(memory), barriers(memory + kRingBytes) {}
  __device__ u32 a(int stage) const { return stages + stage * kStageBytes; }
  __device__ u32 b(int stage) const { return a(stage) + kBytesA; }
  __device__ u32 full(int stage) const { return barriers + stage * 8; }
  __device__ u32 empty(int stage) const { return barriers + (STAGES + stage) * 8; }

  // By one thread; `readers` signal that they are done with a stage.
  __device__ void make(int readers) const {
    for (int stage = 0; stage < STAGES; ++stage) {
      make_barrier(full(stage), 1);
      make_barrier(empty(stage), readers);
    }
    publish_barriers();
  }
};
constexpr u32 kRingAndBarriers = kRingBytes + STAGES * 2 * 8;

using Position = RingPosition<STAGES>;

template <class Left, class Right>
inline __device__ void multiply_by(SUM (&sums)[BN / 8][4], u64 left, u64 right, int accumulate, Left, Right) {
  if constexpr (sizeof(Left) == 2)
    multiply<RIGHT>(sums, left, right, accumulate, Left());
  else
    multiply(sums, left, right, accumulate, Left(), Right());
}

// Starts multiplying what a stage holds, `a` being the first of this warpgroup's rows.
inline __device__ void multiply_stage(Sums& sums, u32 a, u32 b, bool first) {
  start_products();
#pragma unroll
  for (int i = 0; i < kTerms / kInstructionTerms; ++i) {
    const u64 right = RIGHT ? describe_along_results(b + i * kInstructionTerms * kLine, kTerms * kLine)
                            : describe_along_terms(b + i * kInstructionBytes);
#pragma unroll
    for (int block = 0; block < kBlocks; ++block)
      multiply_by(sums[block], describe_along_terms(a + block * 64 * kLine + i * kInstructionBytes), right,
                  !first || i > 0, A(), B());
  }
  commit_products();
}

// Multiplies `steps` stages from `at` on; one thread of the warpgroup tells when a stage has been read.
inline __device__ void multiply_stages(Sums& sums, const Ring& ring, Position at, int first_row, int steps,
                                       bool tells) {
  int last = 0;
  for (int step = 0; step < steps; ++step) {
    wait(ring.full(at.stage), at.parity);
    multiply_stage(sums, ring.a(at.stage) + first_row * kLine, ring.b(at.stage), step == 0);
    wait_for_products<1>();
    if (tells && step > 0) arrive(ring.empty(last));
    last = at.stage;
    at.advance();
  }
  wait_for_products<0>();
#pragma unroll
  for (int block = 0; block < kBlocks; ++block) pin(sums[block]);
  if (tells) arrive(ring.empty(last));
}

// Ask for the tile of a from `row` on, and that of b from `column` on.
inline __device__ void load_rows(u32 to, const TensorMap& map, u32 barrier, int term, int row, int batch) {
  load_box(to, map, barrier, term, row, batch);
}
inline __device__ void load_columns(u32 to, const TensorMap& map, u32 barrier, int term, int column, int batch) {
  if constexpr (RIGHT) {
#pragma unroll
    for (int i = 0; i < BN; i += 64) load_box(to + i * kLine, map, barrier, column + i, term, batch);
  } else {
    load_box(to, map, barrier, term, column, batch);
  }
}
