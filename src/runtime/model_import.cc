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
  if (!checkpoint::is_encoder(folder))
    throw Error(ErrorCode::unsupported, "the folder does not hold an encoder")
        .in_file(path.string())
        .remedy("Language models run with `lathe generate`, `chat` and `bench`");
  return checkpoint::build_encoder(folder).graph;
}

}  // namespace lathe
