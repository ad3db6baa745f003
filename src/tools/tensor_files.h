// Tensors in files: .npy, .npz, raw bytes and .json (json_values.h); and the .npz that holds a model's inputs and
// outputs as "in:NAME" and "out:NAME", which `lathe run` writes and `lathe compare` reads. Names are those of
// named_values.h.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/npz.h"
#include "graph/graph.h"
#include "lathe/lathe.h"
#include "tools/input_sizes.h"
#include "tools/random_inputs.h"

namespace lathe::tools {

Tensor to_tensor(NpyArray array);
NpyView to_npy(const Tensor& tensor);
struct InputFile {
  std::string name;  // of the input; empty for an .npz or .json that names its values itself
  std::filesystem::path path;
};
// "NAME=FILE", or an .npz or .json file alone.
InputFile parse_input_arg(std::string_view text);

// Loads the arrays that --input names. From an .npz without name come all arrays that are inputs, as NAME or in:NAME.
// Raw .bin files take their type from the model and their sizes from `shapes`, or from the model where it fixes them.
Tensors load_inputs(const Graph& graph, std::span<const InputFile> files, std::span<const ShapeArg> shapes);

// What "in:NAME" and "out:NAME" of an .npz hold.
struct Recording {
  Tensors inputs, outputs;
};
Recording read_recording(const std::filesystem::path& path);
void write_recording(const std::filesystem::path& path, const Tensors& inputs, const Tensors& outputs);

}  // namespace lathe::tools
