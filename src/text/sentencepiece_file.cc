#include "text/sentencepiece_file.h"

#include <cmath>
#include <cstdint>
#include <protozero/pbf_reader.hpp>
#include <string_view>

#include "base/error.h"
#include "base/utf8.h"

namespace lathe::text {
namespace {

using protozero::pbf_reader;
using Piece = SentencePieceModel::Piece;
using Type = SentencePieceModel::Type;

std::string read_text(pbf_reader& reader) {
  const auto view = reader.get_view();
  const std::string_view text(view.data(), view.size());
  std::string valid = to_valid_utf8(text);
  if (valid.size() != text.size()) fail(ErrorCode::invalid_model, "a piece is no UTF-8");
  return valid;
}

Type to_type(int32_t value) {
  if (value < static_cast<int32_t>(Type::normal) || value > static_cast<int32_t>(Type::byte))
    fail(ErrorCode::invalid_model, "a piece is of type {}, which does not exist", value);
  return static_cast<Type>(value);
}

Piece read_piece(pbf_reader reader) {
  Piece piece;
  while (reader.next()) {
    switch (reader.tag()) {
      case 1: piece.token = read_text(reader); break;
      case 2: piece.score = reader.get_float(); break;
      case 3: piece.type = to_type(reader.get_enum()); break;
      default: reader.skip();
    }
  }
  if (piece.token.empty()) fail(ErrorCode::invalid_model, "a piece is empty");
  if (!std::isfinite(piece.score))
    fail(ErrorCode::invalid_model, "the score of the piece '{}' is not finite", piece.token);
  return piece;
}

void read_trainer(pbf_reader reader, SentencePieceModel& model) {
  using Algorithm = SentencePieceModel::Algorithm;
  while (reader.next()) {
    switch (reader.tag()) {
      case 3: {
        const int32_t algorithm = reader.get_enum();
        if (algorithm != static_cast<int32_t>(Algorithm::unigram) && algorithm != static_cast<int32_t>(Algorithm::bpe))
          fail(ErrorCode::unsupported, "a sentencepiece model of type {} is neither unigram (1) nor BPE (2)",
               algorithm);
        model.algorithm = static_cast<Algorithm>(algorithm);
        break;
      }
      case 24: model.whitespace_is_suffix = reader.get_bool(); break;
      case 35: model.byte_fallback = reader.get_bool(); break;
      case 44: model.unk_surface = read_text(reader); break;
      default: reader.skip();
    }
  }
}

void read_normalizer(pbf_reader reader, SentencePieceModel& model) {
  while (reader.next()) {
    switch (reader.tag()) {
      case 2: model.charsmap = reader.get_string(); break;
      case 3: model.add_dummy_prefix = reader.get_bool(); break;
      case 4: model.remove_extra_whitespaces = reader.get_bool(); break;
      case 5: model.escape_whitespaces = reader.get_bool(); break;
      default: reader.skip();
    }
  }
}

}  // namespace

SentencePieceModel parse_sentencepiece(std::span<const std::byte> file) {
  SentencePieceModel model;
  try {
    pbf_reader reader(reinterpret_cast<const char*>(file.data()), file.size());
    while (reader.next()) {
      switch (reader.tag()) {
        case 1: model.pieces.push_back(read_piece(reader.get_message())); break;
        case 2: read_trainer(reader.get_message(), model); break;
        case 3: read_normalizer(reader.get_message(), model); break;
        default: reader.skip();
      }
    }
  } catch (const protozero::exception&) {
    fail(ErrorCode::invalid_model, "not a sentencepiece model: its protocol buffer is malformed");
  }
  if (model.pieces.empty()) fail(ErrorCode::invalid_model, "the sentencepiece model has no pieces");
  return model;
}

}  // namespace lathe::text
