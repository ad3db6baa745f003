// Rewrites an ONNX decoder that takes pasts into the graph that checkpoints become (checkpoint/decoder.h): tokens of
// any sequences in one row, keys and values in pools of blocks. Only what is proven is rewritten: attention that is
// causal by its mask or its program once no key is padding, pasts that are concatenated with new keys and values, and
// nothing else that mixes tokens.
#pragma once

#include <optional>

#include "checkpoint/decoder.h"
#include "llm/onnx_files.h"

namespace lathe::llm {

struct PagingOptions {
  int64_t block_size = 16;
  std::optional<DType> cache;  // none: the type of the pasts
};

// nullopt for decoders that are not of that kind. `info` is what the configurations say.
std::optional<checkpoint::Decoder> page_decoder(const OnnxFiles& files, const checkpoint::DecoderInfo& info,
                                                const PagingOptions& options);

}  // namespace lathe::llm
