// Places made for large sizes serve smaller ones; memory reserved for a profile's largest sizes never moves.
#include "runtime/placement.h"

#include "build/plan_writer.h"
#include "tests/base/temporary_folder.h"
#include "tests/runtime/engine_of.h"

namespace lathe {
namespace {

using test::floats;
using test::run;

TEST(Placement, FitsWhatIsNowhereLarger) {
  Placement placement;
  placement.bytes = {64, kNotInArena, 0};
  const auto fit = [&](std::vector<size_t> bytes) { return fits(bytes, placement); };
  EXPECT_TRUE(fit({64, kNotInArena, 0}));
  EXPECT_TRUE(fit({0, kNotInArena, 0}));
  EXPECT_TRUE(fit({kNotInArena, kNotInArena, kNotInArena}));
  EXPECT_FALSE(fit({65, kNotInArena, 0}));
  EXPECT_FALSE(fit({64, 0, 0})) << "it has no place at all";
  EXPECT_FALSE(fit({64, kNotInArena, 1}));
}

constexpr const char* kModel = R"(graph model(%x: f32[n, 16]) {
  %w = constant {value = f32[16, 16] random(1)}
  %a = matmul(%x, %w)
  %b = softmax(%a) {axis = 1}
  %c = matmul(%b, %w)
  %y = map(%c) {program = (x0) => neg(x0)}
  return %y as "y"
})";

// Where every result of a run lies.
struct Addresses : StepObserver {
  void before(size_t) override {}
  void after(size_t, const StepIo& io) override {
    for (const TensorRef& ref : io.outputs) seen.push_back(ref.data);
  }
  std::vector<void*> seen;
};

std::vector<void*> addresses(Session& session, int64_t rows) {
  Addresses observer;
  session.impl().observer = &observer;
  const std::vector<Tensor> inputs = {floats({rows, 16})};
  test::expect_close(run(session, inputs), test::reference(kModel, inputs));
  session.impl().observer = nullptr;
  return observer.seen;
}

size_t arena_bytes(Session& session, int64_t rows) {
  const std::vector<int64_t> dims = {rows, 16};
  const TensorRef input{nullptr, DType::f32, dims, true, nullptr};
  return session.impl().executor->footprint({&input, 1}).arena_bytes;
}

TEST(Placement, ProfilesReserveTheirLargestSizes) {
  const TemporaryFolder folder;
  PlanWriteOptions options;
  options.profiles = {{{"x", {{1, 16}, {8, 16}, {64, 16}}}}};
  write_plan(folder / "a.plan", compile(parse_graph(kModel), {}), options);
  Session session(open_engine(folder / "a.plan", {}), {1});
  EXPECT_EQ(arena_bytes(session, 3), arena_bytes(session, 64));
  EXPECT_GT(arena_bytes(session, 65), arena_bytes(session, 64));
  const std::vector<void*> largest = addresses(session, 64);
  for (const int64_t rows : {17, 63, 1, 9, 64}) EXPECT_EQ(addresses(session, rows), largest) << rows;

  // Beyond the profiles the arena has to move, and runs go on.
  addresses(session, 200);
  addresses(session, 64);

  Session without(test::engine_of(kModel), {1});
  EXPECT_LT(arena_bytes(without, 5), arena_bytes(without, 64));
}

TEST(Placement, ProfilesThatLeaveSizesOpenReserveNothing) {
  const TemporaryFolder folder;
  const std::string text = R"(graph two(%x: f32[n, 4], %y: f32[m, 4]) {
    %a = map(%x) {program = (x0) => neg(x0)}
    %b = map(%y) {program = (x0) => neg(x0)}
    return %a as "a", %b as "b"
  })";
  PlanWriteOptions options;
  options.profiles = {{{"x", {{1, 4}, {8, 4}, {64, 4}}}}};
  write_plan(folder / "a.plan", compile(parse_graph(text), {}), options);
  Session session(open_engine(folder / "a.plan", {}), {1});
  EXPECT_EQ(run(session, {floats({2, 4}), floats({3, 4})}).at(1).dims(), (test::Sizes{3, 4}));
}

}  // namespace
}  // namespace lathe
