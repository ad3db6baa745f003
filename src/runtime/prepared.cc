#include "runtime/prepared.h"

#include <algorithm>

#include "base/error.h"

namespace lathe {
namespace {

constexpr int64_t kUnbound = std::numeric_limits<int64_t>::min();

// Calls visit(number) for every number of the key, until one returns false.
template <class Visit>
bool walk_key(const Wiring& wiring, const RunSizes& sizes, Visit&& visit) {
  for (const TensorRef& input : sizes.inputs) {
    if (!visit(static_cast<int64_t>(input.dims.size()))) return false;
    for (const int64_t size : input.dims)
      if (!visit(size)) return false;
  }
  for (const int64_t size : sizes.counted)
    if (!visit(size)) return false;
  if (sizes.outer == nullptr) return true;
  for (const std::string& name : wiring.outer_symbols)
    if (!visit(sizes.outer->find(name).value_or(kUnbound))) return false;
  return true;
}

class Preparation {
 public:
  Preparation(const Wiring& wiring, const RunSizes& sizes, DeviceContext& device)
      : wiring_(wiring), program_(wiring.program), sizes_(sizes), inputs_(sizes.inputs), device_(device) {}

  std::unique_ptr<Prepared> run(std::span<const std::shared_ptr<const Placement>> capacities) && {
    walk_key(wiring_, sizes_, [&](int64_t number) {
      prepared_->key.push_back(number);
      return true;
    });
    bind_symbols(sizes_.outer);
    check_inputs();
    evaluate_values();
    prepared_->steps.resize(program_.steps.size());
    for (size_t s = 0; s < program_.steps.size(); ++s) {
      const Node& node = *program_.steps[s].node;
      try {
        prepare_step(s);
      } catch (Error& error) {
        throw error.in_node(node.name(), op_name(node.op()));
      }
    }
    place_buffers(capacities);
    prepared_->recordable = device_.can_record() && may_be_recorded();
    return std::move(prepared_);
  }

 private:
  bool may_be_recorded() const {
    for (size_t s = 0; s < program_.steps.size(); ++s)
      if (prepared_->steps[s].late || !program_.steps[s].step->recordable()) return false;
    return true;
  }

  // Symbols that stand alone in the type of an input, wherever they do, hide those of the same name outside.
  void bind_symbols(const SymbolBindings* outer) {
    SymbolBindings& symbols = prepared_->symbols;
    for (size_t i = 0; i < inputs_.size(); ++i) {
      if (!wiring_.graph.inputs()[i]->type().is_tensor()) continue;
      const std::vector<std::string>& names = wiring_.axis_symbols[static_cast<size_t>(program_.inputs[i])];
      for (size_t axis = 0; axis < names.size(); ++axis)
        if (!names[axis].empty() && !symbols.find(names[axis])) symbols.bind(names[axis], inputs_[i].dims[axis]);
    }
    for (const std::string& name : wiring_.outer_symbols)
      if (const auto value = outer == nullptr ? std::nullopt : outer->find(name)) symbols.bind(name, *value);
    for (size_t i = 0; i < sizes_.counted.size(); ++i) symbols.bind(wiring_.counted[i].symbol, sizes_.counted[i]);
    prepared_->input_symbols = symbols.mark();
  }

  void check_inputs() const {
    for (size_t i = 0; i < inputs_.size(); ++i) {
      const Value& value = *wiring_.graph.inputs()[i];
      const size_t rank = value.type().is_tensor() ? value.shape().size() : 0;
      for (size_t axis = 0; axis < rank; ++axis) {
        const int64_t expected = prepared_->symbols.evaluate(value.shape()[axis]);
        if (inputs_[i].dims[axis] != expected)
          fail(ErrorCode::invalid_argument, "input '{}' has size {} along axis {}, but {} = {} (model: {})",
               value.name(), inputs_[i].dims[axis], axis, value.shape()[axis].to_string(), expected,
               to_string(value.shape()));
      }
    }
  }

  void evaluate_values() {
    prepared_->dims.resize(program_.values.size());
    prepared_->known.assign(program_.values.size(), false);
    for (size_t v = 0; v < program_.values.size(); ++v) {
      const Value& value = *program_.values[v].value;
      const auto root = static_cast<size_t>(program_.values[v].root);
      std::vector<int64_t>& dims = prepared_->dims[v];
      if (is_object(value.type())) continue;
      if (const int input = wiring_.input_of_root[v]; input >= 0) {  // the rank of an input may be known only now
        const auto given = inputs_[static_cast<size_t>(input)].dims;
        dims.assign(given.begin(), given.end());
        prepared_->known[v] = true;
      } else if (root == v || prepared_->known[root]) {
        prepared_->known[v] = evaluate_sizes(prepared_->symbols, value, dims);
        if (prepared_->known[v] && root != v) check_view(prepared_->dims[root], dims);
      }
    }
  }

  void prepare_step(size_t s) {
    const ProgramStep& step = program_.steps[s];
    PreparedStep& target = prepared_->steps[s];
    const std::vector<std::string>& mentioned = wiring_.mentioned[s];
    target.late = step.step == nullptr || std::any_of(mentioned.begin(), mentioned.end(), [&](const std::string& name) {
                    return !prepared_->symbols.find(name);
                  });
    const auto refs = [&](const std::vector<int>& values, std::vector<TensorRef>& out) {
      for (const int v : values) {
        TensorRef ref;
        if (v >= 0) {
          const auto index = static_cast<size_t>(v);
          ref = {nullptr, program_.values[index].value->dtype(), prepared_->dims[index], true, nullptr};
          target.late |= !prepared_->known[index];
        }
        out.push_back(ref);
      }
    };
    refs(step.inputs, target.inputs);
    refs(step.outputs, target.outputs);
    if (target.late) {
      target.dims.resize(step.inputs.size() + step.outputs.size());
      target.symbols.resize(mentioned.size());
      return;
    }
    const StepIo io{target.inputs, target.outputs, &prepared_->symbols, device_.threads(), nullptr};
    target.workspace_bytes = step.step->workspace_bytes(io);
    target.state = step.step->prepare(io);
    target.cost = cost_of_step(step, io);
  }

  void place_buffers(std::span<const std::shared_ptr<const Placement>> capacities) {
    const size_t values = program_.values.size();
    std::vector<size_t> bytes(values + program_.steps.size(), kNotInArena);
    for (size_t s = 0; s < program_.steps.size(); ++s) {
      for (const int output : program_.steps[s].outputs) {
        const auto v = static_cast<size_t>(output);
        if (static_cast<size_t>(program_.values[v].root) != v) continue;
        if (!prepared_->known[v]) {
          ++prepared_->late_values;
        } else if (wiring_.output_of_root[v] < 0) {
          bytes[v] = storage_bytes(program_.values[v].value->dtype(), element_count(prepared_->dims[v]));
          prepared_->activation_bytes += bytes[v];
        }
      }
      const size_t workspace = prepared_->steps[s].workspace_bytes;
      if (workspace > 0) bytes[values + s] = workspace;
      prepared_->largest_workspace = std::max(prepared_->largest_workspace, workspace);
    }
    const auto large_enough = std::find_if(capacities.begin(), capacities.end(),
                                           [&](const auto& placement) { return fits(bytes, *placement); });
    prepared_->placement = large_enough != capacities.end() ? *large_enough : place(program_, std::move(bytes));
  }

  const Wiring& wiring_;
  const Program& program_;
  const RunSizes& sizes_;
  std::span<const TensorRef> inputs_;
  DeviceContext& device_;
  std::unique_ptr<Prepared> prepared_ = std::make_unique<Prepared>();
};

}  // namespace

bool is_prepared_for(const Prepared& prepared, const Wiring& wiring, const RunSizes& sizes) {
  const int64_t* next = prepared.key.data();
  const int64_t* const end = next + prepared.key.size();
  return walk_key(wiring, sizes, [&](int64_t number) { return next != end && *next++ == number; }) && next == end;
}

std::unique_ptr<Prepared> prepare(const Wiring& wiring, const RunSizes& sizes,
                                  std::span<const std::shared_ptr<const Placement>> capacities, DeviceContext& device) {
  return Preparation(wiring, sizes, device).run(capacities);
}

bool evaluate_sizes(const SymbolBindings& symbols, const Value& value, std::vector<int64_t>& dims) {
  const Type& type = value.type();
  dims.clear();
  if (!type.ranked) return false;
  for (size_t axis = 0; axis < type.shape.size(); ++axis) {
    const std::optional<int64_t> size = symbols.try_evaluate(type.shape[axis]);
    if (!size) {
      dims.clear();
      return false;
    }
    if (*size < 0)
      fail(ErrorCode::invalid_argument,
           "value '{}' would have size {} along axis {} ({}): the input sizes do not fit this model", value.name(),
           *size, axis, type.shape[axis].to_string());
    dims.push_back(*size);
  }
  // Steps multiply sizes and strides without a second thought.
  const int64_t elements = element_count(dims);
  if (type.dtype != DType::string) storage_bytes(type.dtype, elements);
  return true;
}

void check_view(std::span<const int64_t> available, std::span<const int64_t> wanted) {
  if (element_count(available) != element_count(wanted))
    fail(ErrorCode::invalid_argument, "{} cannot be viewed as {}", to_string(available), to_string(wanted));
}

Cost cost_of_step(const ProgramStep& step, const StepIo& io) {
  const auto sized = [](std::span<const TensorRef> refs) {
    std::vector<SizedType> types;
    for (const TensorRef& ref : refs) types.push_back({ref.dtype, ref.dims, ref.present});
    return types;
  };
  return cost_of(step.node->op(), sized(io.inputs), sized(io.outputs));
}

}  // namespace lathe
