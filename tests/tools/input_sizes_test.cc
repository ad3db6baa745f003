#include "tools/input_sizes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "graph/text.h"
#include "tools/input_roles.h"

namespace lathe::tools {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

ChosenSizes choose(const Graph& graph, std::vector<std::string> shapes = {}, std::vector<std::string> dims = {}) {
  std::vector<ShapeArg> shape_args;
  std::vector<DimArg> dim_args;
  for (const auto& text : shapes) shape_args.push_back(parse_shape_arg(text));
  for (const auto& text : dims) dim_args.push_back(parse_dim_arg(text));
  return choose_sizes(graph, {}, shape_args, dim_args);
}

std::unique_ptr<Graph> bert_inputs() {
  return parse_graph(R"(graph bert(%input_ids: i64[batch, sequence], %attention_mask: i64[batch, sequence]) {
    return %input_ids as "a", %attention_mask as "b"
  })");
}

TEST(InputSizes, DefaultsAreNamed) {
  const ChosenSizes sizes = choose(*bert_inputs());
  EXPECT_THAT(sizes.inputs.at("input_ids"), ElementsAre(1, 128));
  EXPECT_EQ(to_string(sizes.assumed), "batch=1 sequence=128");
}

TEST(InputSizes, OneShapeSettlesTheOthers) {
  const ChosenSizes sizes = choose(*bert_inputs(), {"input_ids:2x7"});
  EXPECT_THAT(sizes.inputs.at("attention_mask"), ElementsAre(2, 7));
  EXPECT_TRUE(sizes.assumed.empty());
}

TEST(InputSizes, DimensionsByName) {
  const ChosenSizes sizes = choose(*bert_inputs(), {}, {"batch=4"});
  EXPECT_THAT(sizes.inputs.at("input_ids"), ElementsAre(4, 128));
  EXPECT_THROW(choose(*bert_inputs(), {}, {"bach=4"}), Error);
}

TEST(InputSizes, WhatNoMemoryHolds) {
  EXPECT_THROW(choose(*bert_inputs(), {"input_ids:99999999999x99999999"}), Error);
  EXPECT_THROW(choose(*bert_inputs(), {}, {"sequence=9000000000000000000"}), Error);
  EXPECT_THAT(choose(*bert_inputs(), {"input_ids:0x9000000000000000000"}).inputs.at("input_ids")[0], 0);
}

TEST(InputSizes, Contradictions) {
  EXPECT_THROW(choose(*bert_inputs(), {"input_ids:2x7", "attention_mask:2x8"}), Error);
  EXPECT_THROW(choose(*bert_inputs(), {"input_ids:2x7"}, {"batch=3"}), Error);
  EXPECT_THROW(choose(*bert_inputs(), {"input_ids:2x7x1"}), Error);
  EXPECT_THROW(choose(*bert_inputs(), {"ids:2x7"}), Error);
  const auto fixed = parse_graph("graph g(%x: f32[1, 3]) { return %x as \"y\" }");
  EXPECT_THROW(choose(*fixed, {"x:2x3"}), Error);
  EXPECT_THAT(choose(*fixed).inputs.at("x"), ElementsAre(1, 3));
}

TEST(InputSizes, APastMakesTheSequenceOneToken) {
  const auto graph =
      parse_graph(R"(graph g(%input_ids: i64[batch, sequence], %past.0.key: f32[batch, 4, past_sequence, 8],
                                            %attention_mask: i64[batch, past_sequence + sequence]) {
    return %input_ids as "a"
  })");
  const ChosenSizes sizes = choose(*graph, {}, {"past_sequence=5"});
  EXPECT_THAT(sizes.inputs.at("input_ids"), ElementsAre(1, 1));
  EXPECT_THAT(sizes.inputs.at("attention_mask"), ElementsAre(1, 6));
}

TEST(InputSizes, Pictures) {
  const auto graph = parse_graph("graph g(%image: f32[d0, 3, d1, d2]) { return %image as \"y\" }");
  EXPECT_THAT(choose(*graph).inputs.at("image"), ElementsAre(1, 3, 224, 224));
}

TEST(InputSizes, ATableOfPositionsLimitsTheSequence) {
  const auto graph = parse_graph(R"(graph g(%input_ids: i64[batch, sequence]) {
    %table = constant {value = f32[16, 4] splat(0.5)}
    %positions = map() {program = () => iota(-1), shape = [1, sequence]} : i64[1, sequence]
    %rows = gather(%table, %positions) {axis = 0} : f32[1, sequence, 4]
    return %rows as "y"
  })");
  EXPECT_THAT(choose(*graph).inputs.at("input_ids"), ElementsAre(1, 16));
}

TEST(InputRoles, ByNameAndByUse) {
  const auto graph = parse_graph(R"(graph g(%segment_ids: i64[n, s], %x0: i64[n, s], %x1: i64[n, s], %x2: i64[n, s],
                                            %attention_mask: f32[n, s], %position_ids: i64[n, s], %pixels: f32[n, 3]) {
    %words = constant {value = f32[100, 4] splat(0)}
    %types = constant {value = f32[2, 4] splat(0)}
    %cast = map(%x0) {program = (x0) => cast<i32>(x0)} : i32[n, s]
    %a = gather(%words, %cast) {axis = 0} : f32[n, s, 4]
    %b = gather(%types, %x1) {axis = 0} : f32[n, s, 4]
    return %a as "a", %b as "b"
  })");
  std::vector<InputRole> roles;
  for (const Value* input : graph->inputs()) roles.push_back(role_of(*input));
  EXPECT_THAT(roles, ElementsAre(InputRole::token_types, InputRole::token_ids, InputRole::token_types, InputRole::mask,
                                 InputRole::mask, InputRole::positions, InputRole::values));
  EXPECT_EQ(indexed_rows(*graph->inputs()[1]), 100);
  EXPECT_EQ(indexed_rows(*graph->inputs()[3]), std::nullopt);
}

}  // namespace
}  // namespace lathe::tools
