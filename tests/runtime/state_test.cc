// Inputs that a run updates in place: bound by address, kept by the caller from run to run, never copied.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/runtime/island.h"

namespace lathe {
namespace {

using test::Sizes;

// One head of one feature; queries of 0 make y the mean of the values so far.
constexpr const char* kModel =
    R"(graph (%v: f32[t, 1], %keys: f32[n, 1, 2, 1], %values: f32[n, 1, 2, 1], %starts: i32[s + 1],
                                        %contexts: i32[s], %table: i32[s, b]) {
  %q = map(%v) {program = (x0) => mul(x0, 0:f32)}
  %y = paged_attention(%q, %q, %v, %keys, %values, %starts, %contexts, %table) {head_dim = 1, value_dim = 1, block_size = 2}
  return %y as "y"
})";

// A conversation of one sequence, token by token; its blocks are 2, 0, 1.
class Conversation {
 public:
  Conversation(Session& session, void* keys, void* values, Memory where)
      : session_(session), keys_(keys), values_(values), where_(where) {}

  float say(float value) {
    const std::vector<float> v = {value};
    const std::vector<int32_t> starts = {0, 1}, contexts = {++length_}, table = {2, 0, 1};
    const Sizes cache = {3, 1, 2, 1};
    const auto outputs =
        session_.run({Input("v", v, {1, 1}), Input("keys", DType::f32, cache, keys_, where_),
                      Input("values", DType::f32, cache, values_, where_), Input("starts", starts, {2}),
                      Input("contexts", contexts, {1}), Input("table", table, {1, 3})});
    return outputs[0].as<float>()[0];
  }

 private:
  Session& session_;
  void *keys_, *values_;
  Memory where_;
  int32_t length_ = 0;
};

TEST(State, IsKeptInTheMemoryOfTheCaller) {
  for (const CompileOptions& options : {CompileOptions(), test::unoptimised(), test::on_device("reference")}) {
    const auto engine = test::engine_of(kModel, options);
    EXPECT_TRUE(engine->inputs()[1].state && engine->inputs()[2].state);
    EXPECT_FALSE(engine->inputs()[0].state);
    Session session(engine, {2});
    std::vector<float> keys(6, 7), values(6, 7);
    Conversation conversation(session, keys.data(), values.data(), Memory::host);
    EXPECT_FLOAT_EQ(conversation.say(1), 1);
    EXPECT_FLOAT_EQ(conversation.say(3), 2);
    EXPECT_FLOAT_EQ(conversation.say(8), 4);
    EXPECT_THAT(values, testing::ElementsAre(8, 7, 7, 7, 1, 3));
    EXPECT_THAT(keys, testing::ElementsAre(0, 7, 7, 7, 0, 0));
  }
}

TEST(State, SessionsShareIt) {
  const auto engine = test::engine_of(kModel);
  Session first(engine, {1}), second(engine, {1});
  std::vector<float> keys(6, 0), values(6, 0);
  Conversation(first, keys.data(), values.data(), Memory::host).say(4);
  const std::vector<float> v = {6};
  const std::vector<int32_t> starts = {0, 1}, contexts = {2}, table = {2};
  const auto outputs =
      second.run({Input("v", v, {1, 1}), Input("keys", keys, {3, 1, 2, 1}), Input("values", values, {3, 1, 2, 1}),
                  Input("starts", starts, {2}), Input("contexts", contexts, {1}), Input("table", table, {1, 1})});
  EXPECT_FLOAT_EQ(outputs[0].as<float>()[0], 5);
}

// The island's steps read its memory themselves, as a GPU's do.
TEST(State, LiesOnTheDevice) {
  test::IslandMemory memory;
  Session session(make_engine(test::compile_on_island(kModel, memory)));
  test::IslandContext device(memory);
  const std::vector<float> fill(6, 7);
  const size_t bytes = fill.size() * sizeof(float);
  void *keys = device.allocate(bytes), *values = device.allocate(bytes);
  device.upload(keys, std::as_bytes(std::span(fill)));
  device.upload(values, std::as_bytes(std::span(fill)));
  Conversation conversation(session, keys, values, Memory::device);
  EXPECT_FLOAT_EQ(conversation.say(1), 1);
  const size_t uploads = memory.uploads, downloads = memory.downloads;
  EXPECT_FLOAT_EQ(conversation.say(3), 2);
  EXPECT_EQ(memory.uploads - uploads, 1u) << "of the value and the integers together";
  EXPECT_EQ(memory.downloads - downloads, 1u) << "of the output";
  std::vector<float> stored(6);
  device.download(std::as_writable_bytes(std::span(stored)), values);
  EXPECT_THAT(stored, testing::ElementsAre(7, 7, 7, 7, 1, 3));
  device.release(keys);
  device.release(values);
}

TEST(State, OnTheHostIsRefusedByADevice) {
  test::IslandMemory memory;
  Session session(make_engine(test::compile_on_island(kModel, memory)));
  std::vector<float> keys(6), values(6);
  const Error error = test::error_of([&] { Conversation(session, keys.data(), values.data(), Memory::host).say(1); });
  EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
  EXPECT_THAT(error.what(), testing::HasSubstr("input 'keys' is updated in place"));
  EXPECT_THAT(error.remedy_text(), testing::HasSubstr("Memory::device"));
}

// A backend without a kernel leaves the step to the host, which brings the caches over and back.
class BareIsland : public test::IslandBackend {
 public:
  using IslandBackend::IslandBackend;
  std::vector<Candidate> candidates(const Node& node) const override {
    if (node.is<PagedAttention>()) return {};
    return IslandBackend::candidates(node);
  }
};

TEST(State, IsBroughtBackByStepsOfTheHost) {
  test::IslandMemory memory;
  BareIsland backend(memory);
  std::vector<std::unique_ptr<Backend>> fallbacks;
  fallbacks.push_back(make_reference_backend());
  const auto graph = parse_graph(kModel);
  const Program program = lower(*graph, backend, fallbacks);
  const auto device = backend.make_context({});
  device->set_host(fallbacks.front()->make_context({}));
  Executor executor(*graph, program, {}, *device);
  Tensor values = Tensor::of<float>({1, 1, 2, 1}, {4, 0}), keys(DType::f32, {1, 1, 2, 1});
  Tensor v = Tensor::of<float>({1, 1}, {6});
  Tensor starts = Tensor::of<int32_t>({2}, {0, 1}), contexts = Tensor::of<int32_t>({1}, {2});
  Tensor table = Tensor::of<int32_t>({1, 1}, {0});
  std::vector<TensorRef> inputs, outputs(1);
  for (Tensor* t : {&v, &keys, &values, &starts, &contexts, &table})
    inputs.push_back({t->mutable_bytes().data(), t->dtype(), t->dims(), true, nullptr});
  executor.run(inputs, outputs);
  EXPECT_FLOAT_EQ(*outputs[0].as<float>(), 5);
  EXPECT_EQ(values.as<float>()[1], 6);
}

}  // namespace
}  // namespace lathe
