// Every kernel source compiles through NVRTC, without a GPU, for each architecture that it is valid for, and stays
// within bounds on registers, spills and shared memory: representatives of each family.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include "backends/cuda/compiler/kernel_compiler.h"
#include "backends/cuda/lower/attention_tiling.h"
#include "backends/cuda/lower/paged_attention_tiling.h"
#include "backends/cuda/program_code.h"

namespace lathe::cuda {
namespace {

struct Representative {
  std::string name;
  KernelSpec spec;
  int max_registers = 255;
  std::vector<std::string> archs = {"sm_80", "sm_86", "sm_89", "sm_90a"};
  int max_spill_bytes = 0;
  int max_shared_bytes = 2048;  // of the kernel's own; what a launch asks for is not the compiler's affair
};

void PrintTo(const Representative& kernel, std::ostream* out) { *out << kernel.name; }

std::string program(const std::string& text, const std::vector<DType>& types) {
  return program_code(MapProgram::parse(text, types), types);
}

void add_movement(std::vector<Representative>& all) {
  for (const char* name : {"copy", "concat", "pad", "gather", "gather_elements", "gather_nd", "reverse_sequence"})
    all.push_back({name, {std::string(name) + ".cu", name, {"INDEX=u32"}, {}}, 64});
  all.push_back({"copy_large", {"copy.cu", "copy", {"INDEX=u64"}, {}}, 64});
  all.push_back({"pad_large", {"pad.cu", "pad", {"INDEX=u64"}, {}}, 64});
  all.push_back({"dims", {"dims.cu", "dims", {}, {}}, 16});
  for (const char* name : {"scatter_elements", "scatter_nd"}) {
    const auto scatter = [&](const std::string& variant, std::vector<std::string> defines) {
      defines.push_back("INDEX=u32");
      all.push_back({name + variant, {std::string(name) + ".cu", name, std::move(defines), {}}, 64});
    };
    scatter("_none", {"REDUCTION=0"});
    scatter("_add_f16", {"REDUCTION=1", "TYPE=f16"});
    scatter("_mul_i64", {"REDUCTION=2", "TYPE=i64"});
    scatter("_max_f32", {"REDUCTION=3", "TYPE=float"});
    scatter("_min_bool", {"REDUCTION=4", "TYPE=bool"});
  }
  for (const char* defines : {"TYPE=u16 ROWS=3 VECTOR=8", "TYPE=u8 ROWS=7 VECTOR=16"}) {
    std::istringstream words(defines);
    const std::vector<std::string> all_defines{std::istream_iterator<std::string>(words), {}};
    all.push_back(
        {fmt::format("transpose_narrow_{}", all_defines[0].substr(5)),
         {"transpose_narrow.cu", "transpose_narrow", {all_defines[0], all_defines[1], all_defines[2], "INDEX=u32"}, {}},
         96});
  }
  for (const int bytes : {1, 2, 4, 8, 16}) {
    const int pack = std::max(4 / bytes, 1);
    all.push_back({fmt::format("transpose_{}x{}", bytes, pack),
                   {"transpose.cu",
                    "transpose",
                    {fmt::format("ELEMENT={}", bytes), fmt::format("PACK={}", pack), "INDEX=u32"},
                    {}},
                   64});
  }
}

void add_rows(std::vector<Representative>& all) {
  const std::vector<std::string> warp = {"GROUP=32", "CHUNKS=4", "VECTOR=8"},
                                 loop = {"GROUP=512", "CHUNKS=0", "VECTOR=1"};
  const auto add = [&](std::string name, std::string file, std::vector<std::string> defines,
                       const std::vector<std::string>& plan, std::string program = {}) {
    defines.insert(defines.end(), plan.begin(), plan.end());
    all.push_back({std::move(name), {std::move(file), "rows", std::move(defines), std::move(program)}, 64});
  };
  const std::vector<std::string> softmax = {"ELEMENT=f16", "WIDE=float", "LOG=0", "SAFE=1"};
  add("softmax", "softmax.cu", softmax, warp);
  add("softmax_loop", "softmax.cu", {"ELEMENT=float", "WIDE=float", "LOG=1", "SAFE=0"}, loop);
  add("softmax_column", "softmax_column.cu", softmax, {});
  const std::string sum = program("(x0, x1) => add(x0, x1)", {DType::f16, DType::f16});
  const std::vector<std::string> norm = {"WIDE=float", "LAYER=1", "XS=2", "SCALE=f16", "BIAS=f16"};
  std::vector<std::string> one_axis = norm, two_axes = norm;
  one_axis.insert(one_axis.end(), {"RANK=2", "INNER=1"});
  two_axes.insert(two_axes.end(), {"RANK=4", "INNER=2"});
  add("norm", "norm.cu", one_axis, warp, sum);
  add("norm_block", "norm.cu", one_axis, {"GROUP=1024", "CHUNKS=2", "VECTOR=8"}, sum);
  add("norm_general", "norm.cu", two_axes, loop, sum);
  for (const char* q : {"i8", "e4m3"}) {
    one_axis.push_back(std::string("Q=") + q);
    add(std::string("norm_") + q, "norm.cu", one_axis, warp, sum);
    add(std::string("norm_loop_") + q, "norm.cu", one_axis, {"GROUP=512", "CHUNKS=0", "VECTOR=8"}, sum);
    one_axis.pop_back();
  }
  add("embedding", "embedding.cu",
      {"ELEMENT=bf16", "WIDE=float", "LAYER=1", "TABLES=3", "PICKED=1", "SCALE=bf16", "BIAS=float", "RANK=2", "ID0=i64",
       "ID1=i32", "ID2=i64", "TABLE0=bf16", "TABLE1=bf16", "TABLE2=bf16"},
      warp);
  add("embedding_of_narrow_tables", "embedding.cu",
      {"ELEMENT=float", "WIDE=float", "LAYER=0", "TABLES=2", "PICKED=0", "SCALE=float", "BIAS=float", "RANK=1",
       "ID0=i32", "ID1=i64", "TABLE0=f16", "TABLE1=float"},
      loop);
  for (const char* q : {"i8", "u8", "e4m3"})
    add(std::string("quantize_rows_") + q, "quantize_rows.cu", {"X=float", std::string("Q=") + q}, warp);
  for (const char* store : {"0", "1"})
    add(std::string("quantize_tensor_") + store, "quantize_tensor.cu",
        {"X=float", "Q=u8", "VECTOR=4", std::string("STORE=") + store}, {});
  add("group_norm", "group_norm.cu", {"ELEMENT=f16", "WIDE=float", "LAYER=1", "SCALE=f16", "BIAS=f16"},
      {"GROUP=1024", "CHUNKS=2", "VECTOR=8"});
}

void add_sliding(std::vector<Representative>& all) {
  const std::string epilogue = program("(x0, x1) => silu(add(x0, x1))", {DType::f16, DType::f16});
  const std::vector<std::string> halves = {"X=f16", "W=f16", "ACC=float", "INPUT_LAST=1", "OUTPUT_LAST=1"};
  for (const int transposed : {0, 1}) {
    std::vector<std::string> defines = halves;
    defines.push_back(fmt::format("TRANSPOSED={}", transposed));
    all.push_back({fmt::format("conv_{}", transposed), {"conv.cu", "conv", defines, epilogue}, 96});
  }
  all.push_back({"conv_i8",
                 {"conv.cu",
                  "conv",
                  {"X=u8", "W=i8", "ACC=i32", "INPUT_LAST=0", "OUTPUT_LAST=0", "TRANSPOSED=0"},
                  program("(x0) => x0", {DType::i32})},
                 96});
  std::vector<std::string> depthwise = halves;
  depthwise.push_back("VECTOR=8");
  all.push_back({"conv_depthwise", {"conv_depthwise.cu", "conv_depthwise", depthwise, epilogue}, 64});
  for (const int kind : {0, 1, 2})
    all.push_back(
        {fmt::format("pool_{}", kind),
         {"pool.cu",
          "pool",
          {fmt::format("KIND={}", kind), "LP=3", "TYPE=f16", "WIDE=float", "INDEX=u32", "VECTOR=8", "CHANNELS_LAST=1"},
          {}},
         96});
  all.push_back(
      {"pool_i8",
       {"pool.cu", "pool", {"KIND=0", "LP=2", "TYPE=i8", "WIDE=float", "INDEX=u64", "VECTOR=1", "CHANNELS_LAST=0"}, {}},
       64});
  for (const int mode : {0, 1, 2})
    for (const int coordinates : {0, 5})
      all.push_back({fmt::format("resize_{}_{}", mode, coordinates),
                     {"resize.cu",
                      "resize",
                      {fmt::format("MODE={}", mode), fmt::format("COORDINATES={}", coordinates), "NEAREST=0",
                       fmt::format("ANTIALIAS={}", coordinates == 0 ? 0 : 1), "EXCLUDE_OUTSIDE=0", "AXES=2", "TYPE=f16",
                       "WIDE=float", "INDEX=u32", "VECTOR=8"},
                      {}},
                     64});
}

// Bias, activation and residual.
std::string epilogue(DType type) {
  return program("(x0, x1, x2) => add(gelu_erf(add(x0, x1)), x2)", {type, type, type});
}

void add_hopper_products(std::vector<Representative>& all) {
  const auto hopper = [&](std::string name, std::string entry, std::vector<std::string> defines, DType type) {
    defines.push_back(fmt::format("A={}", cuda_type(type)));
    defines.push_back(fmt::format("B={}", cuda_type(type)));
    defines.push_back("SUM=float");
    all.push_back({std::move(name), {entry + ".cu", entry, std::move(defines), epilogue(type)}, 168, {"sm_90a"}});
  };
  const std::string bias = program("(x0, x1) => gelu_erf(add(x0, x1))", {DType::f16, DType::f16});
  for (const std::vector<std::string>& tile :
       std::vector<std::vector<std::string>>{{"BM=128", "BN=256", "ROWS=64", "STAGES=4", "RIGHT=1"},
                                             {"BM=128", "BN=192", "ROWS=64", "STAGES=4", "RIGHT=0"},
                                             {"BM=256", "BN=128", "ROWS=128", "STAGES=4", "RIGHT=0"}}) {
    std::vector<std::string> defines = tile;
    defines.insert(defines.end(), {"ROW_EXTRAS=0", "COLUMN_EXTRAS=1"});
    hopper(fmt::format("matmul_sm90_{}x{}", tile[0].substr(3), tile[1].substr(3)), "matmul_sm90", std::move(defines),
           DType::f16);
    all.back().spec.program = bias;
  }
  hopper("matmul_sm90_residual", "matmul_sm90",
         {"BM=128", "BN=128", "ROWS=64", "STAGES=6", "RIGHT=1", "ROW_EXTRAS=2", "COLUMN_EXTRAS=3"}, DType::f16);
  const auto hopper_bytes = [&](const std::string& a, const std::string& b, const std::string& sum, DType product) {
    all.push_back({"matmul_sm90_" + a + "_" + b,
                   {"matmul_sm90.cu",
                    "matmul_sm90",
                    {"A=" + a, "B=" + b, "SUM=" + sum, "BM=128", "BN=128", "ROWS=64", "STAGES=6", "RIGHT=0",
                     "ROW_EXTRAS=1", "COLUMN_EXTRAS=2"},
                    program("(x0, x1, x2) => cast_sat<i8>(round(mul(mul(cast<f32>(x0), x1), x2)))",
                            {product, DType::f32, DType::f32})},
                   168,
                   {"sm_90a"}});
  };
  // From product to product: scales of rows and columns, bias, GELU, and the byte that the next one reads, in the
  // largest tiles.
  const std::string gelu = "cast<f32>(cast<f16>(gelu_erf(add(mul(mul(cast<f32>(x0), x1), x2), cast<f32>(x3)))))";
  const auto handed_on = [&](const std::string& a, const std::string& sum, DType product, const std::string& bytes) {
    all.push_back({"matmul_sm90_" + a + "_handed_on",
                   {"matmul_sm90.cu",
                    "matmul_sm90",
                    {"A=" + a, "B=" + a, "SUM=" + sum, "BM=128", "BN=256", "ROWS=64", "STAGES=4", "RIGHT=0",
                     "ROW_EXTRAS=1", "COLUMN_EXTRAS=6"},
                    program(bytes, {product, DType::f32, DType::f32, DType::f16, DType::f32, DType::f32})},
                   168,
                   {"sm_90a"}});
  };
  const std::string head = "(x0, x1, x2, x3, x4, x5) => ";
  handed_on("i8", "i32", DType::i32, head + "cast_sat<u8>(round(add(mul(" + gelu + ", x4), x5)))");
  handed_on("e4m3", "float", DType::f32, head + "cast_sat<f8e4m3>(add(mul(" + gelu + ", x4), x5))");
  hopper_bytes("u8", "i8", "i32", DType::i32);
  hopper_bytes("e4m3", "e4m3", "float", DType::f32);
  hopper("matmul_sm90_split", "matmul_sm90_split", {"BM=64", "BN=128", "ROWS=64", "STAGES=6", "RIGHT=1"}, DType::bf16);
}

// As gemm_row.cc cuts them.
void add_one_row(std::vector<Representative>& all) {
  const std::string silu = program("(x0, x1) => mul(silu(x0), x1)", {DType::f16, DType::f16});
  const auto row = [&](const std::string& name, const std::string& words, int registers) {
    std::istringstream text("TYPE=f16 WARPS=8 SCALE=f16 NORM_CHUNKS=4 GAMMA=float BETA=f16 " + words);
    all.push_back({"matmul_row_" + name,
                   {"matmul_row.cu", "matmul_row", {std::istream_iterator<std::string>(text), {}}, silu},
                   registers});
  };
  row("f16", "BITS=16 SIGNED=0 LANE=8 GROUPED=0 ZEROS=0 STAGES=8 PAIR=0 NORM=0", 80);
  row("i8", "BITS=8 SIGNED=1 LANE=16 GROUPED=0 ZEROS=0 STAGES=4 PAIR=1 NORM=1", 128);
  row("u4", "BITS=4 SIGNED=0 LANE=32 GROUPED=1 ZEROS=1 STAGES=4 PAIR=1 NORM=2", 128);
  row("i4_short", "BITS=4 SIGNED=1 LANE=8 GROUPED=1 ZEROS=0 STAGES=32 PAIR=0 NORM=2", 128);
}

void add_products(std::vector<Representative>& all) {
  for (const int rows : {1, 8})
    for (const int trans : {0, 1})
      all.push_back({fmt::format("matmul_skinny_{}_{}", rows, trans),
                     {"matmul_skinny.cu",
                      "matmul_skinny",
                      {"TYPE=f16", fmt::format("ROWS={}", rows), fmt::format("TRANS_B={}", trans)},
                      epilogue(DType::f16)},
                     128});
  // As gemm_few.cc cuts them.
  const auto few = [&](const std::string& name, const std::string& words, int registers) {
    std::istringstream text("WARPS=8 SCALE=f16 " + words);
    const bool wide = name.find("bf16") != std::string::npos;
    std::vector<std::string> defines{std::istream_iterator<std::string>(text), {}};
    defines.push_back(wide ? "TYPE=bf16" : "TYPE=f16");
    all.push_back({"matmul_few_" + name,
                   {"matmul_few.cu", "matmul_few", std::move(defines), epilogue(wide ? DType::bf16 : DType::f16)},
                   registers});
    all.back().max_spill_bytes = name.find("64") != std::string::npos ? 64 : 0;  // better than half as many blocks
  };
  few("bf16", "BITS=16 SIGNED=0 LANE=8 GROUPED=0 ZEROS=0 ROWS=8 TILES=1 SPREAD=1 DEPTH=6 BLOCKS=2", 128);
  few("i8", "BITS=8 SIGNED=1 LANE=16 GROUPED=0 ZEROS=0 ROWS=8 TILES=1 SPREAD=1 DEPTH=3 BLOCKS=3", 80);
  few("u8_bf16_64", "BITS=8 SIGNED=0 LANE=8 GROUPED=1 ZEROS=1 ROWS=64 TILES=1 SPREAD=8 DEPTH=3 BLOCKS=2", 128);
  few("u4", "BITS=4 SIGNED=0 LANE=32 GROUPED=1 ZEROS=1 ROWS=8 TILES=1 SPREAD=1 DEPTH=2 BLOCKS=2", 128);
  few("i4_wide", "BITS=4 SIGNED=1 LANE=32 GROUPED=1 ZEROS=0 ROWS=8 TILES=2 SPREAD=1 DEPTH=1 BLOCKS=2", 128);
  few("i4_64", "BITS=4 SIGNED=1 LANE=32 GROUPED=1 ZEROS=0 ROWS=64 TILES=1 SPREAD=8 DEPTH=2 BLOCKS=2", 128);
  all.push_back({"widen_nbits",
                 {"widen_nbits.cu", "widen_nbits", {"TYPE=bf16", "SCALE=f16", "BITS=4", "SIGNED=1", "ZEROS=1"}, {}},
                 64});
  const auto mma = [&](const std::string& name, std::vector<std::string> defines, std::string program) {
    defines.push_back("STAGES=4");
    all.push_back({"matmul_mma_" + name, {"matmul_mma.cu", "matmul_mma", std::move(defines), std::move(program)}, 192});
  };
  for (const int trans : {0, 1})
    mma(fmt::format("bf16_{}", trans), {"A=bf16", "B=bf16", "SUM=float", fmt::format("TRANS_B={}", trans)},
        epilogue(DType::bf16));
  const auto scaled = [](DType product) {
    return program("(x0, x1, x2) => cast<f16>(mul(mul(cast<f32>(x0), x1), x2))", {product, DType::f32, DType::f32});
  };
  for (const char* b : {"i8", "u8"})
    mma(std::string("u8_") + b, {"A=u8", std::string("B=") + b, "SUM=i32", "TRANS_B=1"}, scaled(DType::i32));
  mma("e4m3", {"A=e4m3", "B=e4m3", "SUM=float", "TRANS_B=1"}, scaled(DType::f32));
  all.back().archs = {"sm_89", "sm_90a"};
  all.push_back({"matmul_finish", {"matmul_finish.cu", "matmul_finish", {"SUM=float"}, epilogue(DType::bf16)}, 64});
  all.push_back({"matmul_finish_i32", {"matmul_finish.cu", "matmul_finish", {"SUM=i32"}, scaled(DType::i32)}, 64});
  const auto tile = [&](std::string name, std::vector<std::string> defines, int block, std::string program) {
    for (const char* side : {"M", "N"}) {
      defines.push_back(fmt::format("B{}={}", side, block));
      defines.push_back(fmt::format("T{}={}", side, block / 16));
    }
    all.push_back({std::move(name), {"matmul_tile.cu", "matmul_tile", std::move(defines), std::move(program)}, 168});
  };
  tile("matmul_tile_f32", {"A=float", "B=float", "ACC=float", "TRANS_A=0", "TRANS_B=1"}, 128, epilogue(DType::f32));
  tile("matmul_tile_f64", {"A=double", "B=double", "ACC=double", "TRANS_A=1", "TRANS_B=0"}, 64,
       program("(x0) => x0", {DType::f64}));
  tile("matmul_tile_i8", {"A=i8", "B=u8", "ACC=i32", "TRANS_A=0", "TRANS_B=0"}, 64,
       program("(x0) => x0", {DType::i32}));
}

// Matrices that rows choose: wide ones, and rounded ones with all that these may have.
void add_groups(std::vector<Representative>& all) {
  for (const char* text :
       {"TYPE=float EACH=8 NARROW=0 WEIGHT=bf16", "TYPE=f16 EACH=1 NARROW=0 WEIGHT=f16",
        "TYPE=bf16 EACH=8 NARROW=0 WEIGHT=bf16", "TYPE=f16 EACH=8 NARROW=1 BITS=4 SIGNED=0 SCALE=f16 ZEROS=1 ORDER=1",
        "TYPE=bf16 EACH=8 NARROW=1 BITS=8 SIGNED=1 SCALE=float ZEROS=0 ORDER=0",
        "TYPE=float EACH=1 NARROW=1 BITS=2 SIGNED=0 SCALE=float ZEROS=2 ORDER=0"}) {
    std::istringstream words(text);
    std::vector<std::string> defines{std::istream_iterator<std::string>(words), {}};
    const auto value = [&](size_t i) { return defines[i].substr(defines[i].find('=') + 1); };
    const std::string name = fmt::format("{}_{}_{}", value(0), value(1), value(3));
    if (defines[0] != "TYPE=float" && defines[1] == "EACH=8")
      all.push_back({"grouped_tiles_" + name, {"grouped_tiles.cu", "grouped_tiles", defines, {}}, 128});
    for (const char* rows : {"ROWS=1", "ROWS=8"}) {
      defines.emplace_back(rows);
      all.push_back({"grouped_" + name + "_" + rows[5], {"grouped_rows.cu", "grouped_rows", defines, {}}, 216});
      all.back().max_spill_bytes = 8;
      defines.pop_back();
    }
  }
  all.push_back({"sort_rows", {"sort_rows.cu", "sort_rows", {}, {}}, 32});
}

void add_selection(std::vector<Representative>& all) {
  for (const char* type : {"float", "f16", "i64", "bool"})
    all.push_back({fmt::format("top_k_{}", type), {"top_k.cu", "top_k", {fmt::format("TYPE={}", type)}, {}}, 64});
  all.push_back({"non_zero_f32", {"non_zero.cu", "non_zero", {"TYPE=float", "INDEX=u32"}, {}}, 64});
  for (const char* type : {"float", "i64", "bool"})
    all.push_back(
        {fmt::format("pack_{}", type), {"pack_tokens.cu", "pack_tokens", {fmt::format("TYPE={}", type)}, {}}, 64});
  all.push_back({"scan_counts", {"scan_counts.cu", "scan_counts", {}, {}}, 64});
  all.push_back({"nms_f32", {"nms.cu", "nms", {"TYPE=float"}, {}}, 128});
}

void add_recurrence(std::vector<Representative>& all) {
  for (const char* types : {"TYPE=float ACC=float", "TYPE=f16 ACC=float", "TYPE=double ACC=double"}) {
    const std::string text = types;
    const std::vector<std::string> defines = {text.substr(0, text.find(' ')), text.substr(text.find(' ') + 1)};
    const auto add = [&](const std::string& file, const std::string& define) {
      std::vector<std::string> all_defines = defines;
      all_defines.push_back(define);
      const std::string name = fmt::format("{}_{}_{}", file, define.substr(define.find('=') + 1), defines[0].substr(5));
      all.push_back({name, {file + ".cu", file, all_defines, {}}, 128});
    };
    for (const char* cell : {"CELL=rnn", "CELL=gru", "CELL=lstm"}) add("rnn_step", cell);
    add("rnn_project", "LOAD=0");
    add("rnn_state", "LOAD=0");
    add("rnn_state", "LOAD=1");
  }
}

void add_reductions(std::vector<Representative>& all) {
  const auto add = [&](std::string name, std::string file, std::vector<std::string> defines) {
    all.push_back({std::move(name), {std::move(file), "reduce", std::move(defines), {}}, 96});
  };
  const std::vector<std::string> forms = {"rows", "columns", "general", "finish"},
                                 files = {"reduce_row.cu", "reduce_column.cu", "reduce_general.cu", "reduce_finish.cu"};
  for (size_t i = 0; i < files.size(); ++i) {
    add("reduce_sum_" + forms[i], files[i],
        {"KIND=0", "ELEMENT=f16", "WIDE=float", "OUT=f16", "INTEGER=0", "VECTOR=8", "GROUP=256", "SPLIT=1"});
    add("reduce_log_sum_exp_" + forms[i], files[i],
        {"KIND=8", "ELEMENT=i32", "WIDE=i64", "OUT=i32", "INTEGER=1", "LOWEST=(-2147483647ll-1)",
         "HIGHEST=2147483647ull", "VECTOR=4", "GROUP=32", "SPLIT=0"});
    add("arg_reduce_" + forms[i], files[i],
        {"KIND=10", "ELEMENT=bf16", "WIDE=float", "OUT=i64", "INTEGER=0", "LARGEST=1", "LAST=0", "VECTOR=8", "GROUP=32",
         "SPLIT=0"});
  }
  const std::vector<std::string> scan = {"ELEMENT=f16", "WIDE=float", "PRODUCT=0", "EXCLUSIVE=1", "REVERSE=1"};
  for (const char* inner : {"INNER=0", "INNER=1"}) {
    std::vector<std::string> defines = scan;
    defines.push_back(inner);
    add(std::string("scan_") + (inner[6] == '0' ? "rows" : "columns"), "scan.cu", defines);
  }
  add("rotary", "rotary.cu", {"ELEMENT=f16", "COS=float", "SIN=float", "RANK=3", "VECTOR=4", "INTERLEAVED=1"});
}

void add_attention(std::vector<Representative>& all) {
  struct Case {
    std::string name, type;
    int head, rows, keys, threads, tiles, vector, registers;
  };
  const std::string score = program("(x0, x1) => add(x0, cast<f32>(x1))", {DType::f32, DType::i64}),
                    bias = program("(x0, x1) => cast<f32>(x1)", {DType::f32, DType::i64});
  for (const Case& c : std::vector<Case>{{"large_64", "f16", 64, 128, 64, 128, 2, 8, 255},
                                         {"large_128", "bf16", 128, 128, 32, 128, 2, 8, 255},
                                         {"medium_256", "f16", 256, 64, 64, 128, 1, 8, 255},
                                         {"small_128", "f16", 128, 16, 64, 32, 1, 8, 255},
                                         {"small_unaligned", "f16", 80, 16, 64, 32, 1, 1, 255},
                                         {"f32_64", "float", 64, 64, 64, 256, 1, 4, 128},
                                         {"f32_256", "float", 256, 32, 16, 256, 1, 1, 128}}) {
    for (const bool general : {false, true}) {
      const int keys = general && c.threads == 128 ? 32 : c.keys;  // score programs take registers
      const std::string flag = general ? "1" : "0";
      std::vector<std::string> defines = {"ELEMENT=" + c.type, "EXTRA_AXES=0x9ull", "KV_HEADS=8",
                                          general ? "GROUP=3" : "GROUP=1"};
      for (const auto& [key, value] : std::vector<std::pair<std::string, int>>{{"HEAD", c.head},
                                                                               {"VALUE", c.head},
                                                                               {"HEAD_DIM", c.head},
                                                                               {"VALUE_DIM", c.head},
                                                                               {"ROWS", c.rows},
                                                                               {"KEYS", keys},
                                                                               {"THREADS", c.threads},
                                                                               {"TILES", c.tiles},
                                                                               {"VECTOR", c.vector}})
        defines.push_back(key + "=" + std::to_string(value));
      for (const char* name : {"CAUSAL=", "SCORE=", "SPLIT=", "K_TRANSPOSED=", "V_TRANSPOSED="})
        defines.push_back(name + flag);
      defines.push_back("PACKED=0");
      const std::string file = c.type == "float" ? "attention_f32.cu" : "attention.cu";
      const std::string name = "attention_" + c.name + (general ? "_general" : "");
      all.push_back({name, {file, "attention", defines, general ? score : ""}, c.registers});
      // A few bytes are better than smaller tiles.
      if (c.name == "large_128" && general) all.back().max_spill_bytes = 20;
      if (!general && (c.name == "large_64" || c.name == "f32_64")) {
        defines.back() = "PACKED=1";
        all.push_back({name + "_packed", {file, "attention", defines, ""}, c.registers});
      }
      if (c.name == "large_64")
        all.push_back({name + "_combine", {"attention_combine.cu", "combine", defines, general ? score : ""}, 64});
      if (general || c.threads != 128) continue;
      std::replace(defines.begin(), defines.end(), std::string("SCORE=0"), std::string("SCORE=2"));
      all.push_back({name + "_biased", {file, "attention", defines, bias}, c.registers});
    }
  }
}

// As the lowering cuts them for an H100: every number of warpgroups, every kind of score.
void add_hopper_attention(std::vector<Representative>& all) {
  DeviceInfo h100;
  h100.major = 9;
  h100.shared_bytes = 227 * 1024;
  const std::vector<std::string> programs = {"",
                                             program("(x0, x1) => add(x0, cast<f32>(x1))", {DType::f32, DType::i64}),
                                             program("(x0, x1) => cast<f32>(x1)", {DType::f32, DType::i64})};
  for (const int64_t head : {40, 64, 80, 128, 256})
    for (int score = 0; score < 3; ++score) {
      Attention op;
      op.head_dim = op.value_dim = head;
      for (const Tiling& tiling :
           attention_tilings(op, DType::f16, static_cast<ScoreKind>(score), /*packed=*/true, h100)) {
        if (!tiling.hopper()) continue;
        const bool causal = tiling.consumers != 2;
        std::vector<std::string> defines = tiling.defines();
        for (const std::string& define :
             {fmt::format("ELEMENT={}", head == 80 ? "bf16" : "f16"), fmt::format("HEAD_DIM={}", head),
              fmt::format("PACKED={}", head == 64 && !causal ? 1 : 0), fmt::format("VALUE_DIM={}", head),
              fmt::format("CAUSAL={}", causal ? 1 : 0),
              fmt::format("SPLIT={}", causal && tiling.consumers == 1 ? 1 : 0), fmt::format("SCORE={}", score),
              fmt::format("GROUP={}", causal ? 3 : 1)})
          defines.push_back(define);
        for (const char* define : {"KV_HEADS=8", "VECTOR=8", "K_TRANSPOSED=0", "V_TRANSPOSED=0", "EXTRA_AXES=0x9ull"})
          defines.push_back(define);
        all.push_back({fmt::format("attention_sm90_{}_{}_{}", head, score, tiling.consumers),
                       {"attention_sm90.cu", "attention", defines, programs[static_cast<size_t>(score)]},
                       255,
                       {"sm_90a"}});
      }
    }
}

// Plain; with all that scores can have; biased by distance, as T5 is. The smallest heads look at another text.
void add_paged_attention(std::vector<Representative>& all) {
  enum class Kind : uint8_t { plain, general, biased };
  for (const int64_t head : {24, 64, 128, 256}) {
    for (const Kind kind : {Kind::plain, Kind::general, Kind::biased}) {
      const bool general = kind == Kind::general, biased = kind == Kind::biased, crosses = general && head == 24;
      if (biased && head != 64 && head != 128) continue;
      PagedAttention op;
      op.heads = 24;
      op.kv_heads = general ? 8 : 24;
      op.head_dim = head;
      op.value_dim = general && head == 256 ? 128 : head;
      op.block_size = 16;
      if (general) op.window = crosses ? 0 : 1000, op.softcap = 30, op.chunked = !crosses && head == 64;
      const std::string name = fmt::format("paged_{}{}", head, general ? "_general" : (biased ? "_biased" : ""));
      const auto add = [&](const std::string& file, const std::vector<std::string>& more, DType type, DType cache,
                           int registers) {
        const bool positional = general && !crosses;
        std::vector<std::string> defines = paged_defines(
            op, {type, cache, positional, positional, biased ? 129 : 0, crosses, general && head == 64, false});
        defines.insert(defines.end(), more.begin(), more.end());
        defines.push_back(general ? "VECTOR=1" : type == DType::f32 ? "VECTOR=4" : "VECTOR=8");
        const auto has = [&](const char* define) { return std::find(more.begin(), more.end(), define) != more.end(); };
        const std::string label = fmt::format("{}{}{}_{}", file, has("DECODE=1") ? "_decode" : "",
                                              has("ALONE=1") ? "_alone" : "", to_string(cache));
        all.push_back({name + "_" + label, {file + ".cu", "paged", defines, {}}, registers});
      };
      const DType half = general ? DType::bf16 : DType::f16;
      add("paged_attention", paged_decode_tiling(op).defines(), half, half, 255);
      add("paged_attention", paged_chunk_tiling(op).defines(), half, half, 255);
      const DType byte = general ? DType::f8e4m3 : DType::i8;
      if (head == 128 && !general && !biased) {
        std::vector<std::string> alone = paged_decode_tiling(op).defines(/*alone=*/true);
        alone.insert(alone.end(), {"COS=float", "SIN=float", "RANK=2", "INTERLEAVED=0"});
        add("paged_attention", alone, half, half, 255);
      }
      if (head == 128 && !biased) {
        add("paged_attention", paged_decode_tiling(op).defines(), half, byte, 255);
        add("paged_attention", paged_chunk_tiling(op).defines(), half, byte, 255);
        add("paged_attention_f32", {"THREADS=128"}, DType::f32, byte, 128);
        add("paged_store", {"THREADS=256", "ROTARY=0"}, half, byte, 64);
        if (!general)
          add("paged_store", {"THREADS=256", "ROTARY=1", "COS=float", "SIN=bf16", "RANK=2", "INTERLEAVED=0"}, half,
              half, 64);
      }
      add("paged_attention_f32", {"THREADS=128"}, DType::f32, general ? DType::bf16 : DType::f32, 128);
      if (biased || head != (crosses ? 24 : 64)) continue;
      add("paged_store", {"THREADS=256", "ROTARY=0"}, DType::f32, general ? DType::f16 : DType::f32, 64);
    }
  }
}

// What launch bounds cost these kernels, which wait for memory more than for arithmetic.
// With heads of 256 features attention spills where a block goes to its next tile.
const std::map<std::string, int> kKnownSpills = {{"pad_large", 64},
                                                 {"attention_medium_256_general", 12},
                                                 {"attention_sm90_256_0_2", 16},
                                                 {"attention_sm90_256_1_2", 96},
                                                 {"attention_sm90_256_2_2", 88},
                                                 {"paged_64_biased_paged_attention_f16", 16},
                                                 {"paged_128_biased_paged_attention_f16", 4},
                                                 {"top_k_i64", 36},
                                                 {"scatter_nd_none", 32},
                                                 {"rnn_step_gru_float", 12},
                                                 {"scatter_elements_add_f16", 4},
                                                 {"scatter_elements_min_bool", 4}};

// Tiles that kernels stage, by source: what lets as many blocks run as their launch bounds say.
const std::map<std::string, int> kSharedBytes = {{"attention_sm90.cu", 4096}, {"conv.cu", 8704},
                                                 {"grouped_tiles.cu", 30720}, {"matmul_few.cu", 34816},
                                                 {"matmul_row.cu", 2304},     {"matmul_skinny.cu", 16384},
                                                 {"matmul_tile.cu", 17408},   {"paged_attention_f32.cu", 4096},
                                                 {"reduce_column.cu", 32768}, {"rnn_project.cu", 17408},
                                                 {"top_k.cu", 8336},          {"transpose.cu", 16896}};

std::vector<Representative> representatives() {
  std::vector<Representative> all;
  add_movement(all);
  add_groups(all);
  add_selection(all);
  add_recurrence(all);
  all.push_back({"map",
                 {"map.cu",
                  "map",
                  {"RANK=2", "VECTOR=4", "INDEX=u32"},
                  program("(x0, x1) => gelu_erf(add(x0, cast<f32>(x1)))", {DType::f32, DType::f16})},
                 64});
  add_attention(all);
  add_hopper_attention(all);
  add_paged_attention(all);
  add_reductions(all);
  add_rows(all);
  add_products(all);
  add_one_row(all);
  add_hopper_products(all);
  add_sliding(all);
  for (Representative& kernel : all) {
    if (const auto found = kKnownSpills.find(kernel.name); found != kKnownSpills.end())
      kernel.max_spill_bytes = found->second;
    if (const auto found = kSharedBytes.find(kernel.spec.file); found != kSharedBytes.end())
      kernel.max_shared_bytes = found->second;
  }
  return all;
}

class KernelCompile : public testing::TestWithParam<Representative> {};

TEST_P(KernelCompile, StaysWithinBounds) {
  const Representative& kernel = GetParam();
  for (const std::string& arch : kernel.archs) {
    SCOPED_TRACE(arch);
    const CompiledKernel compiled = KernelCompiler(arch).compile(kernel.spec);
    EXPECT_FALSE(compiled.cubin.empty());
    EXPECT_GT(compiled.registers, 0);
    EXPECT_LE(compiled.registers, kernel.max_registers);
    EXPECT_LE(compiled.spill_bytes, kernel.max_spill_bytes);
    EXPECT_LE(compiled.shared_bytes, kernel.max_shared_bytes);
    // Or it could not be launched while kernels before it are still at work.
    EXPECT_EQ(compiled.waits, arch == "sm_90a");
  }
}

// Each kernel has a representative above, so none goes without that test.
TEST(KernelSources, EveryOneHasARepresentative) {
  std::set<std::string, std::less<>> represented;
  for (const Representative& kernel : representatives()) represented.insert(kernel.spec.file);
  for (const KernelSource& source : kernel_sources())
    EXPECT_TRUE(!source.name.ends_with(".cu") || represented.contains(source.name)) << source.name;
}

INSTANTIATE_TEST_SUITE_P(Family, KernelCompile, testing::ValuesIn(representatives()),
                         [](const auto& test) { return test.param.name; });

TEST(KernelCompiler, NamesWhatIsWrong) {
  const KernelCompiler compiler("sm_90a");
  try {
    compiler.compile({"map.cu", "map", {"RANK=2", "VECTOR=4", "INDEX=u32"}, "struct Program { nonsense };"});
    FAIL() << "nonsense compiled";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("nonsense"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace lathe::cuda
