// The specialisations of kernels that lowering asks for, types by types and tiles by tiles, compile for every
// architecture, without a GPU, and wait for kernels before them. Takes many minutes: `make test-kernels` runs it, `make
// test` does not.
#include <gtest/gtest.h>

#include <iterator>
#include <set>
#include <sstream>

#include "backends/cuda/compiler/kernel_compiler.h"
#include "backends/cuda/lower/attention_tiling.h"
#include "backends/cuda/lower/paged_attention_tiling.h"
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

Defines words(const std::string& text) {
  std::istringstream stream(text);
  return {std::istream_iterator<std::string>(stream), {}};
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
    add_few_rows();
    add_groups();
    add_recurrence();
    add_attention();
    add_paged_attention();
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
    for (const char* file : {"dims.cu", "sort_rows.cu", "scan_counts.cu"}) add(file, {});
    add("nms.cu", {{"TYPE=float", "TYPE=f16", "TYPE=double"}});
    add("transpose_narrow.cu", {{"TYPE=u8"}, {"ROWS=3", "ROWS=7"}, {"VECTOR=16"}, {"INDEX=u32", "INDEX=u64"}});
    add("transpose_narrow.cu", {{"TYPE=u16"}, {"ROWS=3", "ROWS=7"}, {"VECTOR=8"}, {"INDEX=u32", "INDEX=u64"}});
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
      for (const char* table : {"f16", "float"})
        add("embedding.cu", with({{"ELEMENT=float"},
                                  {"WIDE=float"},
                                  layer,
                                  {"TABLES=2"},
                                  {"PICKED=0", "PICKED=1"},
                                  {"SCALE=float"},
                                  {"BIAS=float"},
                                  {"RANK=1"},
                                  {"ID0=i64"},
                                  {"ID1=i32"},
                                  {fmt::format("TABLE0={}", table)},
                                  {fmt::format("TABLE1={}", table)}}));
    }
    add("softmax_column.cu", {types, {"WIDE=float"}, {"LOG=0", "LOG=1"}, {"SAFE=0", "SAFE=1"}});
    add("quantize_tensor.cu",
        {{"X=float", "X=f16", "X=bf16"}, {"Q=i8", "Q=u8"}, {"VECTOR=1", "VECTOR=4"}, {"STORE=0", "STORE=1"}});
    add("rotary.cu", {types,
                      {"COS=float", "COS=f16"},
                      {"SIN=float"},
                      {"RANK=2", "RANK=4"},
                      {"VECTOR=1", "VECTOR=4"},
                      {"INTERLEAVED=0", "INTERLEAVED=1"}});
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
    for (const char* type : {"f16", "bf16", "float"})
      add("conv_depthwise.cu",
          {{fmt::format("X={}", type)},
           {fmt::format("W={}", type)},
           {"ACC=float"},
           {"INPUT_LAST=1"},
           {"OUTPUT_LAST=1"},
           {"VECTOR=1", "VECTOR=4"}},
          program("(x0) => x0", {DType::f32}));
    add("resize.cu", {{"MODE=0", "MODE=1", "MODE=2"},
                      {"COORDINATES=0", "COORDINATES=1", "COORDINATES=2", "COORDINATES=3", "COORDINATES=4"},
                      {"NEAREST=0", "NEAREST=1", "NEAREST=2", "NEAREST=3"},
                      {"ANTIALIAS=0"},
                      {"EXCLUDE_OUTSIDE=0"},
                      {"AXES=2"},
                      {"TYPE=float", "TYPE=f16"},
                      {"WIDE=float"},
                      {"INDEX=u32"},
                      {"VECTOR=1"}});
    add("pool.cu", {{"KIND=0", "KIND=1", "KIND=2"},
                    {"LP=2"},
                    {"TYPE=float", "TYPE=f16", "TYPE=bf16"},
                    {"WIDE=float"},
                    {"INDEX=u32", "INDEX=u64"},
                    {"VECTOR=1", "VECTOR=8"},
                    {"CHANNELS_LAST=0", "CHANNELS_LAST=1"}});
  }

  // As gemm_few.cc and gemm_row.cc cut them.
  void add_few_rows() {
    const std::string silu = program("(x0, x1) => mul(silu(x0), x1)", {DType::f16, DType::f16});
    struct Stored {
      std::string bits, lane;
      Defines numbers, cuts;
    };
    const Defines wide = {"SIGNED=0 GROUPED=0 ZEROS=0"},
                  rounded = {"SIGNED=0 GROUPED=1 ZEROS=1", "SIGNED=1 GROUPED=0 ZEROS=0", "SIGNED=1 GROUPED=1 ZEROS=0"};
    const Defines by_bytes = {"8 1 1 3 3", "16 1 1 2 2", "32 1 4 4 2", "64 1 8 3 2"},
                  by_nibbles = {"8 1 1 2 2", "8 2 1 1 2", "16 1 1 2 1", "32 1 4 2 2", "64 1 8 2 2"};
    for (const Stored& stored :
         {Stored{"16", "8", wide, {"8 1 1 6 2"}}, {"8", "16", rounded, by_bytes}, {"4", "32", rounded, by_nibbles}})
      for (const std::string& numbers : stored.numbers) {
        Defines fixed = words(numbers);
        fixed.insert(fixed.end(), {"TYPE=f16", "SCALE=f16", "WARPS=8", "BITS=" + stored.bits, "LANE=" + stored.lane});
        for (const std::string& cut : stored.cuts) {
          Defines defines = fixed;
          const Defines values = words(cut);
          for (size_t i = 0; const char* name : {"ROWS=", "TILES=", "SPREAD=", "DEPTH=", "BLOCKS="})
            defines.push_back(name + values[i++]);
          all_.push_back({{"matmul_few.cu", "kernel", defines, silu}});
        }
        fixed.insert(fixed.end(), {"STAGES=4", "NORM_CHUNKS=4", "GAMMA=float", "BETA=f16"});
        for (const char* pair : {"PAIR=0", "PAIR=1"})
          for (const char* norm : {"NORM=0", "NORM=1", "NORM=2"}) {
            Defines defines = fixed;
            defines.insert(defines.end(), {pair, norm});
            all_.push_back({{"matmul_row.cu", "kernel", defines, silu}});
          }
      }
    add("widen_nbits.cu", {{"TYPE=f16", "TYPE=bf16"},
                           {"SCALE=f16", "SCALE=float"},
                           {"BITS=2", "BITS=4", "BITS=8"},
                           {"SIGNED=0", "SIGNED=1"},
                           {"ZEROS=0", "ZEROS=1"}});
    for (const auto& [sum, type] : {std::pair{"float", DType::f32}, {"i32", DType::i32}})
      add("matmul_finish.cu", {{fmt::format("SUM={}", sum)}}, program("(x0) => cast<f16>(x0)", {type}));
  }

  void add_groups() {
    const Defines types = {"TYPE=float", "TYPE=f16", "TYPE=bf16"}, halves = {"TYPE=f16", "TYPE=bf16"};
    const std::vector<Defines> wide = {{"NARROW=0"}, {"WEIGHT=f16", "WEIGHT=bf16"}},
                               rounded = {{"NARROW=1"},  {"BITS=2", "BITS=4", "BITS=8"},    {"SIGNED=0"},
                                          {"SCALE=f16"}, {"ZEROS=0", "ZEROS=1", "ZEROS=2"}, {"ORDER=0", "ORDER=1"}};
    for (const std::vector<Defines>& weights : {wide, rounded}) {
      std::vector<Defines> tiles = {halves, {"EACH=8"}}, rows = {types, {"EACH=1", "EACH=8"}, {"ROWS=1", "ROWS=8"}};
      tiles.insert(tiles.end(), weights.begin(), weights.end());
      rows.insert(rows.end(), weights.begin(), weights.end());
      add("grouped_tiles.cu", tiles);
      add("grouped_rows.cu", rows);
    }
  }

  void add_recurrence() {
    for (const auto& [type, sum] :
         {std::pair{"float", "float"}, {"f16", "float"}, {"bf16", "float"}, {"double", "double"}}) {
      const Defines types = {fmt::format("TYPE={}", type)}, sums = {fmt::format("ACC={}", sum)};
      add("rnn_step.cu", {types, sums, {"CELL=rnn", "CELL=gru", "CELL=lstm"}});
      add("rnn_project.cu", {types, sums, {"LOAD=0"}});
      add("rnn_state.cu", {types, sums, {"LOAD=0", "LOAD=1"}});
    }
  }

  // With what each architecture has of shared memory, in all tiles that lowering may choose there.
  void add_attention() {
    const std::string scores[] = {"", program("(x0, x1) => add(x0, cast<f32>(x1))", {DType::f32, DType::i64}),
                                  program("(x0, x1) => cast<f32>(x1)", {DType::f32, DType::i64})};
    for (const auto& [arch, major, shared] :
         {std::tuple{"sm_80", 8, 163}, {"sm_86", 8, 99}, {"sm_89", 8, 99}, {"sm_90a", 9, 227}}) {
      DeviceInfo device;
      device.major = major;
      device.shared_bytes = static_cast<size_t>(shared) * 1024;
      for (const int64_t head : {40, 64, 128, 256})
        for (const auto& [name, type] : {std::pair{"f16", DType::f16}, {"bf16", DType::bf16}, {"float", DType::f32}})
          for (int score = 0; score < 3; ++score) {
            lathe::Attention op;
            op.head_dim = op.value_dim = head;
            const char* const file = type == DType::f32 ? "attention_f32.cu" : "attention.cu";
            for (const Tiling& tiling :
                 attention_tilings(op, type, static_cast<ScoreKind>(score), /*packed=*/true, device)) {
              // A score may see what comes later, or stand beside the causal rule: half of the kernels each.
              const Defines defines =
                  attention_defines(tiling, name, head, score, score == 1 ? "CAUSAL=1" : "CAUSAL=0");
              all_.push_back(
                  {{tiling.hopper() ? "attention_sm90.cu" : file, "kernel", defines, scores[score]}, {arch}});
              if (head == 64) all_.push_back({{"attention_combine.cu", "kernel", defines, scores[score]}, {arch}});
            }
          }
    }
  }

  static Defines attention_defines(const Tiling& tiling, const char* type, int64_t head, int score,
                                   const char* causal) {
    Defines defines = tiling.defines();
    defines.insert(
        defines.end(),
        {fmt::format("ELEMENT={}", type), fmt::format("HEAD_DIM={}", head), fmt::format("VALUE_DIM={}", head),
         fmt::format("SCORE={}", score), fmt::format("VECTOR={}", type == std::string("float") ? 4 : 8), causal,
         "PACKED=0", "SPLIT=0", "GROUP=1", "KV_HEADS=8", "K_TRANSPOSED=0", "V_TRANSPOSED=0", "EXTRA_AXES=0x9ull"});
    return defines;
  }

  void add_paged_attention() {
    for (const int64_t head : {64, 80, 128, 256})
      for (const bool general : {false, true})
        for (const auto& [type, cache] : {std::pair{DType::f16, DType::f16},
                                          {DType::bf16, DType::bf16},
                                          {DType::f16, DType::i8},
                                          {DType::bf16, DType::f8e4m3},
                                          {DType::f32, DType::f32},
                                          {DType::f32, DType::f16},
                                          {DType::f32, DType::i8}}) {
          PagedAttention op;
          op.heads = 24;
          op.kv_heads = general ? 8 : 24;
          op.head_dim = op.value_dim = head;
          op.block_size = 16;
          if (general) op.window = 1000, op.softcap = 30;
          const Defines all = paged_defines(op, {type, cache, general, general, 0, false, false, false});
          const auto with = [&](const std::string& file, const Defines& more) {
            Defines defines = all;
            defines.insert(defines.end(), more.begin(), more.end());
            defines.push_back(type == DType::f32 ? "VECTOR=4" : "VECTOR=8");
            all_.push_back({{file, "kernel", std::move(defines), {}}});
          };
          with("paged_store.cu", {"THREADS=256", "ROTARY=0"});
          if (type == DType::f32) {
            with("paged_attention_f32.cu", {"THREADS=128"});
            continue;
          }
          with("paged_attention.cu", paged_decode_tiling(op).defines());
          with("paged_attention.cu", paged_chunk_tiling(op).defines());
        }
  }

  std::vector<Specialisation> all_;
};

// Or a kernel that is new goes without that.
TEST(KernelMatrix, HasEveryKernel) {
  std::set<std::string, std::less<>> files;
  for (const Specialisation& kernel : Matrix().take()) files.insert(kernel.spec.file);
  for (const KernelSource& source : kernel_sources())
    EXPECT_TRUE(!source.name.ends_with(".cu") || files.contains(source.name)) << source.name;
}

class KernelMatrixCompile : public testing::TestWithParam<Specialisation> {};

TEST_P(KernelMatrixCompile, Compiles) {
  for (const std::string& arch : GetParam().archs) {
    SCOPED_TRACE(arch);
    const CompiledKernel compiled = KernelCompiler(arch).compile(GetParam().spec);
    EXPECT_FALSE(compiled.cubin.empty());
    EXPECT_EQ(compiled.waits, arch == "sm_90a");
  }
}

INSTANTIATE_TEST_SUITE_P(All, KernelMatrixCompile, testing::ValuesIn(Matrix().take()),
                         [](const auto& test) { return fmt::format("{}_{}", test.index, name_of(test.param.spec)); });

}  // namespace
}  // namespace lathe::cuda
