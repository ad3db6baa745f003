// The public interface: what it accepts, what it refuses and how clearly, and what sessions share.
#include "runtime/session.h"

#include <algorithm>
#include <thread>

#include "tests/base/temporary_folder.h"
#include "tests/data_path.h"
#include "tests/runtime/engine_of.h"

namespace lathe {
namespace {

using test::error_of;
using test::floats;
using test::Sizes;

constexpr const char* kModel = R"(graph model(%ids: i64[batch, seq], %scale: f32[]) {
  %table = constant {value = f32[50, 32] random(1)}
  %w = constant {value = f32[32, 48] random(2)}
  %e = gather(%table, %ids) {axis = 0}
  %s = map(%e, %scale) {program = (x0, x1) => mul(x0, x1)}
  %h = matmul(%s, %w)
  %y = softmax(%h) {axis = 2}
  return %y as "probabilities", %h as "logits"
})";

std::vector<int64_t> some_ids(size_t count, int64_t seed) {
  std::vector<int64_t> ids(count);
  for (size_t i = 0; i < count; ++i) ids[i] = (static_cast<int64_t>(i) * 7 + seed) % 50;
  return ids;
}

TEST(Session, RunsByName) {
  Session session(test::engine_of(kModel), {1});
  const std::vector<int64_t> ids = some_ids(6, 1);
  const std::vector<float> scale = {0.5f};
  const auto outputs = session.run({{"scale", scale, {}}, {"ids", ids, {2, 3}}});
  ASSERT_EQ(outputs.size(), 2u);
  EXPECT_EQ(outputs[0].name, "probabilities");
  EXPECT_EQ(Sizes(outputs[0].dims.begin(), outputs[0].dims.end()), (Sizes{2, 3, 48}));
  const std::span<const float> probabilities = outputs[0].as<float>();
  ASSERT_EQ(probabilities.size(), 2u * 3 * 48);
  float sum = 0;
  for (const float p : probabilities.subspan(0, 48)) sum += p;
  EXPECT_NEAR(sum, 1, 1e-5);
  EXPECT_EQ(error_of([&] { outputs[0].as<int64_t>(); }).code(), ErrorCode::invalid_argument);
}

TEST(Session, DescribesItsModel) {
  const auto engine = test::engine_of(kModel);
  ASSERT_EQ(engine->inputs().size(), 2u);
  EXPECT_EQ(engine->inputs()[0].dims, (std::vector<std::string>{"batch", "seq"}));
  EXPECT_EQ(engine->inputs()[1].dtype, DType::f32);
  EXPECT_EQ(engine->outputs()[1].name, "logits");
  EXPECT_EQ(engine->outputs()[1].dims, (std::vector<std::string>{"batch", "seq", "48"}));
}

struct Refused {
  const char* what;
  std::vector<Input> inputs;
  const char* named;  // must be in the message
};

TEST(Session, WrongInputsGiveOneClearError) {
  static const std::vector<int64_t> ids = some_ids(6, 1);
  static const std::vector<float> one = {1};
  const Input good_ids("ids", ids, {2, 3}), good_scale("scale", one, {});
  const std::vector<Refused> cases = {
      {"unknown name", {good_ids, good_scale, Input("mask", ids, {2, 3})}, "'mask'"},
      {"missing", {good_ids}, "'scale'"},
      {"nothing", {}, "'ids'"},
      {"twice", {good_ids, good_scale, good_ids}, "'ids'"},
      {"rank too low", {Input("ids", ids, {6}), good_scale}, "'ids'"},
      {"rank too high", {good_ids, Input("scale", one, {1})}, "'scale'"},
      {"type", {Input("ids", one, {1, 1}), good_scale}, "i64"},
      {"fewer elements than the sizes say", {Input("ids", ids, {2, 4}), good_scale}, "'ids'"},
      {"negative size", {Input("ids", DType::i64, {-2, 3}, ids.data()), good_scale}, "'ids'"},
      {"negative sizes with a positive product", {Input("ids", DType::i64, {-2, -3}, ids.data()), good_scale}, "'ids'"},
      {"no data", {Input("ids", DType::i64, {2, 3}, nullptr), good_scale}, "'ids'"},
  };
  Session session(test::engine_of(kModel), {1});
  for (const bool warm : {false, true}) {
    for (const Refused& refused : cases) {
      const Error error = error_of([&] { session.run(refused.inputs); });
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument) << refused.what << ": " << error.what();
      EXPECT_NE(error.message().find(refused.named), std::string::npos) << refused.what << ": " << error.what();
    }
    if (!warm) session.run({good_ids, good_scale});
  }
}

// Sizes seen before must not carry an input of another type past the check.
TEST(Session, TheTypeIsCheckedInWarmRunsToo) {
  Session session(test::engine_of(kModel), {1});
  const std::vector<int64_t> ids = some_ids(1, 0);
  const std::vector<float> one = {1};
  session.run({{"ids", ids, {1, 1}}, {"scale", one, {}}});
  EXPECT_EQ(error_of([&] {
              session.run({{"ids", one, {1, 1}}, {"scale", one, {}}});
            }).code(),
            ErrorCode::invalid_argument);
}

TEST(Session, SizesBeyondAllMemoryAreAnError) {
  Session session(test::engine_of(kModel), {1});
  const std::vector<float> one = {1};
  const int64_t id = 0;
  for (const int64_t huge : {int64_t{1} << 40, int64_t{1} << 61}) {
    const Error error = error_of([&] { session.run({Input("ids", DType::i64, {1, huge}, &id), {"scale", one, {}}}); });
    EXPECT_NE(error.code(), ErrorCode::internal) << error.what();
  }
  EXPECT_EQ(session.run({Input("ids", DType::i64, {1, 1}, &id), {"scale", one, {}}}).size(), 2u);
}

TEST(Session, ThreadCountsThatCannotBe) {
  const auto engine = test::engine_of(kModel);
  EXPECT_EQ(error_of([&] { Session(engine, {-1}); }).code(), ErrorCode::invalid_argument);
  EXPECT_EQ(error_of([&] { Session(engine, {1 << 30}); }).code(), ErrorCode::invalid_argument);
  EXPECT_GE(Session(engine, {0}).impl().device->threads(), 1);
}

TEST(Session, BoundOutputs) {
  Session session(test::engine_of(kModel), {1});
  const std::vector<int64_t> ids = some_ids(6, 1);
  const std::vector<float> one = {1};
  const auto run_with = [&](Sizes sizes) { return session.run({{"ids", ids, std::move(sizes)}, {"scale", one, {}}}); };
  const Tensor expected = test::tensor_of(run_with({2, 3})[1]);
  std::vector<float> memory(2 * 3 * 48 + 1, -7);
  session.bind_output("logits", memory.data(), (memory.size() - 1) * sizeof(float));
  const auto outputs = run_with({2, 3});
  EXPECT_EQ(outputs[1].data, memory.data());
  EXPECT_EQ(test::tensor_of(outputs[1]), expected);
  EXPECT_EQ(memory.back(), -7);

  session.bind_output("logits", memory.data(), 2 * 3 * 48 * sizeof(float) - 1);
  const Error error = error_of([&] { run_with({2, 3}); });
  EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
  EXPECT_NE(error.message().find("'logits'"), std::string::npos);
}

TEST(Session, UnbindingGivesTheSessionItsOwnMemoryBack) {
  Session session(test::engine_of(kModel), {1});
  const std::vector<int64_t> ids = some_ids(2, 3);
  const std::vector<float> one = {1};
  std::vector<float> memory(2 * 48);
  session.bind_output("logits", memory.data(), memory.size() * sizeof(float));
  session.bind_output("logits", nullptr, 0);
  EXPECT_NE(session.run({{"ids", ids, {1, 2}}, {"scale", one, {}}})[1].data, memory.data());
  EXPECT_EQ(error_of([&] { session.bind_output("nothing", memory.data(), 1); }).code(), ErrorCode::invalid_argument);
}

TEST(Session, ABoundOutputThatIsAnInput) {
  Session session(test::engine_of("graph id(%x: f32[n]) { return %x as \"y\" }"), {1});
  std::vector<float> memory(3);
  session.bind_output("y", memory.data(), sizeof(float) * memory.size());
  const std::vector<float> x = {1, 2, 3};
  session.run({{"x", x, {3}}});
  EXPECT_EQ(memory, x);
}

TEST(Session, WeightsThatWerePackedAreNotInMemoryTwice) {
  const auto engine = test::engine_of(kModel);
  std::vector<bool> kept;
  for (const auto& node : engine->impl().model.graph->nodes())
    if (const Constant* constant = node->as<Constant>()) kept.push_back(!constant->value.is_deferred());
  EXPECT_EQ(kept, (std::vector<bool>{true, false}));  // the table is read where it lies, the matrix is packed
}

// %a is read by two steps and %b by a region; %c leaves as it is.
constexpr const char* kLarge = R"(graph large(%flag: bool[], %x: f32[n, 160]) {
  %a = constant {value = f32[160, 160] random(1)}
  %b = constant {value = f32[160, 160] random(2)}
  %c = constant {value = f32[160, 160] random(3)}
  %once = matmul(%x, %a)
  %half = map(%once) {program = (x0) => tanh(x0)}
  %twice = matmul(%half, %a)
  %y = if(%flag, %twice, %b, %c) {then_branch = graph (%v: f32[n, 160], %m: f32[160, 160], %o: f32[160, 160]) {
    %p = matmul(%v, %m)
    return %p as "p"
  }, else_branch = graph (%v: f32[n, 160], %m: f32[160, 160], %o: f32[160, 160]) {
    %p = matmul(%v, %o)
    return %p as "p"
  }}
  return %y as "y", %c as "c"
})";

TEST(Session, PassingWeightsAreInMemoryForTheLengthOfAStep) {
  const auto engine = make_engine(compile(parse_graph(kLarge), {}), {.passing = true});
  ASSERT_TRUE(engine->impl().weights.streams());
  EXPECT_EQ(engine->impl().weights.owned_bytes(), 0u);
  Session first(engine, {1}), second(engine, {2});
  for (const bool flag : {true, false, true})
    for (const int64_t rows : {1, 7, 0}) {
      const std::vector<Tensor> inputs = {Tensor::scalar(flag), test::floats({rows, 160})};
      for (Session* session : {&first, &second})
        test::expect_close(test::run(*session, inputs), test::reference(kLarge, inputs), 2e-4);
    }
  size_t passed = 0;
  const auto& weights = engine->impl().model.program.weights;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (weights[i].layout.plain()) continue;
    const auto* page =
        static_cast<const float*>(first.impl().stream->addresses()[i]) + 4096;  // in any case a whole one
    EXPECT_TRUE(std::all_of(page, page + 4096, [](float x) { return x == 0; })) << "weight " << i << " stayed";
    ++passed;
  }
  EXPECT_EQ(passed, 3u);
}

TEST(Session, SessionsOfOneEngineShareWeightsAndRunAtTheSameTime) {
  const auto engine = test::engine_of(kModel);
  const size_t weights = engine->impl().weights.owned_bytes();
  std::vector<std::vector<Tensor>> expected;
  {
    Session session(engine, {2});
    const std::vector<float> one = {1};
    for (int64_t n = 1; n <= 8; ++n) {
      const std::vector<int64_t> ids = some_ids(static_cast<size_t>(n), n);
      auto& tensors = expected.emplace_back();
      for (const Output& output : session.run({{"ids", ids, {1, n}}, {"scale", one, {}}}))
        tensors.push_back(test::tensor_of(output));
    }
  }
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      Session session(engine, {2});
      const std::vector<float> one = {1};
      for (int round = 0; round < 20; ++round) {
        const int64_t n = 1 + (round + static_cast<int64_t>(t)) % 8;
        const std::vector<int64_t> ids = some_ids(static_cast<size_t>(n), n);
        const auto outputs = session.run({{"ids", ids, {1, n}}, {"scale", one, {}}});
        for (size_t o = 0; o < outputs.size(); ++o)
          if (!(test::tensor_of(outputs[o]) == expected[static_cast<size_t>(n - 1)][o])) ++wrong[t];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
  EXPECT_EQ(engine->impl().weights.owned_bytes(), weights);
}

TEST(Session, OutlivesTheLastHandleOfItsEngineAndMoves) {
  auto engine =
      test::engine_of("graph neg(%x: f32[n]) { %y = map(%x) {program = (x0) => neg(x0)} return %y as \"y\" }");
  Session first(engine, {1});
  engine.reset();
  Session second = std::move(first);
  const std::vector<float> x = {1, -2};
  EXPECT_EQ(second.run({{"x", x, {2}}})[0].as<float>()[1], 2);
}

TEST(Engine, FilesThatAreNoModels) {
  const TemporaryFolder folder;
  folder.write("empty.onnx", "");
  folder.write("text.onnx", "this is not a model");
  folder.write("short.plan", "LATHEPLN");
  for (const char* name : {"empty.onnx", "text.onnx", "short.plan"}) {
    const Error error = error_of([&] { Engine::open(folder / name); });
    EXPECT_EQ(error.code(), ErrorCode::invalid_model) << error.what();
    EXPECT_NE(error.file().find(name), std::string::npos) << error.what();
  }
  EXPECT_EQ(error_of([&] { Engine::open(folder / "missing"); }).code(), ErrorCode::not_found);
  EXPECT_EQ(error_of([&] { Engine::open(folder.path()); }).code(), ErrorCode::not_found);
}

TEST(Engine, UnknownOptions) {
  EngineOptions device;
  device.device = "abacus";
  EngineOptions isa;
  isa.isa = "mmx";
  const std::string model = std::string(LATHE_TEST_DATA) + "/zoo/keras-cnn/model.onnx";
  EXPECT_EQ(error_of([&] { Engine::open(model, device); }).code(), ErrorCode::invalid_argument);
  EXPECT_EQ(error_of([&] { Engine::open(model, isa); }).code(), ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace lathe
