// Which files make an ONNX decoder, alone or with an encoder, and what stands beside them. A path is a file, or a
// folder as optimum or the generation builder of ONNX Runtime writes it; configurations and tokenizer are beside the
// model, or one level up where the models are in a folder `onnx`.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "checkpoint/decoder.h"

namespace lathe::llm {

struct OnnxFiles {
  std::filesystem::path first;      // the decoder; of a pair, the one that begins sequences
  std::filesystem::path second;     // of a pair, the one that continues them; else empty
  std::filesystem::path encoder{};  // of an encoder-decoder; else empty
  std::filesystem::path folder{};   // of configurations and tokenizer
};

// nullopt for a folder with a checkpoint's weights, or without a model. Throws Error(invalid_model) for a folder whose
// models are not said to be a decoder by their names.
std::optional<OnnxFiles> find_onnx_files(const std::filesystem::path& path);

// What the configurations say of tokens and lengths: config.json, generation_config.json, genai_config.json; fields
// that nobody states keep their defaults. `window` of the context is max_positions.
checkpoint::DecoderInfo read_onnx_info(const std::filesystem::path& folder);

// What config.json says of what the encoder of an encoder-decoder reads.
checkpoint::SourceInfo read_onnx_source(const std::filesystem::path& folder);

// The text of config.json; may be empty.
std::string read_config(const std::filesystem::path& folder);

// The text of generation_config.json, or of the section `search` of genai_config.json; may be empty.
std::string read_generation_config(const std::filesystem::path& folder);

}  // namespace lathe::llm
