#include "build/waits.h"

#include <algorithm>

#include "graph/symbols.h"

namespace lathe {
namespace {

void add(Waits::Count& count, const Node& node) {
  ++count.steps;
  count.ops.emplace(op_name(node.op()));
}

// The host counts the tokens of a mask that is an input of the model before the run.
bool is_counted_before(const Node& node) { return node.is<PackTokens>() && node.input(0)->producer() == nullptr; }

void count_step(const ProgramStep& step, Waits& waits) {
  const Node& node = *step.node;
  if (node.is<If>() || node.is<Loop>())
    add(waits.conditions, node);
  else if (step.fallback)
    add(waits.fallbacks, node);
  else if (!node.is<Scan>() && !is_counted_before(node) && !symbols_bound_by(node).empty())
    add(waits.sizes, node);
}

bool shares_any(const std::vector<std::string>& names, const std::vector<std::string>& others) {
  return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
    return std::find(others.begin(), others.end(), name) != others.end();
  });
}

// Values with memory of their own whose sizes mention a symbol that a step of this program binds.
size_t count_growing(const Program& program) {
  std::vector<std::string> late;
  for (const ProgramStep& step : program.steps) {
    if (is_counted_before(*step.node)) continue;
    for (std::string& name : symbols_bound_by(*step.node)) late.push_back(std::move(name));
  }
  size_t count = 0;
  for (size_t v = 0; v < program.values.size(); ++v) {
    const ProgramValue& value = program.values[v];
    if (value.weight >= 0 || value.root != static_cast<int>(v) || !value.value->type().is_tensor()) continue;
    std::vector<std::string> mentioned;
    collect_symbols(value.value->type(), mentioned);
    if (!value.value->type().ranked || shares_any(mentioned, late)) ++count;
  }
  return count;
}

void visit(const Program& program, Waits& waits) {
  waits.growing += count_growing(program);
  for (const ProgramStep& step : program.steps) {
    count_step(step, waits);
    for (const Program& region : step.regions) visit(region, waits);
  }
}

}  // namespace

Waits find_waits(const Program& program) {
  Waits waits;
  visit(program, waits);
  return waits;
}

}  // namespace lathe
