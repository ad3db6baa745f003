#include "graph/hash.h"

#include <bit>
#include <cstring>

#include "graph/fields.h"

namespace lathe {

void Hasher::add(std::span<const std::byte> bytes) {
  add(bytes.size());
  uint64_t word = 0;
  for (; bytes.size() >= sizeof(word); bytes = bytes.subspan(sizeof(word))) {
    std::memcpy(&word, bytes.data(), sizeof(word));
    add(word);
  }
  if (bytes.empty()) return;
  word = 0;
  std::memcpy(&word, bytes.data(), bytes.size());
  add(word);
}

namespace {

void add_field(Hasher& h, const std::string& text) { h.add(std::string_view(text)); }
void add_field(Hasher& h, double value) { h.add(std::bit_cast<uint64_t>(value)); }
void add_field(Hasher& h, const Dim& dim) {
  if (dim.is_constant())
    h.add(static_cast<uint64_t>(dim.value()));
  else
    h.add(std::string_view(dim.to_string()));
}
void add_field(Hasher& h, const Tensor& tensor) { h.add(hash(tensor)); }
void add_field(Hasher& h, const Region& region) { h.add(hash(region.graph())); }

template <class T>
requires(std::is_integral_v<T> || std::is_enum_v<T>) void add_field(Hasher& h, T value) {
  h.add(static_cast<uint64_t>(value));
}
void add_field(Hasher& h, const MapInstr& instr);
void add_field(Hasher& h, const MapProgram& program);
template <class T>
void add_field(Hasher& h, const std::vector<T>& values) {
  h.add(values.size());
  for (const T& value : values) add_field(h, value);
}
template <class T>
void add_field(Hasher& h, const std::optional<T>& value) {
  h.add(value.has_value() ? 1u : 0u);
  if (value) add_field(h, *value);
}

void add_field(Hasher& h, const MapInstr& instr) {
  h.add(static_cast<uint64_t>(instr.op) << 8 | static_cast<uint64_t>(instr.type));
  for (const int32_t arg : instr.args) h.add(static_cast<uint64_t>(arg));
  add_field(h, instr.real);
  add_field(h, instr.integer);
}

void add_field(Hasher& h, const MapProgram& program) {
  h.add(static_cast<uint64_t>(program.num_inputs()));
  add_field(h, program.code());
  add_field(h, program.dims());
}

}  // namespace

uint64_t hash(std::span<const std::byte> bytes) {
  Hasher h;
  h.add(bytes);
  return h.finish();
}

uint64_t hash(const Tensor& tensor) {
  Hasher h;
  add_field(h, tensor.dtype());
  add_field(h, tensor.dims());
  if (tensor.dtype() == DType::string) {
    for (const std::string& text : tensor.strings()) add_field(h, text);
  } else if (tensor.is_deferred()) {
    add_field(h, tensor.deferred_id());
  } else {
    h.add(tensor.bytes());
  }
  return h.finish();
}

uint64_t hash(const Type& type) {
  Hasher h;
  add_field(h, type.kind);
  add_field(h, type.dtype);
  add_field(h, type.ranked);
  add_field(h, type.shape);
  return h.finish();
}

uint64_t hash(const Op& op) {
  Hasher h;
  h.add(op_name(op));
  std::visit([&](const auto& o) { o.fields(o, [&](std::string_view, const auto& field) { add_field(h, field); }); },
             op);
  return h.finish();
}

uint64_t hash(const Graph& graph) {
  constexpr uint64_t kAbsent = UINT64_MAX;
  Hasher h;
  std::unordered_map<const Value*, uint64_t> number{{nullptr, kAbsent}};
  const auto define = [&](std::span<Value* const> values) {
    h.add(values.size());
    for (const Value* value : values) {
      number.emplace(value, number.size());
      h.add(hash(value->type()));
    }
  };
  const auto use = [&](std::span<Value* const> values) {
    h.add(values.size());
    for (const Value* value : values) h.add(number.at(value));
  };
  define(graph.inputs());
  for (const auto& node : graph.nodes()) {
    h.add(hash(node->op()));
    use(node->inputs());
    define(node->outputs());
  }
  use(graph.outputs());
  add_field(h, graph.output_names());
  return h.finish();
}

}  // namespace lathe
