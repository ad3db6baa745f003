#include "checkpoint/quantised_folder.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/file_writer.h"
#include "checkpoint/decoder.h"
#include "checkpoint/model_config.h"

namespace lathe::checkpoint {
namespace {

using nlohmann::ordered_json;

constexpr uint64_t kShardBytes = uint64_t{4} << 30;

// A tensor to write: a stored one as it is, or one part of a rounded matrix.
struct Entry {
  std::string name;
  DType dtype = DType::f32;
  std::vector<int64_t> dims;
  const RoundedMatrix* matrix = nullptr;

  uint64_t bytes() const { return storage_bytes(dtype, element_count(dims)); }
};

std::string_view safetensors_name(DType type) {
  switch (type) {
    case DType::f64: return "F64";
    case DType::f32: return "F32";
    case DType::f16: return "F16";
    case DType::bf16: return "BF16";
    case DType::i64: return "I64";
    case DType::i32: return "I32";
    case DType::i16: return "I16";
    case DType::i8: return "I8";
    case DType::u8: return "U8";
    case DType::boolean: return "BOOL";
    default: fail(ErrorCode::unsupported, "tensors of type {} cannot be written", to_string(type));
  }
}

int64_t ceil_of(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t words_of(const RoundedMatrix& m) { return ceil_of(m.k, 32 / m.rounding.bits); }

// Levels, made unsigned, as words: the first in the lowest bits. Rows that fill their words are so already.
Tensor packed(const Tensor& q, int bits) {
  const int64_t n = q.dims()[0], k = q.dims()[1], per = 32 / bits, words = ceil_of(k, per);
  Tensor result(DType::i32, {n, words});
  const std::span<int32_t> out = result.mutable_as<int32_t>();
  if (k % per == 0) {
    const uint32_t middle = bits == 4 ? 0x88888888U : 0x80808080U;
    if (!out.empty()) std::memcpy(out.data(), q.bytes().data(), q.bytes().size());
    for (int32_t& word : out) word = static_cast<int32_t>(static_cast<uint32_t>(word) ^ middle);
    return result;
  }
  for (int64_t row = 0; row < n; ++row)
    for (int64_t j = 0; j < k; ++j) {
      const auto level = static_cast<uint32_t>(q.read_int(row * k + j) + (int64_t{1} << (bits - 1)));
      int32_t& word = out[static_cast<size_t>(row * words + j / per)];
      word = static_cast<int32_t>(static_cast<uint32_t>(word) | level << (j % per * bits));
    }
  return result;
}

// What quantization_config says of the matrices, which share their options.
ordered_json quantization_config(const std::vector<RoundedMatrix>& matrices, const std::vector<std::string>& wide) {
  const RoundingOptions& rounding = matrices.front().rounding;
  const bool rows = rounding.block == 0;
  ordered_json weights = {{"num_bits", rounding.bits}, {"type", "int"}, {"symmetric", true}};
  weights["strategy"] = rows ? "channel" : "group";
  weights["group_size"] = rows ? ordered_json() : ordered_json(rounding.block);
  for (const char* key : {"actorder", "block_structure"}) weights[key] = nullptr;
  weights["dynamic"] = false;
  const ordered_json group = {
      {"targets", {"Linear"}}, {"weights", weights}, {"input_activations", nullptr}, {"output_activations", nullptr}};
  return {{"quant_method", "compressed-tensors"},
          {"format", "pack-quantized"},
          {"quantization_status", "compressed"},
          {"config_groups", {{"group_0", group}}},
          {"ignore", wide},
          {"kv_cache_scheme", nullptr}};
}

bool holds_weights(const std::filesystem::path& file) {
  static const std::set<std::string> kEndings = {".safetensors", ".bin",  ".pt",   ".pth", ".h5",
                                                 ".msgpack",     ".gguf", ".onnx", ".ot"};
  return kEndings.count(file.extension().string()) > 0 || file.filename().string().ends_with(".index.json");
}

// A folder that goes away again unless it gets its name.
class NewFolder {
 public:
  explicit NewFolder(std::filesystem::path target) : target_(std::move(target)) {
    if (!target_.has_filename()) target_ = target_.parent_path();
    if (std::filesystem::exists(target_))
      throw Error(ErrorCode::invalid_argument, "there is something of that name already").in_file(target_.string());
    path_ = target_;
    path_ += fmt::format(".{}.partial", ::getpid());
    std::error_code error;
    if (!std::filesystem::create_directory(path_, error))
      throw Error(ErrorCode::io, "cannot create the folder: " + error.message()).in_file(target_.string());
  }
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;
  ~NewFolder() {
    std::error_code ignored;
    if (!done_) std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }
  void commit() {
    std::error_code error;
    std::filesystem::rename(path_, target_, error);
    if (error) throw Error(ErrorCode::io, "cannot name the folder: " + error.message()).in_file(target_.string());
    done_ = true;
  }

 private:
  std::filesystem::path target_, path_;
  bool done_ = false;
};

class FolderWriter {
 public:
  FolderWriter(const Checkpoint& checkpoint, const std::vector<RoundedMatrix>& matrices, const RoundMatrix& round)
      : checkpoint_(checkpoint), matrices_(matrices), round_(round) {}

  QuantisedFolderReport write(const std::filesystem::path& target) {
    NewFolder folder(target);
    list_entries();
    write_shards(folder.path());
    write_config(folder.path());
    copy_others(folder.path());
    folder.commit();
    return report_;
  }

 private:
  void list_entries() {
    std::map<std::string, const RoundedMatrix*> rounded;
    for (const RoundedMatrix& m : matrices_) rounded[m.name + ".weight"] = &m;
    for (const std::string& name : checkpoint_.names()) {
      const StoredTensor& stored = *checkpoint_.find(name);
      report_.bytes_before += storage_bytes(stored.dtype, element_count(stored.dims));
      if (const auto found = rounded.find(name); found != rounded.end()) {
        const RoundedMatrix& m = *found->second;
        const int64_t groups = m.rounding.block == 0 ? 1 : ceil_of(m.k, m.rounding.block);
        entries_.push_back({m.name + ".weight_packed", DType::i32, {m.n, words_of(m)}, &m});
        entries_.push_back({m.name + ".weight_scale", m.rounding.scale, {m.n, groups}, &m});
        entries_.push_back({m.name + ".weight_shape", DType::i64, {2}, &m});
      } else {
        entries_.push_back({name, stored.dtype, stored.dims, nullptr});
      }
    }
    for (const Entry& entry : entries_) report_.bytes_after += entry.bytes();
    report_.matrices = std::ssize(matrices_);
  }

  // Entries [begin, end) of each file; parts of a matrix stay together.
  std::vector<std::pair<size_t, size_t>> shards() const {
    std::vector<std::pair<size_t, size_t>> result;
    size_t begin = 0;
    uint64_t bytes = 0;
    for (size_t i = 0; i < entries_.size(); ++i) {
      const bool inside = i > 0 && entries_[i].matrix != nullptr && entries_[i].matrix == entries_[i - 1].matrix;
      if (!inside && i > begin && bytes + entries_[i].bytes() > kShardBytes) {
        result.emplace_back(begin, i);
        begin = i;
        bytes = 0;
      }
      bytes += entries_[i].bytes();
    }
    result.emplace_back(begin, entries_.size());
    return result;
  }

  void write_shards(const std::filesystem::path& folder) {
    const auto parts = shards();
    ordered_json weight_map;
    for (size_t i = 0; i < parts.size(); ++i) {
      const std::string file = parts.size() == 1 ? "model.safetensors"
                                                 : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, parts.size());
      const auto entries = std::span<const Entry>(entries_).subspan(parts[i].first, parts[i].second - parts[i].first);
      for (const Entry& entry : entries) weight_map[entry.name] = file;
      write_shard(folder / file, entries);
    }
    if (parts.size() == 1) return;
    const ordered_json index = {{"metadata", {{"total_size", report_.bytes_after}}}, {"weight_map", weight_map}};
    write_text(folder / "model.safetensors.index.json", index.dump(2) + "\n");
  }

  void write_shard(const std::filesystem::path& path, std::span<const Entry> entries) {
    ordered_json header = {{"__metadata__", {{"format", "pt"}}}};
    uint64_t at = 0;
    for (const Entry& entry : entries) {
      header[entry.name] = {
          {"dtype", safetensors_name(entry.dtype)}, {"shape", entry.dims}, {"data_offsets", {at, at + entry.bytes()}}};
      at += entry.bytes();
    }
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');
    FileWriter file(path);
    const uint64_t length = text.size();
    file.write(std::as_bytes(std::span(&length, 1)));
    file.write(text);
    for (size_t i = 0; i < entries.size(); ++i) {
      if (entries[i].matrix == nullptr) {
        file.write(checkpoint_.tensor(entries[i].name).bytes());
        checkpoint_.release(entries[i].name, entries[i].bytes());
      } else if (i == 0 || entries[i - 1].matrix != entries[i].matrix) {
        write_matrix(*entries[i].matrix, file);
      }
    }
    file.commit();
  }

  void write_matrix(const RoundedMatrix& m, FileWriter& file) const {
    const WeightRows rows(checkpoint_, {}, m.name, m.n, m.k, /*transposed=*/false);
    const RoundedWeight weight = round_(m, rows);
    const Tensor shape = Tensor::of<int64_t>({2}, {m.n, m.k});
    for (const Tensor& part : {packed(weight.q, m.rounding.bits), weight.scales, shape}) file.write(part.bytes());
  }

  void write_config(const std::filesystem::path& folder) const {
    ordered_json config = ordered_json::parse(checkpoint_.config());
    std::vector<std::string> wide = {"lm_head"};
    std::set<std::string> rounded;
    for (const RoundedMatrix& m : matrices_) rounded.insert(m.name);
    const auto add = [&](const std::string& layer) {
      if (rounded.count(layer) == 0 && std::find(wide.begin(), wide.end(), layer) == wide.end()) wide.push_back(layer);
    };
    for (const std::string& name : checkpoint_.names()) {
      const size_t rank = checkpoint_.find(name)->dims.size();
      const std::string layer = name.substr(0, std::min(name.size(), name.rfind('.')));
      if (rank == 3 || (rank == 2 && name.ends_with(".weight"))) add(layer);  // stacks are a module's parameters
    }
    config["quantization_config"] = quantization_config(matrices_, wide);
    write_text(folder / "config.json", config.dump(2) + "\n");
  }

  void copy_others(const std::filesystem::path& folder) const {
    for (const auto& file : std::filesystem::directory_iterator(checkpoint_.folder())) {
      if (!file.is_regular_file() || holds_weights(file.path()) || file.path().filename() == "config.json") continue;
      std::error_code error;
      if (!std::filesystem::copy_file(file.path(), folder / file.path().filename(), error))
        throw Error(ErrorCode::io, "cannot copy the file: " + error.message()).in_file(file.path().string());
    }
  }

  static void write_text(const std::filesystem::path& path, const std::string& text) {
    FileWriter file(path);
    file.write(text);
    file.commit();
  }

  const Checkpoint& checkpoint_;
  const std::vector<RoundedMatrix>& matrices_;
  const RoundMatrix& round_;
  std::vector<Entry> entries_;
  QuantisedFolderReport report_;
};

// The constant behind the casts of a weight.
const Node& stored(const Value* weight) {
  const Node* node = weight->producer();
  while (!node->is<Constant>()) node = node->input(0)->producer();
  return *node;
}

}  // namespace

std::vector<MatrixUse> matrices_of(const Graph& decoder) {
  std::vector<MatrixUse> result;
  for (const auto& node : decoder.nodes()) {
    if (node->is<MatMul>() || node->is<MatMulNBits>()) result.push_back({node->name(), node->input(0), node->input(1)});
    const auto* grouped = node->as<GroupedMatMul>();
    if (grouped == nullptr) continue;
    for (size_t i = kGroupedOperands; i < node->inputs().size(); i += operands_of_group(*grouped)) {
      const std::string& name = stored(node->input(i)).name();  // with an ending: ".weight", ".levels"
      result.push_back({name.substr(0, name.rfind('.')), node->input(0), node->input(i)});
    }
  }
  return result;
}

RoundingPlan plan_rounding(const Checkpoint& checkpoint, const QuantisedFolderOptions& options) {
  if (read_quantization(checkpoint).method != QuantMethod::none)
    throw Error(ErrorCode::invalid_argument, "the weights of this checkpoint have been quantised before")
        .in_file(checkpoint.folder().string())
        .remedy("Use the checkpoint that it was made from");
  DecoderOptions decoder_options;
  decoder_options.weights.bits = options.bits;
  decoder_options.weights.wide_head = true;
  decoder_options.weights.sizes_only = true;
  const Decoder decoder = build_decoder(checkpoint, decoder_options);
  const bool transposed = read_model_config(checkpoint).traits.transposed;  // which a square matrix does not show
  const int64_t block = options.group == 0 && options.bits == 4 ? 128 : options.group;
  RoundingPlan plan;
  std::set<std::string> seen;
  for (const MatrixUse& use : matrices_of(*decoder.graph)) {
    if (!is_integer(use.weight->dtype()) || !seen.insert(use.name).second) continue;
    const std::vector<int64_t>& dims = stored(use.weight).as<Constant>()->value.dims();
    const StoredTensor* found = checkpoint.find(use.name + ".weight");
    if (found == nullptr) {  // one of a tensor that the builder has taken apart
      const std::string stack = use.name.substr(0, use.name.rfind('.'));
      if (seen.insert(stack).second) plan.stacks.push_back(stack);
    } else if (transposed) {
      plan.transposed.push_back(use.name);
    } else {
      const DType scale = is_half(found->dtype) ? found->dtype : DType::f32;
      plan.matrices.push_back({use.name, dims[0], dims[1], {options.bits, block, scale}});
    }
  }
  if (plan.matrices.empty())
    throw Error(ErrorCode::unsupported,
                fmt::format("no matrix is that of a Linear, whose rounded weights are the only ones that "
                            "compressed-tensors knows: {} are stored [in, out], as a Conv1D, and {} tensors are stacks",
                            plan.transposed.size(), plan.stacks.size()))
        .in_file(checkpoint.folder().string())
        .remedy("Add --int4 or --int8 to the command that runs the model: its weights are rounded while they load");
  return plan;
}

QuantisedFolderReport write_quantised_folder(const Checkpoint& checkpoint, const std::filesystem::path& target,
                                             const std::vector<RoundedMatrix>& matrices, const RoundMatrix& round) {
  return FolderWriter(checkpoint, matrices, round).write(target);
}

}  // namespace lathe::checkpoint
