// The table of encoder-decoder families: one row says what both sides are made of, what they call their tensors and
// fields, and which of their fields change the arithmetic. A new family is a new row.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "checkpoint/checkpoint.h"
#include "checkpoint/common_fields.h"
#include "checkpoint/relative_positions.h"

namespace lathe::checkpoint {

// relative: scores are biased by distance, by numbers that the first layer holds for all or every layer for itself.
// sinusoidal: sines, then cosines; pair p of n turns by 10000^(-p / n), or by 10000^(-p / (n - 1)) where ends_at_10000.
enum class SidePositions : uint8_t { relative, learned, sinusoidal };

// Attention to the encoder's states, as the decoder's layers name it.
struct CrossNames {
  std::string_view norm{}, q{}, k{}, v{}, out{};
};

struct Seq2SeqFamily {
  std::string_view model_type;  // spellings, "a|b"
  Names encoder{}, decoder{};   // `embedding` is a list of spellings, the side's own first; norm2 is that of the MLP
  CrossNames cross{};
  FieldNames encoder_fields{}, decoder_fields{};
  Traits traits{};  // of both sides
  SidePositions positions = SidePositions::learned;
  std::string_view relative_bias{};  // behind the name of a layer
  bool ends_at_10000 = false;
  bool bias_in_every_layer = false;
  bool audio = false;  // the encoder hears: two convolutions over a spectrogram instead of an embedding
  bool key_bias = true;
  std::string_view logit_bias{};  // a tensor [1, vocabulary]
  // What further fields of the family change; the common ones are read before.
  void (*refine)(const Fields& fields, struct Seq2SeqConfig& config) = nullptr;
};

struct Seq2SeqConfig {
  const Seq2SeqFamily* family = nullptr;
  ModelConfig encoder, decoder;
  RelativeBuckets buckets;  // of the decoder; the encoder's look both ways
  int64_t mel_bins = 0;     // of a spectrogram, where the encoder hears
};

// Their model_types, for messages.
std::string known_seq2seq();
// Null where the model_type is of no encoder-decoder that Lathe knows.
const Seq2SeqFamily* find_seq2seq_family(const Checkpoint& checkpoint);

// Throws as read_model_config() does.
Seq2SeqConfig read_seq2seq_config(const Checkpoint& checkpoint);

}  // namespace lathe::checkpoint
