// What the inputs and outputs of an ONNX decoder mean, alone or behind an encoder. Integer inputs are known by their
// names and ranks; a past is an input that an output continues: "past_key_values.3.key" and "present.3.key", in
// whatever order of axes. What is continued is the axis along which their sizes differ.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace lathe::llm {

struct OnnxPorts {
  enum class Role {
    token_ids,        // [batch, new]
    mask,             // [batch, past + new], 1: this key counts
    masked,           // bool [batch, 1, new, past + new], true: this key is hidden
    positions,        // [batch, new]
    block_positions,  // [batch, 2, new]: positions, and those inside of a block (ChatGLM-6B)
    token_types,      // [batch, new], 0
    cache_positions,  // [new], counted from the first token of the sequence
    source_states,    // [batch, states, hidden] that the encoder gave
    source_mask,      // [batch, states], 1: this state counts
  };
  struct Feed {
    std::string name;
    Role role;
    DType dtype;
  };
  struct Pair {
    std::string past, present;
    DType dtype;
    std::vector<int64_t> dims;  // of one sequence; 0 at `axis`
    size_t axis;                // of tokens
    size_t token_bytes() const;
    bool grows_at_end() const;  // its elements stay where they are when tokens are added
  };
  // Keys and values of the source, which the half that begins sequences gives and the other only reads.
  struct Kept {
    std::string past, present;
    DType dtype;
    std::vector<int64_t> dims;  // of one source; 0 along the states
    size_t state_bytes() const;
    size_t parts() const;  // runs of states that a source has: the product of the sizes before them
  };
  std::vector<Feed> feeds;
  std::vector<Kept> kept;
  std::vector<Pair> pairs;
  size_t logits = 0;  // output [batch, new, vocabulary]
  DType logits_dtype = DType::f32;
  int64_t vocabulary = 0;
  bool last_logits_only = false;  // they are [batch, 1, vocabulary]
  bool batches = false;           // sequences may run side by side: all that is theirs has a first axis for them

  bool has(Role role) const;
};

// The input that chooses between the branches of a merged decoder, "use_cache_branch"; null where there is none.
Value* cache_branch_input(const Graph& graph);

bool takes_past(const Graph& graph);

// Throws Error(unsupported) that names an input that means nothing to a decoder, Error(invalid_model) for a past
// without a present or the other way round, when they do not fit each other, and for missing token ids or logits. A
// decoder that takes no past at all may give presents: it begins sequences for another, which continues them.
OnnxPorts find_ports(const Graph& graph);

}  // namespace lathe::llm
