#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace lathe {
namespace {

[[noreturn]] void fail_reading(const std::filesystem::path& path, int code) {
  const ErrorCode kind = code == ENOENT || code == ENOTDIR ? ErrorCode::not_found : ErrorCode::io;
  throw Error(kind, "cannot read the file: " + std::generic_category().message(code)).in_file(path.string());
}

// The descriptor is only needed until the mapping exists.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a FIFO that nobody writes to must fail below, not wait for a writer.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) fail_reading(path, errno);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) fail_reading(path, errno);
  if (!S_ISREG(info.st_mode)) throw Error(ErrorCode::io, "not a regular file").in_file(path.string());

  std::span<const std::byte> bytes;
  if (info.st_size > 0) {  // mmap refuses a length of zero
    const auto size = static_cast<size_t>(info.st_size);
    void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (address == MAP_FAILED) fail_reading(path, errno);
    bytes = {static_cast<const std::byte*>(address), size};
  }
  return std::shared_ptr<const MappedFile>(new MappedFile(path, bytes));
}

MappedFile::MappedFile(std::filesystem::path path, std::span<const std::byte> bytes)
    : path_(std::move(path)), bytes_(bytes) {}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

void MappedFile::release_pages(size_t offset, size_t length) const {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  if (offset >= bytes_.size()) return;
  const size_t end = offset + std::min(length, bytes_.size() - offset);
  const size_t first = (offset + page - 1) / page * page;
  const size_t last = end == bytes_.size() ? end : end / page * page;  // the page at the end holds nothing else
  if (first < last) ::madvise(const_cast<std::byte*>(bytes_.data()) + first, last - first, MADV_DONTNEED);
}

}  // namespace lathe
