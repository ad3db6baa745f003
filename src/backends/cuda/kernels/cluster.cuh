// Blocks of a cluster (sm_90): who they are, waiting for each other, and reading each other's shared memory.
#pragma once

#include "prelude.cuh"

inline __device__ u32 block_in_cluster() {
  u32 rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

// All threads of all blocks; what they wrote before is then seen by all.
inline __device__ void wait_for_cluster() {
  asm volatile("barrier.cluster.arrive.release; barrier.cluster.wait.acquire;" ::: "memory");
}

// Four values of 4 bytes that another block has at this address of shared memory.
template <class T>
inline __device__ Pack<T, 4> load_from_block(u32 block, u32 address) {
  Pack<u32, 4> pack;
  asm volatile(
      "{.reg .b32 remote; mapa.shared::cluster.u32 remote, %4, %5; ld.shared::cluster.v4.u32 {%0, %1, %2, %3}, "
      "[remote];}"
      : "=r"(pack[0]), "=r"(pack[1]), "=r"(pack[2]), "=r"(pack[3])
      : "r"(address), "r"(block)
      : "memory");
  return *reinterpret_cast<const Pack<T, 4>*>(&pack);
}
