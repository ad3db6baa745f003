// Cleaning passes: dead code, common subexpressions, folding, algebra, movement.
#include "tests/passes/pass_test.h"

namespace lathe::passes {
namespace {

TEST(DeadCode, KeepsWhatBindsAMentionedSymbol) {
  const Rewritten r = rewrite(R"(graph (%n: i64[1], %x: f32[6]) {
    bind(%n) {symbols = ["$n"]}
    bind(%n) {symbols = ["$unused"]}
    %y = slice(%x) {axes = [0], starts = [$n], sizes = [2], steps = [1]}
    return %y as "y"
  })",
                              dead_code);
  EXPECT_EQ(r.count("bind"), 1);
  EXPECT_EQ(r.rewrites, 1);
}

TEST(DeadCode, KeepsWhatWritesState) {
  const Rewritten r = rewrite(R"(graph (%x: f32[t, 4], %k: f32[9, 1, 2, 4], %v: f32[9, 1, 2, 4], %starts: i32[s + 1],
                                       %lengths: i32[s], %table: i32[s, b]) {
    %keys = map(%x) {program = (x0) => neg(x0)}
    %unused = softmax(%keys) {axis = 1}
    %y = paged_attention(%x, %keys, %x, %k, %v, %starts, %lengths, %table) {head_dim = 4, value_dim = 4, block_size = 2}
    return %x as "x"
  })",
                              dead_code, {{"t", 1}, {"s", 0}, {"b", 1}});
  EXPECT_EQ(r.count("paged_attention"), 1);
  EXPECT_EQ(r.rewrites, 1);
}

TEST(CommonSubexpressions, MergesChainsAndConstantsByBytes) {
  const Rewritten r = rewrite(R"(graph (%x: f32[4]) {
    %a = constant {value = f32[4] [1, 2, 3, 4]}
    %b = constant {value = f32[4] [1, 2, 3, 4]}
    %p = map(%x, %a) {program = (x0, x1) => mul(x0, x1)}
    %q = map(%x, %b) {program = (x0, x1) => mul(x0, x1)}
    %y = map(%p, %q) {program = (x0, x1) => sub(x0, x1)}
    return %y as "y"
  })",
                              common_subexpressions);
  EXPECT_EQ(r.rewrites, 2);
  EXPECT_EQ(r.count("constant"), 1);
}

TEST(FoldConstants, ComputesWhatIsKnownAndKeepsWhatWouldGrow) {
  const Rewritten r = rewrite(R"(graph (%x: f32[2, 2]) {
    %a = constant {value = f32[2, 2] [1, 2, 3, 4]}
    %t = transpose(%a) {perm = [1, 0]}
    %row = constant {value = f32[1, 2] [1, 2]}
    %big = map(%row) {program = (x0) => x0, shape = [65536, 2]}
    %s = map(%x, %t) {program = (x0, x1) => add(x0, x1)}
    return %s as "s", %big as "big"
  })",
                              fold_constants);
  EXPECT_EQ(r.rewrites, 1);
  EXPECT_NE(r.text.find("[1, 3, 2, 4]"), std::string::npos);
}

TEST(SimplifyStructure, SlicesOfSlicesAreOneSlice) {
  const Rewritten r = rewrite(R"(graph (%x: f32[9, n, 8]) {
    %rows = slice(%x) {axes = [0], starts = [1], sizes = [4], steps = [2]}
    %columns = slice(%rows) {axes = [1, 2], starts = [0, 7], sizes = [2, 4], steps = [1, -2]}
    %y = slice(%columns) {axes = [0, 2], starts = [2, 3], sizes = [2, 2], steps = [-1, -1]}
    return %y as "y"
  })",
                              simplify_structure, {{"n", 3}});
  EXPECT_EQ(r.count("slice"), 1);
  EXPECT_NE(r.text.find("starts = [5, 0, 1], sizes = [2, 2, 2], steps = [-2, 1, 2]"), std::string::npos) << r.text;
}

TEST(SimplifyStructure, PadsByNothingGo) {
  const Rewritten r = rewrite(R"(graph (%x: f32[n, 2]) {
    %a = pad(%x) {begins = [0, 0], ends = [0, 0]}
    %b = pad(%a) {begins = [0, 0], ends = [0, 1]}
    return %b as "b"
  })",
                              simplify_structure, {{"n", 3}});
  EXPECT_EQ(r.count("pad"), 1);
}

// What takes the place of a value has its name, so that quantities can be compared across rewrites.
TEST(Names, FollowQuantitiesThroughFusion) {
  const Rewritten r = optimise(R"(graph (%x: f32[n, 4, 16], %skip: f32[n, 4, 16]) {
    %w = constant {value = f32[16, 16] random(1)}
    %bias = constant {value = f32[16] random(2)}
    %gain = constant {value = f32[16] random(3)}
    %epsilon = constant {value = f32[] [1e-05]}
    %product = matmul(%x, %w)
    %biased = map(%product, %bias) {program = (x0, x1) => add(x0, x1)}
    %sum = map(%biased, %skip) {program = (x0, x1) => add(x0, x1)}
    %mean = reduce(%sum) {kind = mean, axes = [2]}
    %centred = map(%sum, %mean) {program = (x0, x1) => sub(x0, x1)}
    %squares = map(%centred) {program = (x0) => mul(x0, x0)}
    %variance = reduce(%squares) {kind = mean, axes = [2]}
    %safe = map(%variance, %epsilon) {program = (x0, x1) => add(x0, x1)}
    %deviation = map(%safe) {program = (x0) => sqrt(x0)}
    %normal = map(%centred, %deviation) {program = (x0, x1) => div(x0, x1)}
    %scaled = map(%normal, %gain) {program = (x0, x1) => mul(x0, x1)}
    %LayerNorm = map(%scaled, %bias) {program = (x0, x1) => add(x0, x1)}
    return %LayerNorm as "y"
  })",
                               {{"n", 2}});
  ASSERT_EQ(r.count("matmul"), 1) << r.text;
  ASSERT_EQ(r.count("norm"), 1) << r.text;
  EXPECT_EQ(r.graph->outputs()[0]->name(), "LayerNorm") << r.text;
  for (const auto& node : r.graph->nodes()) {
    if (!node->is<MatMul>()) continue;
    EXPECT_EQ(node->output()->name(), "sum") << r.text;
  }
}

TEST(SimplifyMaps, AppliesIdentities) {
  const Rewritten r = rewrite(R"(graph (%x: f32[n, 4]) {
    %zero = constant {value = f32[1] [0]}
    %two = constant {value = f32[] [2]}
    %a = map(%x, %zero) {program = (x0, x1) => add(x0, x1)}
    %b = map(%a, %two) {program = (x0, x1) => pow(x0, x1)}
    %c = map(%b, %two) {program = (x0, x1) => div(x0, x1)}
    return %c as "c"
  })",
                              simplify_maps, {{"n", 3}});
  EXPECT_EQ(r.count("map"), 2);
  EXPECT_NE(r.text.find("mul(x0, x0)"), std::string::npos);
  EXPECT_NE(r.text.find("mul(x0, 0.5:f32)"), std::string::npos);
}

TEST(SimplifyMaps, KeepsAScalarThatRaisesTheRank) {
  const Rewritten r = rewrite(R"(graph (%x: f32[4]) {
    %one = constant {value = f32[1, 1] [1]}
    %y = map(%x, %one) {program = (x0, x1) => mul(x0, x1)}
    return %y as "y"
  })",
                              simplify_maps);
  EXPECT_EQ(to_string(r.graph->outputs()[0]->type()), "f32[1, 4]");
}

TEST(SimplifyMaps, ExpandsAfterTheWork) {
  const Rewritten r = rewrite(R"(graph (%mask: i64[b, 1, 1, s], %x: f32[b, h, s, s]) {
    %e = map(%mask) {program = (x0) => x0, shape = [b, 1, s, s]}
    %f = map(%e) {program = (x0) => mul(sub(1:f32, cast<f32>(x0)), -10000:f32)}
    %y = map(%x, %f) {program = (x0, x1) => add(x0, x1)}
    return %y as "y"
  })",
                              simplify_maps, {{"b", 2}, {"h", 3}, {"s", 4}});
  EXPECT_EQ(r.count("map"), 2);
  EXPECT_EQ(r.text.find("shape ="), std::string::npos) << r.text;
}

TEST(SimplifyMaps, PositionsAreReadWhereTheyAreUsed) {
  const Rewritten r = rewrite(R"(graph (%x: f32[n, s]) {
    %i = map() {program = () => iota(-1), shape = [s]}
    %j = map() {program = () => cast<f32>(iota(-1)), shape = [n, 1]}
    %f = map(%i) {program = (x0) => cast<f32>(add(x0, 1:i64))}
    %y = map(%x, %f, %j) {program = (x0, x1, x2) => add(mul(x0, x1), x2)}
    return %y as "y"
  })",
                              simplify_maps, {{"n", 2}, {"s", 3}});
  EXPECT_EQ(r.count("map"), 2) << r.text;  // the column of zeros is not the positions of the result
}

TEST(SimplifyPositions, UnsqueezedRangesStayPrograms) {
  const Rewritten r = rewrite(R"(graph (%x: f32[s, s]) {
    %i = map() {program = () => iota(-1), shape = [s]}
    %j = reshape(%i) {shape = [s, 1]}
    %y = map(%x, %j) {program = (x0, x1) => mul(x0, cast<f32>(x1))}
    return %y as "y"
  })",
                              simplify_positions, {{"s", 3}});
  EXPECT_EQ(r.count("reshape"), 0);
  EXPECT_NE(r.text.find("iota(-2)"), std::string::npos) << r.text;
}

TEST(SimplifyPositions, LookUpsThatNameEachElementInOrderGoAway) {
  const Rewritten r = rewrite(R"(graph (%mask: f32[n, s]) {
    %flat = reshape(%mask) {shape = [n*s]}
    %i = map() {program = () => add(iota(-1), mul(iota(-4), dim(s))), shape = [n, 1, 1, s]}
    %y = gather(%flat, %i)
    %k = map() {program = () => add(iota(-1), mul(iota(-4), dim(n))), shape = [n, 1, 1, s]}
    %z = gather(%flat, %k)
    return %y as "y", %z as "z"
  })",
                              simplify_positions, {{"n", 2}, {"s", 3}});
  EXPECT_EQ(r.count("gather"), 1) << r.text;
}

TEST(SimplifyPositions, UpdatesOfAFullGridReplaceTheTensor) {
  const Rewritten r = rewrite(R"(graph (%x: f32[n, 3], %u: f32[n, 3]) {
    %i = map() {program = () => iota(-3), shape = [n, 3, 1]}
    %j = map() {program = () => iota(-2), shape = [n, 3, 1]}
    %grid = concat(%i, %j) {axis = 2}
    %y = scatter_nd(%x, %grid, %u)
    %e = map(%u) {program = (x0) => exp(x0)}
    %z = map(%y, %e) {program = (x0, x1) => add(x0, x1)}
    return %z as "z"
  })",
                              simplify_positions, {{"n", 2}});
  EXPECT_EQ(r.count("scatter_nd"), 0) << r.text;
}

TEST(SinkReshapes, RowsStayInBatchAndSequence) {
  const Rewritten r = optimise(R"(graph (%x: f32[b, s, 4]) {
    %w = constant {value = f32[4, 6] random(1)}
    %c = constant {value = f32[6] random(2)}
    %f = reshape(%x) {shape = [b*s, 4]}
    %m = matmul(%f, %w, %c) {epilogue = (x0, x1) => add(x0, x1)}
    %u = reshape(%m) {shape = [b, s, 6]}
    %y = map(%u) {program = (x0) => relu(x0)}
    return %y as "y"
  })",
                               {{"b", 2}, {"s", 3}});
  EXPECT_EQ(r.count("reshape"), 0) << r.text;
  EXPECT_EQ(r.count("map"), 0) << r.text;
}

TEST(SimplifyMovement, ChainsShrinkToWhatMoves) {
  const Rewritten r = rewrite(R"(graph (%x: f32[b, 4, s, 8]) {
    %a = reshape(%x) {shape = [4*b, s, 8]}
    %t = transpose(%a) {perm = [0, 2, 1]}
    %y = reshape(%t) {shape = [b, 4, 8, s]}
    return %y as "y"
  })",
                              simplify_movement, {{"b", 2}, {"s", 3}});
  EXPECT_EQ(r.count("transpose"), 1);
  EXPECT_EQ(r.count("reshape"), 0);
}

TEST(SimplifyMovement, TransposeOfSizeOneAxesIsAReshape) {
  const Rewritten r = rewrite(R"(graph (%x: f32[1, s, 8]) {
    %y = transpose(%x) {perm = [1, 0, 2]}
    return %y as "y"
  })",
                              simplify_movement, {{"s", 3}});
  EXPECT_EQ(r.count("transpose"), 0);
  EXPECT_EQ(r.count("reshape"), 1);
}

TEST(SimplifyMovement, InversesCancel) {
  const Rewritten r = rewrite(R"(graph (%x: f32[a, b, c]) {
    %t = transpose(%x) {perm = [2, 0, 1]}
    %u = transpose(%t) {perm = [1, 2, 0]}
    %y = map(%u) {program = (x0) => exp(x0)}
    return %y as "y"
  })",
                              simplify_movement, {{"a", 2}, {"b", 3}, {"c", 4}});
  EXPECT_EQ(r.count("transpose"), 0);
}

TEST(SinkTransposes, MoveBehindMaps) {
  const Rewritten r = optimise(R"(graph (%x: f32[n, 3, h, w]) {
    %t = transpose(%x) {perm = [0, 2, 3, 1]}
    %c = constant {value = f32[3] [1, 2, 3]}
    %s = map(%t, %c) {program = (x0, x1) => mul(x0, x1)}
    %y = transpose(%s) {perm = [0, 3, 1, 2]}
    return %y as "y"
  })",
                               {{"n", 2}, {"h", 3}, {"w", 4}});
  EXPECT_EQ(r.count("transpose"), 0) << r.text;
}

TEST(FoldTransposes, BecomeFlags) {
  const Rewritten r = rewrite(R"(graph (%a: f32[b, k, m], %b: f32[b, n, k]) {
    %ta = transpose(%a) {perm = [0, 2, 1]}
    %tb = transpose(%b) {perm = [0, 2, 1]}
    %y = matmul(%ta, %tb)
    return %y as "y"
  })",
                              fold_transposes, {{"b", 2}, {"k", 3}, {"m", 4}, {"n", 5}});
  EXPECT_EQ(r.count("transpose"), 0);
}

TEST(SimplifyStructure, SliceOfConcatTakesThePart) {
  const Rewritten r = rewrite(R"(graph (%a: f32[n, 3], %b: f32[n, 5]) {
    %c = concat(%a, %b) {axis = 1}
    %y = slice(%c) {axes = [1], starts = [4], sizes = [3], steps = [1]}
    return %y as "y"
  })",
                              simplify_structure, {{"n", 2}});
  EXPECT_EQ(r.count("concat"), 0);
}

TEST(SimplifyStructure, IfWithAKnownConditionIsInlined) {
  const Rewritten r = rewrite(R"(graph (%x: f32[n]) {
    %c = constant {value = bool[] [true]}
    %y = if(%c, %x) {then_branch = graph (%a: f32[n]) { %e = map(%a) {program = (x0) => exp(x0)} return %e as "e" },
                     else_branch = graph (%a: f32[n]) { return %a as "a" }}
    return %y as "y"
  })",
                              simplify_structure, {{"n", 2}});
  EXPECT_EQ(r.count("if"), 0);
  EXPECT_EQ(r.count("map"), 1);
}

TEST(SimplifyStructure, SliceOfAPositionProgramShiftsThePositions) {
  const Rewritten r = rewrite(R"(graph (%x: f32[2, 3]) {
    %m = map() {program = () => le(iota(-1), iota(-2)), shape = [8, 8]}
    %s = slice(%m) {axes = [0, 1], starts = [4, 3], sizes = [2, 3], steps = [1, 1]}
    %y = map(%s, %x) {program = (x0, x1) => select(x0, x1, 0:f32)}
    return %y as "y"
  })",
                              simplify_structure);
  EXPECT_EQ(r.count("slice"), 0);
}

TEST(RecogniseMasks, TrianglesBecomePrograms) {
  const Rewritten r = rewrite(R"(graph (%x: f32[3, 3]) {
    %m = constant {value = bool[1, 1, 3, 3] [true, false, false, true, true, false, true, true, true]}
    %y = map(%m, %x) {program = (x0, x1) => select(x0, x1, -1:f32)}
    return %y as "y"
  })",
                              recognise_masks);
  EXPECT_EQ(r.rewrites, 1);
  EXPECT_EQ(r.count("constant"), 0);
}

TEST(RecogniseMasks, OneWrongElementIsNoTriangle) {
  const Rewritten r = rewrite(R"(graph (%x: f32[3, 3]) {
    %m = constant {value = bool[3, 3] [true, false, false, true, true, false, true, false, true]}
    %y = map(%m, %x) {program = (x0, x1) => select(x0, x1, -1:f32)}
    return %y as "y"
  })",
                              recognise_masks);
  EXPECT_EQ(r.rewrites, 0);
}

}  // namespace
}  // namespace lathe::passes
