// What generation_config.json and config.json recommend, as Transformers' generate() would apply it.
#include "llm/recommendation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lathe::llm {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Recommendation, BeamsAreSearchedUnlessTheModelSamples) {
  const auto of = [](const char* text) { return read_recommendation("", text, /*has_encoder=*/true); };
  const Recommendation bart = of(R"({"num_beams": 4, "num_return_sequences": 2, "length_penalty": 2.0,
                                     "early_stopping": true, "temperature": 0.5})");
  EXPECT_EQ(bart.beam.beams, 4);
  EXPECT_EQ(bart.beam.length_penalty, 2);
  EXPECT_EQ(bart.beam.stop, BeamOptions::Stop::first);
  EXPECT_EQ(bart.n, 2);
  EXPECT_EQ(bart.sampling.temperature, 0);
  EXPECT_THAT(bart.ignored, IsEmpty());
  EXPECT_EQ(of(R"({"num_beams": 2, "early_stopping": "never"})").beam.stop, BeamOptions::Stop::never);
  EXPECT_EQ(of(R"({"num_beams": 2, "early_stopping": false})").beam.stop, BeamOptions::Stop::heuristic);
  EXPECT_EQ(of(R"({"num_beams": 2, "num_return_sequences": 3})").n, 2);  // there are no more beams

  const Recommendation drawn = of(R"({"num_beams": 4, "do_sample": true, "temperature": 0.5})");
  EXPECT_EQ(drawn.beam.beams, 1);
  EXPECT_EQ(drawn.sampling.temperature, 0.5);
  EXPECT_THAT(drawn.ignored, ElementsAre("num_beams 4 with do_sample"));
}

TEST(Recommendation, SeveralAnswersNeedDrawsOrBeams) {
  const auto answers = [](const char* text) { return read_recommendation("", text, /*has_encoder=*/false).n; };
  EXPECT_EQ(answers(R"({"num_return_sequences": 3})"), 3);
  EXPECT_EQ(answers(R"({"num_return_sequences": 3, "do_sample": false})"), 1);
  EXPECT_EQ(answers(R"({"num_return_sequences": 0})"), 1);
  EXPECT_EQ(answers("{}"), 1);
}

TEST(Recommendation, AnswersAreAsLongAsTheModelSays) {
  const auto longest = [](const char* text, bool has_encoder) {
    return read_recommendation("", text, has_encoder).max_tokens;
  };
  EXPECT_EQ(longest(R"({"max_new_tokens": 9, "max_length": 7})", false), 9);
  EXPECT_EQ(longest(R"({"max_length": 142})", true), 141);  // the token that begins them counts
  EXPECT_EQ(longest(R"({"max_length": 4096})", false), std::nullopt);
  for (const char* says_nothing :
       {"{}", R"({"max_length": 20})", R"({"max_new_tokens": null})", R"({"max_length": 1})"})
    EXPECT_EQ(longest(says_nothing, true), std::nullopt) << says_nothing;
}

TEST(Recommendation, IsThatOfConfigJsonWhereThereIsNoOtherFile) {
  const char* config = R"({"num_beams": 6, "top_k": 9})";
  EXPECT_EQ(read_recommendation(config, "", true).beam.beams, 6);
  EXPECT_EQ(read_recommendation(config, R"({"top_p": 0.5})", true).beam.beams, 1);
  EXPECT_EQ(read_recommendation(R"({"top_k": 9})", "", false).sampling.top_k, 9);
}

TEST(Recommendation, SettingsWithoutACounterpartAreNamed) {
  const Recommendation unknown = read_recommendation(
      "",
      R"({"penalty_alpha": 0.6, "diversity_penalty": 0.5, "num_beam_groups": 2, "guidance_scale": 1, "sequence_bias": null,
          "force_words_ids": [], "epsilon_cutoff": 0.1, "do_sample": false})",
      false);
  EXPECT_THAT(unknown.ignored, ElementsAre("diversity_penalty 0.5", "num_beam_groups 2", "penalty_alpha 0.6"));
  EXPECT_THAT(read_recommendation("", R"({"epsilon_cutoff": 0.1})", false).ignored, ElementsAre("epsilon_cutoff 0.1"));
}

}  // namespace
}  // namespace lathe::llm
