// Measures what this machine can do at best, with all threads of a team at once: the floors printed beside timings.
#pragma once

#include "backends/cpu/kernels/probe_kernels.h"
#include "base/thread_team.h"

namespace lathe::cpu {

// Best of a few short runs (about 10 ms in all).
double measure_fma_gflops(ThreadTeam& team, const ProbeKernels& kernels);
double measure_byte_gops(ThreadTeam& team, const ProbeKernels& kernels);  // of 8-bit products, the same way

// Every thread reads its part of a buffer of `bytes` again and again; the size decides which cache answers.
// Allocates the buffer; about 20 ms for a buffer beyond the caches.
double measure_read_gbytes_per_second(ThreadTeam& team, const ProbeKernels& kernels, int64_t bytes);

}  // namespace lathe::cpu
