// Quantisation by the range of the data on the GPU: rows and tensors, exactly as the reference does it.
#include "tests/backends/cpu/lower_test_util.h"

namespace lathe::cpu {
namespace {

class LowerQuantize : public LowerTest {
 protected:
  void check_quantize(const Sizes& dims, int axis, const std::string& kind, double low, double high) {
    const Tensor x = random_tensor(DType::f32, dims, 7, low, high);
    check_exact("(%x: f32" + to_string(dims) + ") { %q, %s, %z = dynamic_quantize(%x) {axis = " + std::to_string(axis) +
                    kind + "} return %q, %s, %z }",
                {x});
  }
};
LATHE_FOR_EACH_DEVICE(LowerQuantize);

TEST_P(LowerQuantize, RowsAndTensors) {
  for (const std::string kind : {"", ", symmetric = true"})
    for (const auto& [dims, axis] : std::vector<std::pair<Sizes, int>>{{{3, 40}, 1},
                                                                       {{70, 1024}, 1},
                                                                       {{5, 33}, 1},
                                                                       {{2, 3, 5, 7}, 2},
                                                                       {{4, 20000}, 1},
                                                                       {{300, 4096}, 0},
                                                                       {{7, 11}, 0}})
      check_quantize(dims, axis, kind, -3, 2);
}

TEST_P(LowerQuantize, EdgesOfTheRange) {
  for (const std::string kind : {"", ", symmetric = true"})
    for (const int axis : {0, 1}) {
      check_quantize({4, 64}, axis, kind, 0, 0);
      check_quantize({4, 64}, axis, kind, 1, 2);
      check_quantize({4, 64}, axis, kind, -2, -1);
      check_quantize({4, 64}, axis, kind, -1e-40, 1e-40);
      check_quantize({4, 64}, axis, kind, -3e38, 3e38);
    }
  for (const int axis : {0, 1}) check_quantize({0, 64}, axis, "", 0, 1);
}

}  // namespace
}  // namespace lathe::cpu
