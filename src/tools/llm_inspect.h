// What a checkpoint needs before any of it is loaded: memory of weights, of keys and values, of a step.
#pragma once

#include <string>

#include "tools/console.h"
#include "tools/llm_options.h"
#include "tools/model_options.h"

namespace lathe::tools {

// Whether this is a folder with the checkpoint of a language model.
bool is_checkpoint(const std::string& path);

// The same, or a folder with an ONNX decoder.
bool is_language_model(const std::string& path);

// Prints it, with whether it fits the device; the result is one object. Nothing is rounded for it.
void inspect_llm(const std::string& folder, const ModelOptions& options, const WeightArgs& weights,
                 const std::string& kv_dtype, Console& console);

}  // namespace lathe::tools
