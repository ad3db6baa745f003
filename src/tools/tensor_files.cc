#include "tools/tensor_files.h"

#include <algorithm>

#include "base/error.h"
#include "base/glob.h"
#include "base/mapped_file.h"
#include "tools/json_values.h"
#include "tools/named_values.h"

namespace lathe::tools {
namespace {

constexpr std::string_view kInput = "in:";
constexpr std::string_view kOutput = "out:";

Tensor read_raw(const InputFile& file, const Value& input, std::span<const ShapeArg> shapes) {
  std::vector<int64_t> dims;
  const auto shape = std::find_if(shapes.rbegin(), shapes.rend(),
                                  [&](const ShapeArg& arg) { return glob_matches(arg.pattern, input.name()); });
  if (shape != shapes.rend()) {
    dims = shape->dims;
  } else {
    for (const Dim& dim : input.shape()) {
      if (!dim.is_constant())
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("raw bytes do not tell the sizes of input '{}'", input.name()))
            .remedy(
                fmt::format("Add --shape {}:SIZES; the model says {}", input.name(), lathe::to_string(input.type())));
      dims.push_back(dim.value());
    }
  }
  auto mapped = MappedFile::open(file.path);
  const size_t wanted = storage_bytes(input.dtype(), element_count(dims));
  if (mapped->bytes().size() != wanted)
    throw Error(ErrorCode::invalid_argument,
                fmt::format("the file has {} bytes, but {} {} takes {}", mapped->bytes().size(),
                            lathe::to_string(input.dtype()), lathe::to_string(dims), wanted))
        .in_file(file.path.string());
  const std::span<const std::byte> bytes = mapped->bytes();
  return Tensor::view(input.dtype(), std::move(dims), bytes, std::move(mapped)).aligned();
}

Tensor read_from_npz(const NpzReader& reader, const InputFile& file) {
  for (const std::string& name : {file.name, std::string(kInput) + file.name})
    if (reader.contains(name)) return to_tensor(reader.read(name));
  // A file with one array needs no name.
  if (reader.names().size() == 1) return to_tensor(reader.read(reader.names().front()));
  throw Error(ErrorCode::not_found, fmt::format("there is no array '{}'", file.name)).in_file(file.path.string());
}

void load_all(const Graph& graph, const InputFile& file, Tensors& tensors) {
  const NpzReader reader(file.path);
  bool any = false;
  for (const std::string_view prefix : {kInput, std::string_view()}) {
    for (const std::string& array : reader.names()) {
      if (!array.starts_with(prefix)) continue;
      const std::string name = array.substr(prefix.size());
      if (find_input(graph, name) == nullptr) continue;
      tensors[name] = to_tensor(reader.read(array));
      any = true;
    }
  }
  if (!any)
    throw Error(ErrorCode::not_found, "no array has the name of an input of the model").in_file(file.path.string());
}

}  // namespace

Tensor to_tensor(NpyArray array) {
  if (array.dtype == DType::string) return Tensor::of_strings(std::move(array.dims), std::move(array.strings));
  auto owner = std::make_shared<std::vector<std::byte>>(std::move(array.bytes));
  const std::span<const std::byte> bytes(*owner);
  return Tensor::view(array.dtype, std::move(array.dims), bytes, std::move(owner));
}

NpyView to_npy(const Tensor& tensor) {
  if (tensor.dtype() == DType::string) return {tensor.dims(), tensor.strings()};
  return {tensor.dtype(), tensor.dims(), tensor.bytes()};
}

InputFile parse_input_arg(std::string_view text) {
  const size_t equals = text.find('=');
  const bool names_values = text.ends_with(".npz") || text.ends_with(".json");
  if (equals == std::string_view::npos && names_values) return {"", text};
  if (equals == std::string_view::npos || equals == 0 || equals + 1 == text.size())
    throw Error(ErrorCode::invalid_argument, fmt::format("'{}' is not an input", text))
        .remedy(
            "Write --input NAME=FILE.npy, NAME=FILE.npz, NAME=FILE.bin, NAME=FILE.json, or FILE.npz or FILE.json "
            "alone");
  return {std::string(text.substr(0, equals)), text.substr(equals + 1)};
}

Tensors load_inputs(const Graph& graph, std::span<const InputFile> files, std::span<const ShapeArg> shapes) {
  std::vector<std::string> names;
  for (const Value* input : graph.inputs()) names.push_back(input->name());
  Tensors tensors;
  for (const InputFile& file : files) {
    const std::string extension = file.path.extension().string();
    if (extension == ".json") {
      load_json(graph, file.path, file.name, tensors);
      continue;
    }
    if (file.name.empty()) {
      load_all(graph, file, tensors);
      continue;
    }
    const Value* input = find_input(graph, file.name);
    if (input == nullptr) check_pattern(file.name, names);
    if (input == nullptr) fail(ErrorCode::invalid_argument, "--input takes a name, not the pattern '{}'", file.name);
    if (extension == ".npy")
      tensors[file.name] = to_tensor(read_npy(file.path));
    else if (extension == ".npz")
      tensors[file.name] = read_from_npz(NpzReader(file.path), file);
    else
      tensors[file.name] = read_raw(file, *input, shapes);
  }
  return tensors;
}

Recording read_recording(const std::filesystem::path& path) {
  const NpzReader reader(path);
  Recording recording;
  for (const std::string& name : reader.names()) {
    if (name.starts_with(kInput)) recording.inputs[name.substr(kInput.size())] = to_tensor(reader.read(name));
    if (name.starts_with(kOutput)) recording.outputs[name.substr(kOutput.size())] = to_tensor(reader.read(name));
  }
  if (recording.outputs.empty())
    throw Error(ErrorCode::invalid_argument, "the file has no arrays named out:NAME")
        .in_file(path.string())
        .remedy("`lathe run MODEL --output FILE.npz` writes such a file");
  return recording;
}

void write_recording(const std::filesystem::path& path, const Tensors& inputs, const Tensors& outputs) {
  NpzWriter writer(path);
  for (const auto& [name, tensor] : inputs) writer.add(std::string(kInput) + name, to_npy(tensor));
  for (const auto& [name, tensor] : outputs) writer.add(std::string(kOutput) + name, to_npy(tensor));
  writer.commit();
}

}  // namespace lathe::tools
