#include "precision/measure.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <set>

#include "base/error.h"
#include "graph/build.h"
#include "passes/passes.h"
#include "passes/pipeline.h"
#include "runtime/session.h"

namespace lathe::precision {
namespace {

using Clock = std::chrono::steady_clock;

// Sums over the elements of two values, one of which is right.
struct Sums {
  double dot = 0, expected = 0, found = 0, max_error = 0;
  bool finite = true;

  void add(double e, double f) {
    if (!std::isfinite(e)) return;  // a mask: says nothing about precision
    if (!std::isfinite(f)) {
      finite = false;
      return;
    }
    dot += e * f;
    expected += e * e;
    found += f * f;
    max_error = std::max(max_error, std::abs(e - f));
  }
  void add(const Tensor& e, const Tensor& f) {
    if (e.dtype() == DType::f32 && f.dtype() == DType::f32) {
      const auto es = e.as<float>(), fs = f.as<float>();
      for (size_t i = 0; i < es.size(); ++i) add(es[i], fs[i]);
    } else {
      for (int64_t i = 0; i < e.elements(); ++i) add(e.read_double(i), f.read_double(i));
    }
  }
  Agreement agreement() const {
    Agreement a;
    a.finite = finite && std::isfinite(dot) && std::isfinite(found);
    a.max_error = a.finite ? max_error : std::numeric_limits<double>::infinity();
    const double norms = std::sqrt(expected) * std::sqrt(found);
    if (norms > 0) a.cosine = std::min(1.0, dot / norms);
    if (norms == 0 && expected != found) a.cosine = 0;
    if (!a.finite) a.cosine = -1;
    return a;
  }
};

Tensor copy_of(const Output& output) {
  Tensor tensor(output.dtype, {output.dims.begin(), output.dims.end()});
  const auto bytes = tensor.mutable_bytes();
  std::copy_n(static_cast<const std::byte*>(output.data), bytes.size(), bytes.data());
  return tensor;
}

bool is_number(DType type) { return is_float(type) || is_integer(type) || type == DType::boolean; }

// Scores of classes, of a request or of each of its tokens.
bool has_classes(const Tensor& tensor) {
  return (tensor.dtype() == DType::f32 || is_half(tensor.dtype())) && (tensor.rank() == 2 || tensor.rank() == 3) &&
         tensor.dims().back() > 1;
}

// The class that each row names.
std::vector<int64_t> classes_of(const Tensor& tensor) {
  const auto columns = static_cast<size_t>(tensor.dims().back());
  std::vector<int64_t> classes;
  visit_native(tensor.dtype(), [&]<class T>() {
    if constexpr (!std::is_same_v<T, bool>) {
      const std::span<const T> values = tensor.as<T>();
      for (size_t at = 0; at < values.size(); at += columns) {
        size_t best = at;
        for (size_t i = at + 1; i < at + columns; ++i)
          if (static_cast<float>(values[i]) > static_cast<float>(values[best])) best = i;
        classes.push_back(static_cast<int64_t>(best - at));
      }
    }
  });
  return classes;
}

// What the classes that an output names have become, over all batches.
struct Classes {
  std::set<int64_t> expected, found;  // of requests
  size_t rows = 0, same = 0;

  void add(const Tensor& right, const Tensor& other) {
    if (!has_classes(right)) return;
    const std::vector<int64_t> a = classes_of(right), b = classes_of(other);
    rows += a.size();
    for (size_t i = 0; i < a.size(); ++i) same += a[i] == b[i] ? 1 : 0;
    if (right.rank() > 2) return;
    expected.insert(a.begin(), a.end());
    found.insert(b.begin(), b.end());
  }
  bool collapsed() const { return expected.size() > 1 && found.size() == 1; }
  double top1() const { return rows > 0 ? static_cast<double>(same) / static_cast<double>(rows) : 1; }
};

void check_reference(const Recorded& expected) {
  bool number = false, nonzero = false;
  for (const auto& outputs : expected)
    for (const Tensor& tensor : outputs)
      for (int64_t i = 0; is_number(tensor.dtype()) && i < tensor.elements(); ++i) {
        const double x = tensor.read_double(i);
        number = number || std::isfinite(x);
        nonzero = nonzero || (std::isfinite(x) && x != 0);
      }
  if (number && nonzero) return;
  throw Error(ErrorCode::invalid_argument,
              number ? "in f32, all outputs are zero on the calibration inputs" : "in f32, no output is a number")
      .remedy("Accuracy cannot be judged on these inputs: give real ones by --calib");
}

// A copy of a layer right behind it, reading the same operands.
Node* insert_twin(Graph& graph, Node* node, Node* next) {
  std::vector<Type> types;
  for (const Value* output : node->outputs()) types.push_back(output->type());
  std::vector<Value*> inputs(node->inputs().begin(), node->inputs().end());
  if (next != nullptr) return graph.insert_typed_before(next, node->op(), inputs, types, node->name());
  return graph.append_typed(node->op(), inputs, types, node->name());
}

std::vector<int64_t> all_axes(const Value* value) {
  std::vector<int64_t> axes;
  for (size_t i = 0; i < value->shape().size(); ++i) axes.push_back(static_cast<int64_t>(i));
  return axes;
}

// A layer beside itself in another type.
struct Pair {
  Node *layer = nullptr, *twin = nullptr, *next = nullptr;  // the latter null at the end of the graph
};

constexpr size_t kSumsPerLayer = 4;

// The sums over both results as outputs, computed at once: the results then need not stay in memory.
void emit_sums(Graph& graph, const Pair& pair) {
  const Place place(graph, pair.next);
  Value *expected = pair.layer->output(), *twin = pair.twin->output();
  Value* found = twin->dtype() == DType::f32 ? twin : cast(place, twin, DType::f32);
  const auto axes = all_axes(expected);
  const auto output = [&](ReduceKind kind, Value* of) {
    graph.add_output(reduce(place, kind, of, axes, false), std::to_string(graph.outputs().size()));
  };
  output(ReduceKind::sum, map2(place, MapOp::mul, expected, found));
  output(ReduceKind::sum_square, expected);
  output(ReduceKind::sum_square, found);
  output(ReduceKind::max, map1(place, MapOp::abs, map2(place, MapOp::sub, expected, found)));
}

// The time that steps take, without what goes on between them.
class StepTimes : public StepObserver {
 public:
  void before(size_t) override { start_ = Clock::now(); }
  void after(size_t, const StepIo&) override { total_ += Clock::now() - start_; }
  Clock::duration total() const { return total_; }

 private:
  Clock::time_point start_;
  Clock::duration total_{};
};

double milliseconds(Clock::duration time) { return std::chrono::duration<double, std::milli>(time).count(); }

double median_ms(Session& session, const Batch& batch) {
  constexpr size_t kLeastRuns = 5;
  constexpr auto kTime = std::chrono::milliseconds(200);
  for (int i = 0; i < 2; ++i) run(session, batch);  // warm up
  std::vector<double> times;
  for (const auto end = Clock::now() + kTime; times.size() < kLeastRuns || Clock::now() < end;) {
    const auto start = Clock::now();
    run(session, batch);
    times.push_back(milliseconds(Clock::now() - start));
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

double steps_ms(Session& session, const Batch& batch) {
  StepTimes times;
  session.impl().observer = &times;
  run(session, batch);
  session.impl().observer = nullptr;
  return milliseconds(times.total());
}

size_t weight_bytes(const CompiledModel& model) {
  size_t bytes = 0;
  for (const Weight& weight : model.program.weights)  // whose elements the engine may have let go of
    bytes += bytes_in_layout(weight.constant(), weight.layout, *model.backend);
  return bytes;
}

}  // namespace

void apply_and_rewrite(Graph& graph, const Assignment& assignment, const ApplyOptions& options,
                       ConvertedWeights& weights) {
  apply(graph, assignment, options, weights);
  passes::run_quantised_stage(graph);
}

Recorded record(const std::shared_ptr<const Engine>& engine, const Batches& batches, const RunOptions& options) {
  Recorded recorded;
  Session session = session_of(engine, options);
  for (const Batch& batch : batches) {
    auto& outputs = recorded.emplace_back();
    for (const Output& output : run(session, batch)) outputs.push_back(copy_of(output));
  }
  return recorded;
}

std::vector<OutputAgreement> compare(const Recorded& expected, const std::shared_ptr<const Engine>& engine,
                                     const Batches& batches, const RunOptions& options) {
  const auto& infos = engine->outputs();
  std::vector<Sums> sums(infos.size());
  std::vector<size_t> resized(sums.size());
  std::vector<Classes> classes(sums.size());
  Session session = session_of(engine, options);
  for (size_t b = 0; b < batches.size(); ++b) {
    const auto outputs = run(session, batches[b]);
    for (size_t o = 0; o < sums.size(); ++o) {
      const Tensor& right = expected[b][o];
      const Tensor found = copy_of(outputs[o]);
      if (!is_number(right.dtype())) continue;
      if (found.dims() != right.dims()) {
        ++resized[o];
        continue;
      }
      sums[o].add(right, found);
      classes[o].add(right, found);
    }
  }
  std::vector<OutputAgreement> agreements;
  for (size_t o = 0; o < sums.size(); ++o) {
    Agreement agreement = sums[o].agreement();
    agreement.top1 = classes[o].top1();
    agreement.collapsed = classes[o].collapsed();
    agreement.resized = resized[o];
    if (agreement.resized == batches.size()) agreement.cosine = 0;  // nothing speaks for it
    agreements.push_back({infos[o].name, agreement});
  }
  return agreements;
}

Agreement worst(std::span<const OutputAgreement> outputs) {
  Agreement worst;
  for (const auto& [output, agreement] : outputs) {
    worst.cosine = std::min(worst.cosine, agreement.cosine);
    worst.max_error = std::max(worst.max_error, agreement.max_error);
    worst.top1 = std::min(worst.top1, agreement.top1);
    worst.finite = worst.finite && agreement.finite;
    worst.collapsed = worst.collapsed || agreement.collapsed;
  }
  return worst;
}

Measurer::Measurer(const Graph& graph, const RunOptions& options, const Batches& batches)
    : graph_(graph), options_(options), batches_(batches), weights_(options.passing_weights) {
  const auto engine = engine_of(graph.clone(), options);
  expected_ = record(engine, batches, options);
  check_reference(expected_);
  reference_speed_ = speed_of(engine, batches[0]);
}

std::vector<Agreement> Measurer::probe(const std::vector<Candidate>& layers, const ApplyOptions& options) {
  last_.reset();
  std::unique_ptr<Graph> graph = graph_.clone();
  while (!graph->outputs().empty()) graph->erase_output(0);
  const std::vector<Node*> nodes = nodes_of(*graph);
  std::map<const Node*, LayerType> types;
  std::vector<Pair> pairs;
  for (const Candidate& layer : layers) {
    Node* next = layer.node + 1 < nodes.size() ? nodes[layer.node + 1] : nullptr;
    Node* twin = insert_twin(*graph, nodes[layer.node], next);
    pairs.push_back({nodes[layer.node], twin, next});
    types[twin] = layer.type;
  }
  Assignment assignment;
  for (const Node* node : nodes_of(*graph)) {
    const auto found = types.find(node);
    assignment.push_back(found != types.end() ? found->second : LayerType{});
  }
  apply(*graph, assignment, options, weights_);
  for (const Pair& pair : pairs) emit_sums(*graph, pair);
  passes::run_quantised_stage(*graph);

  std::vector<Sums> sums(layers.size());
  Session session = session_of(engine_of(std::move(graph), options_), options_);
  for (const Batch& batch : batches_) {
    const auto outputs = run(session, batch);
    const auto number = [&](size_t layer, size_t which) {
      return static_cast<double>(outputs[layer * kSumsPerLayer + which].as<float>()[0]);
    };
    for (size_t i = 0; i < sums.size(); ++i) {
      sums[i].dot += number(i, 0);
      sums[i].expected += number(i, 1);
      sums[i].found += number(i, 2);
      sums[i].max_error = std::max(sums[i].max_error, number(i, 3));
    }
  }
  std::vector<Agreement> agreements;
  for (const Sums& layer : sums) agreements.push_back(layer.agreement());
  return agreements;
}

std::vector<OutputAgreement> Measurer::measure(const Assignment& assignment, const ApplyOptions& options) {
  return compare(expected_, engine_for(assignment, options), batches_, options_);
}

std::shared_ptr<const Engine> Measurer::engine_for(const Assignment& assignment, const ApplyOptions& options) {
  if (last_ != nullptr && assignment == last_assignment_) return last_;
  last_.reset();
  std::unique_ptr<Graph> graph = graph_.clone();
  apply_and_rewrite(*graph, assignment, options, weights_);
  last_assignment_ = assignment;
  return last_ = engine_of(std::move(graph), options_);
}

Speed Measurer::speed_of(const std::shared_ptr<const Engine>& engine, const Batch& inputs) const {
  const size_t bytes = weight_bytes(engine->impl().model);
  if (options_.run_ms) return {options_.run_ms(bytes), bytes};
  Session session(engine, {.threads = options_.threads});
  return {options_.passing_weights ? steps_ms(session, inputs) : median_ms(session, inputs), bytes};
}

Speed Measurer::speed(const Assignment& assignment, const ApplyOptions& options) {
  return speed(assignment, options, batches_[0]);
}

Speed Measurer::speed(const Assignment& assignment, const ApplyOptions& options, const Batch& inputs) {
  return speed_of(engine_for(assignment, options), inputs);
}

}  // namespace lathe::precision
