#include "base/cpu_features.h"

#include <array>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace lathe {
namespace {

constexpr std::array<std::string_view, kIsaCount> kIsaNames = {"generic", "avx2", "avx512"};

#if defined(__x86_64__)

struct Registers {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(uint32_t leaf, uint32_t subleaf = 0) {
  Registers r;
  if (__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx) == 0) return {};
  return r;
}

bool bit(uint32_t value, int index) { return ((value >> index) & 1u) != 0; }

// XCR0: which register files the operating system saves on a context switch.
uint64_t saved_state() {
  uint32_t low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

void detect_instructions(CpuFeatures& features) {
  constexpr uint64_t kYmmState = 0x6, kZmmState = 0xe6, kTileState = 0x60000;
  const Registers basic = cpuid(1), extended = cpuid(7, 0), extended1 = cpuid(7, 1);
  if (!bit(basic.ecx, 27)) return;  // OSXSAVE: without it XGETBV does not exist
  const uint64_t saved = saved_state();
  const bool ymm = (saved & kYmmState) == kYmmState;
  const bool zmm = (saved & kZmmState) == kZmmState;
  const bool tiles = (saved & kTileState) == kTileState;

  const bool avx2 = ymm && bit(extended.ebx, 5) && bit(basic.ecx, 12) /*FMA*/ && bit(basic.ecx, 29) /*F16C*/;
  const bool avx512 = avx2 && zmm && bit(extended.ebx, 16) /*F*/ && bit(extended.ebx, 30) /*BW*/ &&
                      bit(extended.ebx, 17) /*DQ*/ && bit(extended.ebx, 31) /*VL*/;
  features.avx512_vnni = avx512 && bit(extended.ecx, 11);
  features.avx512_bf16 = avx512 && bit(extended1.eax, 5);
  const bool amx = tiles && bit(extended.edx, 24);
  features.amx_bf16 = amx && bit(extended.edx, 22);
  features.amx_int8 = amx && bit(extended.edx, 25);
  if (features.avx512_vnni) {
    features.best_isa = Isa::avx512;
  } else if (avx2) {
    features.best_isa = Isa::avx2;
  }
}

// Intel describes caches in leaf 4, AMD in leaf 0x8000001d, both with the same fields.
void detect_caches(CpuFeatures& features) {
  const bool amd_topology = cpuid(0x80000000u).eax >= 0x8000001du && bit(cpuid(0x80000001u).ecx, 22);
  const uint32_t leaf = amd_topology ? 0x8000001du : 4u;
  for (uint32_t i = 0; i < 16; ++i) {
    const Registers r = cpuid(leaf, i);
    const uint32_t type = r.eax & 0x1fu, level = (r.eax >> 5) & 0x7u;
    if (type == 0) break;
    if (type == 2) continue;  // instructions
    const size_t ways = (r.ebx >> 22) + 1, partitions = ((r.ebx >> 12) & 0x3ffu) + 1, line = (r.ebx & 0xfffu) + 1;
    const size_t bytes = ways * partitions * line * (static_cast<size_t>(r.ecx) + 1);
    if (level == 1) features.l1d_bytes = bytes;
    if (level == 2) features.l2_bytes = bytes;
    if (level == 3) features.l3_bytes = bytes;
  }
}

std::string brand_string() {
  if (cpuid(0x80000000u).eax < 0x80000004u) return {};
  std::string text;
  for (uint32_t leaf = 0x80000002u; leaf <= 0x80000004u; ++leaf) {
    const Registers r = cpuid(leaf);
    for (uint32_t word : {r.eax, r.ebx, r.ecx, r.edx})
      for (int i = 0; i < 4; ++i) text += static_cast<char>((word >> (8 * i)) & 0xffu);
  }
  text.resize(text.find_last_not_of(std::string_view(" \0", 2)) + 1);
  return text.substr(text.find_first_not_of(' ') == std::string::npos ? text.size() : text.find_first_not_of(' '));
}

#endif

}  // namespace

std::string_view to_string(Isa isa) { return kIsaNames[static_cast<size_t>(isa)]; }

std::optional<Isa> isa_from_string(std::string_view name) {
  for (int i = 0; i < kIsaCount; ++i)
    if (kIsaNames[static_cast<size_t>(i)] == name) return static_cast<Isa>(i);
  return std::nullopt;
}

bool request_tiles() {
#if defined(__x86_64__) && defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

CpuFeatures detect_cpu_features() {
  CpuFeatures features;
#if defined(__x86_64__)
  detect_instructions(features);
  detect_caches(features);
  features.name = brand_string();
#endif
  return features;
}

}  // namespace lathe
