#include "tools/input_sizes.h"

#include <algorithm>
#include <optional>

#include "base/ascii.h"
#include "base/error.h"
#include "base/glob.h"
#include "graph/tensor.h"
#include "tools/input_roles.h"
#include "tools/pinned_dims.h"

namespace lathe::tools {
namespace {

constexpr int64_t kSequence = 128;
constexpr int64_t kPicture = 224;
constexpr int64_t kColours = 3;
constexpr int64_t kLargestTried = 1024;  // when looking for a size that suits a pinned dimension

// Where a symbol stands first: that tells most of what a nameless one is.
struct Place {
  std::string symbol;
  const Value* input = nullptr;
  size_t axis = 0;
};

bool has(std::string_view text, std::string_view word) { return text.find(word) != std::string_view::npos; }

class SizeChooser {
 public:
  explicit SizeChooser(const Graph& graph)
      : graph_(graph), limits_(symbol_limits(graph)), pins_(find_pinned_dims(graph)) {
    for (const auto& [symbol, limit] : limits_) sequence_ = std::min(sequence_, limit);
    for (const Value* input : graph.inputs()) {
      names_.push_back(input->name());
      for (size_t axis = 0; axis < input->shape().size(); ++axis) {
        std::vector<std::string> symbols;
        input->shape()[axis].collect_symbols(symbols);
        for (std::string& symbol : symbols) add_place({std::move(symbol), input, axis});
      }
    }
    with_past_ = std::any_of(places_.begin(), places_.end(), [](const Place& p) { return has(p.symbol, "past"); });
  }

  void give(const std::string& name, const std::vector<int64_t>& dims) {
    const auto input = std::find_if(graph_.inputs().begin(), graph_.inputs().end(),
                                    [&](const Value* value) { return value->name() == name; });
    if (input == graph_.inputs().end()) check_pattern(name, names_);
    const Type& type = (*input)->type();
    if (type.ranked && type.shape.size() != dims.size())
      fail(ErrorCode::invalid_argument, "input '{}' has shape {}, {} does not fit", name, lathe::to_string(type.shape),
           lathe::to_string(dims));
    for (size_t axis = 0; axis < type.shape.size(); ++axis) {
      const Dim& dim = type.shape[axis];
      if (dim.is_constant() && dim.value() != dims[axis])
        fail(ErrorCode::invalid_argument, "axis {} of input '{}' is {}, not {}", axis, name, dim.value(), dims[axis]);
      if (dim.is_symbol() && type.is_tensor()) bind(dim.to_string(), dims[axis]);
    }
    chosen_.inputs[name] = dims;
  }

  void give(const ShapeArg& shape) {
    check_pattern(shape.pattern, names_);
    for (const std::string& name : names_)
      if (glob_matches(shape.pattern, name)) give(name, shape.dims);
  }

  void give(const DimArg& dim) {
    const bool known =
        std::any_of(places_.begin(), places_.end(), [&](const Place& p) { return p.symbol == dim.symbol; });
    if (!known) {
      std::string list;
      for (const Place& place : places_) list += (list.empty() ? "" : ", ") + place.symbol;
      throw Error(ErrorCode::invalid_argument, fmt::format("no input has a dimension named '{}'", dim.symbol))
          .remedy(list.empty() ? "All sizes of this model are fixed" : "Its dimensions are: " + list);
    }
    bind(dim.symbol, dim.value);
  }

  ChosenSizes finish() && {
    for (const Place& place : places_)
      if (!chosen_.symbols.count(place.symbol)) assume(place);
    suit_pins();
    for (const Value* input : graph_.inputs()) {
      const Type& type = input->type();
      if (chosen_.inputs.count(input->name())) continue;
      if (!type.ranked && type.is_tensor())
        throw Error(ErrorCode::unsupported,
                    fmt::format("input '{}' is {}; its data cannot be made up", input->name(), lathe::to_string(type)))
            .remedy("Give it with --input NAME=FILE or --shape");
      std::vector<int64_t> dims;
      for (const Dim& dim : type.shape) dims.push_back(evaluate(dim, *input));
      chosen_.inputs[input->name()] = std::move(dims);
    }
    for (const auto& [name, dims] : chosen_.inputs) check_elements(name, dims);
    return std::move(chosen_);
  }

 private:
  // What no memory holds is refused here, where the input has a name.
  static void check_elements(const std::string& name, std::span<const int64_t> dims) {
    constexpr double kMostElements = 1e15;
    double elements = 1;
    for (const int64_t dim : dims) elements *= static_cast<double>(dim);
    if (elements > kMostElements)
      fail(ErrorCode::invalid_argument, "input '{}' would have {:.3g} elements", name, elements);
  }

  void add_place(Place place) {
    const auto same = [&](const Place& other) { return other.symbol == place.symbol; };
    if (std::none_of(places_.begin(), places_.end(), same)) places_.push_back(std::move(place));
  }

  void bind(const std::string& symbol, int64_t value) {
    const auto [entry, added] = chosen_.symbols.emplace(symbol, value);
    if (!added && entry->second != value)
      fail(ErrorCode::invalid_argument, "dimension '{}' would be both {} and {}", symbol, entry->second, value);
  }

  int64_t evaluate(const Dim& dim, const Value& input) const {
    const auto value = dim.evaluate([&](std::string_view symbol) { return lookup(symbol); });
    if (!value || *value < 0)
      fail(ErrorCode::invalid_argument, "size {} of input '{}' has no value", dim.to_string(), input.name());
    return *value;
  }

  void assume(const Place& place) {
    int64_t value = default_of(place);
    if (const auto limit = limits_.find(place.symbol); limit != limits_.end()) value = std::min(value, limit->second);
    chosen_.symbols[place.symbol] = value;
    chosen_.assumed.push_back({place.symbol, value});
  }

  std::optional<int64_t> lookup(std::string_view symbol) const {
    const auto found = chosen_.symbols.find(std::string(symbol));
    return found == chosen_.symbols.end() ? std::nullopt : std::optional(found->second);
  }

  size_t broken_pins() const {
    return static_cast<size_t>(std::count_if(pins_.begin(), pins_.end(), [&](const PinnedDim& pin) {
      const auto value = pin.dim.evaluate([&](std::string_view symbol) { return lookup(symbol); });
      return !value || std::find(pin.allowed.begin(), pin.allowed.end(), *value) == pin.allowed.end();
    }));
  }

  void reassume(const std::string& kind, int64_t value) {
    for (DimArg& dim : chosen_.assumed)
      if (kind_of(dim) == kind) chosen_.symbols[dim.symbol] = dim.value = value;
  }

  // Height and width go together: pictures are square unless somebody says otherwise.
  static std::string kind_of(const DimArg& dim) { return dim.value == kPicture ? "picture" : dim.symbol; }

  // Where a node inside works with one size only, an assumed size gives way to the largest one that suits more nodes.
  void suit_pins() {
    size_t broken = broken_pins();
    std::vector<std::pair<std::string, int64_t>> kinds;
    for (const DimArg& dim : chosen_.assumed) kinds.emplace_back(kind_of(dim), dim.value);
    for (const auto& [kind, standard] : kinds) {
      const ChosenSizes before = chosen_;
      ChosenSizes best = chosen_;
      for (int64_t value = kLargestTried; broken > 0 && value > 0; --value) {
        chosen_ = before;
        reassume(kind, value);
        if (const size_t now = broken_pins(); now < broken) {
          broken = now;
          best = chosen_;
        }
      }
      chosen_ = best;
    }
  }

  int64_t default_of(const Place& place) const {
    const std::string name = ascii_lower(place.symbol);
    const Type& type = place.input->type();
    const bool picture = is_float(type.dtype) && type.rank() == 4;
    if (has(name, "batch")) return 1;
    if (has(name, "total")) return sequence_;
    if (has(name, "past") || has(name, "cache")) return sequence_ - 1;
    if (has(name, "height") || has(name, "width") || name == "h" || name == "w") return kPicture;
    if (has(name, "channel")) return kColours;
    const bool sequence = has(name, "seq") || has(name, "len") || has(name, "token") || has(name, "time");
    if (!sequence && place.axis == 0) return 1;
    if (!sequence && picture) return place.axis == 1 ? kColours : kPicture;
    return with_past_ ? 1 : sequence_;
  }

  const Graph& graph_;
  std::map<std::string, int64_t> limits_;
  std::vector<PinnedDim> pins_;
  int64_t sequence_ = kSequence;  // or what the tables of positions allow
  std::vector<std::string> names_;
  std::vector<Place> places_;
  bool with_past_ = false;
  ChosenSizes chosen_;
};

}  // namespace

ChosenSizes choose_sizes(const Graph& graph, const Sizes& given, std::span<const ShapeArg> shapes,
                         std::span<const DimArg> dims) {
  SizeChooser chooser(graph);
  for (const auto& [name, sizes] : given) chooser.give(name, sizes);
  for (const ShapeArg& shape : shapes) chooser.give(shape);
  for (const DimArg& dim : dims) chooser.give(dim);
  return std::move(chooser).finish();
}

std::vector<Profile> make_profiles(const Graph& graph, std::span<const ProfileArg> args) {
  std::vector<std::string> names;
  for (const Value* input : graph.inputs()) names.push_back(input->name());
  std::vector<Profile> profiles = make_profiles(args, names);
  for (const Profile& profile : profiles)
    for (const auto which : {&SizeRange::min, &SizeRange::opt, &SizeRange::max}) {
      Sizes sizes;
      for (const auto& [name, range] : profile) sizes[name] = range.*which;
      choose_sizes(graph, sizes, {}, {});
    }
  return profiles;
}

Sizes usual_sizes(const Profile& profile) {
  Sizes sizes;
  for (const auto& [name, range] : profile) sizes[name] = range.opt;
  return sizes;
}

std::string to_string(std::span<const DimArg> dims) {
  std::string text;
  for (const DimArg& dim : dims) text += fmt::format("{}{}={}", text.empty() ? "" : " ", dim.symbol, dim.value);
  return text;
}

}  // namespace lathe::tools
