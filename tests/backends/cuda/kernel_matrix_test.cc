// The specialisations of kernels that lowering asks for, types by types and tiles by tiles, compile for every
// architecture, without a GPU, and wait for kernels before them. Attention and recurrent layers are left to
// kernel_compile_test. Takes many minutes: `make test-kernels` runs it, `make test` does not.
#include <gtest/gtest.h>

#include "backends/cuda/compiler/kernel_compiler.h"
#include "backends/cuda/program_code.h"

namespace lathe::cuda {
namespace {

struct Specialisation {
  KernelSpec spec;
  std::vector<std::string> archs = {"sm_80", "sm_86", "sm_89", "sm_90a"};
};

std::string name_of(const KernelSpec& spec) {
  std::string name = spec.file;
  for (const std::string& define : spec.defines) name += "_" + define;
  for (char& c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  return name;
}

void PrintTo(const Specialisation& kernel, std::ostream* out) { *out << name_of(kernel.spec); }

using Defines = std::vector<std::string>;

// All ways to take one of each axis.
std::vector<Defines> product_of(const std::vector<Defines>& axes) {
  std::vector<Defines> all = {{}};
  for (const Defines& axis : axes) {
    std::vector<Defines> longer;
    for (const Defines& before : all)
      for (const std::string& define : axis) {
        longer.push_back(before);
        if (!define.empty()) longer.back().push_back(define);
      }
    all = std::move(longer);
  }
  return all;
}

std::string program(const std::string& text, const std::vector<DType>& types) {
  return program_code(MapProgram::parse(text, types), types);
}

class Matrix {
 public:
  Matrix() {
    add_movement();
    add_reductions();
    add_rows();
    add_maps();
    add_products();
    add_hopper_products();
    add_sliding();
  }
  std::vector<Specialisation> take() { return std::move(all_); }

 private:
  void add(const std::string& file, const std::vector<Defines>& axes, const std::string& text = {},
           const std::vector<std::string>& archs = {"sm_80", "sm_86", "sm_89", "sm_90a"}) {
    for (Defines& defines : product_of(axes)) all_.push_back({{file, "kernel", std::move(defines), text}, archs});
  }

  void add_movement() {
    for (const char* file :
         {"copy.cu", "concat.cu", "pad.cu", "gather.cu", "gather_elements.cu", "gather_nd.cu", "reverse_sequence.cu"})
      add(file, {{"INDEX=u32", "INDEX=u64"}});
    for (const char* file : {"scatter_elements.cu", "scatter_nd.cu"})
      add(file, {{"REDUCTION=0", "REDUCTION=1", "REDUCTION=2", "REDUCTION=3", "REDUCTION=4"},
                 {"TYPE=float", "TYPE=f16", "TYPE=bf16", "TYPE=double", "TYPE=i64", "TYPE=i32", "TYPE=u8"},
                 {"INDEX=u32", "INDEX=u64"}});
    add("transpose.cu",
        {{"ELEMENT=1", "ELEMENT=2", "ELEMENT=4", "ELEMENT=8", "ELEMENT=16"}, {"PACK=1"}, {"INDEX=u64"}});
    add("top_k.cu", {{"TYPE=float", "TYPE=f16", "TYPE=bf16", "TYPE=double", "TYPE=i64", "TYPE=i32", "TYPE=u8"}});
    add("pack_tokens.cu", {{"TYPE=float", "TYPE=i64", "TYPE=i32", "TYPE=i8", "TYPE=u8", "TYPE=bool"}});
    add("non_zero.cu", {{"TYPE=float", "TYPE=f16", "TYPE=bf16", "TYPE=i64", "TYPE=bool"}, {"INDEX=u32", "INDEX=u64"}});
  }

  void add_reductions() {
    Defines kinds;
    for (int kind = 0; kind < 10; ++kind) kinds.push_back(fmt::format("KIND={}", kind));
    for (const char* file : {"reduce_row.cu", "reduce_column.cu", "reduce_general.cu", "reduce_finish.cu"})
      for (const auto& [element, wide] :
           {std::pair{"float", "float"}, {"f16", "float"}, {"bf16", "float"}, {"double", "double"}})
        add(file, {kinds,
                   {fmt::format("ELEMENT={}", element)},
                   {fmt::format("OUT={}", element)},
                   {fmt::format("WIDE={}", wide)},
                   {"INTEGER=0"},
                   {"VECTOR=1", "VECTOR=4"},
                   {"GROUP=256"},
                   {"SPLIT=0"}});
    add("scan.cu", {{"ELEMENT=float", "ELEMENT=f16"},
                    {"WIDE=float"},
                    {"PRODUCT=0", "PRODUCT=1"},
                    {"EXCLUSIVE=0", "EXCLUSIVE=1"},
                    {"REVERSE=0", "REVERSE=1"},
                    {"INNER=0", "INNER=1"}});
  }

  void add_rows() {
    const Defines layer = {"LAYER=0", "LAYER=1"}, types = {"ELEMENT=float", "ELEMENT=f16", "ELEMENT=bf16"};
    const std::string sum = program("(x0, x1) => add(x0, x1)", {DType::f16, DType::f16});
    // Widths from a part of a warp to rows that are read again, as RowPlan cuts them.
    for (const Defines& plan : std::vector<Defines>{{"GROUP=4", "CHUNKS=1"},
                                                    {"GROUP=16", "CHUNKS=2"},
                                                    {"GROUP=32", "CHUNKS=4"},
                                                    {"GROUP=128", "CHUNKS=1"},
                                                    {"GROUP=512", "CHUNKS=2"},
                                                    {"GROUP=512", "CHUNKS=0"}}) {
      const std::vector<Defines> cut = {{plan[0]}, {plan[1]}, {"VECTOR=1", "VECTOR=8"}};
      const auto with = [&](std::vector<Defines> axes) {
        axes.insert(axes.end(), cut.begin(), cut.end());
        return axes;
      };
      add("softmax.cu", with({types, {"WIDE=float"}, {"LOG=0", "LOG=1"}, {"SAFE=0", "SAFE=1"}}));
      add("norm.cu", with({layer, {"WIDE=float"}, {"XS=2"}, {"SCALE=f16"}, {"BIAS=f16"}, {"RANK=2"}, {"INNER=1"}}),
          sum);
      add("group_norm.cu", with({types, {"WIDE=float"}, {"LAYER=1"}, {"SCALE=float"}, {"BIAS=float"}}));
      add("quantize_rows.cu", with({{"X=float", "X=f16", "X=bf16"}, {"Q=i8", "Q=u8"}}));
      add("quantize_rows.cu", with({{"X=float", "X=f16", "X=bf16"}, {"Q=e4m3"}}), {}, {"sm_89", "sm_90a"});
    }
  }

  void add_maps() {
    for (const DType type : {DType::f32, DType::f16, DType::bf16})
      add("map.cu",
          {{"RANK=1", "RANK=2", "RANK=3", "RANK=4", "RANK=6"}, {"VECTOR=1", "VECTOR=8"}, {"INDEX=u32", "INDEX=u64"}},
          program("(x0, x1) => gelu_erf(add(x0, x1))", {type, type}));
  }

  void add_products() {
    const auto epilogue = [](DType type) {
      return program("(x0, x1, x2) => add(gelu_erf(add(x0, x1)), x2)", {type, type, type});
    };
    for (const auto& [name, type] : {std::pair{"f16", DType::f16}, {"bf16", DType::bf16}}) {
      add("matmul_mma.cu",
          {{fmt::format("A={}", name)},
           {fmt::format("B={}", name)},
           {"SUM=float"},
           {"STAGES=4"},
           {"TRANS_B=0", "TRANS_B=1"}},
          epilogue(type));
      add("matmul_skinny.cu", {{fmt::format("TYPE={}", name)}, {"ROWS=1", "ROWS=8"}, {"TRANS_B=0", "TRANS_B=1"}},
          epilogue(type));
    }
    add("matmul_mma.cu", {{"A=i8", "A=u8"}, {"B=i8", "B=u8"}, {"SUM=i32"}, {"STAGES=4"}, {"TRANS_B=1"}},
        program("(x0) => x0", {DType::i32}));
    for (const auto& [name, acc, type] : {std::tuple{"float", "float", DType::f32},
                                          {"double", "double", DType::f64},
                                          {"i8", "i32", DType::i32},
                                          {"i64", "i64", DType::i64}})
      add("matmul_tile.cu",
          {{fmt::format("A={}", name)},
           {fmt::format("B={}", name)},
           {fmt::format("ACC={}", acc)},
           {"BM=64"},
           {"BN=64"},
           {"TM=4"},
           {"TN=4"},
           {"TRANS_A=0", "TRANS_A=1"},
           {"TRANS_B=0", "TRANS_B=1"}},
          program("(x0) => x0", {type}));
  }

  void add_hopper_products() {
    for (const auto& [tile, rows] :
         std::vector<std::pair<Defines, std::string>>{{{"BM=128", "BN=256", "STAGES=4"}, "ROWS=64"},
                                                      {{"BM=256", "BN=128", "STAGES=4"}, "ROWS=128"},
                                                      {{"BM=128", "BN=128", "STAGES=6"}, "ROWS=64"}})
      for (const auto& [name, type] : {std::pair{"f16", DType::f16}, {"bf16", DType::bf16}})
        add("matmul_sm90.cu",
            {{tile[0]},
             {tile[1]},
             {tile[2]},
             {rows},
             {fmt::format("A={}", name)},
             {fmt::format("B={}", name)},
             {"SUM=float"},
             {"RIGHT=0", "RIGHT=1"},
             {"ROW_EXTRAS=0"},
             {"COLUMN_EXTRAS=1"}},
            program("(x0, x1) => gelu_erf(add(x0, x1))", {type, type}), {"sm_90a"});
    for (const Defines& tile : std::vector<Defines>{
             {"BM=64", "BN=64", "STAGES=12"}, {"BM=64", "BN=64", "STAGES=6"}, {"BM=64", "BN=128", "STAGES=8"}})
      for (const auto& [name, sum, type] : {std::tuple{"f16", "float", DType::f16},
                                            {"bf16", "float", DType::bf16},
                                            {"e4m3", "float", DType::f32},
                                            {"i8", "i32", DType::i32}})
        add("matmul_sm90_split.cu",
            {{tile[0]},
             {tile[1]},
             {tile[2]},
             {"ROWS=64"},
             {fmt::format("A={}", name)},
             {fmt::format("B={}", name)},
             {fmt::format("SUM={}", sum)},
             {"RIGHT=0"}},
            program("(x0) => cast<f16>(x0)", {type}), {"sm_90a"});
  }

  void add_sliding() {
    for (const auto& [name, acc, type] : {std::tuple{"float", "float", DType::f32},
                                          {"f16", "float", DType::f16},
                                          {"bf16", "float", DType::bf16},
                                          {"i8", "i32", DType::i32}})
      add("conv.cu",
          {{fmt::format("X={}", name)},
           {fmt::format("W={}", name)},
           {fmt::format("ACC={}", acc)},
           {"INPUT_LAST=0", "INPUT_LAST=1"},
           {"OUTPUT_LAST=0", "OUTPUT_LAST=1"},
           {"TRANSPOSED=0", "TRANSPOSED=1"}},
          program("(x0) => x0", {type}));
    add("pool.cu", {{"KIND=0", "KIND=1", "KIND=2"},
                    {"LP=2"},
                    {"TYPE=float", "TYPE=f16", "TYPE=bf16"},
                    {"WIDE=float"},
                    {"INDEX=u32", "INDEX=u64"},
                    {"VECTOR=1", "VECTOR=8"},
                    {"CHANNELS_LAST=0", "CHANNELS_LAST=1"}});
  }

  std::vector<Specialisation> all_;
};

class KernelMatrix : public testing::TestWithParam<Specialisation> {};

TEST_P(KernelMatrix, Compiles) {
  for (const std::string& arch : GetParam().archs) {
    SCOPED_TRACE(arch);
    const CompiledKernel compiled = KernelCompiler(arch).compile(GetParam().spec);
    EXPECT_FALSE(compiled.cubin.empty());
    EXPECT_EQ(compiled.waits, arch == "sm_90a");
  }
}

INSTANTIATE_TEST_SUITE_P(All, KernelMatrix, testing::ValuesIn(Matrix().take()),
                         [](const auto& test) { return fmt::format("{}_{}", test.index, name_of(test.param.spec)); });

}  // namespace
}  // namespace lathe::cuda
