// Measured times of kernels, kept in a JSON file that people can read and edit: one entry per op, sizes, types and
// machine kind, with microseconds by kernel. With all times in the cache nothing is measured, so builds repeat exactly.
// What others have measured at length (the types of a model's layers) can be kept beside them.
#pragma once

#include <filesystem>
#include <map>
#include <string>

namespace lathe {

class TimingCache {
 public:
  using Times = std::map<std::string, double>;  // kernel -> microseconds

  TimingCache() = default;
  // An absent file gives an empty cache; throws Error(invalid_model) for a file that is no timing cache.
  static TimingCache load(const std::filesystem::path& path);
  // Replaces the file as a whole.
  void save(const std::filesystem::path& path) const;

  const Times* find(const std::string& key) const;
  void insert(const std::string& key, const std::string& kernel, double microseconds);
  size_t size() const { return entries_.size(); }

  // Null where there is none. A note is JSON that only whoever wrote it understands.
  const std::string* find_note(const std::string& key) const;
  void insert_note(const std::string& key, std::string json);

  // Whether there is something that was not loaded.
  bool changed() const { return changed_; }

 private:
  std::map<std::string, Times> entries_;
  std::map<std::string, std::string> notes_;
  bool changed_ = false;
};

}  // namespace lathe
