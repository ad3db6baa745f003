// A folder in the layout of Hugging Face: config.json and weights, in one file or in shards that an index names
// (safetensors, or PyTorch's .bin). Files are mapped; a tensor is a view of them. Faults are Errors that name the file.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "checkpoint/stored_tensor.h"
#include "graph/tensor.h"

namespace lathe::checkpoint {

class Checkpoint {
 public:
  // Throws Error(not_found) when the folder has no config.json or no weights, with what was looked for.
  static Checkpoint open(const std::filesystem::path& folder);

  const std::filesystem::path& folder() const { return folder_; }
  // The text of config.json, and of generation_config.json where there is one.
  std::string_view config() const { return config_; }
  std::string_view generation_config() const { return generation_config_; }

  bool contains(std::string_view name) const { return tensors_.find(name) != tensors_.end(); }
  std::vector<std::string> names() const;  // sorted
  // Null when there is no such tensor. Type and sizes without touching the data.
  const StoredTensor* find(std::string_view name) const;
  // A view of the mapped file; only a tensor that is not stored row by row is copied. Throws Error(not_found).
  Tensor tensor(std::string_view name) const;
  // Makes `count` tensors of one, cut along its first axis, which goes away where nothing of it remains: `name` becomes
  // before + "0" + after and so on. False, and nothing done, when there is no such tensor or it cannot be cut so.
  bool split(const std::string& name, int64_t count, std::string_view before, std::string_view after);
  // The first `bytes` of a tensor have been read and will not be soon again: their pages may leave memory.
  void release(std::string_view name, size_t bytes) const;

 private:
  struct Entry {
    StoredTensor stored;
    std::shared_ptr<const MappedFile> file;
  };

  void add_file(const std::string& name);
  void add_shards(const std::string& index);

  std::filesystem::path folder_;
  std::string config_, generation_config_;
  std::map<std::string, Entry, std::less<>> tensors_;
};

}  // namespace lathe::checkpoint
