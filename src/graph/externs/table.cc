#include "graph/externs/table.h"

namespace lathe {
namespace externs {

const Row* find_row(std::string_view name) {
  for (const auto family : {array_rows, learned_rows, sampling_rows, string_rows})
    for (const Row& row : family())
      if (row.name == name) return &row;
  return nullptr;
}

void expect_lists(const Extern& op, const InferContext& c, size_t integers, size_t numbers, size_t texts) {
  if (op.integers.size() != integers || op.numbers.size() != numbers || op.texts.size() != texts)
    c.fail("'{}' takes {} integers, {} numbers and {} texts; {}, {} and {} are given", op.kernel, integers, numbers,
           texts, op.integers.size(), op.numbers.size(), op.texts.size());
}

}  // namespace externs

Types infer_op(const Extern& op, InferContext& c) {
  const externs::Row* row = externs::find_row(op.kernel);
  if (row == nullptr) c.fail("there is no operator '{}'", op.kernel);
  return row->infer(op, c);
}

namespace reference {

std::vector<RefValue> evaluate(const Extern& op, const Call& call) {
  const externs::Row* row = externs::find_row(op.kernel);
  if (row == nullptr) fail(ErrorCode::invalid_model, "there is no operator '{}'", op.kernel);
  return row->evaluate(op, call);
}

}  // namespace reference
}  // namespace lathe
