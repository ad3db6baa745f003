// What the processor in front of us can do: read once with CPUID and XGETBV by whoever opens an engine, then passed
// down. A feature counts only when the operating system saves its registers too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lathe {

// The kernel variants that are built, worst first; a machine that has one has all before it.
//   generic  baseline x86-64 (SSE2) or any other machine
//   avx2     AVX2, FMA, F16C
//   avx512   AVX-512 F, BW, DQ, VL and VNNI
enum class Isa : uint8_t { generic, avx2, avx512 };
inline constexpr int kIsaCount = 3;

std::string_view to_string(Isa isa);
std::optional<Isa> isa_from_string(std::string_view name);

struct CpuFeatures {
  Isa best_isa = Isa::generic;
  bool avx512_vnni = false;
  bool avx512_bf16 = false;
  // The instructions exist and the kernel can save the tiles; a process must still ask for permission before first use.
  bool amx_bf16 = false;
  bool amx_int8 = false;
  // Bytes, as one core sees them; a value the processor does not tell is 0.
  size_t l1d_bytes = 0;
  size_t l2_bytes = 0;
  size_t l3_bytes = 0;
  std::string name;  // the vendor's brand string, empty when unknown
};

CpuFeatures detect_cpu_features();

// Asks the kernel to save AMX tiles for all threads of this process, on a machine that has them; false when it refuses.
bool request_tiles();

}  // namespace lathe
