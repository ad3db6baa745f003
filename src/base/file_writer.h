// Writes a file so that readers see the old one or the whole new one, never a part: bytes go to a temporary file in the
// target's folder, and commit() renames it over the target (a symbolic link there is replaced, not followed).
// Destroying an uncommitted writer leaves no trace. Every failure (no such folder, no permission, disk full) is an
// Error(io) that names the target.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

namespace lathe {

class FileWriter {
 public:
  // Fails at once when the target cannot become a file: its folder is missing or not writable, or the target is
  // a folder or a device (renaming over /dev/null would replace it).
  explicit FileWriter(std::filesystem::path target);
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;
  ~FileWriter();

  // Appends at position().
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }

  // Overwrites [offset, offset + size), which must have been appended before; position() stays. For headers whose
  // content is known last.
  void write_at(uint64_t offset, std::span<const std::byte> bytes);

  // Appends zeros until position() is a multiple of `alignment` (a power of two).
  void align(uint64_t alignment);

  uint64_t position() const { return position_; }
  const std::filesystem::path& target() const { return target_; }

  enum class Durability { cached, synced };  // synced: the content has reached the disk before it gets its name

  // Gives the file its name. Nothing may be written afterwards.
  void commit(Durability durability = Durability::cached);

 private:
  void flush();
  void write_through(uint64_t offset, std::span<const std::byte> bytes);
  void discard() noexcept;
  [[noreturn]] void fail_writing(int code) const;

  std::filesystem::path target_;
  std::filesystem::path temporary_;
  int fd_ = -1;                    // -1 once committed
  uint64_t position_ = 0;          // includes what is still in the buffer
  std::vector<std::byte> buffer_;  // appended, not yet in the file
};

}  // namespace lathe
