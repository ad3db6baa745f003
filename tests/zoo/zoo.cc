#include "tests/zoo/zoo.h"

#include <cctype>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/npz.h"
#include "tests/data_path.h"

namespace lathe::zoo {

std::vector<Model> list_models(const std::filesystem::path& folder) {
  std::ifstream stream(folder / "zoo.json");
  if (!stream) fail(ErrorCode::not_found, "there is no {}", (folder / "zoo.json").string());
  std::vector<Model> models;
  for (const nlohmann::json& entry : nlohmann::json::parse(stream)) {
    Model model;
    model.name = entry.at("name").get<std::string>();
    model.folder = folder / model.name;
    model.atol = entry.at("atol").get<double>();
    model.rtol = entry.at("rtol").get<double>();
    const int cases = entry.at("cases").get<int>();
    for (int i = 0; i < cases; ++i) model.cases.push_back(fmt::format("case_{}.npz", i));
    if (std::filesystem::exists(model.file())) models.push_back(std::move(model));
  }
  return models;
}

std::vector<Model> bundled_models() {
  const char* folder = std::getenv("LATHE_ZOO");
  return list_models(folder != nullptr ? std::filesystem::path(folder)
                                       : std::filesystem::path(LATHE_TEST_DATA) / "zoo");
}

std::string test_name(const Model& model) {
  std::string name = model.name;
  for (char& c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  return name;
}

std::vector<Tensor> read_case(const Model& model, const std::string& file, const std::string& kind,
                              const std::vector<std::string>& names) {
  const NpzReader reader(model.folder / file);
  std::vector<Tensor> tensors;
  for (const std::string& name : names) {
    const NpyArray array = reader.read(kind + ":" + name);
    Tensor tensor(array.dtype, array.dims);
    if (!array.bytes.empty()) std::memcpy(tensor.mutable_bytes().data(), array.bytes.data(), array.bytes.size());
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

std::string difference(const Tensor& actual, const Tensor& expected, double atol, double rtol) {
  if (actual.dtype() != expected.dtype() || actual.dims() != expected.dims())
    return fmt::format("{}{} instead of {}{}", to_string(actual.dtype()), to_string(actual.dims()),
                       to_string(expected.dtype()), to_string(expected.dims()));
  if (!is_float(expected.dtype())) {
    for (int64_t i = 0; i < expected.elements(); ++i)
      if (actual.read_int(i) != expected.read_int(i))
        return fmt::format("element {} is {} instead of {}", i, actual.read_int(i), expected.read_int(i));
    return "";
  }
  double worst = 0;
  int64_t at = -1;
  for (int64_t i = 0; i < expected.elements(); ++i) {
    const double x = actual.read_double(i), y = expected.read_double(i);
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    const double excess = std::fabs(x - y) / (atol + rtol * std::fabs(y));
    if (!(excess <= 1) && !(excess <= worst)) {
      worst = excess;
      at = i;
    }
  }
  if (at < 0) return "";
  return fmt::format("element {} is {} instead of {}, {:.3g} times the tolerance", at, actual.read_double(at),
                     expected.read_double(at), worst);
}

}  // namespace lathe::zoo
