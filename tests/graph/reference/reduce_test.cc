#include "tests/graph/reference/evaluate.h"

namespace lathe {
namespace {

Tensor reduce(ReduceKind kind, const Tensor& x, std::vector<int64_t> axes, bool keep_dims = false) {
  return run1(Reduce{kind, std::move(axes), keep_dims}, {x});
}

TEST(ReferenceReduce, EveryKindAlongOneAxis) {
  const Tensor x = floats({2, 2}, {1, -2, 3, 4});
  expect_values(reduce(ReduceKind::sum, x, {1}), {2}, {-1, 7});
  expect_values(reduce(ReduceKind::mean, x, {0}), {2}, {2, 1});
  expect_values(reduce(ReduceKind::max, x, {1}, true), {2, 1}, {1, 4});
  expect_values(reduce(ReduceKind::min, x, {0, 1}, true), {1, 1}, {-2});
  expect_values(reduce(ReduceKind::prod, x, {0, 1}), {}, {-24});
  expect_values(reduce(ReduceKind::l1, x, {1}), {2}, {3, 7});
  expect_values(reduce(ReduceKind::l2, x, {1}), {2}, {std::sqrt(5.0), 5});
  expect_values(reduce(ReduceKind::log_sum, x, {0}), {2}, {std::log(4.0), std::log(2.0)});
  expect_values(reduce(ReduceKind::sum_square, x, {1}), {2}, {5, 25});
  expect_values(reduce(ReduceKind::log_sum_exp, x, {1}), {2},
                {1 + std::log1p(std::exp(-3.0)), 4 + std::log1p(std::exp(-1.0))});
}

TEST(ReferenceReduce, NoAxesKeepTheElementwisePart) {
  expect_values(reduce(ReduceKind::sum_square, floats({2}, {3, -2}), {}), {2}, {9, 4});
  expect_values(reduce(ReduceKind::l1, floats({2}, {3, -2}), {}), {2}, {3, 2});
}

TEST(ReferenceReduce, NothingGivesTheIdentity) {
  const Tensor none(DType::f32, {2, 0});
  expect_values(reduce(ReduceKind::sum, none, {1}), {2}, {0, 0});
  expect_values(reduce(ReduceKind::prod, none, {1}), {2}, {1, 1});
  expect_values(reduce(ReduceKind::max, none, {1}), {2}, {-kInf, -kInf});
  expect_values(reduce(ReduceKind::min, none, {1}), {2}, {kInf, kInf});
  expect_values(reduce(ReduceKind::mean, none, {1}), {2}, {kNan, kNan});
  expect_values(reduce(ReduceKind::log_sum_exp, none, {1}), {2}, {-kInf, -kInf});
  EXPECT_EQ(reduce(ReduceKind::max, Tensor(DType::i8, {0}), {0}).read_int(0), -128);
  EXPECT_EQ(reduce(ReduceKind::min, Tensor(DType::u16, {0}), {0}).read_int(0), 65535);
}

TEST(ReferenceReduce, NanAndInfinityPropagate) {
  for (const auto kind : {ReduceKind::sum, ReduceKind::max, ReduceKind::min, ReduceKind::l2, ReduceKind::log_sum_exp}) {
    expect_values(reduce(kind, floats({3}, {1, kNan, 2}), {0}), {}, {kNan});
    expect_values(reduce(kind, floats({2}, {kNan, 1}), {0}), {}, {kNan});
  }
  expect_values(reduce(ReduceKind::log_sum_exp, floats({2}, {-kInf, -kInf}), {0}), {}, {-kInf});
  expect_values(reduce(ReduceKind::log_sum_exp, floats({2}, {1000, kInf}), {0}), {}, {kInf});
  expect_values(reduce(ReduceKind::log_sum_exp, floats({2}, {1000, 1000}), {0}), {}, {1000 + std::log(2.0)});
}

TEST(ReferenceReduce, AccumulatesBeyondTheElementType) {
  Tensor x(DType::f16, {4096});
  for (int64_t i = 0; i < x.elements(); ++i) x.write_double(i, 1);
  EXPECT_EQ(reduce(ReduceKind::sum, x, {0}).read_double(0), 4096);  // adding in f16 stops at 2048
  EXPECT_EQ(reduce(ReduceKind::mean, Tensor::of<int8_t>({2}, {127, 126}), {0}).read_int(0), 126);
  EXPECT_EQ(reduce(ReduceKind::sum, ints({2}, {std::numeric_limits<int64_t>::max(), 1}), {0}).read_int(0),
            std::numeric_limits<int64_t>::min());
}

TEST(ReferenceReduce, ArgReduceChoosesAmongEquals) {
  const Tensor x = floats({2, 3}, {2, 7, 7, 3, 1, 1});
  expect_values(run1(ArgReduce{true, 1, false, false}, {x}), {2}, {1, 0});
  expect_values(run1(ArgReduce{true, 1, true, true}, {x}), {2, 1}, {2, 0});
  expect_values(run1(ArgReduce{false, 1, false, true}, {x}), {2}, {0, 2});
  expect_values(run1(ArgReduce{true, 0, false, false}, {floats({3}, {1, kNan, 5})}), {}, {1});
  expect_error(ErrorCode::invalid_argument, "[2, 0]", [] {
    run1(ArgReduce{true, 1, true, false}, {Tensor(DType::f32, {2, 0})});
  });
}

TEST(ReferenceReduce, CumulativeInAllDirections) {
  const Tensor x = counting({2, 3});
  expect_values(run1(Cumulative{CumulativeKind::sum, 1, false, false}, {x}), {2, 3}, {1, 3, 6, 4, 9, 15});
  expect_values(run1(Cumulative{CumulativeKind::sum, 1, true, false}, {x}), {2, 3}, {0, 1, 3, 0, 4, 9});
  expect_values(run1(Cumulative{CumulativeKind::sum, 1, true, true}, {x}), {2, 3}, {5, 3, 0, 11, 6, 0});
  expect_values(run1(Cumulative{CumulativeKind::prod, 0, false, true}, {x}), {2, 3}, {4, 10, 18, 4, 5, 6});
}

}  // namespace
}  // namespace lathe
