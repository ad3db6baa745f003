#include "precision/recall.h"

#include <bit>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "base/error.h"
#include "graph/hash.h"
#include "lathe/version.h"

namespace lathe::precision {
namespace {

using Json = nlohmann::json;

class KeyHasher : public Hasher {
 public:
  using Hasher::add;
  void add(double x) { add(std::bit_cast<uint64_t>(x)); }
  void add(DType type) { add(static_cast<uint64_t>(type)); }
};

// Numbers that JSON does not know come back as infinities.
Json number(double x) { return std::isfinite(x) ? Json(x) : Json(); }
double number_from(const Json& json) {
  return json.is_null() ? std::numeric_limits<double>::infinity() : json.get<double>();
}

Json to_json(const LayerType& type) { return {to_string(type.compute), to_string(type.result)}; }
LayerType type_from(const Json& json) {
  const auto one = [&](size_t i) {
    const auto type = dtype_from_string(json.at(i).get<std::string>());
    if (!type) throw std::runtime_error("no type");
    return *type;
  };
  return {one(0), one(1)};
}

Json to_json(const Agreement& agreement) {
  return {number(agreement.cosine), number(agreement.max_error), agreement.finite,
          agreement.collapsed,      agreement.resized,           agreement.top1};
}
Agreement agreement_from(const Json& json) {
  Agreement agreement{.cosine = number_from(json.at(0)), .max_error = number_from(json.at(1))};
  agreement.finite = json.at(2).get<bool>();
  agreement.collapsed = json.at(3).get<bool>();
  agreement.resized = json.at(4).get<size_t>();
  agreement.top1 = json.at(5).get<double>();
  return agreement;
}

Json to_json(const Speed& speed) { return {speed.ms, speed.weight_bytes}; }
Speed speed_from(const Json& json) { return {json.at(0).get<double>(), json.at(1).get<size_t>()}; }

Json to_json(const Report& report) {
  Json layers = Json::array(), outputs = Json::array();
  for (const LayerReport& layer : report.layers)
    layers.push_back(
        {layer.name, layer.op, to_json(layer.wanted), to_json(layer.type), to_json(layer.alone), layer.reason});
  for (const OutputAgreement& output : report.outputs) outputs.push_back({output.output, to_json(output.agreement)});
  return {{"met", report.met},       {"fastest_in_f32", report.fastest_in_f32},
          {"trials", report.trials}, {"before", to_json(report.before)},
          {"layers", layers},        {"after", to_json(report.after)},
          {"outputs", outputs}};
}
Report report_from(const Json& json) {
  Report report;
  report.met = json.at("met").get<bool>();
  report.fastest_in_f32 = json.at("fastest_in_f32").get<bool>();
  report.trials = json.at("trials").get<size_t>();
  report.before = speed_from(json.at("before"));
  report.after = speed_from(json.at("after"));
  for (const Json& layer : json.at("layers"))
    report.layers.push_back({layer.at(0).get<std::string>(), layer.at(1).get<std::string>(), type_from(layer.at(2)),
                             type_from(layer.at(3)), agreement_from(layer.at(4)), layer.at(5).get<std::string>()});
  for (const Json& output : json.at("outputs"))
    report.outputs.push_back({output.at(0).get<std::string>(), agreement_from(output.at(1))});
  return report;
}

void add(KeyHasher& h, const PrecisionOptions& options) {
  for (const DType type : options.types) h.add(type);
  h.add(options.min_cosine);
  h.add(options.max_error);
  h.add(options.min_top1);
  for (const LayerRule& rule : options.rules) {
    h.add(rule.pattern);
    h.add(rule.type);
  }
  h.add(uint64_t{options.static_activations});
  h.add(uint64_t{options.fastest});
  h.add(static_cast<uint64_t>(options.threads));
}

}  // namespace

std::optional<std::string> search_key(const Graph& graph, const Backend& backend, const Batches& batches,
                                      const Ranges& ranges, const PrecisionOptions& options) {
  KeyHasher h;
  h.add(std::string(build_info().version));  // other kernels may round otherwise
  for (const auto& node : graph.nodes()) {
    const Constant* constant = node->as<Constant>();
    if (constant != nullptr && constant->value.is_deferred()) return std::nullopt;
    h.add(node->name());
    for (const Value* output : node->outputs()) h.add(output->name());
  }
  h.add(hash(graph));
  add(h, options);
  for (const auto& [name, range] : ranges) {
    h.add(name);
    h.add(range.low);
    h.add(range.high);
  }
  for (const Batch& batch : batches)
    for (const auto& [name, tensor] : batch) {
      h.add(name);
      h.add(hash(tensor));
    }
  return fmt::format("types of layers#{:016x} on {}/{}", h.finish(), backend.name(), backend.target());
}

std::optional<Outcome> recall(const TimingCache& cache, const std::string& key, size_t nodes) {
  const std::string* note = cache.find_note(key);
  if (note == nullptr) return std::nullopt;
  try {
    const Json json = Json::parse(*note);
    Outcome outcome{Assignment(nodes), report_from(json.at("report"))};
    for (const Json& layer : json.at("types"))
      outcome.assignment.at(layer.at(0).get<size_t>()) = type_from(layer.at(1));
    return outcome;
  } catch (const std::exception&) {
    return std::nullopt;  // somebody edited it
  }
}

void keep(TimingCache& cache, const std::string& key, const Assignment& assignment, const Report& report) {
  Json types = Json::array();
  for (size_t i = 0; i < assignment.size(); ++i)
    if (!(assignment[i] == LayerType())) types.push_back({i, to_json(assignment[i])});
  const Json note = {{"types", types}, {"report", to_json(report)}};
  cache.insert_note(key, note.dump(-1, ' ', false, Json::error_handler_t::replace));  // a name need not be UTF-8
}

}  // namespace lathe::precision
