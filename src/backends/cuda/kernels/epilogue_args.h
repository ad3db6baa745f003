// The operands of an epilogue program, for kernels that compute it while storing. The result is seen as outer x row x
// column, columns innermost.
#pragma once

constexpr int kEpilogueMaxExtras = 8;

struct EpilogueArgs {
  const void* extras[kEpilogueMaxExtras];  // program inputs 1, 2, ..
  long long outer[kEpilogueMaxExtras];  // their strides in elements, 0 where they repeat; those of columns are 0 or 1
  long long row[kEpilogueMaxExtras];
  long long column[kEpilogueMaxExtras];
};
