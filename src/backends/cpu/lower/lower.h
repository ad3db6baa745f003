// The lowering table of the CPU: one overload of lower() per op that has kernels, each in lower/<family>.cc, returning
// its candidates best first. An op without an overload would not compile in lower.cc, where those left to the reference
// backend are listed. Ops are written lathe::Norm and so on: several kernels' argument structs have the same names in
// this namespace.
#pragma once

#include <vector>

#include "backends/backend.h"
#include "backends/cpu/cpu_context.h"
#include "backends/cpu/kernels/kernel_table.h"
#include "graph/constant.h"

namespace lathe::cpu {

struct AmxInt8Kernels;

struct Target {
  const KernelTable& kernels;
  const GemmBf16Kernels* bf16 = nullptr;       // the unit for products of bf16, where it is faster than f32
  const AmxInt8Kernels* int8_tiles = nullptr;  // matrix tiles for products of bytes, where the machine has them
  bool uniform = false;                        // BackendOptions::uniform_rows
};

using Candidates = std::vector<Candidate>;

Candidates lower(const lathe::Map& op, const Node& node, const Target& target);
Candidates lower(const lathe::MatMul& op, const Node& node, const Target& target);
Candidates lower(const lathe::MatMulNBits& op, const Node& node, const Target& target);
Candidates lower(const lathe::GroupedMatMul& op, const Node& node, const Target& target);
Candidates lower(const lathe::Conv& op, const Node& node, const Target& target);
Candidates lower(const lathe::ConvTranspose& op, const Node& node, const Target& target);
Candidates lower(const lathe::Pool& op, const Node& node, const Target& target);
Candidates lower(const lathe::Reduce& op, const Node& node, const Target& target);
Candidates lower(const lathe::ArgReduce& op, const Node& node, const Target& target);
Candidates lower(const lathe::Cumulative& op, const Node& node, const Target& target);
Candidates lower(const lathe::Norm& op, const Node& node, const Target& target);
Candidates lower(const lathe::GroupNorm& op, const Node& node, const Target& target);
Candidates lower(const lathe::Softmax& op, const Node& node, const Target& target);
Candidates lower(const lathe::Attention& op, const Node& node, const Target& target);
Candidates lower(const lathe::PagedAttention& op, const Node& node, const Target& target);
Candidates lower(const lathe::DynamicQuantize& op, const Node& node, const Target& target);
Candidates lower(const lathe::Rotary& op, const Node& node, const Target& target);
Candidates lower(const lathe::Embedding& op, const Node& node, const Target& target);
Candidates lower(const lathe::Resize& op, const Node& node, const Target& target);
Candidates lower(const lathe::Dims& op, const Node& node, const Target& target);
Candidates lower(const lathe::Reshape& op, const Node& node, const Target& target);
Candidates lower(const lathe::Transpose& op, const Node& node, const Target& target);
Candidates lower(const lathe::Slice& op, const Node& node, const Target& target);
Candidates lower(const lathe::Concat& op, const Node& node, const Target& target);
Candidates lower(const lathe::Pad& op, const Node& node, const Target& target);
Candidates lower(const lathe::ReverseSequence& op, const Node& node, const Target& target);
Candidates lower(const lathe::Gather& op, const Node& node, const Target& target);
Candidates lower(const lathe::GatherElements& op, const Node& node, const Target& target);
Candidates lower(const lathe::GatherNd& op, const Node& node, const Target& target);
Candidates lower(const lathe::ScatterElements& op, const Node& node, const Target& target);
Candidates lower(const lathe::ScatterNd& op, const Node& node, const Target& target);
Candidates lower(const lathe::TopK& op, const Node& node, const Target& target);
Candidates lower(const lathe::NonZero& op, const Node& node, const Target& target);
Candidates lower(const lathe::Nms& op, const Node& node, const Target& target);
Candidates lower(const lathe::PackTokens& op, const Node& node, const Target& target);
Candidates lower(const lathe::Rnn& op, const Node& node, const Target& target);

// All candidates for a node, whatever its op.
Candidates candidates_for(const Node& node, const Target& target);

// ---- shared by the families ----

inline ThreadTeam& team_of(DeviceContext& device) { return static_cast<CpuContext&>(device).team(); }

inline Candidate accept(std::string kernel, std::function<Lowered()> make) {
  return {std::move(kernel), {}, std::move(make)};
}
inline Candidate decline(std::string kernel, std::string why) { return {std::move(kernel), std::move(why), {}}; }

// A step of type S, all operands plain.
template <class S, class... Args>
Lowered plain_step(Args&&... args) {
  return {std::make_unique<S>(std::forward<Args>(args)...), {}};
}

// Why not all tensor operands and results are f32 ("" if they are).
std::string not_f32(const Node& node);
// Why the elements of `type` cannot be moved by address ("" if they can): strings, and types smaller than a byte.
std::string not_whole_bytes(DType type);
inline int64_t element_bytes(DType type) { return bit_width(type) / 8; }

// A shape [1, .., 1, row..] or shorter: one row that is the same for all leading axes.
bool is_row(const Shape& shape, std::span<const Dim> row);

// Strides, in elements, of a dense tensor; and of one of the given sizes read as if it had `dims` (0 where it repeats).
std::vector<int64_t> dense_strides(std::span<const int64_t> dims);
std::vector<int64_t> broadcast_strides(std::span<const int64_t> sizes, std::span<const int64_t> dims);

// Cuts a step's workspace into parts, each aligned for vector loads. Run twice: with null to learn the size, then for
// real.
class Workspace {
 public:
  explicit Workspace(void* memory = nullptr) : memory_(static_cast<std::byte*>(memory)) {}

  std::byte* take(size_t bytes) {
    const size_t offset = used_;
    used_ += (bytes + 63) / 64 * 64;
    return memory_ == nullptr ? nullptr : memory_ + offset;
  }
  float* floats(int64_t count) { return reinterpret_cast<float*>(take(static_cast<size_t>(count) * sizeof(float))); }
  size_t used() const { return used_; }

 private:
  std::byte* memory_;
  size_t used_ = 0;
};

}  // namespace lathe::cpu
