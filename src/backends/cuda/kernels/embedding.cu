// Sums of table rows, normalised: one pass, the sum stays in registers. Floor: the table rows read and the results
// written, over the bandwidth. An index outside its table adds nothing (the host would report it; a kernel cannot).
// TABLES look-ups with indices of the types ID0, ID1, .. in tables of the types TABLE0, TABLE1, .., none wider than
// ELEMENT, the type of the result. RANK axes of ids are left after merging. Operands: ids, table, ids, table, .., scale, bias, and, with PICKED, the rows of
// ids that are wanted; one that there is not gives what no table adds to.
#include "norm_row.cuh"
#include "row_args.h"

using T = ELEMENT;

struct EmbeddingRow {
  const NormArgs& args;
  const void* tables[TABLES];  // at the row that was asked for; null where there is none
  T* output;

  template <class Id, class Table>
  __device__ void look_up(int table, u64 row) {
    i64 offset = 0;
#pragma unroll
    for (int axis = RANK - 1; axis >= 0; --axis) {
      offset += i64(axis == 0 ? row : row % args.sizes[axis]) * args.strides[2 * table][axis];
      row /= args.sizes[axis];
    }
    i64 id = static_cast<const Id*>(args.operands[2 * table])[offset];
    const i64 rows = args.table_rows[2 * table + 1];
    if (id < 0) id += rows;
    const bool inside = id >= 0 && id < rows;
    tables[table] = inside ? static_cast<const Table*>(args.operands[2 * table + 1]) + id * args.width : nullptr;
  }

  __device__ void look_up_all(u64 row) {
    look_up<ID0, TABLE0>(0, row);
#if TABLES > 1
    look_up<ID1, TABLE1>(1, row);
#endif
#if TABLES > 2
    look_up<ID2, TABLE2>(2, row);
#endif
#if TABLES > 3
    look_up<ID3, TABLE3>(3, row);
#endif
  }

  template <class Table>
  __device__ void add(int table, i64 column, WIDE (&values)[VECTOR]) const {
    if (tables[table] == nullptr) return;
    const auto pack = load_pack<VECTOR>(static_cast<const Table*>(tables[table]) + column);
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) values[i] += to_register(pack[i]);
  }

  __device__ void load(i64 column, WIDE (&values)[VECTOR]) const {
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) values[i] = 0;
    add<TABLE0>(0, column, values);
#if TABLES > 1
    add<TABLE1>(1, column, values);
#endif
#if TABLES > 2
    add<TABLE2>(2, column, values);
#endif
#if TABLES > 3
    add<TABLE3>(3, column, values);
#endif
  }

  __device__ void store(i64 column, const WIDE (&x)[VECTOR], WIDE mean, WIDE factor) const {
    const auto scale = load_pack<VECTOR>(static_cast<const SCALE*>(args.operands[2 * TABLES]) + column);
    WIDE y[VECTOR];
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) y[i] = (x[i] - mean) * factor * to_register(scale[i]);
    if (args.operands[2 * TABLES + 1] != nullptr) {
      const auto bias = load_pack<VECTOR>(static_cast<const BIAS*>(args.operands[2 * TABLES + 1]) + column);
#pragma unroll
      for (int i = 0; i < VECTOR; ++i) y[i] += to_register(bias[i]);
    }
    Pack<T, VECTOR> pack;
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) pack[i] = from_register<T>(y[i]);
    store_pack<VECTOR>(output + column, pack);
  }
};

KERNEL(kRowThreads, NormArgs) {
  const i64 index = row_of_thread(args.rows);
  EmbeddingRow row{args, {}, static_cast<T*>(args.output) + index * args.width};
#if PICKED
  constexpr int kPicked = 2 * TABLES + 2;
  const i64 ids = static_cast<const int*>(args.operands[kPicked])[index];
  if (ids >= 0 && ids < args.table_rows[kPicked]) row.look_up_all(ids);
#else
  row.look_up_all(index);
#endif
  normalise_row(row, row, args.width, args.epsilon);
}
