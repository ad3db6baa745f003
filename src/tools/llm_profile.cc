#include "tools/llm_profile.h"

#include <algorithm>
#include <cctype>
#include <vector>

#include "base/error.h"
#include "llm/engine.h"
#include "llm/graph_model.h"
#include "runtime/engine.h"
#include "tools/benchmark.h"
#include "tools/model_facts.h"
#include "tools/table.h"
#include "tools/units.h"

namespace lathe::tools {
namespace {

Session& session_of(llm::Engine& engine) {
  auto* model = dynamic_cast<llm::GraphModel*>(engine.impl().parts.model.get());
  if (model == nullptr)
    throw Error(ErrorCode::unsupported, "the steps of ONNX decoders cannot be timed as those of a language model")
        .remedy("Leave out --pp, --tg and --batch: then the file is measured as a graph");
  return model->session();
}

// "layers.12.mlp" -> "layers.*.mlp"
std::string without_numbers(const std::string& name) {
  std::string pattern;
  for (const char c : name) {
    if (std::isdigit(static_cast<unsigned char>(c)) == 0)
      pattern += c;
    else if (pattern.empty() || pattern.back() != '*')
      pattern += '*';
  }
  return pattern;
}

}  // namespace

LlmProfile::LlmProfile(llm::Engine& engine) : session_(session_of(engine)) { session_.impl().observer = this; }
LlmProfile::~LlmProfile() { session_.impl().observer = nullptr; }

void LlmProfile::before(size_t) { begun_ = std::chrono::steady_clock::now(); }

void LlmProfile::after(size_t step, const StepIo& io) {
  const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - begun_;
  const Program& program = session_.engine().impl().model.program;
  const ProgramStep& done = program.steps[step];
  Row& row = rows_[without_numbers(step_name(program, done))];
  row.op = op_name(done.node->op());
  row.kernel = done.kernel;
  row.steps += 1;
  row.ms += time.count();
  row.cost += cost_of(done.node->op(), sized_types(io.inputs), sized_types(io.outputs));
}

nlohmann::json LlmProfile::take(std::string_view title, double runs, Console& console) {
  double sum = 0;
  std::vector<std::pair<double, const std::string*>> order;
  for (const auto& [name, row] : rows_) {
    sum += row.ms;
    order.emplace_back(-row.ms, &name);
  }
  std::sort(order.begin(), order.end());
  Table table({{std::string(title), Table::Align::left, 44},
               {"op"},
               {"kernel"},
               {"steps", Table::Align::right},
               {"ms", Table::Align::right},
               {"%", Table::Align::right},
               {"GFLOP/s", Table::Align::right},
               {"GB/s", Table::Align::right}});
  nlohmann::json layers = nlohmann::json::array();
  for (const auto& [time, name] : order) {
    const Row& row = rows_.at(*name);
    const double percent = 100 * row.ms / sum, gflops = row.cost.flops / row.ms * 1e-6,
                 gbytes = row.cost.bytes / row.ms * 1e-6;
    table.add_row({*name, row.op, row.kernel, format_number(static_cast<double>(row.steps) / runs),
                   fmt::format("{:.3f}", row.ms / runs), fmt::format("{:.1f}", percent), format_number(gflops),
                   format_number(gbytes)});
    layers.push_back({{"name", *name},
                      {"op", row.op},
                      {"kernel", row.kernel},
                      {"steps", static_cast<double>(row.steps) / runs},
                      {"ms", row.ms / runs},
                      {"percent", percent},
                      {"gflops", gflops},
                      {"gbytes_per_second", gbytes}});
  }
  console.print("\n{}", table.render(console));
  rows_.clear();
  return layers;
}

}  // namespace lathe::tools
