// The bulk copy engine of Hopper (TMA): boxes of a tensor between global and shared memory, by one thread. Tensors are
// described by maps that the host makes (api/tensor_map.h) and passes as __grid_constant__ parameters. Coordinates are
// in elements, innermost first; what lies outside the tensor is read as zeros and not written.
#pragma once

#include "mbarrier.cuh"

struct alignas(64) TensorMap {
  u64 words[16];
};

inline __device__ void prefetch_map(const TensorMap& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

// ---- loads: the barrier is told of the bytes as they arrive ----

inline __device__ void load_box(u32 to, const TensorMap& map, u32 barrier, int x, int y) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], "
      "[%2];" ::"r"(to),
      "l"(&map), "r"(barrier), "r"(x), "r"(y)
      : "memory");
}
inline __device__ void load_box(u32 to, const TensorMap& map, u32 barrier, int x, int y, int z) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], "
      "[%2];" ::"r"(to),
      "l"(&map), "r"(barrier), "r"(x), "r"(y), "r"(z)
      : "memory");
}
inline __device__ void load_box(u32 to, const TensorMap& map, u32 barrier, int x, int y, int z, int w) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], "
      "[%2];" ::"r"(to),
      "l"(&map), "r"(barrier), "r"(x), "r"(y), "r"(z), "r"(w)
      : "memory");
}

// ---- stores, of what ordinary stores left in shared memory ----

// By each thread that wrote, before the barrier that the copying thread waits at.
inline __device__ void publish_to_copies() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

inline __device__ void store_box(const TensorMap& map, u32 from, int x, int y, int z) {
  asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(&map), "r"(from),
               "r"(x), "r"(y), "r"(z)
               : "memory");
}
inline __device__ void commit_stores() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
// Waits until shared memory may be written again, for all but the last LEFT groups of this thread.
template <int LEFT>
inline __device__ void wait_for_stores() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(LEFT) : "memory");
}
