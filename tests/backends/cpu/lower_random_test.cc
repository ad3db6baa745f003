// Random graphs of one or a few ops with random sizes and fields, reproducible by their seed.
#include "tests/backends/cpu/lower_test_util.h"

namespace lathe::cpu {
namespace {

class Dice {
 public:
  explicit Dice(uint32_t seed) : engine_(seed) {}
  int64_t upto(int64_t high, int64_t low = 0) { return std::uniform_int_distribution<int64_t>(low, high)(engine_); }
  bool coin() { return upto(1) == 1; }
  template <class T>
  const T& pick(const std::vector<T>& list) {
    return list[static_cast<size_t>(upto(static_cast<int64_t>(list.size()) - 1))];
  }
  Sizes sizes(size_t rank, int64_t high, int64_t low = 1) {
    Sizes result(rank);
    for (int64_t& size : result) size = upto(high, low);
    return result;
  }
  std::vector<int64_t> shuffled(size_t n) {
    std::vector<int64_t> order(n);
    for (size_t i = 0; i < n; ++i) order[i] = static_cast<int64_t>(i);
    std::shuffle(order.begin(), order.end(), engine_);
    return order;
  }

 private:
  std::mt19937 engine_;
};

std::string input(const std::string& name, const Sizes& sizes) { return "%" + name + ": f32" + to_string(sizes); }

class LowerRandom : public LowerTest {};
LATHE_FOR_EACH_DEVICE(LowerRandom);

constexpr uint32_t kRounds = 40;

TEST_P(LowerRandom, Convolutions) {
  for (uint32_t seed = 0; seed < kRounds; ++seed) {
    Dice dice(seed);
    const auto spatial = static_cast<size_t>(dice.upto(3, 1));
    const int64_t groups = dice.pick(std::vector<int64_t>{1, 1, 2, 4}), per_group = dice.upto(5, 1);
    const bool depthwise = dice.coin() && per_group == 1;
    const int64_t out_per_group = depthwise ? 1 : dice.upto(9, 1);
    const Sizes kernel = dice.sizes(spatial, 3), strides = dice.sizes(spatial, 3), dilations = dice.sizes(spatial, 2),
                pads = dice.sizes(2 * spatial, 2, 0);
    Sizes x = {dice.upto(2, 1), groups * per_group}, w = {groups * out_per_group, per_group};
    for (size_t i = 0; i < spatial; ++i) x.push_back(dice.upto(9, 5));
    w.insert(w.end(), kernel.begin(), kernel.end());
    const std::string fields = "strides = " + to_string(strides) + ", dilations = " + to_string(dilations) +
                               ", pads = " + to_string(pads) + ", groups = " + std::to_string(groups);
    check("(" + input("x", x) + ") { %w = constant {value = f32" + to_string(w) + " random(1)} %y = conv(%x, %w) {" +
              fields + "} return %y }",
          {floats(x, seed)}, {2e-5, dice.coin(), {}});
  }
}

TEST_P(LowerRandom, PoolsInsideAnArea) {
  for (uint32_t seed = 0; seed < kRounds; ++seed) {
    Dice dice(seed);
    const Sizes x = {dice.upto(3, 1), 4, dice.upto(9, 4), dice.upto(9, 4)};
    // Pads smaller than the kernel: every window sees the input.
    const Sizes kernel = dice.sizes(2, 3), strides = dice.sizes(2, 3);
    const int64_t pad = std::min(kernel[0], kernel[1]) - 1;
    const Sizes pads = dice.sizes(4, pad, 0);
    const std::string fields = "{kind = " + dice.pick(std::vector<std::string>{"max", "average", "lp"}) +
                               ", kernel = " + to_string(kernel) + ", strides = " + to_string(strides) +
                               ", dilations = [1, 1], pads = " + to_string(pads) +
                               ", ceil_mode = " + (dice.coin() ? "true" : "false") +
                               ", count_include_pad = " + (dice.coin() ? "true" : "false") + "}";
    check("(" + input("x", x) +
              ") { %w = constant {value = f32[6, 4, 1, 1] random(1)} %c = conv(%x, %w) {strides = [1, 1], dilations = "
              "[1, 1], pads = [0, 0, 0, 0]} %y = pool(%c) " +
              fields + " %z = pool(%x) " + fields + " return %y, %z }",
          {floats(x, seed)});
  }
}

TEST_P(LowerRandom, Movement) {
  for (uint32_t seed = 0; seed < kRounds; ++seed) {
    Dice dice(seed);
    const auto rank = static_cast<size_t>(dice.upto(5, 1));
    const Sizes x = dice.sizes(rank, 6, seed % 8 == 0 ? 0 : 1);
    std::string slice = "axes = [", starts = "starts = [", sizes = "sizes = [", steps = "steps = [";
    for (size_t axis = 0; axis < rank; ++axis) {
      const std::string comma = axis == 0 ? "" : ", ";
      const int64_t step = dice.pick(std::vector<int64_t>{1, 1, 2, -1}),
                    length = x[axis] == 0 ? 0 : dice.upto((x[axis] + 1) / 2);
      slice += comma + std::to_string(axis);
      starts += comma + std::to_string(step < 0 ? std::max<int64_t>(x[axis] - 1, 0) : 0);
      sizes += comma + std::to_string(length);
      steps += comma + std::to_string(step);
    }
    check_exact("(" + input("x", x) + ") { %s = slice(%x) {" + slice + "], " + starts + "], " + sizes + "], " + steps +
                    "]} %t = transpose(%s) {perm = " + to_string(dice.shuffled(rank)) +
                    "} %c = concat(%t, %t) {axis = " + std::to_string(dice.upto(static_cast<int64_t>(rank) - 1)) +
                    "} %p = pad(%c) {begins = " + to_string(dice.sizes(rank, 2, 0)) +
                    ", ends = " + to_string(dice.sizes(rank, 2, 0)) + "} return %p, %t }",
                {floats(x, seed)});
  }
}

TEST_P(LowerRandom, BroadcastMaps) {
  for (uint32_t seed = 0; seed < kRounds; ++seed) {
    Dice dice(seed);
    const auto rank = static_cast<size_t>(dice.upto(5, 1));
    const Sizes full = dice.sizes(rank, seed % 5 == 0 ? 40 : 7);
    std::vector<Tensor> values;
    std::string inputs;
    for (int i = 0; i < 3; ++i) {
      Sizes sizes(full.begin() + dice.upto(static_cast<int64_t>(rank) - 1), full.end());
      for (int64_t& size : sizes)
        if (dice.coin()) size = 1;
      inputs += (i == 0 ? "" : ", ") + input("x" + std::to_string(i), sizes);
      values.push_back(floats(sizes, seed + static_cast<uint32_t>(i)));
    }
    check("(" + inputs +
              ") { %y = map(%x0, %x1, %x2) {program = (x0, x1, x2) => add(mul(x0, x1), sub(x2, cast<f32>(iota(-1)))), "
              "shape = " +
              to_string(full) + "} return %y }",
          values);
  }
}

}  // namespace
}  // namespace lathe::cpu
