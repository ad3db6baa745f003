// A file mapped read-only into memory. Models and plans are never copied whole: whoever needs their bytes holds a
// shared_ptr to the mapping and keeps spans into it. The mapping is private; a file that another process shortens while
// it is mapped is outside the contract (the kernel raises SIGBUS), as it is for every program that maps files.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>

namespace lathe {

class MappedFile {
 public:
  // Throws Error(not_found) when there is no such file and Error(io) when it is not a regular, readable file.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);

  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  // Empty for an empty file; valid as long as this object lives.
  std::span<const std::byte> bytes() const { return bytes_; }
  std::string_view text() const { return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()}; }
  const std::filesystem::path& path() const { return path_; }

  // Tells the kernel that the whole pages inside [offset, offset + length) may leave memory; they are read again from
  // the file when touched. A hint only: the bytes stay the same, and ranges beyond the end are cut.
  void release_pages(size_t offset, size_t length) const;

 private:
  MappedFile(std::filesystem::path path, std::span<const std::byte> bytes);

  std::filesystem::path path_;
  std::span<const std::byte> bytes_;
};

}  // namespace lathe
