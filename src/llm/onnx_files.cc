#include "llm/onnx_files.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"

namespace lathe::llm {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::string_view kEncoder = "encoder_model.onnx", kFirst = "decoder_model.onnx",
                           kSecond = "decoder_with_past_model.onnx", kMerged = "decoder_model_merged.onnx",
                           kPlain = "model.onnx";

bool is_file(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

std::vector<fs::path> files_with(const fs::path& folder, std::string_view extension) {
  std::vector<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.path().extension() == extension && is_file(entry.path())) found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  return found;
}

// Null where there is no such file.
json read_json(const fs::path& path) {
  std::ifstream file(path);
  if (!file) return {};
  json document = json::parse(file, nullptr, false);
  if (!document.is_object()) throw Error(ErrorCode::invalid_model, "this is no JSON object").in_file(path.string());
  return document;
}

// The member at a path of keys, null where it ends early.
json member(const json& object, std::initializer_list<const char*> keys) {
  const json* at = &object;
  for (const char* key : keys) {
    if (!at->is_object() || !at->contains(key)) return {};
    at = &at->at(key);
  }
  return *at;
}

template <class T>
void read_integer(const json& object, std::initializer_list<const char*> spellings, T& value) {
  for (const char* key : spellings)
    if (const json found = member(object, {key}); found.is_number_integer()) {
      value = found.get<T>();
      return;
    }
}

void read_eos(const json& object, std::vector<int32_t>& ids) {
  const json found = member(object, {"eos_token_id"});
  if (found.is_number_integer()) ids = {found.get<int32_t>()};
  if (found.is_array() &&
      std::all_of(found.begin(), found.end(), [](const json& id) { return id.is_number_integer(); }))
    ids = found.get<std::vector<int32_t>>();
}

void read_tokens(const json& object, checkpoint::DecoderInfo& info) {
  read_eos(object, info.eos_ids);
  read_integer(object, {"bos_token_id"}, info.bos_id);
  read_integer(object, {"pad_token_id"}, info.pad_id);
  read_integer(object, {"mask_token_id"}, info.mask_id);
  read_integer(object, {"gmask_token_id"}, info.gmask_id);
}

OnnxFiles with_folder(OnnxFiles files) {
  files.folder = files.first.parent_path();
  if (is_file(files.folder / kEncoder)) files.encoder = files.folder / kEncoder;
  const auto described = [](const fs::path& folder) {
    return is_file(folder / "config.json") || is_file(folder / "genai_config.json") ||
           is_file(folder / "tokenizer.json");
  };
  const fs::path above = files.folder.parent_path();
  if (files.folder.filename() == "onnx" && !described(files.folder) && described(above)) files.folder = above;
  return files;
}

OnnxFiles of_file(const fs::path& path) {
  OnnxFiles files{path, {}};
  if (path.filename() == kFirst && is_file(path.parent_path() / kSecond)) files.second = path.parent_path() / kSecond;
  if (path.filename() == kSecond && is_file(path.parent_path() / kFirst)) files = {path.parent_path() / kFirst, path};
  return with_folder(std::move(files));
}

std::optional<OnnxFiles> of_folder(const fs::path& folder) {
  const json name = member(read_json(folder / "genai_config.json"), {"model", "decoder", "filename"});
  if (name.is_string()) {
    const fs::path path = folder / name.get<std::string>();
    if (!is_file(path)) throw Error(ErrorCode::not_found, "genai_config.json names this file").in_file(path.string());
    return of_file(path);
  }
  for (const std::string_view known : {kMerged, kFirst, kSecond, kPlain})
    if (is_file(folder / known)) return of_file(folder / known);
  const std::vector<fs::path> models = files_with(folder, ".onnx");
  if (models.size() > 1)
    throw Error(ErrorCode::invalid_model, "the folder holds several ONNX files, none with the name of a decoder")
        .in_file(folder.string())
        .remedy(fmt::format("Name the file, or call it {}", kPlain));
  if (models.empty()) return std::nullopt;
  return of_file(models.front());
}

}  // namespace

std::optional<OnnxFiles> find_onnx_files(const fs::path& path) {
  if (is_file(path)) return of_file(path);
  const std::vector<fs::path> torch = files_with(path, ".bin");  // which may be the external data of a model as well
  const bool checkpoint = std::any_of(torch.begin(), torch.end(), [](const fs::path& file) {
    return file.filename().string().starts_with("pytorch_model");
  });
  if (checkpoint || !files_with(path, ".safetensors").empty()) return std::nullopt;
  auto files = of_folder(path);
  return files ? files : of_folder(path / "onnx");
}

checkpoint::DecoderInfo read_onnx_info(const fs::path& folder) {
  checkpoint::DecoderInfo info;
  info.family = "onnx";
  const json config = read_json(folder / "config.json"), genai = read_json(folder / "genai_config.json");
  if (const json type = member(config, {"model_type"}); type.is_string()) info.family = type.get<std::string>();
  if (const json type = member(genai, {"model", "type"}); type.is_string()) info.family = type.get<std::string>();
  read_integer(
      config,
      {"max_target_positions", "max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length", "seq_length"},
      info.max_positions);
  read_integer(member(genai, {"model"}), {"context_length"}, info.max_positions);
  read_tokens(config, info);
  read_tokens(member(genai, {"model"}), info);
  read_tokens(read_json(folder / "generation_config.json"), info);
  return info;
}

checkpoint::SourceInfo read_onnx_source(const fs::path& folder) {
  const json config = read_json(folder / "config.json");
  checkpoint::SourceInfo source;
  read_integer(config, {"max_source_positions", "max_position_embeddings", "n_positions"}, source.max_length);
  read_integer(config, {"vocab_size"}, source.vocab);
  return source;
}

std::string read_config(const fs::path& folder) {
  const json config = read_json(folder / "config.json");
  return config.is_null() ? std::string() : config.dump();
}

std::string read_generation_config(const fs::path& folder) {
  const json search = member(read_json(folder / "genai_config.json"), {"search"});
  const json found = search.is_object() ? search : read_json(folder / "generation_config.json");
  return found.is_null() ? std::string() : found.dump();
}

}  // namespace lathe::llm
