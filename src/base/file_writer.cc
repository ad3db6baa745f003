#include "base/file_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace lathe {
namespace {

constexpr size_t kBufferBytes = size_t{256} << 10;
constexpr int kMaxTemporaries = 1000;  // names tried before giving up: leftovers of killed processes may hold some

// The name carries the process id, so that two processes writing one target rarely meet; O_EXCL decides when they do.
std::filesystem::path temporary_name(const std::filesystem::path& target, int attempt) {
  std::filesystem::path name = target;
  name.replace_filename(fmt::format(".{}.{}-{}.tmp", target.filename().string(), ::getpid(), attempt));
  return name;
}

}  // namespace

FileWriter::FileWriter(std::filesystem::path target) : target_(std::move(target)) {
  std::error_code ignored;  // a target that cannot be examined fails below with the reason
  const auto status = std::filesystem::status(target_, ignored);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
    throw Error(ErrorCode::io, "cannot write: it exists and is not a regular file").in_file(target_.string());
  if (!target_.has_filename())
    throw Error(ErrorCode::io, "cannot write: the path names no file").in_file(target_.string());
  for (int attempt = 0; fd_ < 0; ++attempt) {
    temporary_ = temporary_name(target_, attempt);
    fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ < 0 && (errno != EEXIST || attempt == kMaxTemporaries)) fail_writing(errno);
  }
  buffer_.reserve(kBufferBytes);
}

FileWriter::~FileWriter() {
  if (fd_ >= 0) discard();
}

void FileWriter::write(std::span<const std::byte> bytes) {
  LATHE_CHECK(fd_ >= 0);
  if (buffer_.size() + bytes.size() > kBufferBytes) flush();
  if (bytes.size() > kBufferBytes)
    write_through(position_, bytes);
  else
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  position_ += bytes.size();
}

void FileWriter::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  LATHE_CHECK(fd_ >= 0);
  LATHE_CHECK(offset <= position_ && bytes.size() <= position_ - offset);
  flush();
  write_through(offset, bytes);
}

void FileWriter::align(uint64_t alignment) {
  LATHE_CHECK(std::has_single_bit(alignment));
  static constexpr std::array<std::byte, 4096> kZeros{};
  for (uint64_t missing = (alignment - position_ % alignment) % alignment; missing > 0;) {
    const uint64_t count = std::min<uint64_t>(missing, kZeros.size());
    write(std::span(kZeros).first(count));
    missing -= count;
  }
}

void FileWriter::commit(Durability durability) {
  LATHE_CHECK(fd_ >= 0);
  flush();
  if (durability == Durability::synced && ::fsync(fd_) != 0) fail_writing(errno);
  const int fd = std::exchange(fd_, -1);
  const int closed = ::close(fd);  // network file systems report a full disk here
  if (closed != 0 || ::rename(temporary_.c_str(), target_.c_str()) != 0) {
    const int code = errno;
    ::unlink(temporary_.c_str());
    fail_writing(code);
  }
}

void FileWriter::flush() {
  write_through(position_ - buffer_.size(), buffer_);
  buffer_.clear();
}

void FileWriter::write_through(uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail_writing(written < 0 ? errno : ENOSPC);
    bytes = bytes.subspan(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
}

void FileWriter::discard() noexcept {
  ::close(std::exchange(fd_, -1));
  ::unlink(temporary_.c_str());
}

void FileWriter::fail_writing(int code) const {
  throw Error(ErrorCode::io, "cannot write: " + std::generic_category().message(code)).in_file(target_.string());
}

}  // namespace lathe
