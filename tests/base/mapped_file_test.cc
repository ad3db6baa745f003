#include "base/mapped_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/page_out.h"
#include "tests/base/temporary_folder.h"

namespace lathe {
namespace {

using ::testing::HasSubstr;

ErrorCode code_of_opening(const std::filesystem::path& path) {
  try {
    MappedFile::open(path);
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr(path.string()));
    return error.code();
  }
  ADD_FAILURE() << "opening " << path << " worked";
  return ErrorCode::internal;
}

// How many of the bytes are on pages that the process has now, as the kernel tells in a word for each page.
size_t bytes_present(std::span<const std::byte> bytes) {
  constexpr size_t kPage = 4096;
  const int map = ::open("/proc/self/pagemap", O_RDONLY);
  size_t present = 0;
  for (size_t at = 0; at < bytes.size(); at += kPage) {
    uint64_t entry = 0;
    const auto page = reinterpret_cast<uintptr_t>(bytes.data() + at) / kPage;
    EXPECT_EQ(::pread(map, &entry, sizeof(entry), static_cast<off_t>(page * sizeof(entry))),
              static_cast<ssize_t>(sizeof(entry)));
    present += entry >> 63 != 0 ? kPage : 0;
  }
  ::close(map);
  return present;
}

TEST(PageOut, BytesOfAFileComeBack) {
  const TemporaryFolder folder;
  const std::string content(300000, 'x');
  folder.write("file", content);
  const auto file = MappedFile::open(folder / "file");
  EXPECT_EQ(file->text(), content);
  EXPECT_GT(bytes_present(file->bytes()), 290000u);
  page_out(file->bytes());
  EXPECT_LT(bytes_present(file->bytes()), 5000u) << "but for the last page, which is no whole one";
  EXPECT_EQ(file->text(), content);
}

TEST(PageOut, OtherBytesStay) {
  std::vector<std::byte> bytes(300000, std::byte{7});
  page_out(bytes);
  page_out(std::span(bytes).first(10));
  page_out({});
  EXPECT_EQ(std::count(bytes.begin(), bytes.end(), std::byte{7}), std::ssize(bytes));
  forget(bytes);
  EXPECT_LT(bytes_present(bytes), 10000u);
}

TEST(MappedFile, ShowsTheContent) {
  const TemporaryFolder folder;
  const std::string content = std::string("a\0b", 3) + std::string(10000, 'x');
  folder.write("file", content);
  const auto file = MappedFile::open(folder / "file");
  EXPECT_EQ(file->text(), content);
  EXPECT_EQ(file->path(), folder / "file");
}

TEST(MappedFile, EmptyFileHasNoBytes) {
  const TemporaryFolder folder;
  folder.write("empty", "");
  const auto file = MappedFile::open(folder / "empty");
  EXPECT_TRUE(file->bytes().empty());
  file->release_pages(0, 100);
}

TEST(MappedFile, OutlivesTheNameOfTheFile) {
  const TemporaryFolder folder;
  folder.write("file", "content");
  const auto file = MappedFile::open(folder / "file");
  std::filesystem::remove(folder / "file");
  EXPECT_EQ(file->text(), "content");
}

TEST(MappedFile, ReleasedPagesKeepTheirContent) {
  const TemporaryFolder folder;
  std::string content(5 * 4096 + 17, '\0');
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 31 % 251);
  folder.write("file", content);
  const auto file = MappedFile::open(folder / "file");
  ASSERT_EQ(file->text(), content);
  file->release_pages(1, 3 * 4096);
  file->release_pages(4 * 4096, SIZE_MAX);
  file->release_pages(content.size(), 1);
  file->release_pages(SIZE_MAX, 1);
  EXPECT_EQ(file->text(), content);
}

TEST(MappedFile, RefusesWhatIsNoReadableFile) {
  const TemporaryFolder folder;
  folder.write("file", "x");
  EXPECT_EQ(code_of_opening(folder / "missing"), ErrorCode::not_found);
  EXPECT_EQ(code_of_opening(folder / "file" / "below"), ErrorCode::not_found);
  EXPECT_EQ(code_of_opening(folder.path()), ErrorCode::io);
  EXPECT_EQ(code_of_opening("/dev/null"), ErrorCode::io);
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(code_of_opening(folder / "pipe"), ErrorCode::io);
}

}  // namespace
}  // namespace lathe
