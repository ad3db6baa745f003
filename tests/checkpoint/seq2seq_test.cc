// Encoder-decoders with known answers: the states of their encoders, alone and padded, and the steps of their decoders
// over sources side by side. With the reference evaluator.
#include "checkpoint/seq2seq.h"

#include "checkpoint/relative_positions.h"
#include "checkpoint/seq2seq_families.h"
#include "graph/reference/evaluator.h"
#include "graph/verifier.h"
#include "tests/base/temporary_folder.h"
#include "tests/checkpoint/golden.h"

namespace lathe::checkpoint {
namespace {

Tensor ints(const Ids& values) {
  return Tensor::of<int32_t>({static_cast<int64_t>(values.size())}, std::span<const int32_t>(values));
}

Tensor nothing(DType type, const Value* input, int64_t blocks) {
  std::vector<int64_t> dims = {blocks};
  for (size_t i = 1; i < input->shape().size(); ++i) dims.push_back(input->shape()[i].value());
  Tensor cache(type, std::move(dims));
  for (int64_t i = 0; i < cache.elements(); ++i) cache.write_double(i, std::nan(""));
  return cache;
}

// Steps over three sequences, the keys of whose sources come with their first tokens.
class Seq2SeqRunner {
 public:
  static constexpr int64_t kBlock = 4, kWidth = 8;  // of tables

  Seq2SeqRunner(const Decoder& decoder, std::vector<std::vector<float>> states)
      : decoder_(decoder), states_(std::move(states)), lengths_(states_.size(), 0) {
    for (const Value* input : decoder.graph->inputs())
      if (input->name().find("_cache.") != std::string::npos)
        caches_.push_back(nothing(input->dtype(), input, kWidth * static_cast<int64_t>(states_.size())));
  }

  // The next tokens of some sequences; logits of all of them.
  Tensor step(const std::vector<std::pair<size_t, Ids>>& parts) {
    Ids tokens, positions, starts = {0}, contexts, table, rows, source_starts = {0}, source_lengths;
    std::vector<float> states;
    const int64_t hidden = decoder_.graph->inputs()[6]->shape()[1].value();
    for (const auto& [s, ids] : parts) {
      const bool begins = lengths_[s] == 0;
      for (const int32_t id : ids) {
        rows.push_back(static_cast<int32_t>(tokens.size()));
        tokens.push_back(id);
        positions.push_back(lengths_[s]++);
      }
      starts.push_back(static_cast<int32_t>(tokens.size()));
      contexts.push_back(lengths_[s]);
      for (int64_t block = 0; block < kWidth; ++block)
        table.push_back(static_cast<int32_t>(block * static_cast<int64_t>(lengths_.size()) + static_cast<int64_t>(s)));
      if (begins) states.insert(states.end(), states_[s].begin(), states_[s].end());
      source_starts.push_back(static_cast<int32_t>(static_cast<int64_t>(states.size()) / hidden));
      source_lengths.push_back(static_cast<int32_t>(static_cast<int64_t>(states_[s].size()) / hidden));
    }
    const auto sequences = static_cast<int64_t>(parts.size());
    const Tensor tables = ints(table).reshaped({sequences, kWidth});
    std::vector<RefValue> inputs = {ints(tokens),
                                    ints(positions),
                                    ints(starts),
                                    ints(contexts),
                                    tables,
                                    ints(rows),
                                    Tensor::of<float>({source_starts.back(), hidden}, std::span<const float>(states)),
                                    ints(source_starts),
                                    ints(source_lengths),
                                    tables};
    inputs.insert(inputs.end(), caches_.begin(), caches_.end());
    std::vector<RefValue> results = evaluate(*decoder_.graph, inputs);
    for (size_t i = 0; i < caches_.size(); ++i) caches_[i] = std::get<Tensor>(results.at(i + 1));
    return std::get<Tensor>(results.at(0));
  }

 private:
  const Decoder& decoder_;
  std::vector<std::vector<float>> states_;
  std::vector<int32_t> lengths_;
  std::vector<Tensor> caches_;
};

class Seq2SeqGolden : public ::testing::TestWithParam<std::string> {
 protected:
  Seq2SeqGolden()
      : arrays_(std::filesystem::path(GetParam()) / "golden.npz"),
        model_(build_seq2seq(Checkpoint::open(GetParam()), {.block_size = Seq2SeqRunner::kBlock})) {}

  bool hears() const { return model_.encoder.info.mel_bins > 0; }
  std::vector<float> states(const std::string& i) const { return floats_of(arrays_.read("encoder_" + i)); }

  // What the encoder makes of source i, padded by some tokens.
  std::vector<float> encode(const std::string& i, int64_t padding) const {
    std::vector<RefValue> inputs;
    int64_t length = 0;
    if (hears()) {
      const NpyArray array = arrays_.read("features_" + i);
      const std::vector<float> features = floats_of(array);
      inputs.push_back(Tensor::of<float>({1, array.dims[0], array.dims[1]}, std::span<const float>(features)));
      length = array.dims[1] / 2;
    } else {
      const Ids prompt = ids_of(arrays_.read("prompt_" + i));
      length = static_cast<int64_t>(prompt.size());
      Tensor ids(DType::i64, {1, length + padding}), mask(DType::i64, ids.dims());
      for (int64_t t = 0; t < length; ++t) {
        ids.write_int(t, prompt[static_cast<size_t>(t)]);
        mask.write_int(t, 1);
      }
      inputs = {ids, mask};
    }
    const Tensor y = std::get<Tensor>(evaluate(*model_.encoder.graph, inputs).at(0));
    const auto all = y.as<float>();
    return {all.begin(), all.begin() + length * model_.encoder.info.hidden};
  }

  NpzReader arrays_;
  Seq2Seq model_;
};

TEST_P(Seq2SeqGolden, StatesOfTheEncoder) {
  EXPECT_TRUE(is_seq2seq(Checkpoint::open(GetParam())));
  verify(*model_.encoder.graph);
  EXPECT_TRUE(model_.decoder.info.unused_tensors.empty()) << model_.decoder.info.unused_tensors.front();
  for (const std::string i : {"0", "1", "2"}) {
    expect_near(encode(i, 0), states(i), "encoder_" + i);
    if (!hears()) expect_near(encode(i, 3), states(i), "padded_encoder_" + i);
  }
}

TEST_P(Seq2SeqGolden, StepsOfTheDecoder) {
  verify(*model_.decoder.graph);
  ASSERT_EQ(model_.decoder.info.rules.start.size(), 1u);
  const int32_t start = model_.decoder.info.rules.start.front();
  const auto vocabulary = static_cast<size_t>(model_.decoder.info.vocab);
  std::vector<Ids> greedy, fed(3);
  for (const std::string i : {"0", "1", "2"}) {
    greedy.push_back(ids_of(arrays_.read("greedy_" + i)));
    fed[greedy.size() - 1] = {start};
  }
  // One begins later than the others, whose sources are not read again.
  Seq2SeqRunner side_by_side(model_.decoder, {states("0"), states("1"), states("2")});
  std::vector<float> logits_1;
  for (size_t round = 0; round <= greedy[0].size(); ++round) {
    std::vector<std::pair<size_t, Ids>> parts;
    for (const size_t s : {size_t{2}, size_t{1}, size_t{0}}) {
      const size_t done = fed[s].size() - 1;
      if (done < greedy[s].size() && (s != 1 || round > 0)) parts.push_back({s, {fed[s].back()}});
    }
    const Tensor logits = side_by_side.step(parts);
    for (size_t p = 0; p < parts.size(); ++p) {
      const size_t s = parts[p].first;
      const auto row = logits.as<float>().subspan(p * vocabulary, vocabulary);
      fed[s].push_back(static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin()));
      if (s == 1) logits_1.insert(logits_1.end(), row.begin(), row.end());
    }
  }
  for (size_t s = 0; s < 3; ++s) EXPECT_EQ(Ids(fed[s].begin() + 1, fed[s].end()), greedy[s]) << s;
  expect_near(logits_1, floats_of(arrays_.read("logits_1")), "logits_1");

  Ids whole = {start};
  whole.insert(whole.end(), greedy[1].begin(), greedy[1].end() - 1);
  Seq2SeqRunner at_once(model_.decoder, {states("1")});
  expect_near(at_once.step({{0, whole}}).as<float>(), floats_of(arrays_.read("logits_1")), "logits_1 at once");
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, Seq2SeqGolden, ::testing::ValuesIn(cases_with("encoder_0")), case_name);

// As the paper's code buckets them, for 32 buckets up to a distance of 128.
TEST(RelativeBuckets, NearOnesAloneFarOnesTogether) {
  const RelativeBuckets past;
  EXPECT_EQ(past.bucket(3), 0);  // keys after the query are not looked at
  EXPECT_EQ(past.bucket(0), 0);
  EXPECT_EQ(past.bucket(-15), 15);
  EXPECT_EQ(past.bucket(-16), 16);
  EXPECT_EQ(past.bucket(-18), 16);
  EXPECT_EQ(past.bucket(-19), 17);
  EXPECT_EQ(past.bucket(-32), 21);
  EXPECT_EQ(past.bucket(-64), 26);
  EXPECT_EQ(past.bucket(-112), 30);
  EXPECT_EQ(past.bucket(-113), 31);
  EXPECT_EQ(past.bucket(-100000), 31);
  RelativeBuckets both = past;
  both.both_ways = true;
  EXPECT_EQ(both.bucket(-7), 7);
  EXPECT_EQ(both.bucket(-8), 8);
  EXPECT_EQ(both.bucket(-90), 14);
  EXPECT_EQ(both.bucket(-91), 15);
  EXPECT_EQ(both.bucket(1), 17);
  EXPECT_EQ(both.bucket(1000), 31);
}

// The rows of the test are of a small model with other fields in its config.json.
class Seq2SeqConfigs : public ::testing::Test {
 protected:
  void copy(const std::string& from, const std::string& text, const std::string& by,
            const std::string& generation = "") {
    const std::filesystem::path folder = std::filesystem::path(LATHE_CHECKPOINT_CASES) / from;
    std::filesystem::copy_file(folder / "model.safetensors", folder_.path() / "model.safetensors",
                               std::filesystem::copy_options::overwrite_existing);
    std::ifstream file(folder / "config.json");
    std::string config{std::istreambuf_iterator<char>(file), {}};
    if (!text.empty()) {
      const size_t at = config.find(text);
      ASSERT_NE(at, std::string::npos) << text;
      config.replace(at, text.size(), by);
    }
    std::ofstream(folder_.path() / "config.json") << config;
    if (!generation.empty()) std::ofstream(folder_.path() / "generation_config.json") << generation;
  }
  void expect_refused(const std::string& text) {
    try {
      build_seq2seq(Checkpoint::open(folder_.path()));
      FAIL() << "expected: " << text;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
    }
  }
  GenerationRules rules() { return build_seq2seq(Checkpoint::open(folder_.path())).decoder.info.rules; }

  TemporaryFolder folder_;
};

TEST_F(Seq2SeqConfigs, WhatIsNotKnownIsRefused) {
  copy("t5", "\"d_kv\"", "\"new_idea\": 3, \"d_kv\"");
  expect_refused("new_idea");
  copy("t5", "\"feed_forward_proj\": \"relu\"", "\"feed_forward_proj\": \"gated-tanh\"");
  expect_refused("feed_forward_proj");
  copy("t5", "\"relative_attention_num_buckets\": 8", "\"relative_attention_num_buckets\": 6");
  expect_refused("relative_attention_bias");
  copy("t5", "\"d_ff\": 24", "\"d_ff\": 25");
  expect_refused("must be [25, 16]");
  copy("bart", "\"is_encoder_decoder\": true", "\"normalize_before\": true, \"is_encoder_decoder\": true");
  expect_refused("normalize_before");
}

// Of T5's line, all but mT5 scale what goes into an output matrix that is the embedding.
TEST_F(Seq2SeqConfigs, TiedOutputsAreScaled) {
  const auto scale = [&] { return read_seq2seq_config(Checkpoint::open(folder_.path())).decoder.logit_scale; };
  const std::string own = "\"tie_word_embeddings\": false", tied = "\"tie_word_embeddings\": true";
  copy("umt5", own, own);
  EXPECT_EQ(scale(), 1);
  copy("umt5", own, tied);
  EXPECT_EQ(scale(), 0.25);
  copy("umt5", own, tied + ", \"scale_decoder_outputs\": false");
  EXPECT_EQ(scale(), 1);
}

TEST_F(Seq2SeqConfigs, RulesForAnswers) {
  copy("bart", "", "",
       R"({"decoder_start_token_id": 4, "forced_bos_token_id": 5, "forced_eos_token_id": 1, "suppress_tokens": [7, 8],
           "begin_suppress_tokens": [9], "bad_words_ids": [[3], [10, 11], [1]],
           "no_repeat_ngram_size": 3, "min_length": 9, "min_new_tokens": 5})");
  const GenerationRules simple = rules();
  EXPECT_EQ(simple.start, Ids{4});
  EXPECT_EQ(simple.forced, Ids{5});
  EXPECT_EQ(simple.forced_last, 1);
  EXPECT_EQ(simple.suppressed, (Ids{7, 8, 3}));
  EXPECT_EQ(simple.suppressed_first, Ids{9});
  EXPECT_EQ(simple.bad_words, std::vector<Ids>{(Ids{10, 11})});
  EXPECT_EQ(simple.no_repeat_ngram, 3);
  EXPECT_EQ(simple.min_length, 9);
  EXPECT_EQ(simple.min_new_tokens, 5);
  copy("bart", "", "", R"({"decoder_start_token_id": 4, "forced_decoder_ids": [[1, null], [3, 12]]})");
  EXPECT_EQ(rules().forced, (Ids{-1, -1, 12}));
  copy("bart", "", "", R"({"decoder_start_token_id": 48})");
  expect_refused("token 48");
  copy("bart", "", "", R"({"bad_words_ids": [[3, 48]]})");
  expect_refused("token 48");
  copy("bart", "", "", R"({"bad_words_ids": [[]]})");
  expect_refused("bad_words_ids");
  copy("bart", "\"decoder_start_token_id\": 0,", "", "{}");
  EXPECT_EQ(rules().start, Ids{2});  // what texts begin with
}

}  // namespace
}  // namespace lathe::checkpoint
