// Barriers in shared memory (mbarrier, sm_90): a phase ends when as many threads as the barrier was made for have
// arrived and all bytes that were announced to it have been written by copies. Barriers are named by their address in
// shared memory.
#pragma once

#include "prelude.cuh"

inline __device__ void make_barrier(u32 barrier, u32 arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
// After the last one is made, before a barrier of the block: copies, and blocks of the cluster, see them.
inline __device__ void publish_barriers() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

inline __device__ void arrive(u32 barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
// Arrives, and announces bytes that copies will write.
inline __device__ void arrive_expecting(u32 barrier, u32 bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

// Waits for the end of the phase of this parity: 0 for the first, third.. phase, 1 for the others. A barrier that was
// just made counts as past parity 1.
inline __device__ void wait(u32 barrier, u32 parity) {
  asm volatile(
      "{.reg .pred done; again: mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1; @done bra over; bra again; "
      "over:}" ::"r"(barrier),
      "r"(parity)
      : "memory");
}

// A place in a ring of stages, and the parity of its phase.
template <int LENGTH>
struct RingPosition {
  int stage = 0;
  u32 parity = 0;
  __device__ void advance() {
    if (++stage == LENGTH) stage = 0, parity ^= 1;
  }
  __device__ void advance(int stages) {
    stage += stages;
    parity ^= stage / LENGTH % 2;
    stage %= LENGTH;
  }
};
