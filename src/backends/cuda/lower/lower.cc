#include "backends/cuda/lower/lower.h"

#include <algorithm>

namespace lathe::cuda {
namespace {

// Ops that run on the host, and why. An op that has neither a reason here nor an overload of lower() does not compile.
std::string_view host_reason(const Constant&) { return "a weight is uploaded, not computed"; }
std::string_view host_reason(const Bind&) { return "the host must know these values to size what follows"; }
std::string_view host_reason(const If&) { return "the host decides which branch runs"; }
std::string_view host_reason(const Loop&) { return "the host decides how often the body runs"; }
std::string_view host_reason(const Scan&) { return "the host runs the body step by step"; }
std::string_view host_reason(const Extern&) { return "its kernels are of the host"; }
std::string_view host_reason(const Sequence&) { return "sequences and optionals are objects of the host"; }

bool all_ranked(std::span<Value* const> values) {
  return std::all_of(values.begin(), values.end(),
                     [](const Value* v) { return v == nullptr || !v->type().is_tensor() || v->type().ranked; });
}

}  // namespace

std::string_view why_on_host(const Op& op) {
  return std::visit(
      [](const auto& o) {
        if constexpr (requires { host_reason(o); })
          return host_reason(o);
        else
          return std::string_view();
      },
      op);
}

// Kernels are specialised by the ranks of their operands, so these must be known when lowering.
Candidates candidates_for(const Node& node, const Target& target) {
  if (const std::string_view why = why_on_host(node.op()); !why.empty()) return {decline("host", std::string(why))};
  if (!all_ranked(node.inputs()) || !all_ranked(node.outputs()))
    return {decline("any", "the rank of a tensor is not known before running")};
  return std::visit(
      [&](const auto& op) -> Candidates {
        if constexpr (requires { host_reason(op); })
          return {};
        else
          return lower(op, node, target);
      },
      node.op());
}

}  // namespace lathe::cuda
