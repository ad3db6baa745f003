#include "runtime/model_import.h"

#include "base/error.h"
#include "checkpoint/encoder.h"
#include "checkpoint/seq2seq.h"
#include "onnx/importer.h"

namespace lathe {

std::unique_ptr<Graph> import_graph(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) return onnx::import_model(path);
  const auto folder = checkpoint::Checkpoint::open(path);
  if (checkpoint::is_seq2seq(folder)) return checkpoint::build_source_encoder(folder).graph;
  return checkpoint::build_encoder(folder).graph;
}

}  // namespace lathe
