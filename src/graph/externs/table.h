// The operators behind the op `extern`, one row each: what it is called, its shape rule, its evaluation. Rows stand in
// the file of their family, which says for each what operands and lists mean. A shape rule checks the lists as well:
// they may come from a file, and the evaluation trusts them.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "graph/ops/extern.h"
#include "graph/ops/infer_ops.h"
#include "graph/reference/families.h"

namespace lathe::externs {

struct Row {
  std::string_view name;
  Types (*infer)(const Extern& op, InferContext& c);
  std::vector<RefValue> (*evaluate)(const Extern& op, const reference::Call& call);
};

const Row* find_row(std::string_view name);  // null when there is none

// Throws unless the op has this many entries in its lists.
void expect_lists(const Extern& op, const InferContext& c, size_t integers, size_t numbers, size_t texts);

// One per file externs/<family>.cc.
std::span<const Row> array_rows();
std::span<const Row> learned_rows();
std::span<const Row> sampling_rows();
std::span<const Row> string_rows();

}  // namespace lathe::externs
