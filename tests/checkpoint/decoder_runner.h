// Runs the graph of a decoder with the reference evaluator: steps over several sequences whose keys and values lie in
// scattered blocks of one pool. What no token has been written to holds NaN, so that reading it shows.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/decoder.h"
#include "checkpoint/positions.h"
#include "graph/reference/evaluator.h"
#include "tests/checkpoint/golden.h"

namespace lathe::checkpoint {

class DecoderRunner {
 public:
  DecoderRunner(Decoder decoder, size_t sequences) : decoder_(std::move(decoder)), sequences_(sequences) {
    for (const Value* input : decoder_.graph->inputs()) {
      if (input->name().find("_cache.") == std::string::npos) continue;
      const int64_t blocks = kTableWidth * static_cast<int64_t>(sequences);
      const bool keys = input->name().starts_with("key_");
      const int64_t width = keys ? decoder_.info.head_dim : decoder_.info.value_dim;
      Tensor cache(input->dtype(), {blocks, decoder_.info.kv_heads, decoder_.info.block_size, width});
      for (int64_t i = 0; i < cache.elements(); ++i) cache.write_double(i, std::numeric_limits<double>::quiet_NaN());
      caches_.push_back(std::move(cache));
    }
  }

  // The next tokens of a sequence, numbered from 0; the first ones of a sequence say how long its prompt is.
  struct Part {
    size_t sequence = 0;
    Ids ids;
    Ids prompt;  // whole, where `ids` is the first chunk of it
  };

  // Logits of the tokens, one row each; or of the last token of each part alone.
  Tensor step(const std::vector<Part>& parts, bool last_rows_only) {
    Ids tokens, positions, block_positions, starts = {0}, contexts, prefixes, table, rows;
    for (const Part& part : parts) {
      Sequence& sequence = sequences_.at(part.sequence);
      if (sequence.length == 0) begin(sequence, part.prompt.empty() ? part.ids : part.prompt);
      for (const int32_t id : part.ids) {
        tokens.push_back(id);
        positions.push_back(sequence.layout.position(sequence.length, sequence.prompt));
        block_positions.push_back(sequence.layout.block_position(sequence.length));
        ++sequence.length;
      }
      starts.push_back(static_cast<int32_t>(tokens.size()));
      contexts.push_back(static_cast<int32_t>(sequence.length));
      prefixes.push_back(static_cast<int32_t>(sequence.layout.prefix_length));
      for (int64_t block = 0; block < kTableWidth; ++block)
        table.push_back(static_cast<int32_t>((kTableWidth - 1 - block) * static_cast<int64_t>(sequences_.size()) +
                                             static_cast<int64_t>(part.sequence)));
      for (int32_t row = last_rows_only ? starts.back() - 1 : starts.end()[-2]; row < starts.back(); ++row)
        rows.push_back(row);
    }
    std::vector<RefValue> inputs = {ints(tokens), ints(positions)};
    if (decoder_.info.block_positions || decoder_.info.dynamic_context > 0) inputs.push_back(ints(block_positions));
    inputs.insert(inputs.end(), {ints(starts), ints(contexts)});
    if (decoder_.info.prefix_mask) inputs.push_back(ints(prefixes));
    inputs.push_back(ints(table).reshaped({static_cast<int64_t>(parts.size()), kTableWidth}));
    inputs.push_back(ints(rows));
    for (const Tensor& cache : caches_) inputs.push_back(cache);
    std::vector<RefValue> results = evaluate(*decoder_.graph, inputs);
    for (size_t i = 0; i < caches_.size(); ++i) caches_[i] = std::get<Tensor>(results.at(i + 1));
    return std::get<Tensor>(results.at(0));
  }

  // Greedy continuations of several prompts that run as one batch, and the logits that chose them.
  struct Generated {
    std::vector<Ids> ids;
    std::vector<std::vector<float>> logits;  // by sequence, one row after another
  };
  Generated generate(const std::vector<Ids>& prompts, size_t count) {
    Generated result{std::vector<Ids>(prompts.size()), std::vector<std::vector<float>>(prompts.size())};
    for (size_t round = 0; round < count; ++round) {
      std::vector<Part> parts;
      for (size_t s = 0; s < prompts.size(); ++s)
        parts.push_back({s, round == 0 ? prompts[s] : Ids{result.ids[s].back()}, {}});
      const Tensor logits = step(parts, /*last_rows_only=*/true);
      const auto vocab = static_cast<size_t>(decoder_.info.vocab);
      for (size_t s = 0; s < prompts.size(); ++s) {
        const auto row = logits.as<float>().subspan(s * vocab, vocab);
        result.ids[s].push_back(static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin()));
        result.logits[s].insert(result.logits[s].end(), row.begin(), row.end());
      }
    }
    return result;
  }

  const DecoderInfo& info() const { return decoder_.info; }

 private:
  static constexpr int64_t kTableWidth = 24;
  struct Sequence {
    int64_t length = 0, prompt = 0;
    PromptLayout layout;
  };
  void begin(Sequence& sequence, const Ids& prompt) const {
    sequence.layout = layout_prompt(decoder_.info, prompt);
    sequence.prompt = static_cast<int64_t>(prompt.size());
  }
  static Tensor ints(const Ids& values) {
    return Tensor::of<int32_t>({static_cast<int64_t>(values.size())}, std::span<const int32_t>(values));
  }

  Decoder decoder_;
  std::vector<Sequence> sequences_;
  std::vector<Tensor> caches_;
};

}  // namespace lathe::checkpoint
