#include "base/zip.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "base/error.h"

namespace lathe {
namespace {

constexpr uint32_t kLocalSignature = 0x04034b50;
constexpr uint32_t kCentralSignature = 0x02014b50;
constexpr uint32_t kEndSignature = 0x06054b50;
constexpr uint32_t kEnd64Signature = 0x06064b50;
constexpr uint32_t kLocator64Signature = 0x07064b50;
constexpr size_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22, kEnd64Bytes = 56, kLocator64Bytes = 20;
constexpr uint16_t kZip64Extra = 1;
constexpr uint32_t kMoved32 = 0xffffffff;  // the value stands in the zip64 field instead
constexpr uint16_t kMoved16 = 0xffff;
constexpr uint64_t kMaxDeflateRatio = 1032;  // 258 bytes from 2 bits is the best that deflate can do
constexpr size_t kChunk = size_t{256} << 10;

[[noreturn]] void damaged(std::string_view what) { fail(ErrorCode::invalid_model, "damaged zip file: {}", what); }

template <class T>
T load(std::span<const std::byte> bytes, uint64_t offset) {
  static_assert(std::is_unsigned_v<T>);
  if (offset > bytes.size() || sizeof(T) > bytes.size() - offset) damaged("it ends inside a record");
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

std::span<const std::byte> slice(std::span<const std::byte> bytes, uint64_t offset, uint64_t size) {
  if (offset > bytes.size() || size > bytes.size() - offset) damaged("a record lies outside of the file");
  return bytes.subspan(offset, size);
}

class RecordBuilder {
 public:
  template <class T>
  RecordBuilder& put(T value) {
    static_assert(std::is_unsigned_v<T>);
    const auto bytes = std::as_bytes(std::span(&value, 1));
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  RecordBuilder& put(std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text));
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

// The end record is the last thing in the file but for a comment of up to 64 KiB.
uint64_t find_end_record(std::span<const std::byte> bytes) {
  if (bytes.size() < kEndBytes) fail(ErrorCode::invalid_model, "not a zip file");
  const uint64_t last = bytes.size() - kEndBytes;
  const uint64_t first = last > kMoved16 ? last - kMoved16 : 0;
  for (uint64_t at = last + 1; at-- > first;)
    if (load<uint32_t>(bytes, at) == kEndSignature && load<uint16_t>(bytes, at + 20) <= last - at) return at;
  fail(ErrorCode::invalid_model, "not a zip file, or one that was cut off");
}

// Replaces the fields of a directory entry that did not fit into 32 bits, in the order that the format prescribes.
void read_zip64_extra(std::span<const std::byte> extra, ZipMember& member) {
  while (extra.size() >= 4) {
    const auto id = load<uint16_t>(extra, 0);
    const auto field = slice(extra, 4, load<uint16_t>(extra, 2));
    if (id == kZip64Extra) {
      uint64_t at = 0;
      for (uint64_t* value : {&member.size, &member.packed_size, &member.header_offset})
        if (*value == kMoved32) {
          *value = load<uint64_t>(field, at);
          at += sizeof(uint64_t);
        }
      return;
    }
    extra = extra.subspan(4 + field.size());
  }
}

void check_member(const ZipMember& member, uint16_t flags, uint16_t method) {
  if ((flags & 1u) != 0) fail(ErrorCode::unsupported, "zip member '{}' is encrypted", member.name);
  if (method != static_cast<uint16_t>(ZipMethod::stored) && method != static_cast<uint16_t>(ZipMethod::deflated))
    fail(ErrorCode::unsupported, "zip member '{}' uses compression method {}; only stored and deflated are known",
         member.name, method);
  if (member.method == ZipMethod::stored && member.size != member.packed_size)
    damaged(fmt::format("the sizes of member '{}' contradict each other", member.name));
  if (member.method == ZipMethod::deflated && member.size / kMaxDeflateRatio > member.packed_size)
    damaged(fmt::format("member '{}' claims {} bytes from {}, more than deflate can hold", member.name, member.size,
                        member.packed_size));
}

uint32_t extend_crc(uint32_t crc, std::span<const std::byte> bytes) {
  if (bytes.empty()) return crc;  // zlib takes a null pointer as the wish for a fresh checksum
  return static_cast<uint32_t>(::crc32_z(crc, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

uint32_t clamp32(uint64_t value) { return static_cast<uint32_t>(std::min<uint64_t>(value, kMoved32)); }

uint16_t version_needed(bool zip64) { return zip64 ? 45 : 20; }

// The fields that the local header and the directory entry share, from the version to the name length.
void put_common(RecordBuilder& record, const ZipMember& member, bool zip64) {
  record.put(version_needed(zip64));
  record.put(uint16_t{1u << 11});  // the name is UTF-8
  record.put(static_cast<uint16_t>(member.method));
  record.put(uint16_t{0}).put(uint16_t{(1 << 5) | 1});  // 1 January 1980: equal content gives equal files
  record.put(member.crc);
  record.put(zip64 ? kMoved32 : static_cast<uint32_t>(member.packed_size));
  record.put(zip64 ? kMoved32 : static_cast<uint32_t>(member.size));
  record.put(static_cast<uint16_t>(member.name.size()));
}

RecordBuilder local_header(const ZipMember& member, bool zip64) {
  RecordBuilder record;
  record.put(kLocalSignature);
  put_common(record, member, zip64);
  record.put(uint16_t{zip64 ? uint16_t{20} : uint16_t{0}}).put(std::string_view(member.name));
  if (zip64) record.put(kZip64Extra).put(uint16_t{16}).put(member.size).put(member.packed_size);
  return record;
}

RecordBuilder central_header(const ZipMember& member) {
  const bool zip64 = std::max({member.size, member.packed_size, member.header_offset}) >= kMoved32;
  RecordBuilder record;
  record.put(kCentralSignature).put(version_needed(zip64));
  put_common(record, member, zip64);
  record.put(uint16_t{zip64 ? uint16_t{28} : uint16_t{0}});
  record.put(uint16_t{0}).put(uint16_t{0}).put(uint16_t{0}).put(uint32_t{0});  // comment, disk, attributes
  record.put(zip64 ? kMoved32 : static_cast<uint32_t>(member.header_offset)).put(std::string_view(member.name));
  if (zip64)
    record.put(kZip64Extra).put(uint16_t{24}).put(member.size).put(member.packed_size).put(member.header_offset);
  return record;
}

RecordBuilder end_records(uint64_t directory, uint64_t end, uint64_t count) {
  RecordBuilder record;
  const uint64_t size = end - directory;
  if (end >= kMoved32 || count >= kMoved16) {
    record.put(kEnd64Signature).put(uint64_t{kEnd64Bytes - 12}).put(version_needed(true)).put(version_needed(true));
    record.put(uint32_t{0}).put(uint32_t{0}).put(count).put(count).put(size).put(directory);
    record.put(kLocator64Signature).put(uint32_t{0}).put(end).put(uint32_t{1});
  }
  const auto short_count = static_cast<uint16_t>(std::min<uint64_t>(count, kMoved16));
  record.put(kEndSignature).put(uint16_t{0}).put(uint16_t{0}).put(short_count).put(short_count);
  record.put(clamp32(size)).put(clamp32(directory)).put(uint16_t{0});
  return record;
}

}  // namespace

ZipReader::ZipReader(std::span<const std::byte> bytes) : bytes_(bytes) {
  const uint64_t end = find_end_record(bytes);
  uint64_t count = load<uint16_t>(bytes, end + 10);
  uint64_t size = load<uint32_t>(bytes, end + 12);
  uint64_t offset = load<uint32_t>(bytes, end + 16);
  const bool has_locator =
      end >= kLocator64Bytes && load<uint32_t>(bytes, end - kLocator64Bytes) == kLocator64Signature;
  if (has_locator && (count == kMoved16 || size == kMoved32 || offset == kMoved32)) {
    const auto record = slice(bytes, load<uint64_t>(bytes, end - kLocator64Bytes + 8), kEnd64Bytes);
    if (load<uint32_t>(record, 0) != kEnd64Signature) damaged("its zip64 end record is not where it should be");
    count = load<uint64_t>(record, 32);
    size = load<uint64_t>(record, 40);
    offset = load<uint64_t>(record, 48);
  }
  read_directory(offset, size, count);
}

void ZipReader::read_directory(uint64_t offset, uint64_t size, uint64_t count) {
  auto directory = slice(bytes_, offset, size);
  if (count > directory.size() / kCentralBytes) damaged("its directory is too short for its members");
  members_.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    if (load<uint32_t>(directory, 0) != kCentralSignature) damaged("its directory holds something else than members");
    const auto flags = load<uint16_t>(directory, 8);
    const auto method = load<uint16_t>(directory, 10);
    const auto name_size = load<uint16_t>(directory, 28);
    const auto extra_size = load<uint16_t>(directory, 30);
    const auto comment_size = load<uint16_t>(directory, 32);
    const auto name = slice(directory, kCentralBytes, name_size);

    ZipMember& member = members_.emplace_back();
    member.name.assign(reinterpret_cast<const char*>(name.data()), name.size());
    member.method = static_cast<ZipMethod>(method);
    member.crc = load<uint32_t>(directory, 16);
    member.packed_size = load<uint32_t>(directory, 20);
    member.size = load<uint32_t>(directory, 24);
    member.header_offset = load<uint32_t>(directory, 42);
    read_zip64_extra(slice(directory, kCentralBytes + name_size, extra_size), member);
    check_member(member, flags, method);
    packed_bytes(member);  // throws now, not at the first use, when they lie outside of the file
    const size_t entry = kCentralBytes + name_size + extra_size + comment_size;
    directory = directory.subspan(slice(directory, 0, entry).size());
  }
}

std::span<const std::byte> ZipReader::packed_bytes(const ZipMember& member) const {
  const auto header = slice(bytes_, member.header_offset, kLocalBytes);
  if (load<uint32_t>(header, 0) != kLocalSignature)
    damaged(fmt::format("member '{}' is not where the directory says", member.name));
  const uint64_t data = member.header_offset + kLocalBytes + load<uint16_t>(header, 26) + load<uint16_t>(header, 28);
  return slice(bytes_, data, member.packed_size);
}

void ZipMemberStream::InflateEnd::operator()(z_stream_s* stream) const {
  ::inflateEnd(stream);
  delete stream;
}

ZipMemberStream::ZipMemberStream(const ZipReader& reader, const ZipMember& member)
    : member_(member), packed_(reader.packed_bytes(member)) {
  if (member.method == ZipMethod::stored) return;
  auto stream = std::make_unique<z_stream>();
  if (::inflateInit2(stream.get(), -MAX_WBITS) != Z_OK)  // negative: no zlib header around the data
    fail(ErrorCode::out_of_memory, "no memory to unpack zip member '{}'", member.name);
  inflater_.reset(stream.release());
}

ZipMemberStream::~ZipMemberStream() = default;

void ZipMemberStream::read(std::span<std::byte> out) {
  if (out.size() > member_.size - produced_)
    damaged(fmt::format("member '{}' is shorter than its content", member_.name));
  if (inflater_) {
    inflate_into(out);
  } else if (!out.empty()) {
    std::memcpy(out.data(), packed_.data(), out.size());
    packed_ = packed_.subspan(out.size());
  }
  produced_ += out.size();
  crc_ = extend_crc(crc_, out);
}

void ZipMemberStream::inflate_into(std::span<std::byte> out) {
  z_stream& stream = *inflater_;
  while (!out.empty()) {
    // zlib counts in 32 bits, so both sides are handed over in pieces.
    const auto in_size = static_cast<uInt>(std::min<size_t>(packed_.size(), kChunk));
    const auto out_size = static_cast<uInt>(std::min<size_t>(out.size(), kChunk));
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed_.data()));
    stream.avail_in = in_size;
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = out_size;
    const int result = ::inflate(&stream, Z_NO_FLUSH);
    packed_ = packed_.subspan(in_size - stream.avail_in);
    out = out.subspan(out_size - stream.avail_out);
    if (result == Z_STREAM_END && out.empty()) break;
    if (result != Z_OK) damaged(fmt::format("member '{}' cannot be unpacked", member_.name));
  }
}

void ZipMemberStream::finish() const {
  LATHE_CHECK(produced_ == member_.size);
  if (crc_ != member_.crc) damaged(fmt::format("the checksum of member '{}' is wrong", member_.name));
}

ZipWriter::ZipWriter(std::filesystem::path target) : file_(std::move(target)) {}

void ZipWriter::add(std::string_view name, std::span<const std::span<const std::byte>> parts, ZipMethod method) {
  if (name.size() > std::numeric_limits<uint16_t>::max())
    fail(ErrorCode::invalid_argument, "a zip member's name may have 65535 bytes, not {}", name.size());
  ZipMember member;
  member.name = name;
  member.method = method;
  member.header_offset = file_.position();
  for (const auto part : parts) {
    member.crc = extend_crc(member.crc, part);
    member.size += part.size();
  }
  member.packed_size = member.size;
  // Deflate may expand what it cannot pack, by less than 0.1 %: decide by twice the size.
  const bool zip64 = member.size >= kMoved32 / 2;
  file_.write(local_header(member, zip64).bytes());
  if (method == ZipMethod::deflated) {
    member.packed_size = write_deflated(parts);
    file_.write_at(member.header_offset, local_header(member, zip64).bytes());
  } else {
    for (const auto part : parts) file_.write(part);
  }
  members_.push_back(std::move(member));
}

uint64_t ZipWriter::write_deflated(std::span<const std::span<const std::byte>> parts) {
  z_stream stream{};
  if (::deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    fail(ErrorCode::out_of_memory, "no memory to compress");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&stream, ::deflateEnd);
  const uint64_t start = file_.position();
  std::vector<std::byte> packed(kChunk);
  const auto pump = [&](int flush) {
    int result = Z_OK;
    do {
      stream.next_out = reinterpret_cast<Bytef*>(packed.data());
      stream.avail_out = static_cast<uInt>(packed.size());
      result = ::deflate(&stream, flush);
      file_.write(std::span(packed).first(packed.size() - stream.avail_out));
    } while (flush == Z_FINISH ? result != Z_STREAM_END : stream.avail_in > 0);
  };
  for (auto part : parts)
    while (!part.empty()) {
      const size_t size = std::min(part.size(), kChunk);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(part.data()));
      stream.avail_in = static_cast<uInt>(size);
      pump(Z_NO_FLUSH);
      part = part.subspan(size);
    }
  pump(Z_FINISH);
  return file_.position() - start;
}

void ZipWriter::commit() {
  const uint64_t directory = file_.position();
  for (const ZipMember& member : members_) file_.write(central_header(member).bytes());
  file_.write(end_records(directory, file_.position(), members_.size()).bytes());
  file_.commit();
}

}  // namespace lathe
