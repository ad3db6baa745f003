#include "build/plan_format.h"

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace lathe {
namespace {

using Json = nlohmann::json;

Json to_json(const Profile& profile) {
  Json object = Json::object();
  for (const auto& [name, range] : profile) object[name] = {{"min", range.min}, {"opt", range.opt}, {"max", range.max}};
  return object;
}

Profile profile_from(const Json& object) {
  Profile profile;
  for (const auto& [name, range] : object.items())
    profile[name] = {range.at("min").get<std::vector<int64_t>>(), range.at("opt").get<std::vector<int64_t>>(),
                     range.at("max").get<std::vector<int64_t>>()};
  return profile;
}

Json to_json(const PlanWeight& weight) {
  return {{"constant", weight.constant}, {"scheme", weight.layout.scheme}, {"params", weight.layout.params},
          {"offset", weight.offset},     {"bytes", weight.bytes},          {"checksum", weight.checksum}};
}

PlanWeight weight_from(const Json& object) {
  return {object.at("constant").get<int64_t>(),
          {object.at("scheme").get<std::string>(), object.at("params").get<std::vector<int64_t>>()},
          object.at("offset").get<uint64_t>(),
          object.at("bytes").get<uint64_t>(),
          object.at("checksum").get<uint64_t>()};
}

}  // namespace

std::string to_json(const PlanInfo& info) {
  Json choices = Json::object();
  for (const auto& [node, kernel] : info.choices) choices[std::to_string(node)] = kernel;
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
  return root.dump();
}

PlanInfo plan_info_from_json(std::string_view text) {
  try {
    const Json root = Json::parse(text);
    PlanInfo info;
    info.lathe_version = root.at("lathe_version").get<std::string>();
    info.model = root.at("model").get<std::string>();
    info.device = root.at("device").get<std::string>();
    info.target = root.at("target").get<std::string>();
    info.threads = root.at("threads").get<int>();
    for (const auto& [node, kernel] : root.at("choices").items())
      info.choices[std::stoull(node)] = kernel.get<std::string>();
    for (const Json& profile : root.at("profiles")) info.profiles.push_back(profile_from(profile));
    for (const Json& weight : root.at("weights")) info.weights.push_back(weight_from(weight));
    return info;
  } catch (const std::exception& error) {
    throw Error(ErrorCode::invalid_model, fmt::format("the plan's metadata is malformed: {}", error.what()));
  }
}

}  // namespace lathe
