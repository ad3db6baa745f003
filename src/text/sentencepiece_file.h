// Reads sentencepiece's model files (tokenizer.model, spiece.model ...): a protocol buffer with the pieces and with how
// texts are normalised. Field numbers: google/sentencepiece, sentencepiece_model.proto.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace lathe::text {

struct SentencePieceModel {
  enum class Algorithm { unigram = 1, bpe = 2 };
  enum class Type { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };
  struct Piece {
    std::string token;
    float score = 0;
    Type type = Type::normal;
  };

  std::vector<Piece> pieces;  // by id
  Algorithm algorithm = Algorithm::unigram;
  bool byte_fallback = false;
  std::string unk_surface = " \u2047 ";  // what the unknown piece is written as

  std::string charsmap;  // see charsmap.h
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  bool whitespace_is_suffix = false;
};

// Throws Error(invalid_model), or Error(unsupported) for the word and character algorithms.
SentencePieceModel parse_sentencepiece(std::span<const std::byte> file);

}  // namespace lathe::text
