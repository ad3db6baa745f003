// Which attention kernel serves a problem, how it is cut into tiles, and whether the keys are split.
#pragma once

#include <string>
#include <vector>

#include "backends/cuda/device.h"
#include "graph/op.h"

namespace lathe::cuda {

// What score programs leave to the kernel; the values of its SCORE.
enum class ScoreKind { none = 0, program = 1, key_bias = 2 };

// A kernel and how it is cut into tiles.
struct Tiling {
  const char* file;
  int64_t rows, keys;
  int threads, tiles;   // tiles: of 16 rows per warp, on tensor cores
  int64_t head, value;  // features of a head, padded
  size_t shared_bytes;
  int consumers = 0;  // warpgroups of the kernel for Hopper, whose blocks go from tile to tile; 0: any other kernel
  int slabs = 0;      // of shared memory for queries, there
  bool key_biases = false;  // there: the producer runs a program

  bool hopper() const { return consumers > 0; }
  std::vector<std::string> defines() const;
};

// Largest tiles first. `packed`: operands allow 16-byte packs.
std::vector<Tiling> attention_tilings(const Attention& op, DType type, ScoreKind score, bool packed,
                                      const DeviceInfo& device);

// Of a (batch, key head) pair: rows are queries times the heads that share it.
struct AttentionProblem {
  int64_t pairs, rows, keys;
  bool causal;
  int64_t typical = 0;  // of packed sequences: tokens of one, on average; their keys are not split
};

struct AttentionPlan {
  const Tiling* tiling;
  int64_t blocks;  // of rows: tiles
  int64_t splits, keys_per_split;
};

AttentionPlan plan_attention(const std::vector<Tiling>& tilings, const AttentionProblem& problem, int multiprocessors);

}  // namespace lathe::cuda
