// Packing of weights of a few bits and of their scales and zeros, and the exact inverse.
#include <algorithm>
#include <cstring>

#include "backends/cpu/kernels/gemm_split.h"
#include "backends/cpu/kernels/matmul_nbits.h"
#include "graph/tensor.h"

namespace lathe::cpu {
namespace {

constexpr int64_t kOctet = 8, kQuad = 4;

// What is added to an integer to make it unsigned.
int64_t offset_of(DType type) { return is_signed_int(type) ? int64_t{1} << (bit_width(type) - 1) : 0; }

// The eight nibbles of a word, lowest first, as the bytes of two halves: byte i holds nibble i and nibble i + 4.
uint32_t interleaved(uint32_t nibbles) {
  const auto spread = [](uint32_t four) {
    four = (four | four << 8) & 0x00ff00ffU;
    return (four | four << 4) & 0x0f0f0f0fU;
  };
  return spread(nibbles & 0xffffU) | spread(nibbles >> 16) << 4;
}
uint32_t plain(uint32_t bytes) {
  const auto join = [](uint32_t four) {
    four = (four | four >> 4) & 0x00ff00ffU;
    return (four | four >> 8) & 0xffffU;
  };
  return join(bytes & 0x0f0f0f0fU) | join(bytes >> 4 & 0x0f0f0f0fU) << 16;
}

// Up to eight terms of a row, one per byte of the result, unsigned.
uint64_t read_octet(const Tensor& q, int64_t offset, int64_t first, int64_t terms) {
  uint64_t octet = 0;
  for (int64_t i = 0; i < terms; ++i) octet |= static_cast<uint64_t>(q.read_int(first + i) + offset) << (8 * i);
  return octet;
}

// Calls visit(octet of the packed row, first term, terms) for each octet of a row.
template <class Visit>
void for_each_octet(const NBitsShape& s, Visit visit) {
  int64_t octet = 0;
  for (int64_t begin = 0; begin < s.k; begin += s.block)
    for (int64_t step = begin, end = std::min(begin + s.block, s.k); step < end; step += s.step)
      for (int64_t term = step, last = std::min(step + s.step, end); term < last; term += kOctet)
        visit(octet++, term, std::min(kOctet, last - term));
}

uint32_t nibbles_of(uint64_t bytes) {
  uint32_t nibbles = 0;
  for (int i = 0; i < 8; ++i) nibbles |= static_cast<uint32_t>(bytes >> (8 * i) & 15) << (4 * i);
  return nibbles;
}

}  // namespace

void nbits_pack(int nr, int bits, const Tensor& q, const NBitsShape& shape, uint8_t* packed) {
  const int64_t n = q.dims()[0], k = shape.k, offset = offset_of(q.dtype());
  if (q.elements() == 0) return;  // there may be no memory to point into
  std::fill_n(packed, nbits_packed_bytes(nr, bits, n, shape), uint8_t{0});
  const int64_t row_bytes = nbits_packed_bytes(nr, bits, nr, shape) / nr;
  const int width = bit_width(q.dtype());
  const bool whole_words = k % kOctet == 0 && shape.step % kOctet == 0 && width == bits;
  const auto* source = reinterpret_cast<const uint8_t*>(q.bytes().data());
  const uint64_t flip = offset == 0 ? 0 : bits == 4 ? 0x88888888U : 0x8080808080808080U;
  for (int64_t row = 0; row < n; ++row) {
    uint8_t* column = packed + row / nr * nr * row_bytes + row % nr * kQuad;
    for_each_octet(shape, [&](int64_t octet, int64_t term, int64_t terms) {
      uint64_t word = 0;
      if (whole_words) {
        std::memcpy(&word, source + (row * k + term) * bits / 8, static_cast<size_t>(bits));
        word ^= flip;
      } else {
        word = read_octet(q, offset, row * k + term, terms);
      }
      uint8_t* to = column + octet * nr * bits;
      if (bits == 4) {
        const uint32_t bytes = interleaved(whole_words ? static_cast<uint32_t>(word) : nibbles_of(word));
        std::memcpy(to, &bytes, sizeof(bytes));
      } else {
        std::memcpy(to, &word, kQuad);
        const uint64_t upper = word >> 32;
        std::memcpy(to + nr * kQuad, &upper, kQuad);
      }
    });
  }
}

void nbits_unpack(int nr, int bits, const uint8_t* packed, const NBitsShape& shape, Tensor& q) {
  if (q.elements() == 0) return;
  const int64_t n = q.dims()[0], k = shape.k, offset = offset_of(q.dtype());
  const int64_t row_bytes = nbits_packed_bytes(nr, bits, nr, shape) / nr;
  for (int64_t row = 0; row < n; ++row) {
    const uint8_t* column = packed + row / nr * nr * row_bytes + row % nr * kQuad;
    for_each_octet(shape, [&](int64_t octet, int64_t term, int64_t terms) {
      const uint8_t* from = column + octet * nr * bits;
      uint32_t halves[2] = {};
      std::memcpy(halves, from, kQuad);
      if (bits == 4)
        halves[0] = plain(halves[0]);
      else
        std::memcpy(halves + 1, from + nr * kQuad, kQuad);
      for (int64_t i = 0; i < terms; ++i) {
        const uint32_t value = bits == 4 ? halves[0] >> (4 * i) & 15 : halves[i / kQuad] >> (8 * (i % kQuad)) & 255;
        q.write_int(row * k + term + i, static_cast<int64_t>(value) - offset);
      }
    });
  }
}

void nbits_pack_parameters(int nr, const Tensor& values, std::byte* packed) {
  const int64_t n = values.dims()[0], blocks = values.dims()[1], offset = offset_of(values.dtype());
  const size_t bytes = static_cast<size_t>(std::max(bit_width(values.dtype()) / 8, 1));
  std::fill_n(packed, nbits_parameter_bytes(nr, static_cast<int>(bytes), n, blocks), std::byte{0});
  for (int64_t row = 0; row < n; ++row) {
    for (int64_t b = 0; b < blocks; ++b) {
      std::byte* to = packed + static_cast<size_t>((row / nr * blocks + b) * nr + row % nr) * bytes;
      if (is_float(values.dtype()))
        std::memcpy(to, values.bytes().data() + static_cast<size_t>(row * blocks + b) * bytes, bytes);
      else
        *to = static_cast<std::byte>(values.read_int(row * blocks + b) + offset);
    }
  }
}

void nbits_unpack_parameters(int nr, const std::byte* packed, Tensor& values) {
  const int64_t n = values.dims()[0], blocks = values.dims()[1], offset = offset_of(values.dtype());
  const size_t bytes = static_cast<size_t>(std::max(bit_width(values.dtype()) / 8, 1));
  for (int64_t row = 0; row < n; ++row) {
    for (int64_t b = 0; b < blocks; ++b) {
      const std::byte* from = packed + static_cast<size_t>((row / nr * blocks + b) * nr + row % nr) * bytes;
      if (is_float(values.dtype()))
        std::memcpy(values.mutable_bytes().data() + static_cast<size_t>(row * blocks + b) * bytes, from, bytes);
      else
        values.write_int(row * blocks + b, std::to_integer<int64_t>(*from) - offset);
    }
  }
}

}  // namespace lathe::cpu
