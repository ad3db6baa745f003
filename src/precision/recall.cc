#include "precision/recall.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "base/error.h"
#include "base/thread_team.h"
#include "graph/hash.h"
#include "graph/serialize.h"
#include "lathe/version.h"
#include "runtime/session.h"

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
  return {{"met", report.met},
          {"fastest_in_f32", report.fastest_in_f32},
          {"halves_are_faster", report.halves_are_faster},
          {"trials", report.trials},
          {"before", to_json(report.before)},
          {"after", to_json(report.after)},
          {"layers", layers},
          {"outputs", outputs}};
}
Report report_from(const Json& json) {
  Report report;
  report.met = json.at("met").get<bool>();
  report.fastest_in_f32 = json.at("fastest_in_f32").get<bool>();
  report.halves_are_faster = json.at("halves_are_faster").get<bool>();
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

// Hashes the constants that serialising a graph leaves out, each by all threads: models have gigabytes of them.
class ConstantHashes : public ConstantSink {
 public:
  std::vector<uint64_t> hashes;
  bool deferred = false;  // a constant's bytes are elsewhere

  uint64_t store(const Tensor& tensor) override {
    deferred |= tensor.is_deferred();
    if (!tensor.is_deferred()) hashes.push_back(hash_of(tensor));
    return hashes.size();
  }

 private:
  uint64_t hash_of(const Tensor& tensor) {
    constexpr size_t kPart = size_t{1} << 20;
    if (tensor.dtype() == DType::string) return hash(tensor);
    const std::span<const std::byte> bytes = tensor.bytes();
    std::vector<uint64_t> parts((bytes.size() + kPart - 1) / kPart);
    team_.parallel_for(static_cast<int64_t>(parts.size()), [&](int64_t begin, int64_t end, int) {
      for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i)
        parts[i] = hash(bytes.subspan(i * kPart, std::min(kPart, bytes.size() - i * kPart)));
    });
    return hash(std::as_bytes(std::span(parts)));
  }
  ThreadTeam team_{default_thread_count()};
};

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
  h.add(options.smoothing);
  for (const auto& [name, tensor] : options.usual) {
    h.add(name);
    for (const int64_t size : tensor.dims()) h.add(static_cast<uint64_t>(size));
  }
  h.add(uint64_t{options.fastest});
  h.add(static_cast<uint64_t>(options.threads));
}

}  // namespace

std::optional<std::string> search_key(const Graph& graph, const Backend& backend, const Batches& batches,
                                      const CalibrationCache& known, const PrecisionOptions& options) {
  KeyHasher h;
  h.add(std::string(build_info().version));  // other kernels may round otherwise
  ConstantHashes constants;
  h.add(serialize(graph, constants));
  if (constants.deferred) return std::nullopt;
  h.add(std::as_bytes(std::span(constants.hashes)));
  add(h, options);
  h.add(static_cast<uint64_t>(known.calibrator.value_or(options.calibrator.value_or(kDefaultCalibrator))));
  for (const auto& [name, range] : known.ranges) {
    h.add(name);
    h.add(range.low);
    h.add(range.high);
  }
  for (const auto& [name, maxima] : known.columns) {
    h.add(name);
    h.add(std::as_bytes(std::span(maxima)));
  }
  for (const Batch& batch : batches)
    for (const auto& [name, tensor] : batch) {
      h.add(name);
      h.add(hash(tensor));
    }
  return fmt::format("types of layers#{:016x} on {}/{}", h.finish(), backend.name(), backend.target());
}

std::optional<Outcome> recall(const TimingCache& cache, const std::string& key) {
  const std::string* note = cache.find_note(key);
  if (note == nullptr) return std::nullopt;
  try {
    const Json json = Json::parse(*note);
    Outcome outcome{Assignment(json.at("nodes").get<size_t>()), report_from(json.at("report")), {}, {}};
    for (const Json& layer : json.at("types"))
      outcome.assignment.at(layer.at(0).get<size_t>()) = type_from(layer.at(1));
    for (const auto& [name, range] : json.at("ranges").items())
      outcome.ranges[name] = {number_from(range.at(0)), number_from(range.at(1))};
    for (const auto& [name, maxima] : json.at("columns").items())
      outcome.columns[name] = maxima.get<std::vector<float>>();
    return outcome;
  } catch (const std::exception&) {
    return std::nullopt;  // somebody edited it
  }
}

void keep(TimingCache& cache, const std::string& key, const Outcome& outcome) {
  Json types = Json::array(), ranges = Json::object();
  for (size_t i = 0; i < outcome.assignment.size(); ++i)
    if (!(outcome.assignment[i] == LayerType())) types.push_back({i, to_json(outcome.assignment[i])});
  for (const auto& [name, range] : outcome.ranges) ranges[name] = {number(range.low), number(range.high)};
  const Json note = {{"nodes", outcome.assignment.size()},
                     {"types", types},
                     {"ranges", ranges},
                     {"columns", outcome.columns},
                     {"report", to_json(outcome.report)}};
  cache.insert_note(key, note.dump(-1, ' ', false, Json::error_handler_t::replace));  // a name need not be UTF-8
}

}  // namespace lathe::precision
