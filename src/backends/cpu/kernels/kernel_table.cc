#include "backends/cpu/kernels/kernel_table.h"

#include "base/error.h"

namespace lathe::cpu {

#define LATHE_DECLARE(Type, member) const Type& member();
namespace generic {
LATHE_CPU_KERNEL_FAMILIES(LATHE_DECLARE)
}
namespace avx2 {
LATHE_CPU_KERNEL_FAMILIES(LATHE_DECLARE)
}
namespace avx512 {
LATHE_CPU_KERNEL_FAMILIES(LATHE_DECLARE)
}
#undef LATHE_DECLARE

const KernelTable& kernel_table(Isa isa) {
#define LATHE_GENERIC(Type, member) generic::member(),
#define LATHE_AVX2(Type, member) avx2::member(),
#define LATHE_AVX512(Type, member) avx512::member(),
  static const KernelTable tables[kIsaCount] = {
      {Isa::generic, LATHE_CPU_KERNEL_FAMILIES(LATHE_GENERIC)},
      {Isa::avx2, LATHE_CPU_KERNEL_FAMILIES(LATHE_AVX2)},
      {Isa::avx512, LATHE_CPU_KERNEL_FAMILIES(LATHE_AVX512)},
  };
#undef LATHE_GENERIC
#undef LATHE_AVX2
#undef LATHE_AVX512
  LATHE_CHECK(static_cast<int>(isa) < kIsaCount);
  return tables[static_cast<int>(isa)];
}

}  // namespace lathe::cpu
