// Runs expression programs (graph/map_program.h) at the speed of the L1 cache: block by block, instruction by
// instruction. A block is some hundred consecutive elements of the output; each instruction is one loop over it
// (map_kernels.h), with intermediate results in registers of a few KB. Inputs that are contiguous over a block are read
// in place.
//
// MapCode is a program made ready for one ISA, independent of sizes. MapPlan adds the sizes: which axes of the output
// collapse, how each input strides over them, and how the output is cut into blocks. Both are immutable and shared.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "backends/cpu/kernels/map_kernels.h"
#include "base/thread_team.h"
#include "graph/bindings.h"
#include "graph/map_program.h"

namespace lathe::cpu {

inline constexpr int64_t kMapBlock = 512;

class MapCode {
 public:
  // Throws Error(unsupported) when an instruction has no kernel for its type; why_unsupported() tells beforehand.
  MapCode(const MapProgram& program, const MapKernels& kernels);
  // The first reason why a program cannot run here; empty when it can.
  static std::string why_unsupported(const MapProgram& program, const MapKernels& kernels);

  const MapProgram& program() const { return program_; }
  size_t scratch_bytes() const { return static_cast<size_t>(num_registers_) * kRegisterBytes; }  // per thread

 private:
  friend class MapPlan;
  static constexpr size_t kRegisterBytes = static_cast<size_t>(kMapBlock) * 8;

  struct Instr {
    MapFn fn;
    int out, a, b, c;  // registers; out < 0 writes the result straight to memory
  };
  // An input or an iota: a value that strides over the output. Its register is filled, or pointed at memory, per block.
  struct Leaf {
    int input;  // -1: iota
    int axis;   // of an iota, from the end
    int reg;
    int element_bytes;  // in memory
    MapFn load;         // memory to register form; null when they are the same
  };
  // Filled once per call: constants and dimensions.
  struct Uniform {
    int reg;
    MapInstr instr;
  };

  void assign_registers(const MapKernels& kernels);

  MapProgram program_;
  std::vector<Instr> code_;
  std::vector<Leaf> leaves_;
  std::vector<Uniform> uniforms_;
  int num_registers_ = 0;
  int result_ = 0;  // register of the result when no instruction writes it directly
  bool result_direct_ = false;
  MapFn store_ = nullptr;  // register form to memory, for f16 and bf16
  int out_bytes_ = 4;
};

class MapPlan {
 public:
  // input_dims[i] broadcast to out_dims. `uniform_inputs` of the program's dims come from `symbols`.
  MapPlan(const MapCode& code, std::span<const std::span<const int64_t>> input_dims, std::span<const int64_t> out_dims,
          const SymbolBindings& symbols);

  size_t workspace_bytes(int threads) const { return static_cast<size_t>(threads) * code_.scratch_bytes(); }

  // The whole output. inputs[i] points to input i; workspace as workspace_bytes(team.size()).
  void run(ThreadTeam& team, std::span<const void* const> inputs, void* out, void* workspace) const;

  // Elements [begin, end) of the output, row-major, by the calling thread; `out` and, where `first_input` is not null,
  // input 0 point at the element `begin` itself (an epilogue works in place on a tile, a score function on a buffer of
  // its own). `scratch` must have been through start().
  void start(std::byte* scratch) const;
  void run_range(std::span<const void* const> inputs, const void* first_input, void* out, int64_t begin, int64_t end,
                 std::byte* scratch) const;

 private:
  struct LeafStrides {
    std::vector<int64_t> strides;  // elements, by collapsed axis
    bool uniform = false;          // the same element everywhere
  };
  // Where a block starts: coordinates in the collapsed axes.
  struct Position {
    int64_t coordinates[16];
  };

  void collapse(std::span<const int64_t> out_dims, std::vector<std::vector<int64_t>> strides);
  Position position_of(int64_t element) const;
  const void* leaf_block(size_t leaf, const std::byte* base, const Position& position, int64_t n,
                         std::byte* scratch) const;
  void gather(size_t leaf, const std::byte* base, Position position, int64_t n, std::byte* target) const;
  void run_block(std::span<const void* const> inputs, const void* first_input, void* out, int64_t begin, int64_t n,
                 std::byte* scratch) const;

  const MapCode& code_;
  std::vector<int64_t> dims_;  // collapsed, outermost first; at least one
  std::vector<LeafStrides> leaves_;
  std::vector<uint64_t> uniform_bits_;  // in register form, by Uniform
  int64_t elements_ = 0;
  int64_t segment_ = kMapBlock;   // elements of a block
  int64_t segments_per_row_ = 1;  // blocks per innermost row; rows are `row_` long
  int64_t row_ = 0;
};

}  // namespace lathe::cpu
