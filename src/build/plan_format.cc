#include "build/plan_format.h"

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

#include "base/error.h"

namespace lathe {
namespace {

using Json = nlohmann::json;

// The library converts any number to any type; what does not fit the type, fractions included, is a damaged plan here.
template <class T>
T integer_from(const Json& json) {
  const bool fits = json.is_number_unsigned()  ? std::in_range<T>(json.get<uint64_t>())
                    : json.is_number_integer() ? std::in_range<T>(json.get<int64_t>())
                                               : false;
  if (!fits) throw std::out_of_range("'" + json.dump() + "' is not a number that fits there");
  return json.get<T>();
}

std::vector<int64_t> integers_from(const Json& json) {
  std::vector<int64_t> numbers;
  for (const Json& number : json) numbers.push_back(integer_from<int64_t>(number));
  return numbers;
}

Json to_json(const Profile& profile) {
  Json object = Json::object();
  for (const auto& [name, range] : profile) object[name] = {{"min", range.min}, {"opt", range.opt}, {"max", range.max}};
  return object;
}

Profile profile_from(const Json& object) {
  Profile profile;
  for (const auto& [name, range] : object.items())
    profile[name] = {integers_from(range.at("min")), integers_from(range.at("opt")), integers_from(range.at("max"))};
  return profile;
}

Json to_json(const PlanWeight& weight) {
  return {{"constant", weight.constant}, {"scheme", weight.layout.scheme}, {"params", weight.layout.params},
          {"offset", weight.offset},     {"bytes", weight.bytes},          {"checksum", weight.checksum}};
}

PlanWeight weight_from(const Json& object) {
  return {integer_from<int64_t>(object.at("constant")),
          {object.at("scheme").get<std::string>(), integers_from(object.at("params"))},
          integer_from<uint64_t>(object.at("offset")),
          integer_from<uint64_t>(object.at("bytes")),
          integer_from<uint64_t>(object.at("checksum"))};
}

// The kernel's name, or [[name, most elements], ..] of a choice by sizes.
Json to_json(const KernelChoice& choice) {
  if (choice.ranges.size() == 1) return choice.ranges[0].kernel;
  Json ranges = Json::array();
  for (const KernelRange& range : choice.ranges) ranges.push_back({range.kernel, range.most});
  return ranges;
}

KernelChoice choice_from(const Json& json) {
  if (json.is_string()) return json.get<std::string>();
  KernelChoice choice;
  for (const Json& range : json)
    choice.ranges.push_back({range.at(0).get<std::string>(), integer_from<int64_t>(range.at(1))});
  return choice;
}

}  // namespace

std::string to_json(const PlanInfo& info) {
  Json choices = Json::object();
  for (const auto& [node, choice] : info.choices) choices[std::to_string(node)] = to_json(choice);
  Json root = {{"lathe_version", info.lathe_version},
               {"model", info.model},
               {"device", info.device},
               {"target", info.target},
               {"threads", info.threads},
               {"choices", choices},
               {"profiles", Json::array()},
               {"weights", Json::array()}};
  for (const Profile& profile : info.profiles) root["profiles"].push_back(to_json(profile));
  for (const PlanWeight& weight : info.weights) root["weights"].push_back(to_json(weight));
  // A model's name need not be UTF-8; JSON must be.
  return root.dump(-1, ' ', false, Json::error_handler_t::replace);
}

PlanInfo plan_info_from_json(std::string_view text) {
  try {
    const Json root = Json::parse(text);
    PlanInfo info;
    info.lathe_version = root.at("lathe_version").get<std::string>();
    info.model = root.at("model").get<std::string>();
    info.device = root.at("device").get<std::string>();
    info.target = root.at("target").get<std::string>();
    info.threads = integer_from<int>(root.at("threads"));
    for (const auto& [node, choice] : root.at("choices").items())
      info.choices[integer_from<size_t>(Json::parse(node))] = choice_from(choice);
    for (const Json& profile : root.at("profiles")) info.profiles.push_back(profile_from(profile));
    for (const Json& weight : root.at("weights")) info.weights.push_back(weight_from(weight));
    return info;
  } catch (const std::exception& error) {
    throw Error(ErrorCode::invalid_model, fmt::format("the plan's metadata is malformed: {}", error.what()));
  }
}

}  // namespace lathe
