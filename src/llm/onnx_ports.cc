#include "llm/onnx_ports.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "base/error.h"
#include "graph/bindings.h"

namespace lathe::llm {
namespace {

using Role = OnnxPorts::Role;

std::optional<Role> role_of(const Value& input) {
  const std::string& name = input.name();
  const int64_t rank = input.type().rank();
  if (name == "attention_mask" && rank == 2) return Role::mask;
  if (name == "attention_mask" && rank == 4 && input.dtype() == DType::boolean) return Role::masked;
  if (name == "encoder_hidden_states" && rank == 3 && is_float(input.dtype())) return Role::source_states;
  if (name == "encoder_attention_mask" && rank == 2) return Role::source_mask;
  if (!is_integer(input.dtype())) return std::nullopt;
  if (name == "input_ids" && rank == 2) return Role::token_ids;
  if (name == "position_ids" && rank == 2) return Role::positions;
  if (name == "position_ids" && rank == 3) return Role::block_positions;
  if (name == "token_type_ids" && rank == 2) return Role::token_types;
  if (name == "cache_position" && rank == 1) return Role::cache_positions;
  return std::nullopt;
}

// What is left of "past_key_values.3.key", "present.3.key", "present_key_values.3.key" without the word of its side:
// "3.key". Empty for other names.
std::string pair_name(std::string_view name, std::string_view side) {
  if (!name.starts_with(side)) return {};
  name.remove_prefix(side.size());
  for (const std::string_view rest : {"_key_values", "_kv"})
    if (name.starts_with(rest)) name.remove_prefix(rest.size());
  const size_t begin = name.find_first_not_of("._");
  return begin == std::string_view::npos ? std::string() : std::string(name.substr(begin));
}

bool is_past(const Value& input) { return !pair_name(input.name(), "past").empty() && !is_integer(input.dtype()); }

// "3.encoder.key": of the source, where "3.decoder.key" is of the answer.
bool is_of_source(std::string_view name) { return name.find(".encoder.") != std::string_view::npos; }

class PortFinder {
 public:
  explicit PortFinder(const Graph& graph) : graph_(graph) {}

  OnnxPorts find() {
    find_feeds();
    bind_batch();
    for (const Value* past : pasts_) is_of_source(past->name()) ? add_kept(*past) : add_pair(*past);
    expect_presents_used();
    find_logits();
    ports_.batches = has_batch_axes();
    return std::move(ports_);
  }

 private:
  void find_feeds() {
    for (const Value* input : graph_.inputs()) {
      if (is_past(*input)) {
        pasts_.push_back(input);
      } else if (const auto role = role_of(*input)) {
        ports_.feeds.push_back({input->name(), *role, input->dtype()});
        if (*role == Role::token_ids) token_ids_ = input;
      } else {
        throw Error(ErrorCode::unsupported, fmt::format("input '{}' of type {} means nothing to a decoder",
                                                        input->name(), to_string(input->type())))
            .remedy(
                "Known: input_ids, attention_mask, position_ids, token_type_ids, cache_position, use_cache_branch, "
                "encoder_hidden_states, encoder_attention_mask, past_key_values.*");
      }
    }
    if (token_ids_ == nullptr) fail(ErrorCode::invalid_model, "a decoder has an input input_ids of [batch, tokens]");
    if (ports_.has(Role::masked) && !ports_.has(Role::block_positions))
      fail(ErrorCode::unsupported, "attention_mask is bool of rank 4, which only ChatGLM-6B's position_ids go with");
  }

  // Sizes are those of one sequence.
  void bind_batch() {
    const Dim& batch = token_ids_->shape()[0];
    if (batch.is_symbol()) symbols_.bind(batch.to_string(), 1);
  }

  // Whether the batch is the first axis, and no other, of all that a sequence brings and takes.
  bool has_batch_axes() const {
    const Dim& batch = token_ids_->shape()[0];
    if (!batch.is_symbol()) return false;
    const auto is_first = [&](const Value& value) {
      std::vector<std::string> others;
      for (size_t i = 1; i < value.shape().size(); ++i) value.shape()[i].collect_symbols(others);
      return value.type().rank() > 0 && value.shape()[0] == batch &&
             std::find(others.begin(), others.end(), batch.to_string()) == others.end();
    };
    for (const Value* input : graph_.inputs())
      if (role_of(*input) != Role::cache_positions && !is_first(*input)) return false;
    for (size_t i = 0; i < graph_.outputs().size(); ++i) {
      const std::string& name = graph_.output_names()[i];
      // The half that continues sequences gives nothing of the source back.
      const bool taken = i == ports_.logits || (!pair_name(name, "present").empty() &&
                                                (!is_of_source(name) || ports_.has(Role::source_states)));
      if (taken && !is_first(*graph_.outputs()[i])) return false;
    }
    return true;
  }

  void add_kept(const Value& past) {
    OnnxPorts::Kept kept{past.name(), "present." + pair_name(past.name(), "past"), past.dtype(), {}};
    for (const Dim& dim : past.type().shape) kept.dims.push_back(symbols_.try_evaluate(dim).value_or(0));
    if (std::count(kept.dims.begin(), kept.dims.end(), 0) != 1)
      fail(ErrorCode::unsupported, "more than one size of '{}' is open: {}", past.name(), to_string(past.type()));
    ports_.kept.push_back(std::move(kept));
  }

  void add_pair(const Value& past) {
    const std::string wanted = pair_name(past.name(), "past");
    const auto& names = graph_.output_names();
    const auto found = std::find_if(names.begin(), names.end(),
                                    [&](const std::string& name) { return pair_name(name, "present") == wanted; });
    if (found == names.end())
      fail(ErrorCode::invalid_model, "no output continues '{}': there is no 'present.{}'", past.name(), wanted);
    const auto index = static_cast<size_t>(found - names.begin());
    const Value& present = *graph_.outputs()[index];
    const Type& type = present.type();
    if (type.dtype != past.dtype() || type.rank() != past.type().rank())
      fail(ErrorCode::invalid_model, "'{}' of {} does not continue '{}' of {}", *found, to_string(type), past.name(),
           to_string(past.type()));
    paired_.push_back(index);
    OnnxPorts::Pair pair{past.name(), *found, type.dtype, {}, token_axis(past, type)};
    for (size_t i = 0; i < type.shape.size(); ++i) pair.dims.push_back(i == pair.axis ? 0 : size_of(past, present, i));
    ports_.pairs.push_back(std::move(pair));
  }

  size_t token_axis(const Value& past, const Type& present) const {
    std::vector<size_t> axes;
    for (size_t i = 0; i < present.shape.size(); ++i) {
      const Dim &before = past.shape()[i], &after = present.shape[i];
      std::vector<std::string> symbols;
      after.collect_symbols(symbols);
      const bool counts_past = std::find(symbols.begin(), symbols.end(), before.to_string()) != symbols.end();
      if (counts_past && !(before == after)) axes.push_back(i);
    }
    if (axes.size() != 1)
      fail(ErrorCode::invalid_model, "'{}' of {} should become longer along one axis, but becomes {}", past.name(),
           to_string(past.type()), to_string(present));
    return axes.front();
  }

  // BLOOM's first exports name a size "batch_x_heads"; what is appended to the past says how much that is.
  int64_t size_of(const Value& past, const Value& present, size_t axis) const {
    std::vector<const Value*> known = {&past, &present};
    if (present.producer() != nullptr && present.producer()->is<Concat>())
      known.insert(known.end(), present.producer()->inputs().begin(), present.producer()->inputs().end());
    for (const Value* value : known)
      if (const auto size = symbols_.try_evaluate(value->shape()[axis])) return *size;
    fail(ErrorCode::unsupported, "size {} of '{}' is not known: {}", axis, past.name(), to_string(past.type()));
  }

  void expect_presents_used() const {
    for (size_t i = 0; i < graph_.outputs().size(); ++i) {
      const std::string& name = graph_.output_names()[i];
      const bool used = std::find(paired_.begin(), paired_.end(), i) != paired_.end();
      if (!pasts_.empty() && !used && !pair_name(name, "present").empty() && !is_of_source(name))
        fail(ErrorCode::invalid_model, "no input takes what output '{}' gives", name);
    }
  }

  void find_logits() {
    const auto& names = graph_.output_names();
    const auto found = std::find(names.begin(), names.end(), "logits");
    if (found == names.end()) fail(ErrorCode::invalid_model, "a decoder has an output logits");
    ports_.logits = static_cast<size_t>(found - names.begin());
    const Type& type = graph_.outputs()[ports_.logits]->type();
    if (type.rank() != 3 || !type.shape[2].is_constant())
      fail(ErrorCode::unsupported, "logits are {}, not [batch, tokens, vocabulary]", to_string(type));
    ports_.logits_dtype = type.dtype;
    ports_.vocabulary = type.shape[2].value();
    ports_.last_logits_only = type.shape[1] == Dim(1) && !(token_ids_->shape()[1] == Dim(1));
  }

  const Graph& graph_;
  const Value* token_ids_ = nullptr;
  std::vector<const Value*> pasts_;
  std::vector<size_t> paired_;  // outputs
  SymbolBindings symbols_;
  OnnxPorts ports_;
};

}  // namespace

size_t OnnxPorts::Pair::token_bytes() const {
  int64_t elements = 1;
  for (size_t i = 0; i < dims.size(); ++i)
    if (i != axis) elements *= dims[i];
  return storage_bytes(dtype, elements);
}

size_t OnnxPorts::Kept::state_bytes() const {
  int64_t elements = 1;
  for (const int64_t size : dims) elements *= size == 0 ? 1 : size;
  return storage_bytes(dtype, elements);
}

size_t OnnxPorts::Kept::parts() const {
  const auto states = std::find(dims.begin(), dims.end(), 0);
  return std::accumulate(dims.begin(), states, size_t{1},
                         [](size_t n, int64_t size) { return n * static_cast<size_t>(size); });
}

bool OnnxPorts::Pair::grows_at_end() const {
  return std::all_of(dims.begin(), dims.begin() + static_cast<std::ptrdiff_t>(axis),
                     [](int64_t size) { return size == 1; });
}

bool OnnxPorts::has(Role role) const {
  return std::any_of(feeds.begin(), feeds.end(), [&](const Feed& feed) { return feed.role == role; });
}

Value* cache_branch_input(const Graph& graph) {
  const auto found = std::find_if(graph.inputs().begin(), graph.inputs().end(), [](const Value* input) {
    return input->name() == "use_cache_branch" && input->dtype() == DType::boolean;
  });
  return found == graph.inputs().end() ? nullptr : *found;
}

bool takes_past(const Graph& graph) {
  return std::any_of(graph.inputs().begin(), graph.inputs().end(), [](const Value* input) { return is_past(*input); });
}

OnnxPorts find_ports(const Graph& graph) { return PortFinder(graph).find(); }

}  // namespace lathe::llm
