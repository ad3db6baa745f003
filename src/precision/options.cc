// The words for calibrators and types.
#include "precision/options.h"

#include <array>
#include <utility>

namespace lathe::precision {
namespace {

constexpr std::array<std::pair<std::string_view, Calibrator>, 4> kCalibrators = {
    {{"entropy", Calibrator::entropy},
     {"min-max", Calibrator::min_max},
     {"percentile", Calibrator::percentile},
     {"mse", Calibrator::mse}}};

constexpr std::array<std::pair<std::string_view, DType>, 5> kTypes = {
    {{"fp32", DType::f32}, {"fp16", DType::f16}, {"bf16", DType::bf16}, {"fp8", DType::f8e4m3}, {"int8", DType::i8}}};

}  // namespace

std::string_view to_string(Calibrator calibrator) {
  for (const auto& [name, known] : kCalibrators)
    if (known == calibrator) return name;
  return "";
}

std::optional<Calibrator> calibrator_from_string(std::string_view text) {
  for (const auto& [name, known] : kCalibrators)
    if (name == text) return known;
  return std::nullopt;
}

std::string_view type_name(DType type) {
  for (const auto& [name, known] : kTypes)
    if (known == type) return name;
  return to_string(type);
}

std::optional<DType> type_from_name(std::string_view text) {
  for (const auto& [name, known] : kTypes)
    if (name == text) return known;
  return std::nullopt;
}

}  // namespace lathe::precision
