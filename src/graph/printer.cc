// Writes graphs in the text form of text.h. Field values are printed by type, so a new op needs nothing here.
#include <fmt/format.h>

#include <cctype>

#include "graph/fields.h"
#include "graph/hash.h"
#include "graph/ops/enum_names.h"
#include "graph/text.h"
#include "graph/text_names.h"

namespace lathe {
namespace {

// Longer runs of one value are written as a splat.
constexpr int64_t kMinSplat = 8;

std::string element_text(const Tensor& tensor, int64_t i) {
  const DType type = tensor.dtype();
  if (type == DType::string) return quoted(tensor.strings()[static_cast<size_t>(i)]);
  if (type == DType::f64) return fmt::format("{}", tensor.read_double(i));
  if (is_float(type)) return fmt::format("{}", static_cast<float>(tensor.read_double(i)));
  if (type == DType::boolean) return tensor.read_int(i) != 0 ? "true" : "false";
  if (type == DType::u64) return fmt::format("{}", static_cast<uint64_t>(tensor.read_int(i)));
  return fmt::format("{}", tensor.read_int(i));
}

std::string hex(std::span<const std::byte> bytes) {
  std::string text = "0x";
  for (const std::byte byte : bytes) text += fmt::format("{:02x}", static_cast<unsigned>(byte));
  return text;
}

bool is_uniform(const Tensor& tensor) {
  if (tensor.elements() < kMinSplat) return false;
  if (tensor.dtype() == DType::string || bit_width(tensor.dtype()) < 8) {
    const std::string first = element_text(tensor, 0);
    for (int64_t i = 1; i < tensor.elements(); ++i)
      if (element_text(tensor, i) != first) return false;
    return true;
  }
  const auto bytes = tensor.bytes();
  const auto width = static_cast<size_t>(bit_width(tensor.dtype()) / 8);
  return std::equal(bytes.begin() + static_cast<std::ptrdiff_t>(width), bytes.end(), bytes.begin());
}

class Printer {
 public:
  explicit Printer(const PrintOptions& options) : options_(options) {}

  void print(const Graph& graph) {
    out_ += "graph ";
    if (!graph.name().empty()) out_ += bare_or_quoted(graph.name());
    out_ += "(";
    for (const Value* input : graph.inputs()) {
      if (input->index() > 0) out_ += ", ";
      out_ += value(input) + ": " + to_string(input->type());
    }
    out_ += ") {\n";
    indent_ += 2;
    for (const auto& node : graph.nodes()) {
      out_.append(indent_, ' ');
      print(*node);
      out_ += "\n";
    }
    out_.append(indent_, ' ') += "return";
    for (size_t i = 0; i < graph.outputs().size(); ++i)
      out_ += (i > 0 ? ", " : " ") + value(graph.outputs()[i]) + " as " + quoted(graph.output_names()[i]);
    indent_ -= 2;
    out_ += "\n";
    out_.append(indent_, ' ') += "}";
  }

  void print(const Node& node) {
    for (const Value* output : node.outputs()) out_ += (output->index() > 0 ? ", " : "") + value(output);
    out_ += (node.outputs().empty() ? "" : " = ") + std::string(op_name(node.op()));
    if (!node.inputs().empty()) {
      out_ += "(";
      for (size_t i = 0; i < node.inputs().size(); ++i) out_ += (i > 0 ? ", " : "") + value(node.inputs()[i]);
      out_ += ")";
    }
    std::visit([&](const auto& op) { fields(op); }, node.op());
    if (!node.is<Constant>())  // the value tells its type
      for (const Value* output : node.outputs())
        out_ += (output->index() > 0 ? ", " : " : ") + to_string(output->type());
    if (!node.name().empty()) out_ += " @ " + quoted(node.name());
  }

  std::string take() { return std::move(out_); }

 private:
  static std::string value(const Value* value) { return value == nullptr ? "_" : "%" + bare_or_quoted(value->name()); }

  template <class T>
  void fields(const T& op) {
    bool any = false;
    for_each_changed_field(op, [&](std::string_view name, const auto& value) {
      out_ += fmt::format("{}{} = ", any ? ", " : " {", name);
      field(value);
      any = true;
    });
    if (any) out_ += "}";
  }

  void field(bool value) { out_ += value ? "true" : "false"; }
  void field(int64_t value) { out_ += std::to_string(value); }
  void field(double value) { out_ += fmt::format("{}", value); }
  void field(const std::string& text) { out_ += quoted(text); }
  void field(DType type) { out_ += to_string(type); }
  void field(const Dim& dim) { out_ += dim.to_string(); }
  void field(const MapProgram& program) { out_ += program.to_string(); }
  void field(const Region& region) { print(region.graph()); }
  template <class E>
  requires std::is_enum_v<E>
  void field(E value) { out_ += kEnumNames<E>[static_cast<size_t>(value)]; }
  template <class T>
  void field(const std::optional<T>& value) {
    field(*value);
  }  // a default has no value and is not printed
  template <class T>
  void field(const std::vector<T>& values) {
    out_ += "[";
    for (size_t i = 0; i < values.size(); ++i) {
      if (i > 0) out_ += ", ";
      field(values[i]);
    }
    out_ += "]";
  }

  void field(const Tensor& tensor) {
    out_ += std::string(to_string(tensor.dtype())) + to_string(tensor.dims()) + " ";
    if (tensor.is_deferred()) {
      out_ += fmt::format("#deferred({})", tensor.deferred_id());
    } else if (tensor.elements() > options_.max_elements) {
      out_ += fmt::format("#{:016x}", hash(tensor));
    } else if (tensor.dtype() == DType::c64 || tensor.dtype() == DType::c128) {
      out_ += hex(tensor.bytes());
    } else if (is_uniform(tensor)) {
      out_ += "splat(" + element_text(tensor, 0) + ")";
    } else {
      out_ += "[";
      for (int64_t i = 0; i < tensor.elements(); ++i) out_ += (i > 0 ? ", " : "") + element_text(tensor, i);
      out_ += "]";
    }
  }

  const PrintOptions& options_;
  size_t indent_ = 0;
  std::string out_;
};

}  // namespace

std::string quoted(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    if (c == '\n')
      result += "\\n";
    else if (static_cast<unsigned char>(c) < 0x20)
      result += fmt::format("\\x{:02x}", static_cast<unsigned>(c));
    else
      result += c;
  }
  return result + "\"";
}

bool is_bare_char(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || std::string_view("_./-").find(c) != std::string_view::npos;
}

std::string bare_or_quoted(std::string_view name) {
  const bool bare = !name.empty() && std::all_of(name.begin(), name.end(), is_bare_char);
  return bare ? std::string(name) : quoted(name);
}

std::string print(const Graph& graph, const PrintOptions& options) {
  Printer printer(options);
  printer.print(graph);
  return printer.take() + "\n";
}

std::string print(const Node& node, const PrintOptions& options) {
  Printer printer(options);
  printer.print(node);
  return printer.take();
}

}  // namespace lathe
