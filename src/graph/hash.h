// Stable 64-bit content hashes: equal content gives equal hashes on every machine and in every run, so they may be
// stored (timing caches, plans) and printed. Not meant to withstand an adversary.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "graph/graph.h"

namespace lathe {

class Hasher {
 public:
  void add(uint64_t word) { state_ = mix(state_ ^ word) + kStep; }
  void add(std::span<const std::byte> bytes);
  void add(std::string_view text) { add(std::as_bytes(std::span(text.data(), text.size()))); }
  uint64_t finish() const { return mix(state_); }

 private:
  static constexpr uint64_t kStep = 0x9e3779b97f4a7c15u;  // 2^64 / golden ratio
  static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93u;
    return x ^ (x >> 32);
  }
  uint64_t state_ = kStep;
};

uint64_t hash(std::span<const std::byte> bytes);
uint64_t hash(const Tensor& tensor);  // type, sizes, bytes
uint64_t hash(const Type& type);
uint64_t hash(const Op& op);        // consistent with op_equal()
uint64_t hash(const Graph& graph);  // consistent with structurally_equal()

}  // namespace lathe
