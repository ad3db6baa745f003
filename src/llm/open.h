// How an engine reads a checkpoint folder, for those who look at the model without opening an engine.
#pragma once

#include "checkpoint/checkpoint.h"
#include "checkpoint/decoder.h"
#include "lathe/llm.h"

namespace lathe::llm {

// Throws Error(unsupported) for types that language models are not computed or cached in.
checkpoint::DecoderOptions decoder_options(const EngineOptions& options, const checkpoint::Checkpoint& checkpoint);

}  // namespace lathe::llm
