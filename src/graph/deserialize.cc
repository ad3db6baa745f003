// Reads the binary form of graphs. Nothing in the bytes is trusted: every count is held against the bytes that are left
// before memory is taken for it.
#include <bit>
#include <cstring>
#include <unordered_set>

#include "base/error.h"
#include "graph/ops/enum_names.h"
#include "graph/serialize.h"
#include "graph/serialize_schema.h"
#include "graph/verifier.h"

namespace lathe {
namespace {

constexpr int kMaxRegionDepth = 32;
constexpr size_t kMaxRank = 64;

template <class... Args>
[[noreturn]] void bad(fmt::format_string<Args...> format, Args&&... args) {
  fail(ErrorCode::invalid_model, format, std::forward<Args>(args)...);
}

template <class... Ops>
Op make_op(uint64_t index, const std::variant<Ops...>*) {
  Op op;
  uint64_t i = 0;
  static_cast<void>(((i++ == index && (op.emplace<Ops>(), true)) || ...));
  return op;
}

class Reader {
 public:
  Reader(std::span<const std::byte> bytes, ConstantSource& source)
      : rest_(bytes), source_(source), symbols_(std::make_shared<SymbolSource>()) {}

  std::unique_ptr<Graph> read() {
    if (word() != schema_hash()) bad("the graph was written by another version of Lathe");
    auto result = graph();
    if (!rest_.empty()) bad("{} bytes follow the graph", rest_.size());
    return result;
  }

 private:
  std::span<const std::byte> take(uint64_t count) {
    if (count > rest_.size()) bad("the graph is cut off");
    const auto bytes = rest_.first(count);
    rest_ = rest_.subspan(count);
    return bytes;
  }

  uint64_t word() {
    uint64_t value = 0;
    int shift = 0;
    for (const std::byte byte : take(8)) {
      value |= static_cast<uint64_t>(byte) << shift;
      shift += 8;
    }
    return value;
  }

  uint64_t unsigned_int() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<uint64_t>(take(1)[0]);
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    bad("a number is too long");
  }

  uint64_t below(uint64_t limit, std::string_view what) {
    const uint64_t value = unsigned_int();
    if (value >= limit) bad("{} {} is not below {}", what, value, limit);
    return value;
  }

  // The number of things that follow, each of which takes a byte at least.
  size_t count() { return below(rest_.size() + 1, "count"); }

  void get(bool& value) { value = below(2, "boolean") != 0; }
  void get(int64_t& value) {
    const uint64_t bits = unsigned_int();
    value = static_cast<int64_t>((bits >> 1) ^ (~(bits & 1) + 1));
  }
  void get(double& value) { value = std::bit_cast<double>(word()); }
  void get(std::string& text) {
    const auto bytes = take(unsigned_int());
    text.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  void get(DType& type) { type = static_cast<DType>(below(kDTypeCount, "element type")); }
  template <class E>
  requires std::is_enum_v<E>
  void get(E& value) { value = static_cast<E>(below(kEnumNames<E>.size(), "enumerator")); }

  void get(Dim& dim) {
    bool constant = false;
    get(constant);
    if (constant) {
      int64_t value = 0;
      get(value);
      dim = value;
    } else {
      std::string text;
      get(text);
      dim = Dim::parse(text);
    }
  }
  void get(Type& type) {
    type.kind = static_cast<Type::Kind>(below(4, "kind of type"));
    get(type.dtype);
    get(type.ranked);
    get(type.shape);
    if (type.shape.size() > kMaxRank) bad("a tensor has {} axes", type.shape.size());
  }
  void get(Region& region) {
    if (++depth_ > kMaxRegionDepth) bad("regions are nested too deeply");
    region = Region(graph());
    --depth_;
  }

  int32_t index(int64_t low, int64_t high) {
    int64_t value = 0;
    get(value);
    if (value < low || value >= high) bad("a map program names {}, which it does not have", value);
    return static_cast<int32_t>(value);
  }

  MapInstr instruction(const MapProgram& program, int64_t number_of_dims) {
    MapInstr instr;
    instr.op = static_cast<MapOp>(below(kMapOpCount, "map operation"));
    get(instr.type);
    if (instr.op == MapOp::constant) {
      get(instr.real);
      get(instr.integer);
    }
    if (instr.op == MapOp::input) instr.args[0] = index(0, program.num_inputs());
    if (instr.op == MapOp::iota) instr.args[0] = index(-static_cast<int64_t>(kMaxRank), 0);
    if (instr.op == MapOp::dim) instr.args[0] = index(0, number_of_dims);
    const auto earlier = static_cast<int64_t>(program.code().size());
    for (int a = 0; a < arity(instr.op); ++a) instr.args[static_cast<size_t>(a)] = index(0, earlier);
    return instr;
  }

  void get(MapProgram& program) {
    constexpr int64_t kMaxInputs = 1 << 16;
    program.set_num_inputs(index(0, kMaxInputs));
    Shape dims;
    get(dims);
    const auto length = static_cast<int>(count());
    for (int i = 0; i < length; ++i) {
      const MapInstr instr = instruction(program, static_cast<int64_t>(dims.size()));
      const int at =
          instr.op == MapOp::dim ? program.dim(dims[static_cast<size_t>(instr.args[0])]) : program.push(instr);
      if (at != i) bad("a map program computes the same thing twice");
    }
    if (length > 0) program.finish(length - 1);
  }

  void get(Tensor& tensor) {
    DType dtype{};
    std::vector<int64_t> dims;
    get(dtype);
    get(dims);
    const int64_t elements = element_count(dims);
    if (dtype == DType::string) return strings(tensor, std::move(dims), elements);
    if (static_cast<Storage>(below(2, "storage")) == Storage::out_of_line) {
      tensor = source_.load(unsigned_int(), dtype, dims);
      if (tensor.dtype() != dtype || tensor.dims() != dims)
        bad("a constant of type {}{} is stored as {}{}", to_string(dtype), to_string(dims), to_string(tensor.dtype()),
            to_string(tensor.dims()));
      return;
    }
    const auto bytes = take(storage_bytes(dtype, elements));
    tensor = Tensor(dtype, std::move(dims));
    if (!bytes.empty()) std::memcpy(tensor.mutable_bytes().data(), bytes.data(), bytes.size());
  }

  void strings(Tensor& tensor, std::vector<int64_t> dims, int64_t elements) {
    if (static_cast<uint64_t>(elements) > rest_.size()) bad("the graph is cut off");
    tensor = Tensor(DType::string, std::move(dims));
    for (std::string& text : tensor.mutable_strings()) get(text);
  }

  template <class T>
  void get(std::vector<T>& values) {
    values.clear();
    for (size_t n = count(); n > 0; --n) get(values.emplace_back());
  }
  template <class T>
  void get(std::optional<T>& value) {
    bool present = false;
    get(present);
    value.reset();
    if (present) get(value.emplace());
  }

  Graph::Output definition(const Graph& graph) {
    Graph::Output output;
    get(output.name);
    get(output.type);
    if (output.name.empty() || graph.has_name(output.name)) bad("two values are named '{}'", output.name);
    return output;
  }

  std::unique_ptr<Graph> graph() {
    auto graph = std::make_unique<Graph>(symbols_);
    std::vector<Value*> values{nullptr};
    std::string name;
    get(name);
    graph->set_name(std::move(name));
    for (size_t n = count(); n > 0; --n) {
      Graph::Output input = definition(*graph);
      values.push_back(graph->add_input(input.name, std::move(input.type)));
    }
    for (size_t n = count(); n > 0; --n) node(*graph, values);
    const size_t outputs = count();
    std::vector<Value*> results;
    for (size_t i = 0; i < outputs; ++i) results.push_back(values[below(values.size(), "output")]);
    std::vector<std::string> names;
    get(names);
    if (names.size() != outputs) bad("{} outputs have {} names", outputs, names.size());
    for (size_t i = 0; i < outputs; ++i) {
      if (results[i] == nullptr) bad("output '{}' is absent", names[i]);
      graph->add_output(results[i], std::move(names[i]));
    }
    return graph;
  }

  void node(Graph& graph, std::vector<Value*>& values) {
    Op op = make_op(below(std::variant_size_v<AnyOp>, "op"), static_cast<const Op*>(nullptr));
    std::string name;
    get(name);
    std::vector<Value*> inputs;
    for (size_t n = count(); n > 0; --n) inputs.push_back(values[below(values.size(), "operand")]);
    std::visit([&](auto& o) { o.fields(o, [&](std::string_view, auto& field) { get(field); }); }, op);
    std::vector<Graph::Output> outputs;
    std::unordered_set<std::string> names;
    for (size_t n = count(); n > 0; --n) {
      outputs.push_back(definition(graph));
      if (!names.insert(outputs.back().name).second) bad("two values are named '{}'", outputs.back().name);
    }
    const Node* node = graph.append_named(std::move(op), std::move(inputs), std::move(outputs), std::move(name));
    values.insert(values.end(), node->outputs().begin(), node->outputs().end());
  }

  std::span<const std::byte> rest_;
  ConstantSource& source_;
  std::shared_ptr<SymbolSource> symbols_;
  int depth_ = 0;
};

}  // namespace

std::unique_ptr<Graph> deserialize(std::span<const std::byte> bytes, ConstantSource& source) {
  try {
    auto graph = Reader(bytes, source).read();
    verify(*graph);
    return graph;
  } catch (const Error& error) {
    // A dimension that does not parse is the argument of nobody here.
    if (error.code() == ErrorCode::invalid_argument) bad("{}", error.what());
    throw;
  }
}

}  // namespace lathe
