// If, Loop and Scan as the executor runs them, against the reference evaluator; what is shared between regions; and
// that regions are lowered like everything else.
#include "tests/runtime/engine_of.h"

namespace lathe {
namespace {

using test::error_of;
using test::expect_reference;
using test::floats;
using test::run;
using test::Sizes;

Tensor f(Sizes dims, std::initializer_list<float> values) { return Tensor::of<float>(std::move(dims), values); }
Tensor count(int64_t value) { return Tensor::scalar<int64_t>(value); }
Tensor flag(bool value) { return Tensor::scalar(value); }

// ---- If ----

constexpr const char* kBranches = R"(graph branches(%flag: bool[], %x: f32[n, 4]) {
  %w = constant {value = f32[4, 4] random(3)}
  %y = if(%flag, %x, %w) {then_branch = graph (%a: f32[n, 4], %m: f32[4, 4]) {
    %y = matmul(%a, %m)
    return %y as "y"
  }, else_branch = graph (%a: f32[n, 4], %m: f32[4, 4]) {
    %s = matmul(%a, %m)
    %y = map(%s) {program = (x0) => mul(x0, cast<f32>(dim(n)))}
    return %y as "y"
  }}
  %z = map(%y) {program = (x0) => neg(x0)}
  return %z as "z", %y as "y"
})";

TEST(ControlFlow, EachBranchInTurn) {
  const Tensor x = floats({3, 4}), none = floats({0, 4});
  expect_reference(kBranches, {{flag(true), x}, {flag(false), x}, {flag(true), none}, {flag(true), x}});
}

TEST(ControlFlow, BranchesRunOnTheDevice) {
  const auto engine = test::engine_of(kBranches);
  const Program& program = engine->impl().model.program;
  int products = 0;
  visit_steps(program, [&](const ProgramStep& step) {
    EXPECT_FALSE(step.fallback) << step.kernel << ": " << step.reason;
    products += step.node->is<MatMul>() ? 1 : 0;
  });
  EXPECT_EQ(products, 2);
  ASSERT_EQ(program.weights.size(), 1u) << "both branches read the same weight";
  EXPECT_FALSE(program.weights[0].layout.plain()) << "a captured weight is packed like any other";
}

TEST(ControlFlow, BranchesThatHandOnWhatTheyCapture) {
  const std::string text = R"(graph handed(%flag: bool[], %x: f32[n, 2], %y: f32[n, 2]) {
    %w = constant {value = f32[3] random(1)}
    %a, %b, %c, %d = if(%flag, %x, %y, %w) {then_branch = graph (%p: f32[n, 2], %q: f32[n, 2], %r: f32[3]) {
      return %p as "a", %p as "b", %q as "c", %r as "d"
    }, else_branch = graph (%p: f32[n, 2], %q: f32[n, 2], %r: f32[3]) {
      %s = map(%p, %q) {program = (x0, x1) => add(x0, x1)}
      %t = map(%r) {program = (x0) => neg(x0)}
      return %s as "a", %q as "b", %s as "c", %t as "d"
    }}
    %e = map(%a, %b, %c) {program = (x0, x1, x2) => add(add(x0, x1), x2)}
    return %a as "a", %b as "b", %c as "c", %d as "d", %e as "e"
  })";
  const Tensor x = floats({3, 2}), y = floats({3, 2}, 2);
  expect_reference(text, {{flag(true), x, y}, {flag(false), x, y}});
}

TEST(ControlFlow, BranchesOfDifferentSizeAndRank) {
  const std::string text = R"(graph branches(%flag: bool[], %x: f32[n, 2]) {
    %y, %r = if(%flag, %x) {then_branch = graph (%a: f32[n, 2]) {
      %at = non_zero(%a) : i64[2, u0]
      %m = map(%a) {program = (x0) => neg(x0)}
      return %m as "y", %at as "r"
    }, else_branch = graph (%a: f32[n, 2]) {
      %r = reshape(%a) {shape = [2*n]}
      %c = constant {value = i64[2, 1] [5, 6]}
      return %r as "y", %c as "r"
    }}
    %z = map(%y) {program = (x0) => neg(x0)}
    return %z as "z", %y as "y", %r as "r"
  })";
  const Tensor x = f({3, 2}, {1, 0, 2, 0, 0, 3});
  expect_reference(text, {{flag(true), x}, {flag(false), x}, {flag(true), floats({5, 2})}, {flag(false), x}});
}

TEST(ControlFlow, NestedBranchesSeeOuterSymbols) {
  const std::string text = R"(graph nested(%p: bool[], %q: bool[], %x: f32[n, m]) {
    %at = non_zero(%x) : i64[2, u0]
    %y = if(%p, %q, %x) {then_branch = graph (%q: bool[], %x: f32[n, m]) {
      %y = if(%q, %x) {then_branch = graph (%v: f32[r, m]) {
        %y = map(%v) {program = (x0) => add(mul(x0, cast<f32>(dim(u0))), cast<f32>(dim(n)))}
        return %y as "y"
      }, else_branch = graph (%v: f32[r, m]) {
        %y = map(%v) {program = (x0) => mul(x0, cast<f32>(dim(r)))}
        return %y as "y"
      }}
      return %y as "y"
    }, else_branch = graph (%q: bool[], %x: f32[n, m]) {
      %y = map(%x) {program = (x0) => neg(x0)}
      return %y as "y"
    }}
    return %y as "y", %at as "at"
  })";
  const Tensor x = f({2, 2}, {1, 2, 0, 3}), fewer = f({2, 2}, {0, 0, 0, 3});
  expect_reference(text, {{flag(true), flag(true), x},
                          {flag(true), flag(true), fewer},  // the same sizes, another outer symbol
                          {flag(true), flag(false), x},
                          {flag(false), flag(true), x}});
}

// ---- Loop ----

TEST(ControlFlow, LoopsStackWhatTheyMake) {
  const std::string text = R"(graph loop(%trips: i64[], %x: f32[n, 4]) {
    %w = constant {value = f32[4, 4] random(3)}
    %last, %all = loop(%trips, _, %x, %w) {num_carried = 1, body = graph (%i: i64[], %go: bool[], %v: f32[r, 4], %m: f32[4, 4]) {
      %again = constant {value = bool[] [true]}
      %y = matmul(%v, %m)
      return %again as "go", %y as "v", %v as "slice"
    }}
    %sum = reduce(%all) {kind = sum, axes = [0], keep_dims = false}
    return %last as "last", %all as "all", %sum as "sum"
  })";
  const Tensor x = floats({2, 4});
  expect_reference(text, {{count(3), x}, {count(1), x}, {count(5), floats({3, 4})}, {count(4), x}});
}

TEST(ControlFlow, LoopsThatDoNotRun) {
  const std::string text = R"(graph idle(%trips: i64[], %go: bool[], %x: f32[n, 2]) {
    %last, %all = loop(%trips, %go, %x) {num_carried = 1, body = graph (%i: i64[], %c: bool[], %v: f32[r, 2]) {
      %y = concat(%v, %v) {axis = 0}
      %s = map(%v) {program = (x0) => neg(x0)}
      return %c as "go", %y as "v", %s as "slice"
    }}
    return %last as "last", %all as "all"
  })";
  const Tensor x = floats({3, 2});
  expect_reference(text, {{count(0), flag(true), x}, {count(7), flag(false), x}, {count(-1), flag(true), x}});
}

// Stops by itself; the carried value grows, so its sizes are known only in the loop.
constexpr const char* kGrowing = R"(graph growing(%x: f32[n]) {
  %last, %counts = loop(_, _, %x) {num_carried = 1, body = graph (%i: i64[], %c: bool[], %v: f32[r]) {
    %y = concat(%v, %v) {axis = 0}
    %go = map(%i) {program = (x0) => lt(x0, 4:i64)}
    %count = dims {values = [r], scalar = true}
    return %go as "go", %y as "v", %count as "count"
  }}
  %z = map(%last) {program = (x0) => mul(x0, 2:f32)}
  return %z as "z", %counts as "counts"
})";

TEST(ControlFlow, LoopsThatStopThemselvesAndGrow) {
  expect_reference(kGrowing, {{floats({2})}, {floats({1})}, {floats({0})}, {floats({5})}});
}

TEST(ControlFlow, CarriedValuesThatChangePlacesOrStay) {
  const std::string text = R"(graph places(%trips: i64[], %x: f32[n], %y: f32[n], %k: f32[n]) {
    %a, %b, %c, %all = loop(%trips, _, %x, %y, %k) {num_carried = 3, body = graph (%i: i64[], %g: bool[], %a: f32[r], %b: f32[r], %c: f32[r]) {
      %s = map(%a, %c) {program = (x0, x1) => add(x0, x1)}
      return %g as "go", %b as "a", %a as "b", %c as "c", %s as "s"
    }}
    return %a as "a", %b as "b", %c as "c", %all as "all"
  })";
  const Tensor x = floats({3}), y = floats({3}, 2), k = floats({3}, 3);
  expect_reference(text, {{count(1), x, y, k}, {count(2), x, y, k}, {count(5), x, y, k}});
  // Without iterations, what is known about the slices holds for none of them, too.
  Session session(test::engine_of(text), {1});
  const std::vector<Tensor> results = run(session, {count(0), x, y, k});
  EXPECT_EQ(results[0], x);
  EXPECT_EQ(results[3].dims(), (Sizes{0, 3}));
}

TEST(ControlFlow, SlicesWhoseSizesComeWithTheRun) {
  const std::string text = R"(graph late(%trips: i64[], %x: f32[n]) {
    %all = loop(%trips, _, %x) {num_carried = 0, body = graph (%i: i64[], %g: bool[], %v: f32[n]) {
      %at = non_zero(%v) : i64[1, u7]
      return %g as "go", %at as "at"
    }}
    return %all as "all"
  })";
  expect_reference(text, {{count(3), f({4}, {1, 0, 2, 0})}, {count(2), f({4}, {1, 3, 2, 4})}});
}

TEST(ControlFlow, SlicesOfDifferentSizesAreRefused) {
  const std::string text = R"(graph ragged(%x: f32[n]) {
    %last, %all = loop(_, _, %x) {num_carried = 1, body = graph (%i: i64[], %c: bool[], %v: f32[r]) {
      %y = concat(%v, %v) {axis = 0}
      %go = map(%i) {program = (x0) => lt(x0, 2:i64)}
      return %go as "go", %y as "v", %y as "all"
    }}
    return %last as "last", %all as "all"
  })";
  Session session(test::engine_of(text), {1});
  const Error error = error_of([&] { run(session, {floats({2})}); });
  EXPECT_EQ(error.code(), ErrorCode::invalid_argument) << error.what();
  EXPECT_EQ(error.op(), "loop");
  EXPECT_EQ(run(session, {floats({0})}).at(1).dims(), (Sizes{3, 0})) << "a failed run leaves the session usable";
}

TEST(ControlFlow, LoopsInLoops) {
  const std::string text = R"(graph nested(%n: i64[], %x: f32[k, 2]) {
    %w = constant {value = f32[2, 2] random(5)}
    %last, %rows = loop(%n, _, %x, %w) {num_carried = 1, body = graph (%i: i64[], %g: bool[], %v: f32[r, 2], %w: f32[2, 2]) {
      %y, %sums = loop(%i, _, %v, %w) {num_carried = 1, body = graph (%j: i64[], %h: bool[], %u: f32[s, 2], %w: f32[2, 2]) {
        %y = matmul(%u, %w)
        %sum = reduce(%y) {kind = sum, axes = [0, 1], keep_dims = false}
        return %h as "go", %y as "u", %sum as "sum"
      }}
      %total = reduce(%sums) {kind = sum, axes = [0], keep_dims = false}
      return %g as "go", %y as "v", %total as "total"
    }}
    return %last as "last", %rows as "rows"
  })";
  expect_reference(text, {{count(4), floats({3, 2})}, {count(1), floats({3, 2})}, {count(5), floats({1, 2})}});
}

TEST(ControlFlow, SequencesAreCarried) {
  const std::string text = R"(graph list(%n: i64[], %x: f32[k, 2]) {
    %empty = sequence() {dtype = f32}
    %last, %all = loop(%n, _, %x, %empty) {num_carried = 2, body = graph (%i: i64[], %g: bool[], %v: f32[r, 2], %list: seq<f32[*]>) {
      %y = map(%v) {program = (x0) => mul(x0, 2:f32)}
      %longer = sequence(%list, %y) {kind = insert}
      return %g as "go", %y as "v", %longer as "list"
    }}
    %joined = sequence(%all) {kind = concat, axis = 0}
    %length = sequence(%all) {kind = length}
    return %last as "last", %joined as "joined", %length as "length"
  })";
  expect_reference(text, {{count(3), floats({2, 2})}, {count(1), floats({2, 2})}, {count(4), floats({1, 2})}});
}

// ---- Scan ----

std::string scan(const char* axes) {
  return fmt::format(R"(graph scan(%s: f32[k], %x: f32[n, k], %y: f32[n, k]) {{
    %last, %all, %back = scan(%s, %x, %y) {{num_states = 1, num_scanned = 2, {}, body = graph (%s: f32[p], %a: f32[p], %b: f32[p]) {{
      %t = map(%s, %a, %b) {{program = (x0, x1, x2) => add(x0, mul(x1, x2))}}
      %u = map(%a) {{program = (x0) => neg(x0)}}
      return %t as "s", %t as "all", %u as "back"
    }}}}
    return %last as "last", %all as "all", %back as "back"
  }})",
                     axes);
}

TEST(ControlFlow, ScansForwardAndBackward) {
  const std::string forward =
      scan("input_axes = [0, 0], output_axes = [0, 0], input_reversed = [0, 0], output_reversed = [0, 0]");
  const std::string mixed =
      scan("input_axes = [0, 0], output_axes = [0, 0], input_reversed = [0, 1], output_reversed = [1, 0]");
  const std::vector<std::vector<Tensor>> runs = {{floats({3}), floats({4, 3}, 2), floats({4, 3}, 3)},
                                                 {floats({2}), floats({1, 2}, 2), floats({1, 2}, 3)}};
  expect_reference(forward, runs);
  expect_reference(mixed, runs);
  Session session(test::engine_of(mixed), {1});
  const std::vector<Tensor> none = run(session, {floats({2}), floats({0, 2}), floats({0, 2})});
  EXPECT_EQ(none[0], floats({2}));
  EXPECT_EQ(none[1].dims(), (Sizes{0, 2}));
}

TEST(ControlFlow, ScansAlongOtherAxes) {
  const std::string text = R"(graph scan(%s: f32[k], %x: f32[k, n]) {
    %last, %all = scan(%s, %x) {num_states = 1, num_scanned = 1, input_axes = [1], output_axes = [1], input_reversed = [1], output_reversed = [0], body = graph (%s: f32[p], %a: f32[p]) {
      %t = map(%s, %a) {program = (x0, x1) => add(x0, x1)}
      return %t as "s", %t as "all"
    }}
    return %last as "last", %all as "all"
  })";
  expect_reference(text, {{floats({3}), floats({3, 4}, 2)}, {floats({2}), floats({2, 1}, 2)}});
  visit_steps(test::engine_of(text)->impl().model.program,
              [](const ProgramStep& step) { EXPECT_FALSE(step.fallback) << step.kernel; });
}

TEST(ControlFlow, ScansOfUnequalLengthAreRefused) {
  const std::string text = R"(graph scan(%x: f32[n, 2], %y: f32[m, 2]) {
    %all = scan(%x, %y) {num_states = 0, num_scanned = 2, input_axes = [0, 0], output_axes = [0], input_reversed = [0, 0], output_reversed = [0], body = graph (%a: f32[2], %b: f32[2]) {
      %t = map(%a, %b) {program = (x0, x1) => add(x0, x1)}
      return %t as "all"
    }}
    return %all as "all"
  })";
  Session session(test::engine_of(text), {1});
  EXPECT_EQ(error_of([&] { run(session, {floats({2, 2}), floats({3, 2})}); }).code(), ErrorCode::invalid_argument);
  EXPECT_EQ(run(session, {floats({2, 2}), floats({2, 2})}).at(0).dims(), (Sizes{2, 2}));
}

// ---- memory ----

// A bound output of a loop is written where it belongs, and a result of one run does not change by the next iteration.
TEST(ControlFlow, ResultsStayWhileALoopRunsOn) {
  const std::string text = R"(graph keep(%n: i64[], %x: f32[k]) {
    %last, %held, %all = loop(%n, _, %x, %x) {num_carried = 2, body = graph (%i: i64[], %g: bool[], %v: f32[r], %old: f32[r]) {
      %first = map(%i) {program = (x0) => eq(x0, 0:i64)}
      %y, %kept = if(%first, %v, %old) {then_branch = graph (%v: f32[r], %o: f32[r]) {
        %y = map(%v) {program = (x0) => add(x0, 1:f32)}
        return %y as "y", %y as "kept"
      }, else_branch = graph (%v: f32[r], %o: f32[r]) {
        %y = map(%v) {program = (x0) => add(x0, 1:f32)}
        return %y as "y", %o as "kept"
      }}
      return %g as "go", %y as "v", %kept as "old", %kept as "slice"
    }}
    return %last as "last", %held as "held", %all as "all"
  })";
  expect_reference(text, {{count(4), floats({3})}, {count(2), floats({3})}, {count(1), floats({2})}});
  Session session(test::engine_of(text), {1});
  std::vector<float> memory(3, -1);
  session.bind_output("last", memory.data(), memory.size() * sizeof(float));
  const std::vector<Tensor> tensors = {count(4), f({3}, {1, 2, 3})};
  const auto inputs = test::inputs_of(session.engine(), tensors);
  EXPECT_EQ(session.run(inputs)[0].data, memory.data());
  EXPECT_EQ(memory, (std::vector<float>{5, 6, 7}));
}

}  // namespace
}  // namespace lathe
