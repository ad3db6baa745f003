// How much memory writing a plan takes, in a process of its own: the weights once, as mapped pages, and little more.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>

#include "base/error.h"
#include "base/mapped_file.h"
#include "build/plan_writer.h"
#include "runtime/engine.h"
#include "tests/base/temporary_folder.h"

namespace lathe {
namespace {

constexpr int64_t kLayers = 25, kRows = 1024, kColumns = 2048;  // 8 MiB each
constexpr size_t kLayerBytes = static_cast<size_t>(kRows * kColumns) * sizeof(float);
constexpr size_t kWeightBytes = kLayers * kLayerBytes;
constexpr size_t kAllowed = kWeightBytes + kWeightBytes / 2 + (size_t{100} << 20);

void write_weights(const std::filesystem::path& path) {
  std::ofstream file(path, std::ios::binary);
  std::vector<float> layer(kLayerBytes / sizeof(float));
  for (int64_t l = 0; l < kLayers; ++l) {
    for (size_t i = 0; i < layer.size(); ++i) layer[i] = static_cast<float>(i % 1021) * 0.001f + static_cast<float>(l);
    file.write(reinterpret_cast<const char*>(layer.data()), static_cast<std::streamsize>(kLayerBytes));
  }
}

// A product with each of the weights, which stay views of the mapped file as those of a model do.
std::unique_ptr<Graph> make_model(const std::filesystem::path& weights) {
  const std::shared_ptr<const MappedFile> file = MappedFile::open(weights);
  auto graph = std::make_unique<Graph>();
  Value* x = graph->add_input("x", Type::tensor(DType::f32, {Dim(4), Dim(kRows)}));
  for (int64_t l = 0; l < kLayers; ++l) {
    const auto bytes = file->bytes().subspan(static_cast<size_t>(l) * kLayerBytes, kLayerBytes);
    Value* weight = graph->emit(Constant{Tensor::view(DType::f32, {kRows, kColumns}, bytes, file)}, {});
    graph->add_output(graph->emit(MatMul{}, {x, weight}), fmt::format("y{}", l));
  }
  return graph;
}

// The most memory that a process has had which does nothing but `work`.
size_t peak_memory_of(const std::function<void()>& work) {
  const pid_t child = fork();
  if (child == 0) {
    try {
      work();
    } catch (...) {
      _exit(1);
    }
    _exit(0);
  }
  int status = 0;
  rusage usage = {};
  EXPECT_EQ(wait4(child, &status, 0, &usage), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  return static_cast<size_t>(usage.ru_maxrss) * 1024;
}

TEST(PlanMemory, WritingTakesLittleMoreThanTheWeights) {
  const TemporaryFolder folder;
  write_weights(folder / "weights");
  EXPECT_LT(peak_memory_of([&] { write_plan(folder / "a.plan", compile(make_model(folder / "weights"), {}), {}); }),
            kAllowed);
  EXPECT_GE(std::filesystem::file_size(folder / "a.plan"), kWeightBytes);

  CompileOptions older;
  older.isa = Isa::generic;  // other layouts: each weight is unpacked and packed again
  const auto rewrite = [&] {
    const auto plan = std::make_shared<Plan>(Plan::open(folder / "a.plan"));
    write_plan(folder / "b.plan", lower_plan(plan, older), {});
  };
  EXPECT_LT(peak_memory_of(rewrite), kAllowed);
  EXPECT_GE(std::filesystem::file_size(folder / "b.plan"), kWeightBytes);
}

}  // namespace
}  // namespace lathe
