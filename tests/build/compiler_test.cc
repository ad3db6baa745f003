// compile(): devices, instruction sets, and what optimise = false leaves alone.
#include "build/compiler.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "graph/text.h"

namespace lathe {
namespace {

constexpr const char* kModel = R"(graph model(%x: f32[n]) {
  %a = map(%x) {program = (x0) => neg(x0)}
  %b = map(%a) {program = (x0) => abs(x0)}
  return %b as "b"
})";

TEST(Compiler, UnknownDevicesAndMissingInstructionSets) {
  EXPECT_THROW(make_backend({.device = "abacus"}), Error);
  EXPECT_EQ(make_backend({.device = "reference", .isa = Isa::generic})->target(), "reference");
  EXPECT_EQ(make_backend({.device = "cpu"})->target(), to_string(detect_cpu_features().best_isa));
  EXPECT_EQ(make_backend({.device = "cpu", .isa = Isa::generic})->target(), "generic");
}

TEST(Compiler, FusesUnlessToldNotTo) {
  CompileOptions options;
  EXPECT_EQ(compile(parse_graph(kModel), options).program.steps.size(), 1u);
  options.optimise = false;
  const CompiledModel plain = compile(parse_graph(kModel), options);
  EXPECT_EQ(plain.program.steps.size(), 2u);
  EXPECT_TRUE(plain.passes.empty());
}

TEST(Compiler, TheReferenceDeviceFallsBackOnNothing) {
  CompileOptions options;
  options.device = "reference";
  for (const ProgramStep& step : compile(parse_graph(kModel), options).program.steps) EXPECT_FALSE(step.fallback);
}

}  // namespace
}  // namespace lathe
