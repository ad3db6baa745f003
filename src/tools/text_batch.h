// From texts to the inputs of a model for text: which input takes what is found out from the graph (input_roles.h).
#pragma once

#include <span>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "text/tokenizer.h"
#include "tools/input_roles.h"
#include "tools/random_inputs.h"

namespace lathe::tools {

class TextBatcher {
 public:
  // Throws Error(unsupported) when an input is nothing that a tokenizer gives.
  TextBatcher(const Graph& graph, const text::Tokenizer& tokenizer);

  // Texts longer than the model takes are cut.
  text::Encoding encode(std::string_view text) const;
  // Inputs [texts, length of the longest], shorter ones padded behind.
  Tensors batch(std::span<const text::Encoding> encodings) const;
  // Texts that the model takes at once; 0: any number.
  size_t fixed_batch() const { return fixed_batch_; }

 private:
  struct TextInput {
    std::string name;
    DType dtype;
    InputRole role;
  };

  Tensor make_input(const TextInput& input, std::span<const text::Encoding> encodings, size_t length) const;

  const text::Tokenizer& tokenizer_;
  std::vector<TextInput> inputs_;
  size_t max_length_ = 0;      // tokens that the model takes; 0: any number
  bool fixed_length_ = false;  // exactly max_length_
  size_t fixed_batch_ = 0;
};

}  // namespace lathe::tools
