// The bytes are a tokenizer file and, behind the first zero byte, a text; for sentencepiece's models, which hold zero
// bytes, they are both at once. A file that can be read must encode, decode and stream any text.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "text/rank_files.h"
#include "text/sentencepiece.h"
#include "text/sentencepiece_families.h"
#include "text/split_lexers.h"
#include "text/stream_decoder.h"
#include "text/tokenizer_files.h"

namespace {

using lathe::text::BertNormalizerOptions;
using lathe::text::EncodeOptions;
using lathe::text::Tokenizer;
using lathe::text::TokenizerParts;

void check(TokenizerParts parts, std::string_view text) {
  const Tokenizer tokenizer(std::move(parts));
  const auto encoding = tokenizer.encode_pair(text, text);
  LATHE_CHECK(encoding.ids.size() == encoding.type_ids.size());
  tokenizer.decode(encoding.ids, false);
  lathe::text::StreamDecoder stream(tokenizer);
  for (const auto id : encoding.ids) LATHE_CHECK(!stream.push(id).ends_with("\uFFFD"));
  stream.finish();
  EncodeOptions options;
  options.add_special_tokens = false;
  options.max_length = 3;
  LATHE_CHECK(tokenizer.encode(text, options).ids.size() <= encoding.ids.size());
}

template <class Parse>
void parse_and_check(const Parse& parse, std::string_view text) {
  try {
    check(parse(), text);
  } catch (const lathe::Error& error) {
    if (error.code() == lathe::ErrorCode::internal) throw;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::string_view file = input.substr(0, input.find('\0'));
  const std::string_view text = input.substr(file.size());
  parse_and_check([&] { return lathe::text::parse_tokenizer_json(file); }, text);
  parse_and_check([&] { return lathe::text::parse_vocab_txt(file, BertNormalizerOptions{}); }, text);
  parse_and_check([&] { return lathe::text::parse_tiktoken(file, lathe::text::kCl100kPattern); }, text);
  const auto bytes = std::as_bytes(std::span(input));
  parse_and_check([&] { return lathe::text::sentencepiece_parts(lathe::text::parse_sentencepiece(bytes)); }, input);
  for (const char* name : {"tokenizer.model", "ice_text.model", "spiece.model", "sentencepiece.bpe.model"})
    parse_and_check([&] { return lathe::text::parse_sentencepiece_family(bytes, name, nlohmann::json::object()); },
                    input);
  return 0;
}
