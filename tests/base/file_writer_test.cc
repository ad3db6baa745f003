#include "base/file_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <string>

#include "base/error.h"
#include "tests/base/temporary_folder.h"

namespace lathe {
namespace {

using ::testing::HasSubstr;

void expect_refused(const std::filesystem::path& target) {
  try {
    FileWriter writer(target);
    ADD_FAILURE() << target << " was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::io);
    EXPECT_THAT(error.what(), HasSubstr(target.string()));
  }
}

TEST(FileWriter, TheFileAppearsWithCommit) {
  const TemporaryFolder folder;
  folder.write("file", "old");
  FileWriter writer(folder / "file");
  writer.write("new ");
  writer.write("content");
  EXPECT_EQ(folder.read("file"), "old");
  writer.commit();
  EXPECT_EQ(folder.read("file"), "new content");
  EXPECT_EQ(folder.file_count(), 1u);
}

TEST(FileWriter, SyncedAndEmptyFilesWork) {
  const TemporaryFolder folder;
  FileWriter writer(folder / "file");
  writer.commit(FileWriter::Durability::synced);
  EXPECT_TRUE(std::filesystem::exists(folder / "file"));
  EXPECT_EQ(folder.read("file"), "");
}

TEST(FileWriter, WithoutCommitNothingRemains) {
  const TemporaryFolder folder;
  {
    FileWriter writer(folder / "file");
    writer.write("x");
  }
  EXPECT_EQ(folder.file_count(), 0u);
}

TEST(FileWriter, LargeWritesKeepTheirOrder) {
  const TemporaryFolder folder;
  FileWriter writer(folder / "file");
  std::string expected;
  for (size_t size : {1u, 300000u, 5u, 262144u, 262143u, 2u, 1000000u, 0u, 7u}) {
    const std::string part(size, static_cast<char>('a' + expected.size() % 26));
    writer.write(part);
    expected += part;
    ASSERT_EQ(writer.position(), expected.size());
  }
  writer.commit();
  EXPECT_TRUE(folder.read("file") == expected);
}

TEST(FileWriter, OverwritesWhatWasWritten) {
  const TemporaryFolder folder;
  FileWriter writer(folder / "file");
  writer.write("0123456789");
  writer.write_at(2, std::as_bytes(std::span("ab", 2)));
  writer.write("end");
  writer.write_at(12, std::as_bytes(std::span("D", 1)));
  EXPECT_EQ(writer.position(), 13u);
  EXPECT_THROW(writer.write_at(12, std::as_bytes(std::span("xy", 2))), Error);
  writer.commit();
  EXPECT_EQ(folder.read("file"), "01ab456789enD");
}

TEST(FileWriter, AlignsWithZeros) {
  const TemporaryFolder folder;
  FileWriter writer(folder / "file");
  writer.align(4096);
  EXPECT_EQ(writer.position(), 0u);
  writer.write("x");
  writer.align(1);
  EXPECT_EQ(writer.position(), 1u);
  writer.align(65536);
  EXPECT_EQ(writer.position(), 65536u);
  writer.align(65536);
  EXPECT_EQ(writer.position(), 65536u);
  writer.commit();
  EXPECT_EQ(folder.read("file"), "x" + std::string(65535, '\0'));
}

TEST(FileWriter, RefusesTargetsThatCannotBecomeFiles) {
  const TemporaryFolder folder;
  folder.write("file", "x");
  expect_refused(folder / "missing" / "file");
  expect_refused(folder / "file" / "below");
  expect_refused(folder.path());
  expect_refused(folder.path() / "");
  expect_refused("/dev/null");
  expect_refused("/proc/lathe");
  expect_refused("");
  EXPECT_EQ(folder.file_count(), 1u);
}

// A file size limit makes the kernel refuse a write in the middle, as a full disk does.
TEST(FileWriter, AFullDiskLeavesTheOldFile) {
  const TemporaryFolder folder;
  folder.write("file", "old");
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{100000, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  {
    FileWriter writer(folder / "file");
    try {
      for (int i = 0; i < 10; ++i) writer.write(std::string(50000, 'x'));
      writer.commit();
      ADD_FAILURE() << "500000 bytes fit into 100000";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::io);
      EXPECT_THAT(error.what(), HasSubstr((folder / "file").string()));
    }
  }
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(folder.read("file"), "old");
  EXPECT_EQ(folder.file_count(), 1u);
}

TEST(FileWriter, TwoWritersOfOneTargetDoNotMeet) {
  const TemporaryFolder folder;
  FileWriter first(folder / "file"), second(folder / "file");
  first.write("first");
  second.write("second");
  second.commit();
  first.commit();
  EXPECT_EQ(folder.read("file"), "first");
  EXPECT_EQ(folder.file_count(), 1u);
}

}  // namespace
}  // namespace lathe
