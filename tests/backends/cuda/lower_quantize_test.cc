// Quantisation by the range of the data on the GPU: rows, tensors, every type, exactly as the reference does it.
#include "tests/backends/cpu/lower_test_util.h"

namespace lathe::cpu {
namespace {

class LowerQuantize : public LowerTest {
 protected:
  void check_quantize(const std::string& type, const Sizes& dims, int axis, const std::string& kind, double low,
                      double high) {
    const Tensor x = random_tensor(*dtype_from_string(type), dims, 7, low, high);
    check_exact("(%x: " + type + to_string(dims) + ") { %q, %s, %z = dynamic_quantize(%x) {axis = " +
                    std::to_string(axis) + kind + "} return %q, %s, %z }",
                {x});
  }
};
LATHE_FOR_EACH_DEVICE(LowerQuantize);

TEST_P(LowerQuantize, RowsAndTensors) {
  for (const std::string type : {"f32", "f16", "bf16"})
    for (const std::string kind : {"", ", symmetric = true", ", floating = true"})
      for (const auto& [dims, axis] : std::vector<std::pair<Sizes, int>>{{{3, 40}, 1},
                                                                         {{70, 1024}, 1},
                                                                         {{5, 33}, 1},
                                                                         {{2, 3, 5, 7}, 2},
                                                                         {{4, 20000}, 1},
                                                                         {{300, 4096}, 0},
                                                                         {{7, 11}, 0}})
        check_quantize(type, dims, axis, kind, -3, 2);
}

TEST_P(LowerQuantize, EdgesOfTheRange) {
  for (const std::string kind : {"", ", symmetric = true", ", floating = true"})
    for (const int axis : {0, 1}) {
      check_quantize("f32", {4, 64}, axis, kind, 0, 0);
      check_quantize("f32", {4, 64}, axis, kind, 1, 2);
      check_quantize("f32", {4, 64}, axis, kind, -2, -1);
      check_quantize("f32", {4, 64}, axis, kind, -1e-40, 1e-40);
      check_quantize("f32", {4, 64}, axis, kind, -3e38, 3e38);
    }
  for (const int axis : {0, 1}) check_quantize("f32", {0, 64}, axis, "", 0, 1);
}

}  // namespace
}  // namespace lathe::cpu
