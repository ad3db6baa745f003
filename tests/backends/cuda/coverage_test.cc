// Every op of the closed set either has kernels on CUDA or says why it runs on the host.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/lower/lower.h"
#include "graph/text.h"
#include "tests/graph/every_op.h"

namespace lathe::cuda {
namespace {

template <size_t... I>
std::vector<Op> every_op(std::index_sequence<I...>) {
  return {Op(std::variant_alternative_t<I, AnyOp>())...};
}

// Without a GPU: the list of what stays on the host, so that an op that is added to it is noticed.
TEST(Coverage, OnlyControlAndObjectsRunOnTheHost) {
  std::set<std::string> on_host;
  for (const Op& op : every_op(std::make_index_sequence<std::variant_size_v<AnyOp>>()))
    if (!why_on_host(op).empty()) on_host.emplace(op_name(op));
  EXPECT_EQ(on_host, (std::set<std::string>{"bind", "constant", "extern", "if", "loop", "scan", "sequence"}));
}

// With one: the backend answers for each op, and accepts at least one node of those that have kernels.
TEST(Coverage, EveryOpHasAKernelOrAReason) {
  std::unique_ptr<Backend> backend;
  try {
    backend = make_cuda_backend({});
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();
  }
  const auto graph = parse_graph(test::kEveryOp);
  std::map<std::string, std::string> reasons;  // empty: a kernel accepts
  for (const auto& node : graph->nodes()) {
    const std::vector<Candidate> candidates = backend->candidates(*node);
    std::string& reason = reasons.try_emplace(std::string(op_name(node->op())), "nothing").first->second;
    for (const Candidate& candidate : candidates)
      if (!reason.empty()) reason = candidate.declined;
  }
  EXPECT_EQ(reasons.size(), std::variant_size_v<AnyOp>);
  // Products with weights of a few bits have kernels for halves alone; in this graph they are of f32.
  EXPECT_EQ(reasons["matmul_nbits"], "activations are not of 16 bits");
  reasons["matmul_nbits"].clear();
  for (const Op& op : every_op(std::make_index_sequence<std::variant_size_v<AnyOp>>()))
    EXPECT_EQ(reasons[std::string(op_name(op))], why_on_host(op)) << op_name(op);
}

}  // namespace
}  // namespace lathe::cuda
