// Text to token ids and back, as the model's own tokenizer files prescribe; ids are those of Hugging Face's
// `tokenizers`. This file decides the order of the stages (pipeline.h); tokenizer_files.h reads them from files. A
// Tokenizer is immutable and may be used from several threads.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/added_tokens.h"
#include "text/pipeline.h"
#include "text/post_processor.h"

namespace lathe::text {

// The tokens with a role of their own, where the tokenizer has them.
struct SpecialTokens {
  std::optional<TokenId> cls, sep, mask, pad, unk, bos, eos;
};

// All that a tokenizer consists of. Every pointer but `model` may be null.
struct TokenizerParts {
  std::unique_ptr<Normalizer> normalizer;
  std::unique_ptr<PreTokenizer> pre_tokenizer;
  std::unique_ptr<TokenModel> model;
  std::unique_ptr<Decoder> decoder;
  PostProcessor post_processor;
  std::vector<AddedToken> added_tokens;
  bool clean_up_spaces = false;  // decoding takes the blank before English punctuation and contractions away
};

struct LoadOptions {
  // For a bare vocab.txt: overrides do_lower_case of tokenizer_config.json, which overrides the default, true. Choosing
  // it for a tokenizer.json, which says it itself, is an Error(invalid_argument).
  std::optional<bool> lowercase;
};

struct EncodeOptions {
  bool add_special_tokens = true;
  size_t max_length = 0;  // ids at most, special tokens included; 0: no limit. What the files say about it is ignored.
  // Stretches of a well-formed text, sorted and disjoint, in which special tokens are read as the text that they are:
  // what users wrote (RenderedPrompt::user). Not for pairs.
  std::span<const ByteRange> plain = {};
};

class Tokenizer {
 public:
  // `path` is a folder with tokenizer.json, vocab.txt, a sentencepiece model (tokenizer.model, ice_text.model,
  // spiece.model ...), vocab.json and merges.txt, or a tiktoken file (the first of these wins), or one of these files.
  // Throws Error(not_found), Error(invalid_model), or Error(unsupported) that names the component Lathe lacks; all name
  // the file.
  static std::unique_ptr<Tokenizer> load(const std::filesystem::path& path, const LoadOptions& options = {});

  // `special` may leave roles open; the conventional names ("[CLS]", "<s>" ...) then fill them.
  explicit Tokenizer(TokenizerParts parts, SpecialTokens special = {});

  // Malformed UTF-8 is read as U+FFFD.
  Encoding encode(std::string_view text, const EncodeOptions& options = {}) const;
  Encoding encode_pair(std::string_view first, std::string_view second, const EncodeOptions& options = {}) const;

  // Ids that name no token are left out, as are special tokens if so wanted. For text that is still growing, see
  // stream_decoder.h.
  std::string decode(std::span<const TokenId> ids, bool skip_special_tokens = true) const;

  std::optional<TokenId> token_to_id(std::string_view token) const;
  // Valid as long as the tokenizer lives.
  std::optional<std::string_view> id_to_token(TokenId id) const;
  bool is_special(TokenId id) const { return added_.is_special(id); }
  bool is_added(TokenId id) const { return added_.vocabulary().token(id).has_value(); }  // special ones among them
  const SpecialTokens& special_tokens() const { return special_; }
  size_t vocab_size() const { return vocab_size_; }  // added tokens included

 private:
  friend class StreamDecoder;
  // Without cleaning up, which would change text that was there before.
  std::string decode_plain(std::span<const TokenId> ids, bool skip_special_tokens) const;
  std::vector<TokenId> encode_text(std::string_view text, std::span<const ByteRange> plain) const;

  TokenizerParts parts_;
  AddedTokens added_;
  SpecialTokens special_;
  size_t vocab_size_ = 0;
};

}  // namespace lathe::text
