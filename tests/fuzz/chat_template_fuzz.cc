// The bytes are a template. Whatever it is, it renders within its limits or fails with a proper Error, and marks lie
// inside the prompt.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/chat_template/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto variables = nlohmann::ordered_json::parse(
      R"({"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": " a é\n<b> "},
                       {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f",
                        "arguments": {"x": [1, 2.5, true]}}}]}],
          "tools": [{"type": "function", "function": {"name": "f"}}], "add_generation_prompt": true,
          "bos_token": "<s>", "eos_token": "</s>", "n": 3, "xs": [3, 1, 2], "d": {"b": 1, "a": 2}})");
  lathe::text::RenderOptions options;
  options.limits.steps = 100'000;
  options.limits.depth = 200;  // the frames of sanitizer builds are large
  options.limits.output_bytes = 1u << 16;
  options.now = std::tm{};
  try {
    const auto chat_template = lathe::text::ChatTemplate::parse({reinterpret_cast<const char*>(data), size});
    const auto prompt = chat_template.render(variables, options);
    std::size_t before = 0;
    for (const auto& [begin, end] : prompt.user) {
      LATHE_CHECK(before <= begin && begin < end && end <= prompt.text.size());
      before = end;
    }
  } catch (const lathe::Error& error) {
    if (error.code() == lathe::ErrorCode::internal) throw;
  }
  return 0;
}
