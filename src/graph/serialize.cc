#include "graph/serialize.h"

#include <bit>

#include "base/error.h"
#include "graph/hash.h"
#include "graph/ops/enum_names.h"
#include "graph/serialize_schema.h"

namespace lathe {
namespace {

// Integers are base-128 varints, low group first; signed ones zigzag. Numbers of values count definitions from 1; 0
// stands for an absent operand.
class Writer {
 public:
  explicit Writer(ConstantSink& sink) : sink_(sink) {}

  void put_unsigned(uint64_t value) {
    for (; value >= 0x80; value >>= 7) out_.push_back(static_cast<std::byte>(value | 0x80));
    out_.push_back(static_cast<std::byte>(value));
  }

  void put_word(uint64_t word) {
    for (int shift = 0; shift < 64; shift += 8) out_.push_back(static_cast<std::byte>(word >> shift));
  }

  void put(const Graph& graph) {
    std::unordered_map<const Value*, uint64_t> numbers{{nullptr, 0}};
    const auto define = [&](std::span<Value* const> values) {
      put_unsigned(values.size());
      for (const Value* value : values) {
        numbers.emplace(value, numbers.size());
        put(value->name());
        put(value->type());
      }
    };
    put(graph.name());
    define(graph.inputs());
    put_unsigned(graph.num_nodes());
    for (const auto& node : graph.nodes()) {
      put_unsigned(node->op().index());
      put(node->name());
      put_unsigned(node->inputs().size());
      for (const Value* input : node->inputs()) put_unsigned(numbers.at(input));
      std::visit([&](const auto& op) { op.fields(op, [&](std::string_view, const auto& field) { put(field); }); },
                 node->op());
      define(node->outputs());
    }
    put_unsigned(graph.outputs().size());
    for (const Value* output : graph.outputs()) put_unsigned(numbers.at(output));
    put(graph.output_names());
  }

  std::vector<std::byte> take() { return std::move(out_); }

 private:
  void put(int64_t value) { put_unsigned((static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63)); }
  void put(double value) { put_word(std::bit_cast<uint64_t>(value)); }
  void put(const std::string& text) {
    put_unsigned(text.size());
    append(std::as_bytes(std::span(text)));
  }
  template <class T>
  requires(std::is_same_v<T, bool> || std::is_enum_v<T>) void put(T value) {
    put_unsigned(static_cast<uint64_t>(value));
  }

  void put(const Dim& dim) {
    put(dim.is_constant());
    if (dim.is_constant())
      put(dim.value());
    else
      put(dim.to_string());
  }
  void put(const Type& type) {
    put(type.kind);
    put(type.dtype);
    put(type.ranked);
    put(type.shape);
  }
  void put(const Region& region) { put(region.graph()); }

  void put(const MapProgram& program) {
    put(int64_t{program.num_inputs()});
    put(program.dims());
    put_unsigned(program.code().size());
    for (const MapInstr& instr : program.code()) {
      put(instr.op);
      put(instr.type);
      if (instr.op == MapOp::constant) {
        put(instr.real);
        put(instr.integer);
      }
      const bool has_index = instr.op == MapOp::input || instr.op == MapOp::iota || instr.op == MapOp::dim;
      for (int a = 0; a < (has_index ? 1 : arity(instr.op)); ++a) put(int64_t{instr.args[static_cast<size_t>(a)]});
    }
  }

  void put(const Tensor& tensor) {
    put(tensor.dtype());
    put(tensor.dims());
    if (tensor.dtype() == DType::string) {
      for (const std::string& text : tensor.strings()) put(text);
    } else if (!tensor.is_deferred() && storage_bytes(tensor.dtype(), tensor.elements()) <= kInlineBytes) {
      put(Storage::in_line);
      append(tensor.bytes());
    } else {
      put(Storage::out_of_line);
      put_unsigned(sink_.store(tensor));
    }
  }

  template <class T>
  void put(const std::vector<T>& values) {
    put_unsigned(values.size());
    for (const T& value : values) put(value);
  }
  template <class T>
  void put(const std::optional<T>& value) {
    put(value.has_value());
    if (value) put(*value);
  }

  void append(std::span<const std::byte> bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }

  ConstantSink& sink_;
  std::vector<std::byte> out_;
};

template <class E>
requires std::is_enum_v<E>
void describe(Hasher& h, const E&) {
  for (const std::string_view name : kEnumNames<E>) h.add(name);
}
template <class E>
requires std::is_enum_v<E>
void describe(Hasher& h, const std::vector<E>&) { describe(h, E{}); }
template <class T>
requires(!std::is_enum_v<T>) void describe(Hasher&, const T&) {}

template <class... Ops>
void describe_ops(Hasher& h, const std::variant<Ops...>*) {
  const auto describe_op = [&](const auto& op) {
    h.add(op.kName);
    op.fields(op, [&](std::string_view name, const auto& field) {
      h.add(name);
      describe(h, field);
    });
  };
  (describe_op(Ops{}), ...);
}

}  // namespace

uint64_t schema_hash() {
  Hasher h;
  h.add(kEncodingVersion);
  describe_ops(h, static_cast<const Op*>(nullptr));
  for (int i = 0; i < kMapOpCount; ++i) h.add(to_string(static_cast<MapOp>(i)));
  for (int i = 0; i < kDTypeCount; ++i) h.add(to_string(static_cast<DType>(i)));
  return h.finish();
}

std::vector<std::byte> serialize(const Graph& graph, ConstantSink& sink) {
  Writer writer(sink);
  writer.put_word(schema_hash());
  writer.put(graph);
  return writer.take();
}

}  // namespace lathe
