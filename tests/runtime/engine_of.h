// Small graphs, written in the text form, as engines; their results as tensors; and the reference evaluator's results
// to compare them with.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "build/compiler.h"
#include "graph/reference/evaluator.h"
#include "graph/text.h"
#include "lathe/lathe.h"
#include "runtime/engine.h"
#include "runtime/session.h"

namespace lathe::test {

using Sizes = std::vector<int64_t>;

inline std::shared_ptr<const Engine> engine_of(const std::string& text, const CompileOptions& options = {}) {
  return make_engine(compile(parse_graph(text), options));
}
inline CompileOptions on_device(const std::string& device) {
  CompileOptions options;
  options.device = device;
  return options;
}
inline CompileOptions on_isa(Isa isa) {
  CompileOptions options;
  options.isa = isa;
  return options;
}
// As written: no pass runs, so that a test sees the steps that it spells out.
inline CompileOptions unoptimised() {
  CompileOptions options;
  options.optimise = false;
  return options;
}

inline std::vector<Isa> isas_of_this_machine() {
  std::vector<Isa> isas;
  for (const Isa isa : {Isa::generic, Isa::avx2, Isa::avx512})
    if (isa <= detect_cpu_features().best_isa) isas.push_back(isa);
  return isas;
}

// Uniform in [-2, 2]; the same seed gives the same tensor.
inline Tensor floats(Sizes dims, uint32_t seed = 1) {
  Tensor tensor(DType::f32, std::move(dims));
  std::mt19937 engine(seed);
  std::uniform_real_distribution<float> uniform(-2, 2);
  for (float& x : tensor.mutable_as<float>()) x = uniform(engine);
  return tensor;
}

inline std::vector<Input> inputs_of(const Engine& engine, const std::vector<Tensor>& tensors) {
  std::vector<Input> inputs;
  for (size_t i = 0; i < tensors.size(); ++i)
    inputs.emplace_back(engine.inputs().at(i).name, tensors[i].dtype(), tensors[i].dims(), tensors[i].bytes().data());
  return inputs;
}

inline Tensor tensor_of(const Output& output) {
  Tensor tensor(output.dtype, {output.dims.begin(), output.dims.end()});
  if (!tensor.bytes().empty()) std::memcpy(tensor.mutable_bytes().data(), output.data, tensor.bytes().size());
  return tensor;
}

// Runs with the inputs in the model's order.
inline std::vector<Tensor> run(Session& session, const std::vector<Tensor>& tensors) {
  std::vector<Tensor> results;
  for (const Output& output : session.run(inputs_of(session.engine(), tensors))) results.push_back(tensor_of(output));
  return results;
}

inline std::vector<Tensor> reference(const std::string& text, const std::vector<Tensor>& tensors) {
  const std::unique_ptr<Graph> graph = parse_graph(text);
  std::vector<Tensor> results;
  for (const RefValue& value : evaluate(*graph, std::vector<RefValue>(tensors.begin(), tensors.end())))
    results.push_back(std::get<Tensor>(value));
  return results;
}

inline void expect_close(const std::vector<Tensor>& actual, const std::vector<Tensor>& expected,
                         double tolerance = 2e-5) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t o = 0; o < actual.size(); ++o) {
    ASSERT_EQ(actual[o].dtype(), expected[o].dtype()) << "output " << o;
    ASSERT_EQ(actual[o].dims(), expected[o].dims()) << "output " << o;
    for (int64_t i = 0; i < actual[o].elements(); ++i) {
      const double x = actual[o].read_double(i), y = expected[o].read_double(i);
      if (std::isnan(x) && std::isnan(y)) continue;
      ASSERT_LE(std::fabs(x - y), tolerance * (1 + std::fabs(y))) << "output " << o << ", element " << i;
    }
  }
}

// One session each for the optimised graph, the graph as written and the reference device does all the runs, twice: in
// every one the results are those of the reference evaluator.
inline void expect_reference(const std::string& text, const std::vector<std::vector<Tensor>>& runs) {
  for (const CompileOptions& options : {CompileOptions(), unoptimised(), on_device("reference")}) {
    Session session(engine_of(text, options), {1});
    for (int round = 0; round < 2; ++round)
      for (const std::vector<Tensor>& inputs : runs) expect_close(run(session, inputs), reference(text, inputs));
  }
}

// The error that `call` throws; fails the test when it throws none.
template <class F>
Error error_of(F&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return {ErrorCode::internal, "nothing was thrown"};
}

}  // namespace lathe::test
