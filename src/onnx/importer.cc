#include "onnx/importer.h"

#include "base/mapped_file.h"
#include "onnx/graph_importer.h"

namespace lathe::onnx {
namespace {

struct Imported {
  std::unique_ptr<Graph> graph;
  CapabilityReport report;
};

Imported import_from(ModelSource& source, const ImportOptions& options) {
  const ModelProto model = decode_model(source.bytes());
  GraphImporter importer(model, source, options);
  Imported result{std::make_unique<Graph>(), {}};
  importer.import_main(*result.graph);
  result.report = importer.report();
  return result;
}

// Files that people give for models, by how they begin.
void refuse_other_formats(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), std::min<size_t>(bytes.size(), 8));
  constexpr std::pair<std::string_view, std::string_view> kFormats[] = {
      {"GGUF", "a GGUF file"}, {"PK\3\4", "a zip archive, such as PyTorch's"}, {"\x89HDF", "an HDF5 file"}};
  for (const auto& [beginning, what] : kFormats)
    if (text.substr(0, beginning.size()) == beginning)
      throw Error(ErrorCode::unsupported, fmt::format("this is {}, not an ONNX model", what))
          .remedy("Export the model to ONNX, or give the folder of its checkpoint");
}

Imported import_file(const std::filesystem::path& path, const ImportOptions& options) {
  try {
    const auto file = MappedFile::open(path);
    refuse_other_formats(file->bytes());
    ModelSource source(file->bytes(), file, path.parent_path());
    return import_from(source, options);
  } catch (Error& e) {
    if (e.file().empty()) e.in_file(path.string());
    throw;
  }
}

std::unique_ptr<Graph> supported_graph(Imported imported, const std::string& file) {
  if (imported.report.supported()) return std::move(imported.graph);
  Error error(ErrorCode::unsupported,
              fmt::format("{} of {} nodes are not supported:\n{}", imported.report.unsupported.size(),
                          imported.report.nodes, imported.report.to_string()));
  if (!file.empty()) error.in_file(file);
  throw error;
}

}  // namespace

std::string CapabilityReport::to_string() const {
  std::string text;
  for (const UnsupportedNode& n : unsupported) {
    text += fmt::format("  {}{}{} (opset {}) '{}': {}", n.domain, n.domain.empty() ? "" : "::", n.op, n.opset, n.name,
                        n.reason);
    text += n.remedy.empty() ? "\n" : fmt::format(". {}\n", n.remedy);
  }
  return text;
}

std::unique_ptr<Graph> import_model(const std::filesystem::path& path, const ImportOptions& options) {
  return supported_graph(import_file(path, options), path.string());
}

std::unique_ptr<Graph> import_model(std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
                                    const ImportOptions& options) {
  ModelSource source(bytes, std::move(owner), std::nullopt);
  return supported_graph(import_from(source, options), "");
}

CapabilityReport check(const std::filesystem::path& path, const ImportOptions& options) {
  return import_file(path, options).report;
}

}  // namespace lathe::onnx
