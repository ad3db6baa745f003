#include "checkpoint/checkpoint.h"

#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/error.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/torch_file.h"

namespace lathe::checkpoint {
namespace {

using nlohmann::json;

constexpr const char* kWeights[] = {"model.safetensors", "pytorch_model.bin"};
constexpr std::string_view kIndexSuffix = ".index.json";

std::string read_text(const std::filesystem::path& path) { return std::string(MappedFile::open(path)->text()); }

// Keeps the file that a view points into. Pages that nobody views any more may leave memory: a weight that has been
// packed for a device would be in it twice.
class View {
 public:
  View(std::shared_ptr<const MappedFile> file, std::span<const std::byte> bytes)
      : file_(std::move(file)),
        offset_(static_cast<size_t>(bytes.data() - file_->bytes().data())),
        size_(bytes.size()) {}
  View(const View&) = delete;
  View& operator=(const View&) = delete;
  ~View() { file_->release_pages(offset_, size_); }

 private:
  std::shared_ptr<const MappedFile> file_;
  size_t offset_, size_;
};

// Copies a tensor that is stored column by column, or otherwise out of order, into row-major order.
Tensor gathered(const StoredTensor& stored) {
  Tensor result(stored.dtype, stored.dims);
  const size_t width = storage_bytes(stored.dtype, 1);
  std::byte* out = result.mutable_bytes().data();
  std::vector<int64_t> index(stored.dims.size(), 0);
  for (int64_t i = 0; i < result.elements(); ++i, out += width) {
    int64_t at = 0;
    for (size_t axis = 0; axis < index.size(); ++axis) at += index[axis] * stored.strides[axis];
    std::memcpy(out, stored.bytes.data() + static_cast<size_t>(at) * width, width);
    for (size_t axis = index.size(); axis-- > 0 && ++index[axis] == stored.dims[axis];) index[axis] = 0;
  }
  return result;
}

// The shards that an index names, each once; every tensor of the index must then be found in them.
std::map<std::string, std::string> read_index(const std::filesystem::path& path) {
  const json document = json::parse(read_text(path), nullptr, /*allow_exceptions=*/false);
  const bool has_map = document.is_object() && document.contains("weight_map") && document["weight_map"].is_object();
  if (!has_map) fail(ErrorCode::invalid_model, "the index of the weights has no 'weight_map'");
  std::map<std::string, std::string> shard_of;
  for (const auto& [name, shard] : document["weight_map"].items()) {
    if (!shard.is_string()) fail(ErrorCode::invalid_model, "the index does not say in which file '{}' is", name);
    const auto file = shard.get<std::string>();
    if (file.empty() || std::filesystem::path(file).filename() != file)
      fail(ErrorCode::invalid_model, "the index names the file '{}', which is not in the folder itself", file);
    shard_of.emplace(name, file);
  }
  return shard_of;
}

// What Git leaves in place of large files where it lacks the extension that fetches them.
void refuse_pointer(std::span<const std::byte> bytes) {
  constexpr std::string_view kPointer = "version https://git-lfs";
  if (bytes.size() >= kPointer.size() && std::memcmp(bytes.data(), kPointer.data(), kPointer.size()) == 0)
    throw Error(ErrorCode::invalid_model, "the file only points to its content, which Git LFS keeps")
        .remedy("Fetch it: git lfs pull");
}

}  // namespace

Checkpoint Checkpoint::open(const std::filesystem::path& folder) {
  Checkpoint checkpoint;
  checkpoint.folder_ = folder;
  if (!std::filesystem::is_regular_file(folder / "config.json"))
    throw Error(ErrorCode::not_found, "the folder has no config.json")
        .in_file(folder.string())
        .remedy(
            "Give the folder of a checkpoint as Hugging Face lays it out: config.json, weights, tokenizer. GGUF files "
            "are not read");
  checkpoint.config_ = read_text(folder / "config.json");
  if (std::filesystem::is_regular_file(folder / "generation_config.json"))
    checkpoint.generation_config_ = read_text(folder / "generation_config.json");
  for (const std::string name : kWeights) {
    if (std::filesystem::is_regular_file(folder / name)) {
      checkpoint.add_file(name);
      return checkpoint;
    }
    if (std::filesystem::is_regular_file(folder / (name + std::string(kIndexSuffix)))) {
      checkpoint.add_shards(name + std::string(kIndexSuffix));
      return checkpoint;
    }
  }
  throw Error(ErrorCode::not_found,
              "the folder has no weights: no model.safetensors, no pytorch_model.bin, and no index of shards of them")
      .in_file(folder.string());
}

void Checkpoint::add_file(const std::string& name) {
  try {
    const std::shared_ptr<const MappedFile> file = MappedFile::open(folder_ / name);
    refuse_pointer(file->bytes());
    const bool torch = std::filesystem::path(name).extension() == ".bin";
    for (StoredTensor& stored : torch ? parse_torch_file(file->bytes()) : parse_safetensors(file->bytes())) {
      std::string key = stored.name;
      tensors_.insert_or_assign(std::move(key), Entry{std::move(stored), file});
    }
  } catch (Error& error) {
    if (error.file().empty()) error.in_file((folder_ / name).string());
    throw;
  }
}

void Checkpoint::add_shards(const std::string& index) {
  std::map<std::string, std::string> shard_of;
  try {
    shard_of = read_index(folder_ / index);
  } catch (Error& error) {
    if (error.file().empty()) error.in_file((folder_ / index).string());
    throw;
  }
  std::set<std::string> shards;
  for (const auto& [name, shard] : shard_of) shards.insert(shard);
  for (const std::string& shard : shards) {
    if (!std::filesystem::is_regular_file(folder_ / shard))
      throw Error(ErrorCode::not_found, fmt::format("the shard '{}', which {} names, is missing", shard, index))
          .in_file(folder_.string())
          .remedy("Download all files of the model");
    add_file(shard);
  }
  for (const auto& [name, shard] : shard_of)
    if (!contains(name))
      throw Error(ErrorCode::invalid_model, fmt::format("{} says that it holds '{}', but it does not", index, name))
          .in_file((folder_ / shard).string())
          .remedy("Download the file again, together with its index");
}

std::vector<std::string> Checkpoint::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : tensors_) names.push_back(name);
  return names;
}

const StoredTensor* Checkpoint::find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second.stored;
}

Tensor Checkpoint::tensor(std::string_view name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end())
    throw Error(ErrorCode::not_found, fmt::format("there is no tensor '{}'", name)).in_file(folder_.string());
  const StoredTensor& stored = found->second.stored;
  if (!stored.strides.empty()) return gathered(stored);
  if (stored.bytes.empty()) return Tensor(stored.dtype, stored.dims);
  return Tensor::view(stored.dtype, stored.dims, stored.bytes,
                      std::make_shared<View>(found->second.file, stored.bytes));
}

bool Checkpoint::split(const std::string& name, int64_t count, std::string_view before, std::string_view after) {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) return false;
  const Entry whole = found->second;
  const StoredTensor& stored = whole.stored;
  if (count < 1 || stored.dims.size() < 2 || stored.dims[0] % count != 0 || !stored.strides.empty()) return false;
  tensors_.erase(found);
  const size_t bytes = stored.bytes.size() / static_cast<size_t>(count);
  for (int64_t i = 0; i < count; ++i) {
    Entry part = whole;
    part.stored.name = fmt::format("{}{}{}", before, i, after);
    part.stored.dims[0] /= count;
    if (part.stored.dims[0] == 1) part.stored.dims.erase(part.stored.dims.begin());
    part.stored.bytes = stored.bytes.subspan(static_cast<size_t>(i) * bytes, bytes);
    tensors_.insert_or_assign(part.stored.name, std::move(part));
  }
  return true;
}

void Checkpoint::release(std::string_view name, size_t bytes) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) return;
  const auto& [stored, file] = found->second;
  file->release_pages(static_cast<size_t>(stored.bytes.data() - file->bytes().data()), bytes);
}

}  // namespace lathe::checkpoint
