// Decoders in ONNX through the public interface. Expected tokens are onnxruntime's, each computed anew from the whole
// sequence; those of the zoo's models by the files themselves, with a past of length zero.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "graph/text.h"
#include "lathe/llm.h"
#include "llm/causal_score.h"
#include "llm/engine.h"
#include "llm/onnx_files.h"
#include "llm/page_decoder.h"
#include "llm/past_model.h"
#include "llm/token_axes.h"
#include "tests/data_path.h"

namespace lathe::llm {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;

struct Case {
  Ids prompt, greedy;
};

Request request_of(const Case& wanted) {
  Request request;
  request.prompt = wanted.prompt;
  request.max_tokens = static_cast<int64_t>(wanted.greedy.size());
  request.sampling.temperature = 0;
  request.ignore_eos = true;
  return request;
}

EngineOptions options_of(int64_t context = 40) {
  EngineOptions options;
  options.threads = 1;
  options.context = context;
  options.max_sequences = 4;
  return options;
}

// One after the other, then side by side: prompts of different lengths, twice as many as fit at once.
void expect_greedy(Engine& engine, const std::vector<Case>& cases) {
  for (const Case& wanted : cases)
    EXPECT_EQ(engine.submit(request_of(wanted)).wait().choices[0].ids(), wanted.greedy) << "alone";
  std::vector<Generation> generations;
  for (size_t i = 0; i < 8; ++i) generations.push_back(engine.submit(request_of(cases[i % cases.size()])));
  for (size_t i = 0; i < generations.size(); ++i)
    EXPECT_EQ(generations[i].wait().choices[0].ids(), cases[i % cases.size()].greedy) << "side by side, " << i;
}

fs::path data(const std::string& name) { return fs::path(LATHE_TEST_DATA) / name; }

std::vector<Case> small_cases(const char* name = "expected.json") {
  std::ifstream file(data("llm/onnx") / name);
  std::vector<Case> cases;
  for (const auto& entry : nlohmann::json::parse(file)) cases.push_back({entry["prompt"], entry["greedy"]});
  return cases;
}

// A folder of its own for a model of the test data, with the texts of other files.
fs::path folder_with(const std::string& name, const fs::path& model,
                     const std::vector<std::pair<std::string, std::string>>& files) {
  const fs::path folder = fs::path(::testing::TempDir()) / ("onnx_decoder_" + name);
  fs::remove_all(folder);
  fs::create_directories(folder);
  fs::copy_file(model, folder / model.filename());
  for (const auto& [file, text] : files) std::ofstream(folder / file) << text;
  return folder;
}

checkpoint::DecoderInfo info_of(int64_t context) {
  checkpoint::DecoderInfo info;
  info.max_positions = context;
  return info;
}

// Without rewriting the graph.
std::unique_ptr<PastModel> model_with_past(const fs::path& path, int64_t context = 32) {
  GraphModelOptions options;
  options.session.threads = 1;
  options.sequences = 4;
  return std::make_unique<PastModel>(import_onnx_decoder(*find_onnx_files(path)), info_of(context), options);
}

std::unique_ptr<Engine> engine_with_past(const fs::path& path) {
  EngineParts parts;
  parts.model = model_with_past(path);
  parts.scheduler = {.blocks = 4, .block_size = 32, .step_tokens = 5, .max_sequences = 4};
  return std::make_unique<Engine>(std::make_unique<Engine::Impl>(std::move(parts)));
}

class SmallDecoder : public ::testing::TestWithParam<const char*> {};

TEST_P(SmallDecoder, EveryFormGivesTheSameTokens) {
  const auto engine = Engine::open(data(std::string("llm/onnx/") + GetParam()).string(), options_of());
  EXPECT_EQ(engine->facts().vocabulary, 24);
  EXPECT_EQ(engine->facts().context, 40);
  EXPECT_EQ(engine->facts().note.empty(), std::string(GetParam()).find("plain") == std::string::npos);
  expect_greedy(*engine, small_cases());
}

TEST_P(SmallDecoder, ChoicesAndBeamsForkSequences) {
  const auto engine = Engine::open(data(std::string("llm/onnx/") + GetParam()).string(), options_of());
  const Case wanted = small_cases()[0];
  Request several = request_of(wanted);
  several.n = 3;
  Generation generation = engine->submit(several);
  for (const Choice& choice : generation.wait().choices) EXPECT_EQ(choice.ids(), wanted.greedy);
  Request beams = request_of(wanted);
  beams.beam.beams = 3;
  const auto reference = Engine::open(data("llm/onnx/plain").string(), options_of());
  EXPECT_EQ(engine->submit(beams).wait().choices[0].ids(), reference->submit(beams).wait().choices[0].ids());
}

TEST(OnnxEncoderDecoder, AnswersItsSources) {
  const auto engine = Engine::open(data("llm/onnx/seq2seq").string(), options_of());
  EXPECT_EQ(engine->facts().source_context, 40);
  EXPECT_EQ(engine->facts().source_vocabulary, 24);
  const std::vector<Case> cases = small_cases("seq2seq.json");
  expect_greedy(*engine, cases);
  Request several = request_of(cases[0]);
  several.n = 3;
  Generation generation = engine->submit(several);
  for (const Choice& choice : generation.wait().choices) EXPECT_EQ(choice.ids(), cases[0].greedy);
  Request beams = request_of(cases[1]);
  beams.beam.beams = 3;
  EXPECT_GE(engine->submit(beams).wait().choices[0].tokens.size(), 1u);
}

TEST(OnnxEncoderDecoder, NeedsBothSidesAndAStart) {
  const fs::path whole = data("llm/onnx/seq2seq");
  const fs::path folder =
      folder_with("half", whole / "decoder_model_merged.onnx", {{"config.json", R"({"n_positions": 40})"}});
  const auto refusal = [&] {
    try {
      Engine::open(folder.string(), options_of());
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(refusal().find("encoder_model.onnx"), std::string::npos) << refusal();
  fs::copy_file(whole / "encoder_model.onnx", folder / "encoder_model.onnx");
  EXPECT_NE(refusal().find("decoder_start_token_id"), std::string::npos) << refusal();
}

INSTANTIATE_TEST_SUITE_P(Forms, SmallDecoder,
                         ::testing::Values("pair", "pair/decoder_model.onnx", "pair/decoder_with_past_model.onnx",
                                           "merged", "merged/decoder_model_merged.onnx", "plain", "transposed"),
                         [](const auto& form) {
                           std::string name = form.param;
                           for (char& c : name)
                             if (c == '/' || c == '.') c = '_';
                           return name;
                         });

TEST(OnnxDecoder, SequencesOfOneLengthRunSideBySideWhereTheBatchIsOpen) {
  for (const char* name : {"llm/onnx/pair", "llm/onnx/merged", "llm/onnx/plain", "zoo/llama-past", "zoo/bloom-past"})
    EXPECT_TRUE(model_with_past(data(name))->batches()) << name;
  EXPECT_FALSE(model_with_past(data("llm/onnx/transposed"))->batches()) << "the batch is within another size";
  // Two of three are of one length: rows must not take each other's place.
  const std::vector<Case> all = small_cases();
  const std::vector<Case> cases = {{{7, 3}, {}}, {{2, 9}, {}}, all[1]};
  for (const char* name : {"llm/onnx/pair", "llm/onnx/merged", "llm/onnx/plain"}) {
    const auto engine = Engine::open(data(name).string(), options_of());
    const auto answer = [](Generation generation) { return generation.wait().choices[0].ids(); };
    std::vector<Request> requests;
    for (const Case& wanted : cases) requests.emplace_back(request_of(wanted)).max_tokens = 12;
    std::vector<Ids> alone;
    for (const Request& request : requests) alone.push_back(answer(engine->submit(request)));
    EXPECT_NE(alone[0], alone[1]);
    std::vector<Generation> together;
    for (const Request& request : requests) together.push_back(engine->submit(request));
    for (size_t i = 0; i < together.size(); ++i) EXPECT_EQ(answer(together[i]), alone[i]) << name << ", " << i;
  }
}

TEST(OnnxDecoder, AStepMayTakeAPieceOfAPrompt) {
  EngineOptions options = options_of();
  options.step_tokens = 3;
  const auto engine = Engine::open(data("llm/onnx/transposed").string(), options);
  expect_greedy(*engine, small_cases());
}

TEST(OnnxDecoder, AMergedFileKeepsItsWeightsOnce) {
  GraphModelOptions options;
  options.session.threads = 1;
  const auto owned = [&](PastGraphs graphs) {
    return PastModel(std::move(graphs), info_of(40), options).weight_bytes();
  };
  const auto graphs = [] { return import_onnx_decoder(*find_onnx_files(data("llm/onnx/merged"))); };
  EXPECT_LT(owned(graphs()), owned({graphs().first, nullptr}) * 3 / 2);
}

TEST(OnnxDecoder, ZooModelsFromAnEmptyPast) {
  const Ids first = {5, 7, 9, 11}, second = {3, 1, 4, 1, 5, 9, 2, 6, 5, 35, 89, 79, 32};
  const std::vector<std::pair<std::string, std::vector<Case>>> models = {
      {"llama-past",
       {{first, {83, 91, 22, 91, 9, 91, 26, 43, 29, 69, 43, 8}},
        {second, {63, 97, 60, 47, 36, 18, 13, 83, 60, 51, 15, 46}}}},
      {"gpt2-past", {{first, Ids(12, 22)}, {second, {86, 39, 39, 39, 39, 39, 39, 39, 39, 39, 39, 39}}}},
      {"bloom-past", {{first, Ids(12, 107)}, {second, Ids(12, 32)}}}};
  for (const auto& [name, cases] : models) {
    SCOPED_TRACE(name);
    const auto engine = Engine::open(data("zoo/" + name + "/model.onnx").string(), options_of(32));
    expect_greedy(*engine, cases);
    expect_greedy(*engine_with_past(data("zoo/" + name + "/model.onnx")), cases);
  }
}

TEST(OnnxDecoder, WhatIsProvenToBeCausalIsPaged) {
  const auto paged = [](const std::string& name) {
    return page_decoder(*find_onnx_files(data(name)), info_of(32), {.block_size = 4, .cache = DType::f16});
  };
  for (const char* name : {"zoo/llama-past", "zoo/gpt2-past"}) {
    const auto decoder = paged(name);
    ASSERT_TRUE(decoder) << name;
    std::vector<std::string> names;
    for (const Value* input : decoder->graph->inputs()) names.push_back(input->name());
    EXPECT_EQ(names,
              (std::vector<std::string>{"token_ids", "positions", "sequence_starts", "context_lengths", "block_table",
                                        "logit_rows", "key_cache.0", "value_cache.0", "key_cache.1", "value_cache.1"}));
    EXPECT_EQ(decoder->graph->inputs().back()->dtype(), DType::f16);
    EXPECT_EQ(to_string(decoder->graph->outputs()[0]->type()), "f32[rows, 120]");
  }
  EXPECT_FALSE(paged("llm/onnx/pair")) << "its second half has no causal mask";
  EXPECT_FALSE(paged("llm/onnx/plain"));
  EXPECT_FALSE(paged("zoo/chatglm-6b-past"));
}

TEST(OnnxDecoder, ScoresAreReadByCases) {
  const auto causal = [](const std::string& text) {
    return is_causal_sum(MapProgram::parse(text, {DType::f32, DType::f32}), Dim::symbol("past"), true);
  };
  const std::string later = "gt(iota(-1), add(iota(-2), dim(past)))", sum = "add(x0, x1)";
  EXPECT_TRUE(causal("(x0, x1) => select(" + later + ", -inf:f32, " + sum + ")"));
  EXPECT_TRUE(causal("(x0, x1) => add(" + sum + ", mul(cast<f32>(" + later + "), -1e+38:f32))"));
  EXPECT_FALSE(causal("(x0, x1) => add(" + sum + ", mul(cast<f32>(" + later + "), -10000:f32))")) << "shines through";
  EXPECT_FALSE(causal("(x0, x1) => select(" + later + ", -inf:f32, x0)")) << "a bias that is not added";
  EXPECT_FALSE(causal("(x0, x1) => select(" + later + ", -inf:f32, add(x0, " + sum + "))"));
  EXPECT_FALSE(causal("(x0, x1) => select(gt(iota(-1), iota(-2)), -inf:f32, " + sum + ")")) << "hides the past";
  EXPECT_FALSE(causal("(x0, x1) => select(gt(iota(-1), add(iota(-2), dim(past + 1))), -inf:f32, " + sum + ")"));
  EXPECT_FALSE(causal("(x0, x1) => " + sum));
}

// Tokens are apart unless a node says otherwise.
TEST(OnnxDecoder, WhatMixesTokensIsSeen) {
  const auto apart = [](const std::string& body) {
    const auto graph = parse_graph("graph g(%ids: i32[tokens], %rows: i32[rows], %table: f32[9, 4]) {\n" + body + "}");
    return keeps_tokens_apart(*graph, Dim::symbol("tokens"), *graph->inputs()[1]);
  };
  const std::string x = "%x = gather(%table, %ids) : f32[tokens, 4]\n";
  EXPECT_TRUE(apart(
      x + "%y = map(%x) {program = (x0) => mul(x0, cast<f32>(iota(-1)))} : f32[tokens, 4]\nreturn %y as \"y\"\n"));
  EXPECT_FALSE(apart(
      x + "%y = map(%x) {program = (x0) => mul(x0, cast<f32>(iota(-2)))} : f32[tokens, 4]\nreturn %y as \"y\"\n"));
  EXPECT_FALSE(apart(
      x + "%y = map(%x) {program = (x0) => mul(x0, cast<f32>(dim(tokens)))} : f32[tokens, 4]\nreturn %y as \"y\"\n"));
  EXPECT_TRUE(apart(x + "%y = softmax(%x) {axis = 1} : f32[tokens, 4]\nreturn %y as \"y\"\n"));
  EXPECT_FALSE(apart(x + "%y = softmax(%x) {axis = 0} : f32[tokens, 4]\nreturn %y as \"y\"\n"));
  EXPECT_TRUE(apart(x + "%y = matmul(%x, %table) {trans_b = true} : f32[tokens, 9]\nreturn %y as \"y\"\n"));
  EXPECT_FALSE(apart(x + "%y = matmul(%x, %x) {trans_b = true} : f32[tokens, tokens]\nreturn %y as \"y\"\n"));
  EXPECT_FALSE(apart(x + "%y = matmul(%x, %x) {trans_a = true} : f32[4, 4]\nreturn %y as \"y\"\n"));
  EXPECT_TRUE(apart(x + "%y = gather(%x, %rows) : f32[rows, 4]\nreturn %y as \"y\"\n"));
  EXPECT_FALSE(apart(x + "%y = gather(%x, %ids) : f32[tokens, 4]\nreturn %y as \"y\"\n"));
  EXPECT_TRUE(apart(x + "%y = reshape(%x) {shape = [1, tokens, 2, 2]} : f32[1, tokens, 2, 2]\nreturn %y as \"y\"\n"));
  EXPECT_FALSE(apart(x + "%y = reshape(%x) {shape = [4, tokens]} : f32[4, tokens]\nreturn %y as \"y\"\n"));
  EXPECT_FALSE(apart(x + "%y = cumulative(%x) {axis = 0} : f32[tokens, 4]\nreturn %y as \"y\"\n"));
}

TEST(OnnxDecoder, ChatGlmHasPositionsInBlocksAndAPrefixMask) {
  const std::string config = R"({"model_type": "chatglm", "bos_token_id": 119, "mask_token_id": 117,
                                 "gmask_token_id": 118, "max_sequence_length": 64})";
  const fs::path folder = folder_with("chatglm", data("zoo/chatglm-6b-past/model.onnx"), {{"config.json", config}});
  EngineOptions options = options_of(0);
  options.step_tokens = 4;  // shorter than a prefix, which is not cut all the same
  const auto engine = Engine::open(folder.string(), options);
  EXPECT_EQ(engine->facts().context, 64);
  expect_greedy(*engine, {{{5, 7, 9, 11, 118, 119}, {67, 11, 108, 67, 15, 19, 102, 58, 67, 15, 19, 102}},
                          {{3, 1, 4, 1, 117, 5, 9, 2, 6, 5, 119}, {67, 15, 19, 102, 36, 67, 15, 19, 102, 36, 67, 15}}});
}

TEST(OnnxDecoder, LogitsOfAPromptAreThoseOfItsTokens) {
  const auto engine = Engine::open(data("llm/onnx/pair").string(), options_of());
  Case wanted = small_cases()[0];
  Request request = request_of(wanted);
  std::vector<int64_t> positions;
  Ids likeliest;
  request.on_prompt_logits = [&](int64_t position, std::span<const float> logits) {
    positions.push_back(position);
    likeliest.push_back(static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
  };
  engine->submit(request).wait();
  ASSERT_EQ(positions.size(), wanted.prompt.size());
  EXPECT_EQ(positions.front(), 0);
  EXPECT_EQ(likeliest.back(), wanted.greedy.front());
}

TEST(OnnxDecoder, WhatIsRecommendedDependsOnWhetherTheModelSamples) {
  const auto recommended = [](const std::string& sampling) {
    const fs::path folder =
        folder_with("sampling", data("llm/onnx/transposed/model.onnx"),
                    {{"config.json", R"({"model_type": "tiny"})"}, {"generation_config.json", sampling}});
    return Engine::open(folder.string(), options_of(0))->recommended().sampling;
  };
  EXPECT_EQ(recommended(R"({"temperature": 0.5, "top_k": 7})").temperature, 0.5);
  EXPECT_EQ(recommended(R"({"temperature": 0.5, "top_k": 7})").top_k, 7);
  const SamplingOptions greedy = recommended(R"({"do_sample": false, "top_k": 7, "repetition_penalty": 1.25})");
  EXPECT_EQ(greedy.temperature, 0);
  EXPECT_EQ(greedy.top_k, 0);
  EXPECT_EQ(greedy.repetition_penalty, 1.25);  // of the likeliest token, too
}

TEST(OnnxDecoder, ConfigurationsBesideTheModelCount) {
  const fs::path folder =
      folder_with("genai", data("llm/onnx/transposed/model.onnx"),
                  {{"genai_config.json", R"({"model": {"type": "tiny", "context_length": 30, "eos_token_id": [20, 23],
                                 "decoder": {"filename": "model.onnx"}},
                                 "search": {"do_sample": true, "temperature": 0.5}})"}});
  const auto engine = Engine::open(folder.string(), options_of(0));
  EXPECT_EQ(engine->facts().context, 30);
  EXPECT_EQ(engine->facts().family, "tiny");
  EXPECT_EQ(engine->facts().eos, (Ids{20, 23}));
  EXPECT_EQ(engine->recommended().sampling.temperature, 0.5);
  const Case wanted = small_cases()[0];
  Request request = request_of(wanted);
  request.ignore_eos = false;
  EXPECT_EQ(engine->submit(request).wait().choices[0].ids(), Ids(wanted.greedy.begin(), wanted.greedy.begin() + 4));
}

TEST(OnnxDecoder, WhatIsNoDecoderIsRefused) {
  const auto message = [](const fs::path& path) -> std::string {
    try {
      Engine::open(path.string(), options_of());
    } catch (const Error& error) {
      return error.what();
    }
    return "opened";
  };
  EXPECT_NE(message(data("zoo/resnet18-static/model.onnx")).find("means nothing to a decoder"), std::string::npos);
  EXPECT_NE(message(data("zoo/t5-decoder-merged/model.onnx")).find("encoder"), std::string::npos);
  EXPECT_NE(message(data("zoo/chatglm-6b-past/model.onnx")).find("bos_token_id"), std::string::npos);
  EXPECT_NE(message(data("zoo")).find("config.json"), std::string::npos);
  const fs::path odd = folder_with("odd", data("llm/onnx/pair/decoder_model.onnx"), {});
  fs::copy_file(data("zoo/llama-past/model.onnx"), odd / "decoder_with_past_model.onnx");
  EXPECT_NE(message(odd).find("24 and 120 tokens"), std::string::npos);
  EngineOptions typed = options_of();
  typed.dtype = DType::f16;
  EXPECT_THROW(Engine::open(data("llm/onnx/plain").string(), typed), Error);
  EngineOptions lost = options_of();
  lost.tokenizer = "/nowhere/tokenizer.json";
  EXPECT_THROW(Engine::open(data("llm/onnx/plain").string(), lost), Error);
}

}  // namespace
}  // namespace lathe::llm
