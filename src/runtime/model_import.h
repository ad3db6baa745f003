// What a path names as a model that is still to be compiled.
#pragma once

#include <filesystem>
#include <memory>

#include "graph/graph.h"

namespace lathe {

// An ONNX file, or the checkpoint folder of an encoder (checkpoint/encoder.h). Throws what the importers throw, and
// Error(unsupported) for the folder of a language model, which runs in steps of its own (llm/).
std::unique_ptr<Graph> import_graph(const std::filesystem::path& path);

}  // namespace lathe
