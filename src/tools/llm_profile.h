// Where the time of a language model goes: steps of the same name but for their numbers, as layers have, count as one.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "graph/cost.h"
#include "lathe/llm.h"
#include "runtime/session.h"
#include "tools/console.h"

namespace lathe::tools {

// Watches the model of an engine for as long as it lives; the engine must be idle when it comes and when it goes.
class LlmProfile : private StepObserver {
 public:
  // Throws Error(unsupported) for models that are not one graph.
  explicit LlmProfile(llm::Engine& engine);
  ~LlmProfile() override;
  LlmProfile(const LlmProfile&) = delete;
  LlmProfile& operator=(const LlmProfile&) = delete;

  // What has been seen since the last call, divided by `runs`.
  nlohmann::json take(std::string_view title, double runs, Console& console);

 private:
  struct Row {
    std::string op, kernel;
    int64_t steps = 0;
    double ms = 0;
    Cost cost;
  };

  void before(size_t step) override;
  void after(size_t step, const StepIo& io) override;

  Session& session_;
  std::map<std::string, Row> rows_;
  std::chrono::steady_clock::time_point begun_;
};

}  // namespace lathe::tools
