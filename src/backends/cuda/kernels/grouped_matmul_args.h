// The arguments of the kernels for products in which every row chooses its matrix.
#pragma once

// Addresses that fit into the arguments of a kernel; with more matrices there are several launches.
constexpr int kGroupedParts = 480, kNarrowParts = 4;

struct GroupedMatmulArgs {
  const void* a;       // [rows / choices, k] where rows are shared, else [rows, k]
  void* y;             // [rows, n]
  const void* chosen;  // [rows], where rows are not sorted
  const int* ends;     // [groups] in `order`: rows by group
  const int* order;    // [rows]
  long long n, k, block, blocks;
  int choices, shared, wide_choices;
  int first_group, groups;           // that this launch is for
  const void* parts[kGroupedParts];  // of each group: the matrix [n, k]; or q, scales, zeros and order
};

constexpr int kSortThreads = 1024;

struct SortRowsArgs {
  const void* chosen;
  int* ends;
  int* order;
  int rows, groups, wide_choices;
};
