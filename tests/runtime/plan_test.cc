// Plan files: what is written comes back, on this instruction set and on others, in milliseconds, with its weights
// unread.
#include "runtime/plan_reader.h"

#include <fstream>

#include "base/mapped_file.h"
#include "build/plan_writer.h"
#include "tests/base/temporary_folder.h"
#include "tests/runtime/island.h"

namespace lathe {
namespace {

using test::error_of;
using test::floats;
using test::run;

// Weights packed for products and convolutions, one used in two forms, plain tables, small ones that stay in the graph,
// and one that only a region reads.
constexpr const char* kModel = R"(graph model(%x: f32[n, 8, 6, 6], %ids: i64[m], %flag: bool[]) {
  %kernel = constant {value = f32[16, 8, 3, 3] random(1)}
  %w = constant {value = f32[16, 40] random(2)}
  %table = constant {value = f32[30, 16] random(3)}
  %bias = constant {value = f32[40] random(4)}
  %own = constant {value = f32[16, 16] random(6)}
  %c = conv(%x, %kernel) {strides = [1, 1], dilations = [1, 1], pads = [1, 1, 1, 1], epilogue = (x0) => relu(x0)}
  %mean = reduce(%c) {kind = mean, axes = [2, 3], keep_dims = false}
  %rows = gather(%table, %ids) {axis = 0}
  %h = concat(%mean, %rows) {axis = 0}
  %turned = if(%flag, %h, %own) {then_branch = graph (%a: f32[k, 16], %m: f32[16, 16]) {
    %y = matmul(%a, %m)
    return %y as "y"
  }, else_branch = graph (%a: f32[k, 16], %m: f32[16, 16]) {
    %inner = constant {value = f32[16, 16] random(7)}
    %y = matmul(%a, %inner)
    return %y as "y"
  }}
  %y = matmul(%h, %w, %bias) {epilogue = (x0, x1) => add(x0, x1)}
  %plain = map(%w) {program = (x0) => neg(x0)}
  return %y as "y", %turned as "turned", %plain as "plain", %w as "w"
})";

std::vector<Tensor> example(int64_t n = 2) {
  return {floats({n, 8, 6, 6}), Tensor::of<int64_t>({3}, {29, 0, 7}), Tensor::scalar(true)};
}

std::filesystem::path write_model(const TemporaryFolder& folder, const char* name, const CompileOptions& options = {}) {
  write_plan(folder / name, compile(parse_graph(kModel), options), {"model.onnx", {}, 0, {}});
  return folder / name;
}

TEST(Plan, GivesTheSameBitsAsTheModelInMemory) {
  const TemporaryFolder folder;
  for (const Isa isa : test::isas_of_this_machine()) {
    const auto path = write_model(folder, "a.plan", test::on_isa(isa));
    Session from_file(open_engine(path, test::on_isa(isa)), {2});
    Session in_memory(test::engine_of(kModel, test::on_isa(isa)), {2});
    for (const int64_t n : {1, 5}) EXPECT_EQ(run(from_file, example(n)), run(in_memory, example(n))) << to_string(isa);
    EXPECT_EQ(from_file.engine().inputs().size(), 3u);
  }
}

// A product with a weight, and a look-up in a table that is also the weight of another product.
constexpr const char* kTied = R"(graph tied(%ids: i64[n]) {
  %table = constant {value = f32[512, 64] random(1)}
  %w = constant {value = f32[64, 64] random(2)}
  %rows = gather(%table, %ids) {axis = 0}
  %h = matmul(%rows, %w)
  %logits = matmul(%h, %table) {trans_b = true}
  return %logits as "logits"
})";
constexpr size_t kTableBytes = size_t{512} * 64 * 4, kWeightBytes = size_t{64} * 64 * 4;

TEST(Plan, ATiedWeightIsStoredOnce) {
  const TemporaryFolder folder;
  const std::vector<Tensor> ids = {Tensor::of<int64_t>({3}, {0, 511, 7})};
  for (const Isa isa : test::isas_of_this_machine()) {
    const PlanSize size = write_plan(folder / "tied.plan", compile(parse_graph(kTied), test::on_isa(isa)), {});
    EXPECT_GE(size.weight_bytes, kTableBytes + kWeightBytes);
    EXPECT_LT(size.file_bytes, kTableBytes + kWeightBytes + 4 * kPlanPage);
    const auto engine = open_engine(folder / "tied.plan", test::on_isa(isa));
    EXPECT_GE(engine->impl().weights.owned_bytes(), kTableBytes) << "the product has the table in its own layout";
    EXPECT_LT(engine->impl().weights.owned_bytes(), kTableBytes + kWeightBytes) << "the rest lies in the file";
    Session session(engine, {1});
    test::expect_close(run(session, ids), test::reference(kTied, ids));
  }
  // Where no kernel wants the other layout, it is not made; the weight of the first product is unpacked.
  EXPECT_LT(open_engine(folder / "tied.plan", test::on_device("reference"))->impl().weights.owned_bytes(), kTableBytes);
}

// Two branches, each with the same three weights: one is captured, one repeated, and one that a pass makes of others.
TEST(Plan, WeightsOfBranchesAreStoredOnce) {
  const std::string branch = R"(graph (%a: f32[n, 32], %m: f32[32, 32]) {
      %own = constant {value = f32[32, 32] random(7)}
      %p = matmul(%a, %m)
      %q = matmul(%p, %own)
      return %q as "y"
    })";
  const std::string text = R"(graph merged(%flag: bool[], %x: f32[n, 32]) {
    %w = constant {value = f32[32, 32] random(1)}
    %y = if(%flag, %x, %w) {then_branch = )" +
                           branch + ", else_branch = " + branch + "}\n return %y as \"y\" }";
  const TemporaryFolder folder;
  const CompiledModel model = compile(parse_graph(text), {});
  EXPECT_EQ(model.program.weights.size(), 2u);
  const PlanSize size = write_plan(folder / "merged.plan", model, {});
  EXPECT_LT(size.weight_bytes, size_t{3} * 32 * 32 * 4);
  Session session(open_engine(folder / "merged.plan", {}), {1});
  EXPECT_EQ(session.engine().impl().weights.owned_bytes(), 0u);
  for (const bool taken : {true, false}) {
    const std::vector<Tensor> inputs = {Tensor::scalar(taken), floats({3, 32})};
    test::expect_close(run(session, inputs), test::reference(text, inputs));
  }
}

TEST(Plan, IsWrittenFromAPlan) {
  const TemporaryFolder folder;
  for (const char* text : {kModel, kTied}) {
    for (const Isa made_for : test::isas_of_this_machine()) {
      write_plan(folder / "first.plan", compile(parse_graph(text), test::on_isa(made_for)), {"model.onnx", {}, 0, {}});
      for (const Isa isa : test::isas_of_this_machine()) {
        const auto plan = std::make_shared<Plan>(Plan::open(folder / "first.plan"));
        write_plan(folder / "second.plan", lower_plan(plan, test::on_isa(isa)), {"model.onnx", {}, 0, {}});
        write_plan(folder / "direct.plan", compile(parse_graph(text), test::on_isa(isa)), {"model.onnx", {}, 0, {}});
        EXPECT_EQ(folder.read("second.plan"), folder.read("direct.plan"))
            << to_string(made_for) << " to " << to_string(isa);
      }
    }
  }
}

TEST(Plan, RunsOnAnotherInstructionSetAndDevice) {
  const TemporaryFolder folder;
  const std::vector<Tensor> expected = test::reference(kModel, example());
  for (const Isa made_for : test::isas_of_this_machine()) {
    const auto path = write_model(folder, "a.plan", test::on_isa(made_for));
    for (const Isa isa : test::isas_of_this_machine()) {
      Session session(open_engine(path, test::on_isa(isa)), {1});
      test::expect_close(run(session, example()), expected);
    }
    Session reference(open_engine(path, test::on_device("reference")), {1});
    test::expect_close(run(reference, example()), expected);
  }
  const auto path = write_model(folder, "b.plan", test::on_device("reference"));
  Session session(open_engine(path, {}), {1});
  test::expect_close(run(session, example()), expected);
}

// A device that computes in f16 leaves the types of a graph as they are; one that does not has to widen them.
TEST(Plan, IsRewrittenForADeviceOfAnotherKind) {
  const std::string text = R"(graph half(%x: f16[n, 32]) {
    %w = constant {value = f16[32, 48] random(1)}
    %scale = constant {value = f16[48] random(2)}
    %h = matmul(%x, %w)
    %y = norm(%h, %scale, _) {kind = layer, axis = 1, num_x = 1}
    return %y as "y"
  })";
  const TemporaryFolder folder;
  write_plan(folder / "half.plan", compile(parse_graph(text), test::on_device("reference")), {});
  const auto engine = open_engine(folder / "half.plan", {});
  for (const ProgramStep& step : engine->impl().model.program.steps) EXPECT_FALSE(step.fallback) << step.kernel;
  Tensor x(DType::f16, {2, 32});
  for (int64_t i = 0; i < x.elements(); ++i) x.write_double(i, 0.25 * static_cast<double>(i % 9));
  Session session(engine, {1});
  test::expect_close(run(session, {x}), test::reference(text, {x}), 4e-3);
}

TEST(Plan, HalfPrecisionWeightsComeBackExactly) {
  const std::string text = R"(graph half(%x: f16[n, 32]) {
    %w = constant {value = f16[32, 48] random(1)}
    %y = matmul(%x, %w)
    return %y as "y", %w as "w"
  })";
  const TemporaryFolder folder;
  Tensor x(DType::f16, {2, 32});
  for (int64_t i = 0; i < x.elements(); ++i) x.write_double(i, 0.25 * static_cast<double>(i % 9));
  const std::vector<Tensor> expected = test::reference(text, {x});
  for (const Isa made_for : test::isas_of_this_machine()) {
    write_plan(folder / "half.plan", compile(parse_graph(text), test::on_isa(made_for)), {});
    for (const CompileOptions& options : {CompileOptions(), test::on_isa(Isa::generic), test::on_device("reference")}) {
      Session session(open_engine(folder / "half.plan", options), {1});
      test::expect_close(run(session, {x}), expected, 2e-3);
    }
  }
}

TEST(Plan, HalfPrecisionWeightsTakeTheRoomOfTheModel) {
  for (const std::string type : {"f16", "bf16"}) {
    const std::string text = "graph half(%x: " + type + "[n, 64, 12]) { %f = constant {value = " + type +
                             "[64, 64, 3] random(1)} %w = constant {value = " + type +
                             "[11, 200] random(2)} %c = conv(%x, %f) {strides = [1], dilations = [1], pads = [0, 1]} "
                             "%y = matmul(%c, %w) return %y as \"y\" }";
    const uint64_t model_bytes = (64 * 64 * 3 + 11 * 200) * 2;
    const TemporaryFolder folder;
    Tensor x(*dtype_from_string(type), {2, 64, 12});
    for (int64_t i = 0; i < x.elements(); ++i) x.write_double(i, 0.25 * static_cast<double>(i % 9) - 1);
    const std::vector<Tensor> expected = test::reference(text, {x});
    for (const Isa made_for : test::isas_of_this_machine()) {
      const PlanSize size = write_plan(folder / "half.plan", compile(parse_graph(text), test::on_isa(made_for)), {});
      EXPECT_LE(size.weight_bytes, model_bytes + model_bytes / 4) << "panels are padded a little";
      for (const CompileOptions& options : {CompileOptions(), test::on_isa(Isa::generic)}) {
        Session session(open_engine(folder / "half.plan", options), {1});
        test::expect_close(run(session, {x}), expected, type == "f16" ? 3e-3 : 3e-2);
      }
    }
  }
}

TEST(Plan, EqualInputGivesEqualBytes) {
  const TemporaryFolder folder;
  write_model(folder, "a.plan");
  write_model(folder, "b.plan");
  EXPECT_EQ(folder.read("a.plan"), folder.read("b.plan"));
  EXPECT_EQ(folder.file_count(), 2u) << "nothing temporary stays";
}

TEST(Plan, KeepsWhatItWasBuiltWith) {
  const TemporaryFolder folder;
  const Profile profile = {{"x", {{1, 8, 6, 6}, {4, 8, 6, 6}, {16, 8, 6, 6}}}};
  PlanWriteOptions options;
  options.model = "models/\xff.onnx";  // not UTF-8
  options.profiles = {profile};
  options.threads = 3;
  write_plan(folder / "a.plan", compile(parse_graph(kModel), {}), options);
  const Plan plan = Plan::open(folder / "a.plan");
  EXPECT_EQ(plan.info().profiles, options.profiles);
  EXPECT_EQ(plan.info().threads, 3);
  EXPECT_EQ(plan.info().device, "cpu");
  EXPECT_EQ(plan.info().target, to_string(detect_cpu_features().best_isa));
  EXPECT_EQ(plan.file_bytes(), std::filesystem::file_size(folder / "a.plan"));
  EXPECT_NO_THROW(plan.verify_weights());
}

TEST(Plan, CanBeReadFromMemory) {
  const TemporaryFolder folder;
  const auto file = MappedFile::open(write_model(folder, "a.plan"));
  Plan plan = Plan::open(file->bytes(), file);
  EXPECT_EQ(plan.take_graph()->outputs().size(), 4u);
}

// How much of the mapping of a file is in this process's memory, in kB, by /proc/self/smaps.
int64_t resident_kb(const std::filesystem::path& path) {
  std::ifstream maps("/proc/self/smaps");
  bool found = false;
  for (std::string line; std::getline(maps, line);) {
    found = found || line.ends_with(path.string());
    if (found && line.starts_with("Rss:")) return std::stoll(line.substr(4));
  }
  return -1;
}

// Opening maps the weights and reads none, so that plans of any size open at once.
TEST(Plan, OpeningReadsNoWeights) {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder / "large.plan";
  write_plan(path,
             compile(parse_graph("graph large(%x: i64[n]) { %t = constant {value = u8[16, 1048576] splat(1)} "
                                 "%a = gather(%t, %x) {axis = 0} return %a as \"a\" }"),
                     {}),
             {});
  const Plan plan = Plan::open(path);
  ASSERT_GE(plan.file_bytes(), 16u << 20);
  EXPECT_GT(resident_kb(path), 0);
  EXPECT_LT(resident_kb(path), 1024);
  plan.verify_weights();
  EXPECT_GT(resident_kb(path), 8 << 10);
}

constexpr const char* kSmall = R"(graph (%x: f32[n, 4]) {
  %w = constant {value = f32[4, 4] random(3)}
  %y = matmul(%x, %w)
  return %y as "y"
})";

TEST(Plan, CarriesCompiledCodeOfADevice) {
  const TemporaryFolder folder;
  test::IslandMemory memory;
  const std::vector<std::byte> code(5000, std::byte{7});
  const auto write = [&](const char* name, const std::vector<std::byte>& with) {
    write_plan(folder / name, test::compile_on_island(kSmall, memory, with), {"model.onnx", {}, 0, {}});
    return folder / name;
  };
  const Plan plan = Plan::open(write("a.plan", code));
  EXPECT_TRUE(std::equal(code.begin(), code.end(), plan.compiled_code().begin(), plan.compiled_code().end()));
  EXPECT_EQ(plan.info().target, "island");
  EXPECT_TRUE(Plan::open(write("b.plan", {})).compiled_code().empty());
}

TEST(Plan, MadeForAGpuRunsWithoutOne) {
  const TemporaryFolder folder;
  test::IslandMemory memory;
  write_plan(folder / "a.plan", test::compile_on_island(kSmall, memory, {std::byte{1}}), {"model.onnx", {}, 0, {}});
  Session session(open_engine(folder / "a.plan", {}), {1});
  const Tensor x = floats({3, 4});
  test::expect_close(run(session, {x}), test::reference(kSmall, {x}));
}

}  // namespace
}  // namespace lathe
