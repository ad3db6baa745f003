#include "tools/text_batch.h"

#include <algorithm>

#include "base/error.h"

namespace lathe::tools {
namespace {

InputRole text_role(const Value& input) {
  const InputRole role = role_of(input);
  if (role == InputRole::values || role == InputRole::lengths || input.type().rank() != 2)
    throw Error(ErrorCode::unsupported, fmt::format("input '{}' ({}) is not something that a tokenizer gives",
                                                    input.name(), to_string(input.type())))
        .remedy(
            "Models for text take token ids, and perhaps a mask, token types and positions, each [batch, sequence]");
  return role;
}

int64_t token_value(InputRole role, const text::Encoding& encoding, size_t at, int64_t pad) {
  const bool padding = at >= encoding.ids.size();
  switch (role) {
    case InputRole::token_ids: return padding ? pad : static_cast<int64_t>(encoding.ids[at]);
    case InputRole::token_types: return padding ? 0 : static_cast<int64_t>(encoding.type_ids[at]);
    case InputRole::mask: return padding ? 0 : 1;
    case InputRole::positions: return static_cast<int64_t>(at);
    default: return 0;
  }
}

}  // namespace

TextBatcher::TextBatcher(const Graph& graph, const text::Tokenizer& tokenizer) : tokenizer_(tokenizer) {
  for (const Value* input : graph.inputs()) inputs_.push_back({input->name(), input->dtype(), text_role(*input)});
  const auto ids = std::find_if(inputs_.begin(), inputs_.end(),
                                [](const TextInput& input) { return input.role == InputRole::token_ids; });
  if (ids == inputs_.end()) fail(ErrorCode::unsupported, "no input of the model takes token ids");
  const Shape& shape = graph.inputs()[static_cast<size_t>(ids - inputs_.begin())]->shape();
  if (shape[0].is_constant()) fixed_batch_ = static_cast<size_t>(shape[0].value());
  fixed_length_ = shape[1].is_constant();
  const auto limits = symbol_limits(graph);
  if (fixed_length_)
    max_length_ = static_cast<size_t>(shape[1].value());
  else if (const auto limit = limits.find(shape[1].to_string()); limit != limits.end())
    max_length_ = static_cast<size_t>(limit->second);
}

text::Encoding TextBatcher::encode(std::string_view text) const {
  text::EncodeOptions options;
  options.max_length = max_length_;
  return tokenizer_.encode(text, options);
}

Tensors TextBatcher::batch(std::span<const text::Encoding> encodings) const {
  size_t length = fixed_length_ ? max_length_ : 0;
  for (const text::Encoding& encoding : encodings) length = std::max(length, encoding.ids.size());
  Tensors tensors;
  for (const TextInput& input : inputs_) tensors.emplace(input.name, make_input(input, encodings, length));
  return tensors;
}

Tensor TextBatcher::make_input(const TextInput& input, std::span<const text::Encoding> encodings, size_t length) const {
  const int64_t pad = tokenizer_.special_tokens().pad.value_or(0);
  Tensor tensor(input.dtype, {static_cast<int64_t>(encodings.size()), static_cast<int64_t>(length)});
  for (size_t row = 0; row < encodings.size(); ++row)
    for (size_t i = 0; i < length; ++i)
      tensor.write_double(static_cast<int64_t>(row * length + i),
                          static_cast<double>(token_value(input.role, encodings[row], i, pad)));
  return tensor;
}

}  // namespace lathe::tools
