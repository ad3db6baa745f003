// Classifies one sentence with the bundled model: classify MODEL, where MODEL is an .onnx file or a plan.
#include <lathe/lathe.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <span>
#include <vector>

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s MODEL\n", argv[0]);
    return 2;
  }
  // "我的心情很差" (I am in a very bad mood), as the model's tokenizer spells it.
  const std::vector<std::int64_t> ids = {2, 1695, 2906, 1545, 1626, 1525, 1403, 3};
  const std::vector<std::int64_t> mask(ids.size(), 1), types(ids.size(), 0);

  lathe::Session session = lathe::Session::open(argv[1]);
  const std::span<const lathe::Output> outputs =
      session.run({{"input_ids", ids, {1, 8}}, {"attention_mask", mask, {1, 8}}, {"token_type_ids", types, {1, 8}}});

  const std::span<const float> logits = outputs[0].as<float>();
  const double positive = 1 / (1 + std::exp(logits[0] - logits[1]));
  std::printf("negative %.3f  positive %.3f\n", 1 - positive, positive);
  return 0;
} catch (const lathe::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 2;
}
