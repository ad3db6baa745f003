// The tokenizers of the ChatGLM models, whose rules are code beside the checkpoint rather than data in it. Sources:
// THUDM/chatglm-6b and THUDM/chatglm2-6b, tokenization_chatglm.py.
#pragma once

#include "text/sentencepiece_file.h"
#include "text/tokenizer.h"

namespace lathe::text {

struct ChatGlmOptions {
  TokenId num_image_tokens = 20000;  // ids before those of text
  bool lowercase = false;
};

// ChatGLM-6B: line feeds, tabs and runs of blanks are tokens; [gMASK] <sop> stand behind the text. The special tokens
// are the caller's to add. Throws Error(invalid_model) when the model lacks one of these two.
TokenizerParts chatglm_parts(const SentencePieceModel& model, const ChatGlmOptions& options);

// ChatGLM2 and ChatGLM3: [gMASK] sop stand before the text. Their special tokens follow the pieces and have no text; of
// them only ChatGLM3's roles, <|user|> and others, are recognised in texts.
TokenizerParts chatglm2_parts(SentencePieceModel model);

}  // namespace lathe::text
