// The plan file. Little-endian, sections at multiples of 4096 so that weights can be mapped:
//
//   header    magic "LATHEPLN", format version, number of sections, file size, checksum of table
//   table     one entry per section: kind, offset, size, checksum
//   metadata  JSON: what PlanInfo holds
//   graph     the optimised graph (graph/serialize.h); weights are references into the list in the metadata
//   weights   each in the layout its steps want, at multiples of 64
//   kernels   machine code that the backend compiled (Backend::compiled_code), for the target that the metadata names;
//             absent where there is none
//
// Checksums are the content hash of graph/hash.h. All but those of the weights are verified when a plan is opened. The
// same model, options and timing cache give the same bytes: there is no time stamp in a plan.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "backends/weight_layout.h"
#include "base/dtype.h"
#include "build/compiler.h"

namespace lathe {

inline constexpr std::array<char, 8> kPlanMagic = {'L', 'A', 'T', 'H', 'E', 'P', 'L', 'N'};
inline constexpr uint32_t kPlanVersion = 1;
inline constexpr uint64_t kPlanPage = 4096;
inline constexpr uint64_t kPlanWeightAlignment = 64;

enum class PlanSection : uint32_t { metadata = 1, graph = 2, weights = 3, kernels = 4 };
inline constexpr uint32_t kLeastPlanSections = 3, kMostPlanSections = 4;

struct PlanHeader {
  std::array<char, 8> magic = kPlanMagic;
  uint32_t version = kPlanVersion;
  uint32_t num_sections = 0;
  uint64_t file_bytes = 0;
  uint64_t table_checksum = 0;
};
static_assert(sizeof(PlanHeader) == 32);

struct PlanTableEntry {
  uint32_t kind = 0;
  uint32_t reserved = 0;
  uint64_t offset = 0, bytes = 0, checksum = 0;
};
static_assert(sizeof(PlanTableEntry) == 32);

struct PlanWeight {
  int64_t constant = 0;  // which out-of-line constant of the graph
  WeightLayout layout;
  uint64_t offset = 0, bytes = 0, checksum = 0;  // in the weights section
};

struct PlanInfo {
  std::string lathe_version;   // that wrote the plan
  std::string model;           // file name of the source
  std::string device, target;  // what the layouts and choices were made for: "cpu", "avx512"
  int threads = 0;             // that candidates were timed with; 0 if nothing was timed
  std::vector<Profile> profiles;
  KernelChoices choices;
  std::vector<PlanWeight> weights;
};

std::string to_json(const PlanInfo& info);
// Throws Error(invalid_model) on malformed text.
PlanInfo plan_info_from_json(std::string_view text);

}  // namespace lathe
