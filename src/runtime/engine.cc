#include "runtime/engine.h"

#include <new>
#include <unordered_map>

#include "base/error.h"
#include "runtime/model_import.h"

namespace lathe {
namespace {

TensorInfo info_of(const Type& type, const std::string& name) {
  TensorInfo info{name, type.dtype, {}};
  const bool sequence = type.kind == Type::Kind::sequence || type.kind == Type::Kind::optional_sequence;
  info.kind = sequence ? ValueKind::sequence : ValueKind::tensor;
  info.optional = type.kind == Type::Kind::optional || type.kind == Type::Kind::optional_sequence;
  info.ranked = type.ranked;
  for (const Dim& dim : type.shape) info.dims.push_back(dim.to_string());
  return info;
}

// Lets go of constants once all weights that are made of them are, so that a model is not in memory twice.
class ConstantRelease {
 public:
  ConstantRelease(Graph& graph, const Program& program) {
    for (const Weight& weight : program.weights) ++pending_[weight.node].weights;
    collect(graph);
  }
  void made(const Weight& weight) {
    Pending& pending = pending_.at(weight.node);
    if (--pending.weights > 0) return;
    Tensor& value = pending.constant->value;
    if (!value.is_deferred()) value = Tensor::deferred(value.dtype(), value.dims(), 0);
  }

 private:
  struct Pending {
    int weights = 0;
    Constant* constant = nullptr;
  };
  void collect(Graph& graph) {
    for (const auto& node : graph.nodes()) {
      if (const auto found = pending_.find(node.get()); found != pending_.end())
        found->second.constant = node->as<Constant>();
      for (Region* region : regions_of(node->mutable_op())) collect(region->graph());
    }
  }

  std::unordered_map<const Node*, Pending> pending_;
};

std::shared_ptr<const Engine> finish(std::unique_ptr<Engine::Impl> impl, const WeightOptions& weights = {}) {
  ConstantRelease release(*impl->model.graph, impl->model.program);
  impl->weights = WeightMemory(impl->model.program, *impl->model.backend, impl->model.weights,
                               {.budget = weights.budget,
                                .twin = impl->twin == nullptr ? nullptr : &impl->twin->impl().weights,
                                .passing = weights.passing,
                                .made = [&](const Weight& weight) { release.made(weight); }});
  const Graph& graph = *impl->model.graph;
  for (const Value* input : graph.inputs()) {
    impl->inputs.push_back(info_of(input->type(), input->name()));
    impl->inputs.back().state = is_state(*input);
  }
  for (size_t i = 0; i < graph.outputs().size(); ++i)
    impl->outputs.push_back(info_of(graph.outputs()[i]->type(), graph.output_names()[i]));
  return std::make_shared<const Engine>(std::move(impl));
}

// Puts the elements of all constants into the graph itself.
void load_constants(Graph& graph, const WeightSource& weights) {
  for (const auto& node : graph.nodes()) {
    if (node->is<Constant>()) {
      Tensor& value = std::get<Constant>(node->mutable_op()).value;
      value = weights.plain(value);
    }
    for (Region* region : regions_of(node->mutable_op())) load_constants(region->graph(), weights);
  }
}

// Whether a graph that was made for one device lacks what another wants to be rewritten. The reference evaluator takes
// every graph as it is.
bool wants_rewrites(const std::string& device, const std::string& made_for) {
  return device != made_for && device != "reference" && !(cuda_ordinal(device) && cuda_ordinal(made_for));
}

}  // namespace

CompiledModel lower_plan(const std::shared_ptr<Plan>& plan, const CompileOptions& options) {
  const std::string& made_for = plan->info().device;
  std::unique_ptr<Graph> graph = plan->take_graph();
  const WeightSource weights(plan, make_weight_packer(made_for));
  if (wants_rewrites(options.device, made_for)) {
    load_constants(*graph, weights);  // rewrites may read them
    return compile_optimised(std::move(graph), options);
  }
  CompileOptions compile_options = options;
  compile_options.compiled = plan->compiled_code();
  CompiledModel model = relower(std::move(graph), compile_options, plan->info().choices);
  model.weights = weights;
  return model;
}

std::shared_ptr<const Engine> make_engine(CompiledModel model, const WeightOptions& weights) {
  auto impl = std::make_unique<Engine::Impl>();
  impl->model = std::move(model);
  impl->twin = weights.twin;
  return finish(std::move(impl), weights);
}

std::shared_ptr<const Engine> open_engine(const std::filesystem::path& path, const CompileOptions& options) {
  try {
    if (!is_plan(path)) return make_engine(compile(import_graph(path), options));
    auto impl = std::make_unique<Engine::Impl>();
    const auto plan = std::make_shared<Plan>(Plan::open(path));
    impl->model = lower_plan(plan, options);
    impl->plan = plan;
    return finish(std::move(impl));
  } catch (Error& error) {
    throw error.in_file(path.string());
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::out_of_memory, "there is not enough memory for this model").in_file(path.string());
  }
}

void Engine::Impl::begin_use() {
  const std::lock_guard lock(mutex_);
  if (twin != nullptr) twin->impl().begin_use();
  weights.restore();
  ++users_;
}

void Engine::Impl::end_use(bool evict) {
  const std::lock_guard lock(mutex_);
  if (--users_ == 0 && evict) weights.evict();
  if (twin != nullptr) twin->impl().end_use(evict);
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

CompileOptions to_compile_options(const EngineOptions& options) {
  CompileOptions compile_options;
  compile_options.device = options.device;
  compile_options.kernel_cache = options.kernel_cache;
  compile_options.tf32 = options.tf32;
  if (!options.isa.empty()) {
    compile_options.isa = isa_from_string(options.isa);
    if (!compile_options.isa)
      throw Error(ErrorCode::invalid_argument, "unknown instruction set '" + options.isa + "'")
          .remedy("Known: generic, avx2, avx512");
  }
  const auto packing = passes::packing_from_string(options.packing);
  if (!packing)
    throw Error(ErrorCode::invalid_argument, "unknown packing '" + options.packing + "'")
        .remedy("Known: auto, on, off");
  compile_options.passes.packing = *packing;
  return compile_options;
}

std::shared_ptr<const Engine> Engine::open(const std::string& path, const EngineOptions& options) {
  return open_engine(path, to_compile_options(options));
}

const std::vector<TensorInfo>& Engine::inputs() const { return impl_->inputs; }
const std::vector<TensorInfo>& Engine::outputs() const { return impl_->outputs; }

}  // namespace lathe
