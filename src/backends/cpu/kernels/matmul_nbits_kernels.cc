// Decides the arithmetic of weights of a few bits: dot products of four bytes where rows are rounded, multiply-adds
// where they are not. Nibbles are unpacked in registers, once for all rows of a tile.
#include "backends/cpu/kernels/matmul_nbits_kernels.h"

#include "backends/cpu/kernels/bytes.h"
#include "backends/cpu/kernels/dot_int8.h"
#include "backends/cpu/kernels/nbits_parameters.h"

namespace lathe::cpu::LATHE_ISA {
namespace {

constexpr int kVecs = kNBitsVecs, kPanel = kNBitsPanel;
constexpr int64_t kQuadBytes = kPanel * kQuad, kOctet = 8;
constexpr int kMaxRows = kVecWidth == 16 ? 12 : 3;
constexpr int64_t kAhead = 4096;  // bytes between what is read and what is fetched
constexpr int64_t kLine = 64;

template <bool nibbles>
constexpr int64_t kOctetBytes = nibbles ? kQuadBytes : 2 * kQuadBytes;

// sum += the products of four unsigned bytes of w and four signed ones of a, lane by lane.
#if defined(__AVX2__) && !defined(__AVX512F__)
struct SignedQuad {
  __m256i even, odd;  // as 16 bits
};
inline SignedQuad spread_signed(const int8_t* a) {
  const __m256i quad = _mm256_set1_epi32(load_quad(a));
  return {_mm256_srai_epi16(_mm256_slli_epi16(quad, 8), 8), _mm256_srai_epi16(quad, 8)};
}
inline void add_signed(IVec& sum, IVec w, const SignedQuad& a) {
  const auto bytes = reinterpret_cast<__m256i>(w);
  const __m256i even = _mm256_and_si256(bytes, _mm256_set1_epi16(0xff)), odd = _mm256_srli_epi16(bytes, 8);
  sum += reinterpret_cast<IVec>(_mm256_add_epi32(_mm256_madd_epi16(even, a.even), _mm256_madd_epi16(odd, a.odd)));
}
#else
using SignedQuad = IVec;
inline SignedQuad spread_signed(const int8_t* a) { return splat_int(load_quad(a)); }
inline void add_signed(IVec& sum, IVec w, SignedQuad a) { add_products(sum, w, a); }
#endif

inline IVec load_weights(const uint8_t* w, int v) {
  return load_int(reinterpret_cast<const int32_t*>(w) + v * kVecWidth, kVecWidth);
}

// The two halves of an octet, as unsigned bytes.
template <bool nibbles>
struct Octet {
  IVec halves[2][kVecs];

  explicit Octet(const uint8_t* w) {
    LATHE_UNROLL
    for (int v = 0; v < kVecs; ++v) {
      halves[0][v] = load_weights(w, v);
      if constexpr (nibbles) {
        const IVec low = splat_int(0x0f0f0f0f);
        halves[1][v] = shift_right<4>(halves[0][v]) & low;
        halves[0][v] &= low;
      } else {
        halves[1][v] = load_weights(w + kQuadBytes, v);
      }
    }
  }
};

// The octets of one step, added to `sums`.
template <bool nibbles, int rows, int sets>
inline void add_octets(IVec (&sums)[sets][rows][kVecs], const uint8_t* w, const int8_t* a, int64_t terms) {
  for (int64_t i = 0; i < terms; i += kOctet, a += kOctet * rows, w += kOctetBytes<nibbles>) {
    LATHE_UNROLL
    for (int64_t line = 0; line < kOctetBytes<nibbles>; line += kLine) __builtin_prefetch(w + kAhead + line);
    const Octet<nibbles> octet(w);
    LATHE_UNROLL
    for (int half = 0; half < 2; ++half) {
      LATHE_UNROLL
      for (int r = 0; r < rows; ++r) {
        const SignedQuad quad = spread_signed(a + (half * rows + r) * kQuad);
        LATHE_UNROLL
        for (int v = 0; v < kVecs; ++v) add_signed(sums[half % sets][r][v], octet.halves[half][v], quad);
      }
    }
  }
}

template <bool nibbles>
inline int64_t step_bytes(int64_t terms) {
  return (terms + kOctet - 1) / kOctet * kOctetBytes<nibbles>;
}

template <bool nibbles, int rows>
void rounded(const NBitsPanel& p, const NBitsTile& t) noexcept {
  // Few rows mean few independent sums; a second set keeps the multipliers busy.
  constexpr int kSets = rows <= 4 ? 2 : 1;
  const bool with_zeros = p.zeros != nullptr;
  const uint8_t* w = p.weights;
  const int8_t* a = t.a;
  const float* row_scales = t.scales;
  const int32_t* row_sums = t.sums;
  float* out = t.out;
  for (int64_t i = 0; i < rows * kPanel; i += kVecWidth) store(out + i, zero());
  for_each_step(p.shape, [&](int64_t block, int64_t, int64_t terms) {
    IVec sums[kSets][rows][kVecs];
    LATHE_UNROLL
    for (int set = 0; set < kSets; ++set) {
      LATHE_UNROLL
      for (int r = 0; r < rows; ++r) {
        const IVec start = splat_int(set > 0 || with_zeros ? 0 : row_sums[r]);
        LATHE_UNROLL
        for (int v = 0; v < kVecs; ++v) sums[set][r][v] = start;
      }
    }
    add_octets<nibbles>(sums, w, a, terms);
    w += step_bytes<nibbles>(terms);
    a += (terms + kOctet - 1) / kOctet * kOctet * rows;
    const Parameters parameters(p, block);
    LATHE_UNROLL
    for (int r = 0; r < rows; ++r) {
      const Vec scale = splat(row_scales[r]), sum = splat(static_cast<float>(row_sums[r]));
      LATHE_UNROLL
      for (int v = 0; v < kVecs; ++v) {
        IVec total = sums[0][r][v];
        if constexpr (kSets == 2) total += sums[1][r][v];
        float* to = out + r * kPanel + v * kVecWidth;
        Vec product = to_float(total);
        if (with_zeros) product = fnma(parameters.zeros[v], sum, product);
        store(to, fma(product, scale * parameters.scales[v], load(to)));
      }
    }
    row_scales += rows;
    row_sums += rows;
  });
}

// The numbers in the lowest bits of lanes, less their zeros; `plain` is without zeros, all being `middle`.
template <bool nibbles, bool plain>
struct Decoder {
#if defined(__AVX512F__)
  Vec table;  // by the lowest four bits

  explicit Decoder(float middle) {
    alignas(64) float levels[kVecWidth];
    for (int i = 0; i < kVecWidth; ++i) levels[i] = static_cast<float>(i) - (plain ? middle : 0);
    table = load(levels);
  }
  Vec operator()(IVec bits, Vec zero) const {
    if constexpr (!nibbles) return to_float(bits & splat_int(0xff)) - zero;
    const Vec level = _mm512_permutexvar_ps(reinterpret_cast<__m512i>(bits), table);
    return plain ? level : level - zero;
  }
#else
  explicit Decoder(float) {}
  Vec operator()(IVec bits, Vec zero) const { return to_float(bits & splat_int(nibbles ? 15 : 0xff)) - zero; }
#endif
};

// Calls body(term within the step, which of four chains of sums may take it, weights less their zeros) for each term of
// a step that begins at w.
template <bool nibbles, bool plain, class Body>
inline void for_each_term(const uint8_t* w, int64_t terms, const Parameters& parameters,
                          const Decoder<nibbles, plain>& decode, Body body) {
  for (int64_t i = 0; i < terms; i += kOctet, w += kOctetBytes<nibbles>) {
    const auto half = [&](IVec(&left)[kVecs], int64_t first) {
      const auto next = [&](int64_t term, int chain) {
        Vec value[kVecs];
        LATHE_UNROLL
        for (int v = 0; v < kVecs; ++v) {
          value[v] = decode(left[v], parameters.zeros[v]);
          left[v] = shift_right<8>(left[v]);
        }
        body(term, chain, value);
      };
      if (first + kQuad <= terms) {
        LATHE_UNROLL
        for (int term = 0; term < kQuad; ++term) next(first + term, term);
      } else {
        for (int64_t term = first; term < terms; ++term) next(term, 0);
      }
    };
    IVec low[kVecs], high[kVecs];
    LATHE_UNROLL
    for (int v = 0; v < kVecs; ++v) {
      low[v] = load_weights(w, v);
      high[v] = nibbles ? shift_right<4>(low[v]) : load_weights(w + kOctetBytes<nibbles> - kQuadBytes, v);
    }
    half(low, i);
    half(high, i + kQuad);
  }
}

template <bool nibbles, bool plain, int rows>
inline void add_floats(const NBitsPanel& p, const NBitsFloatTile& t) {
  const uint8_t* w = p.weights;
  float* out = t.out;
  constexpr int kChains = rows <= 2 ? 4 : 2;  // of additions, each waiting for the one before
  const Decoder<nibbles, plain> decode(static_cast<float>(p.middle));
  for_each_step(p.shape, [&](int64_t block, int64_t first, int64_t terms) {
    const Parameters parameters(p, block);
    Vec sums[kChains][rows][kVecs];
    LATHE_UNROLL
    for (int chain = 0; chain < kChains; ++chain) {
      LATHE_UNROLL
      for (int r = 0; r < rows; ++r) {
        LATHE_UNROLL
        for (int v = 0; v < kVecs; ++v) sums[chain][r][v] = zero();
      }
    }
    const float* a = t.a + first;
    const int64_t lda = t.lda;
    for_each_term(w, terms, parameters, decode, [&](int64_t term, int chain, const Vec(&value)[kVecs]) {
      LATHE_UNROLL
      for (int r = 0; r < rows; ++r) {
        const Vec x = splat(a[r * lda + term]);
        LATHE_UNROLL
        for (int v = 0; v < kVecs; ++v) {
          Vec& sum = sums[chain % kChains][r][v];
          sum = fma(x, value[v], sum);
        }
      }
    });
    w += step_bytes<nibbles>(terms);
    LATHE_UNROLL
    for (int r = 0; r < rows; ++r) {
      LATHE_UNROLL
      for (int v = 0; v < kVecs; ++v) {
        float* to = out + r * kPanel + v * kVecWidth;
        Vec sum = sums[0][r][v];
        LATHE_UNROLL
        for (int chain = 1; chain < kChains; ++chain) sum = sum + sums[chain][r][v];
        store(to, fma(sum, parameters.scales[v], load(to)));
      }
    }
  });
}

template <bool nibbles, int rows>
void floats(const NBitsPanel& p, const NBitsFloatTile& t) noexcept {
  for (int64_t i = 0; i < rows * kPanel; i += kVecWidth) store(t.out + i, zero());
  if (p.zeros == nullptr)
    add_floats<nibbles, true, rows>(p, t);
  else
    add_floats<nibbles, false, rows>(p, t);
}

template <bool nibbles>
void widen(const NBitsPanel& p, float* out) noexcept {
  const uint8_t* w = p.weights;
  const Decoder<nibbles, false> decode(0);
  for_each_step(p.shape, [&](int64_t block, int64_t first, int64_t terms) {
    const Parameters parameters(p, block);
    for_each_term(w, terms, parameters, decode, [&](int64_t term, int, const Vec(&value)[kVecs]) {
      LATHE_UNROLL
      for (int v = 0; v < kVecs; ++v)
        store(out + (first + term) * kPanel + v * kVecWidth, value[v] * parameters.scales[v]);
    });
    w += step_bytes<nibbles>(terms);
  });
}

// By the bits of |x|, among which those of NaN are the greatest.
float greatest(const float* x, int64_t n) noexcept {
  IVec most = splat_int(0);
  for_each_vec(0, n, [&](int64_t i, int lanes) {
    const IVec bits = as_int(load_lanes(x + i, lanes)) & splat_int(0x7fffffff);
    most = bits > most ? bits : most;
  });
  int32_t bits = 0;
  for (int i = 0; i < kVecWidth; ++i) bits = most[i] > bits ? most[i] : bits;
  float value;
  __builtin_memcpy(&value, &bits, sizeof(value));
  return value;
}

int32_t round(const float* x, int64_t n, float inverse_scale, int8_t* y) noexcept {
  IVec sum = splat_int(0);
  const Vec inverse = splat(inverse_scale);
  for_each_vec(0, n, [&](int64_t i, int lanes) {
    // Products with a scale of their own never leave the range but by rounding; what is not finite must not either.
    const IVec bytes = to_int(min(max(load_lanes(x + i, lanes) * inverse, splat(-127.0f)), splat(127.0f)));
    sum += bytes;
    store_bytes(reinterpret_cast<uint8_t*>(y) + i, bytes, lanes);
  });
  for (int64_t i = n; i % kOctet != 0; ++i) y[i] = 0;
  int32_t total = 0;
  for (int i = 0; i < kVecWidth; ++i) total += sum[i];
  return total;
}

template <bool nibbles, int rows>
constexpr auto rounded_or_null() -> void (*)(const NBitsPanel&, const NBitsTile&) noexcept {
  if constexpr (rows <= kMaxRows) return rounded<nibbles, rows>;
  return nullptr;
}

#define LATHE_ROUNDED(nibbles)                                                                            \
  {                                                                                                       \
    nullptr, rounded_or_null<nibbles, 1>(), rounded_or_null<nibbles, 2>(), rounded_or_null<nibbles, 3>(), \
        rounded_or_null<nibbles, 4>(), rounded_or_null<nibbles, 5>(), rounded_or_null<nibbles, 6>(),      \
        rounded_or_null<nibbles, 7>(), rounded_or_null<nibbles, 8>(), rounded_or_null<nibbles, 9>(),      \
        rounded_or_null<nibbles, 10>(), rounded_or_null<nibbles, 11>(), rounded_or_null<nibbles, 12>()    \
  }
#define LATHE_FLOATS(nibbles) \
  { nullptr, floats<nibbles, 1>, floats<nibbles, 2>, floats<nibbles, 3>, floats<nibbles, 4> }
constexpr MatMulNBitsKernels kKernels = {kPanel,
                                         kMaxRows,
                                         {LATHE_ROUNDED(false), LATHE_ROUNDED(true)},
                                         {LATHE_FLOATS(false), LATHE_FLOATS(true)},
                                         {widen<false>, widen<true>},
                                         greatest,
                                         round};
#undef LATHE_FLOATS
#undef LATHE_ROUNDED

}  // namespace

const MatMulNBitsKernels& matmul_nbits() { return kKernels; }

}  // namespace lathe::cpu::LATHE_ISA
