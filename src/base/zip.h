// The part of the ZIP format that .npz files use: members stored or deflated, with the 64-bit extension (zip64).
// Reading trusts nothing: every offset and size is checked against the file before use, and a member that claims to
// expand by more than deflate can is refused before memory is allocated for it. Faults are Error(invalid_model).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_writer.h"

struct z_stream_s;  // zlib's z_stream

namespace lathe {

enum class ZipMethod : uint16_t { stored = 0, deflated = 8 };

struct ZipMember {
  std::string name;
  ZipMethod method = ZipMethod::stored;
  uint32_t crc = 0;
  uint64_t size = 0;
  uint64_t packed_size = 0;
  uint64_t header_offset = 0;  // of the local header in the file
};

class ZipReader {
 public:
  // Reads the directory. `bytes` is the whole file and must outlive the reader.
  explicit ZipReader(std::span<const std::byte> bytes);

  const std::vector<ZipMember>& members() const { return members_; }

  // Where the packed bytes of the member lie in the file.
  std::span<const std::byte> packed_bytes(const ZipMember& member) const;

 private:
  void read_directory(uint64_t offset, uint64_t size, uint64_t count);

  std::span<const std::byte> bytes_;
  std::vector<ZipMember> members_;
};

// The unpacked bytes of one member, in order.
class ZipMemberStream {
 public:
  ZipMemberStream(const ZipReader& reader, const ZipMember& member);
  ~ZipMemberStream();

  // Fills `out` completely or throws.
  void read(std::span<std::byte> out);
  // To be called when all `member.size` bytes were read: compares the checksum.
  void finish() const;

 private:
  void inflate_into(std::span<std::byte> out);

  struct InflateEnd {
    void operator()(z_stream_s* stream) const;
  };

  const ZipMember& member_;
  std::span<const std::byte> packed_;                 // what has not been consumed yet
  std::unique_ptr<z_stream_s, InflateEnd> inflater_;  // null for a stored member
  uint64_t produced_ = 0;
  uint32_t crc_ = 0;
};

class ZipWriter {
 public:
  explicit ZipWriter(std::filesystem::path target);

  // Writes one member, whose content is `parts` one after the other.
  void add(std::string_view name, std::span<const std::span<const std::byte>> parts, ZipMethod method);
  // Writes the directory and gives the file its name; nothing may be added afterwards.
  void commit();

 private:
  uint64_t write_deflated(std::span<const std::span<const std::byte>> parts);

  FileWriter file_;
  std::vector<ZipMember> members_;
};

}  // namespace lathe
