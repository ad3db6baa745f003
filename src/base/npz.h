// NumPy's .npz format: a zip file with one .npy member per array. Both directions handle one array at a time, so that a
// file may be much larger than memory. Faults of a file are Errors that name it and the array.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "base/npy.h"
#include "base/zip.h"

namespace lathe {

class NpzReader {
 public:
  explicit NpzReader(const std::filesystem::path& path);
  // `bytes` must outlive the reader.
  explicit NpzReader(std::span<const std::byte> bytes);

  // Array names in file order, without ".npy". Members of other kinds are not listed.
  const std::vector<std::string>& names() const { return names_; }
  bool contains(std::string_view name) const;

  // Throws Error(not_found) when there is no such array.
  NpyArray read(std::string_view name) const;

 private:
  NpyArray read_member(const ZipMember& member) const;

  std::shared_ptr<const MappedFile> file_;  // null when reading from memory
  ZipReader zip_;
  std::vector<std::string> names_;
};

class NpzWriter {
 public:
  explicit NpzWriter(std::filesystem::path path, ZipMethod method = ZipMethod::stored);

  // Throws Error(invalid_argument) when the name was used before.
  void add(std::string_view name, const NpyView& array);
  // Without it, no file appears.
  void commit() { zip_.commit(); }

 private:
  ZipWriter zip_;
  ZipMethod method_;
  std::vector<std::string> names_;
};

}  // namespace lathe
