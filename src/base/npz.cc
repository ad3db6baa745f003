#include "base/npz.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"

namespace lathe {
namespace {

constexpr std::string_view kSuffix = ".npy";

ZipReader open_zip(const MappedFile& file) {
  try {
    return ZipReader(file.bytes());
  } catch (Error& error) {
    error.in_file(file.path().string());
    throw;
  }
}

std::vector<std::string> array_names(const ZipReader& zip) {
  std::vector<std::string> names;
  for (const ZipMember& member : zip.members())
    if (member.name.ends_with(kSuffix)) names.push_back(member.name.substr(0, member.name.size() - kSuffix.size()));
  return names;
}

}  // namespace

NpzReader::NpzReader(const std::filesystem::path& path)
    : file_(MappedFile::open(path)), zip_(open_zip(*file_)), names_(array_names(zip_)) {}

NpzReader::NpzReader(std::span<const std::byte> bytes) : zip_(bytes), names_(array_names(zip_)) {}

bool NpzReader::contains(std::string_view name) const {
  return std::find(names_.begin(), names_.end(), name) != names_.end();
}

NpyArray NpzReader::read(std::string_view name) const {
  try {
    const std::string member_name = std::string(name) + std::string(kSuffix);
    for (const ZipMember& member : zip_.members())
      if (member.name == member_name) return read_member(member);
    fail(ErrorCode::not_found, "there is no array '{}'", name);
  } catch (Error& error) {
    if (file_) error.in_file(file_->path().string());
    throw;
  }
}

NpyArray NpzReader::read_member(const ZipMember& member) const try {
  ZipMemberStream stream(zip_, member);
  NpyArray array = read_npy([&](std::span<std::byte> out) { stream.read(out); }, member.size);
  stream.finish();
  if (file_) {  // who walks through a large file needs its pages once
    const auto packed = zip_.packed_bytes(member);
    file_->release_pages(static_cast<size_t>(packed.data() - file_->bytes().data()), packed.size());
  }
  return array;
} catch (const Error& error) {
  throw Error(error.code(), fmt::format("array '{}': {}", member.name, error.message())).remedy(error.remedy_text());
}

NpzWriter::NpzWriter(std::filesystem::path path, ZipMethod method) : zip_(std::move(path)), method_(method) {}

void NpzWriter::add(std::string_view name, const NpyView& array) {
  if (std::find(names_.begin(), names_.end(), name) != names_.end())
    fail(ErrorCode::invalid_argument, "array '{}' is in the file already", name);
  const NpyEncoding encoding(array);
  zip_.add(std::string(name) + std::string(kSuffix), std::array{encoding.header(), encoding.content()}, method_);
  names_.emplace_back(name);
}

}  // namespace lathe
