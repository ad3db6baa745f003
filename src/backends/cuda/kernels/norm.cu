// Layer and RMS norm with a prologue program: operands are read once, what they sum up to stays in registers and is
// written too when somebody wants it. Where Q is defined, rows are written in bytes of that type as well, each by its own
// range. Floor: bytes of the operands and results over the bandwidth.
// The RANK axes of the normalised tensor are merged; the last INNER of them make the row. VECTOR > 1 only with INNER =
// 1. The program has XS inputs; SCALE and BIAS are the types of the last two operands.
#include "map_ops.cuh"
#include "norm_row.cuh"
#include "program.cuh"
#include "row_args.h"
#ifdef Q
#include "quantize.cuh"
#endif

using Out = Program::Output;

struct Position {
  u64 at[RANK];

  __device__ void set_row(u64 row, const u64* sizes) {
#pragma unroll
    for (int axis = RANK - INNER - 1; axis >= 0; --axis) {
      at[axis] = axis == 0 ? row : row % sizes[axis];
      row /= sizes[axis];
    }
  }
  __device__ void set_column(u64 column, const u64* sizes) {
#pragma unroll
    for (int axis = RANK - 1; axis >= RANK - INNER; --axis) {
      at[axis] = axis == RANK - INNER ? column : column % sizes[axis];
      if (axis > RANK - INNER) column /= sizes[axis];
    }
  }
  __device__ i64 iota(int axis_from_end, int element) const {
    return i64(at[RANK + axis_from_end]) + (axis_from_end == -1 ? element : 0);
  }
};

template <class T>
inline __device__ const T* place_in_operand(const NormArgs& args, int operand, const Position& position) {
  const T* place = static_cast<const T*>(args.operands[operand]);
#pragma unroll
  for (int axis = 0; axis < RANK; ++axis) place += i64(position.at[axis]) * args.strides[operand][axis];
  return place;
}

template <class T, int N>
inline __device__ Pack<T, N> load_operand(const NormArgs& args, int operand, const Position& position) {
  const T* from = place_in_operand<T>(args, operand, position);
  if (N > 1 && args.strides[operand][RANK - 1] == 1) return load_pack<N>(from);
  Pack<T, N> pack;
#pragma unroll
  for (int i = 0; i < N; ++i) pack[i] = from[i * args.strides[operand][RANK - 1]];
  return pack;
}

struct OperandReader {
  const NormArgs& args;
  const Position& position;
  template <class T, int N>
  __device__ Pack<T, N> load(int input) const {
    return load_operand<T, N>(args, input, position);
  }
};

struct NormRow {
  const NormArgs& args;
  Position row;
  i64 offset;  // of the row, in elements of the results

  __device__ Position at(i64 column) const {
    Position position = row;
    position.set_column(column, args.sizes);
    return position;
  }

  __device__ void load(i64 column, WIDE (&values)[VECTOR]) const {
    const Position position = at(column);
    Program::Registers registers[VECTOR];
    Program::read<0, VECTOR>(OperandReader{args, position}, registers);
    Pack<Out, VECTOR> sum;
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) {
      values[i] = Program::evaluate(registers[i], position, i, args.dims);
      sum[i] = from_register<Out>(values[i]);
    }
    if (args.sum != nullptr) store_pack<VECTOR>(static_cast<Out*>(args.sum) + offset + column, sum);
  }

  // x becomes the results, rounded as they are stored.
  __device__ Pack<Out, VECTOR> finish(i64 column, WIDE (&x)[VECTOR], const Moments& moments) const {
    const Position position = at(column);
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) x[i] = (x[i] - moments.mean) * moments.factor;
    if (args.operands[XS] != nullptr) {
      const auto scale = load_operand<SCALE, VECTOR>(args, XS, position);
#pragma unroll
      for (int i = 0; i < VECTOR; ++i) x[i] *= to_register(scale[i]);
    }
    if (args.operands[XS + 1] != nullptr) {
      const auto bias = load_operand<BIAS, VECTOR>(args, XS + 1, position);
#pragma unroll
      for (int i = 0; i < VECTOR; ++i) x[i] += to_register(bias[i]);
    }
    Pack<Out, VECTOR> pack;
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) {
      pack[i] = from_register<Out>(x[i]);
      x[i] = to_register(pack[i]);
    }
    return pack;
  }
};

#ifdef Q
// `row` holds results, unless it is read again by every pass.
inline __device__ void store_bytes(const NormRow& results, Row<WIDE, NormRow>& row, const Moments& moments, i64 index) {
  __shared__ float scratch[2][kWarp];
  const auto each = [&](const auto& use) {
    row.each([&](i64 column, WIDE(&x)[VECTOR]) {
      if constexpr (CHUNKS == 0) results.finish(column, x, moments);
      use(column, x);
    });
  };
  QuantizeRange range;
  each([&](i64, const float(&x)[VECTOR]) {
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) range.take(x[i]);
  });
  range.low = -row_reduce<Max>(-range.low, scratch[0]);
  range.high = row_reduce<Max>(range.high, scratch[1]);
  const Quantizer<Q> quantizer(range);
  QuantizeArgs bytes{};
  bytes.output = results.args.bytes;
  bytes.scales = results.args.scales;
  if (threadIdx.x % GROUP == 0) store_parameters(bytes, index, quantizer);
  each([&](i64 column, const float(&x)[VECTOR]) { store_quantized(bytes, results.offset + column, x, quantizer); });
}
#endif

// Few rows come between products whose weights keep the memory busy: what the norm multiplies by is to be there first,
// and blocks of the next product would only be in the way (matmul_few.cu). Behind many rows it starts at once.
inline __device__ void prepare(const NormArgs& args) {
  constexpr int kFewRows = 64;
  if (args.rows > kFewRows) return let_next_kernel_start();
  NormRow row{args, {}, 0};
  row.row.set_row(row_of_thread(args.rows), args.sizes);
#pragma unroll
  for (int chunk = 0; chunk < CHUNKS; ++chunk) {
    const i64 column = i64(chunk * GROUP + threadIdx.x % GROUP) * VECTOR;
    if (column >= args.width) continue;
    const Position position = row.at(column);
    if (args.operands[XS] != nullptr) bring_to_l2(place_in_operand<SCALE>(args, XS, position));
    if (args.operands[XS + 1] != nullptr) bring_to_l2(place_in_operand<BIAS>(args, XS + 1, position));
  }
}

PATIENT_KERNEL(prepare, kRowThreads, NormArgs) {
  const i64 index = row_of_thread(args.rows);
  NormRow row{args, {}, index * args.width};
  row.row.set_row(index, args.sizes);
  Row<WIDE, NormRow> values(row, args.width);
  const Moments moments = moments_of(values, args.width, args.epsilon);
  values.each([&](i64 column, WIDE(&x)[VECTOR]) {
    const Pack<Out, VECTOR> results = row.finish(column, x, moments);
    if (args.output != nullptr) store_pack<VECTOR>(static_cast<Out*>(args.output) + row.offset + column, results);
  });
#ifdef Q
  store_bytes(row, values, moments, index);
#endif
}
