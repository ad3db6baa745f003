// Lowering of products in which every row chooses its matrix, against the reference evaluator.
#include "tests/backends/cpu/lower_test_util.h"

namespace lathe::cpu {
namespace {

using LowerGroupedMatMul = LowerTest;
LATHE_FOR_EACH_DEVICE(LowerGroupedMatMul);

constexpr int64_t kGroups = 3;

// Of one matrix [9, 40] each: constants %<name>0 and so on, with values that `of(group)` spells.
template <class Of>
std::string constants(const std::string& name, const Of& of) {
  std::string text;
  for (int64_t g = 0; g < kGroups; ++g)
    text += " %" + name + std::to_string(g) + " = constant {value = " + of(std::to_string(g + 1)) + "}";
  return text;
}

std::string product(const std::string& a, const std::string& chosen, const std::string& matrices,
                    const std::vector<std::string>& parts, const std::string& fields) {
  std::string operands;
  for (int64_t g = 0; g < kGroups; ++g)
    for (const std::string& part : parts) operands += part == "_" ? ", _" : ", %" + part + std::to_string(g);
  return "(%x: " + a + ", %c: " + chosen + ") {" + matrices + " %y = grouped_matmul(%x, %c" + operands + ") {" +
         fields + "} return %y }";
}

std::string wide(const std::string& a, const std::string& chosen, const std::string& type, bool trans_b = true) {
  const std::string dims = trans_b ? "[9, 40] random(" : "[40, 9] random(";
  return product(a, chosen, constants("w", [&](const std::string& seed) { return type + dims + seed + ")"; }), {"w"},
                 std::string("trans_b = ") + (trans_b ? "true" : "false"));
}

// "u4[3, 40] [0, 1, ..]" without a pattern that fits the shape.
std::string integers(const std::string& type, int64_t n, int64_t k, int range, int low, int step) {
  std::string text = type + "[" + std::to_string(n) + ", " + std::to_string(k) + "] [";
  for (int64_t i = 0; i < n * k; ++i) text += (i == 0 ? "" : ", ") + std::to_string(low + (i * step + i / 7) % range);
  return text + "]";
}

std::string narrow(const std::string& a, const std::string& chosen, const std::string& type, bool extended,
                   const std::string& more = "") {
  const bool is_byte = type == "i8";
  std::string matrices = constants("q", [&](const std::string& group) {
    return integers(type, 9, 40, is_byte ? 256 : 16, is_byte ? -128 : 0, 89 + std::stoi(group));
  });
  matrices += constants("s", [&](const std::string& group) { return "f16[9, 5] splat(0." + group + ")"; });
  if (!extended) return product(a, chosen, matrices, {"q", "s", "_", "_"}, "block = 8" + more);
  matrices += constants("z", [&](const std::string&) { return integers(type, 9, 5, 16, 0, 5); });
  matrices += constants("o", [&](const std::string& group) {  // a permutation, since 3 and 40 have no common factor
    std::string text = "i32[40] [";
    for (int i = 0; i < 40; ++i) text += (i == 0 ? "" : ", ") + std::to_string((i * 3 + std::stoi(group)) % 40);
    return text + "]";
  });
  return product(a, chosen, matrices, {"q", "s", "z", "o"}, "block = 8" + more);
}

TEST_P(LowerGroupedMatMul, Shapes) {
  for (const int64_t tokens : {0, 1, 5, 100})
    for (const bool shared : {true, false}) {
      const Sizes a = {tokens, shared ? 1 : 2, 40}, chosen = {tokens, 2};
      check(wide("f32" + to_string(a), "i64" + to_string(chosen), "f32"), {floats(a), ids(chosen, kGroups)});
    }
}

TEST_P(LowerGroupedMatMul, AllChooseOneMatrix) {
  check(wide("f32[70, 1, 40]", "i32[70, 1]", "f32"), {floats({70, 1, 40}), Tensor(DType::i32, {70, 1})});
}

TEST_P(LowerGroupedMatMul, WideTypes) {
  for (const std::string type : {"f32", "f16", "bf16"})
    for (const std::string weights : {"f32", "f16", "bf16"}) {
      if (type != "f32" && weights != type) continue;
      const double tolerance = type == "f32" ? 2e-5 : type == "f16" ? 2e-2 : 0.15;
      const double of_weights = weights == "bf16" ? 0.15 : 2e-5;  // activations may be rounded beside them
      for (const int64_t tokens : {2, 40})
        for (const bool trans_b : {true, false}) {
          const Sizes a = {tokens, 1, 40}, chosen = {tokens, 2};
          const DType dtype = type == "f32" ? DType::f32 : type == "f16" ? DType::f16 : DType::bf16;
          check(wide(type + to_string(a), "i64" + to_string(chosen), weights, trans_b),
                {random_tensor(dtype, a, 1), ids(chosen, kGroups)}, {std::max(tolerance, of_weights), true, {}});
        }
    }
}

TEST_P(LowerGroupedMatMul, NarrowTypes) {
  for (const std::string a : {"f32", "f16"})
    for (const std::string type : {"u4", "i8"})
      for (const bool extended : {false, true})
        for (const int64_t tokens : {1, 30}) {
          const Sizes dims = {tokens, 1, 40}, chosen = {tokens, 2};
          check(narrow(a + to_string(dims), "i64" + to_string(chosen), type, extended),
                {random_tensor(a == "f32" ? DType::f32 : DType::f16, dims, 1), ids(chosen, kGroups)},
                {a == "f32" ? 5e-5 : 0.1, true, {}});  // weights up to 45, which may be rounded to halves
        }
}

TEST_P(LowerGroupedMatMul, RoundedRowsAreClose) {
  for (const int64_t tokens : {1, 30})
    check(narrow("f32[" + std::to_string(tokens) + ", 1, 40]", "i64[" + std::to_string(tokens) + ", 2]", "u4", true,
                 ", round_rows = true"),
          {floats({tokens, 1, 40}), ids({tokens, 2}, kGroups)}, {0.1, true, {}});
}

}  // namespace
}  // namespace lathe::cpu
