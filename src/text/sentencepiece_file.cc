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
using protozero::tag_and_type;
using Piece = SentencePieceModel::Piece;
using Type = SentencePieceModel::Type;

// A field of another wire type than its own is skipped, like an unknown one.
constexpr auto kVarint = protozero::pbf_wire_type::varint, kFixed32 = protozero::pbf_wire_type::fixed32,
               kBytes = protozero::pbf_wire_type::length_delimited;

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
    switch (reader.tag_and_type()) {
      case tag_and_type(1, kBytes): piece.token = read_text(reader); break;
      case tag_and_type(2, kFixed32): piece.score = reader.get_float(); break;
      case tag_and_type(3, kVarint): piece.type = to_type(reader.get_enum()); break;
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
    switch (reader.tag_and_type()) {
      case tag_and_type(3, kVarint): {
        const int32_t algorithm = reader.get_enum();
        if (algorithm != static_cast<int32_t>(Algorithm::unigram) && algorithm != static_cast<int32_t>(Algorithm::bpe))
          fail(ErrorCode::unsupported, "a sentencepiece model of type {} is neither unigram (1) nor BPE (2)",
               algorithm);
        model.algorithm = static_cast<Algorithm>(algorithm);
        break;
      }
      case tag_and_type(24, kVarint): model.whitespace_is_suffix = reader.get_bool(); break;
      case tag_and_type(35, kVarint): model.byte_fallback = reader.get_bool(); break;
      case tag_and_type(44, kBytes): model.unk_surface = read_text(reader); break;
      default: reader.skip();
    }
  }
}

void read_normalizer(pbf_reader reader, SentencePieceModel& model) {
  while (reader.next()) {
    switch (reader.tag_and_type()) {
      case tag_and_type(2, kBytes): model.charsmap = reader.get_string(); break;
      case tag_and_type(3, kVarint): model.add_dummy_prefix = reader.get_bool(); break;
      case tag_and_type(4, kVarint): model.remove_extra_whitespaces = reader.get_bool(); break;
      case tag_and_type(5, kVarint): model.escape_whitespaces = reader.get_bool(); break;
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
      switch (reader.tag_and_type()) {
        case tag_and_type(1, kBytes): model.pieces.push_back(read_piece(reader.get_message())); break;
        case tag_and_type(2, kBytes): read_trainer(reader.get_message(), model); break;
        case tag_and_type(3, kBytes): read_normalizer(reader.get_message(), model); break;
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
