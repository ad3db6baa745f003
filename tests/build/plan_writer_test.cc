// Writing plans: targets that cannot be written, disks that fill up, cancelling; nothing stays behind.
#include "build/plan_writer.h"

#include <sys/resource.h>

#include <csignal>

#include "base/error.h"
#include "graph/text.h"
#include "tests/base/temporary_folder.h"

namespace lathe {
namespace {

CompiledModel model() {
  return compile(parse_graph(R"(graph model(%x: f32[n, 256]) {
    %w = constant {value = f32[256, 1024] random(2)}
    %v = constant {value = f32[1024, 256] random(3)}
    %h = matmul(%x, %w)
    %y = matmul(%h, %v)
    return %y as "y"
  })"),
                 {});
}

ErrorCode code_of(const std::filesystem::path& path, const PlanWriteOptions& options = {}) {
  try {
    write_plan(path, model(), options);
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "nothing was thrown";
  return ErrorCode::internal;
}

TEST(PlanWriter, TargetsThatCannotBeWritten) {
  const TemporaryFolder folder;
  EXPECT_EQ(code_of(folder / "missing/a.plan"), ErrorCode::io);
  EXPECT_EQ(code_of(folder.path()), ErrorCode::io);
  EXPECT_EQ(code_of("/dev/full"), ErrorCode::io);
  EXPECT_EQ(folder.file_count(), 0u);
}

// A disk that fills up, as far as a limit on file sizes looks like one.
TEST(PlanWriter, AFullDiskLeavesTheOldPlan) {
  const TemporaryFolder folder;
  folder.write("a.plan", "old");
  rlimit old{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  auto* const handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{size_t{1} << 20, old.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  EXPECT_EQ(code_of(folder / "a.plan"), ErrorCode::io);
  setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(folder.read("a.plan"), "old");
  EXPECT_EQ(folder.file_count(), 1u);
}

TEST(PlanWriter, CancellingLeavesNothing) {
  const TemporaryFolder folder;
  PlanWriteOptions options;
  options.progress = [](uint64_t, uint64_t) { throw Error(ErrorCode::cancelled, "enough"); };
  EXPECT_EQ(code_of(folder / "a.plan", options), ErrorCode::cancelled);
  EXPECT_EQ(folder.file_count(), 0u);
}

TEST(PlanWriter, ProgressReachesTheTotal) {
  const TemporaryFolder folder;
  uint64_t last = 0, total = 0;
  PlanWriteOptions options;
  options.progress = [&](uint64_t done, uint64_t all) {
    EXPECT_GE(done, last);
    last = done;
    total = all;
  };
  const PlanSize size = write_plan(folder / "a.plan", model(), options);
  EXPECT_EQ(last, total);
  EXPECT_GE(total, 2u * 256 * 1024 * sizeof(float));
  EXPECT_GE(size.weight_bytes, total);
  EXPECT_EQ(size.file_bytes, std::filesystem::file_size(folder / "a.plan"));
}

}  // namespace
}  // namespace lathe
