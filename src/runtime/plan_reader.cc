#include "runtime/plan_reader.h"

#include <cstring>
#include <fstream>

#include "base/error.h"
#include "graph/hash.h"
#include "graph/serialize.h"

namespace lathe {
namespace {

[[noreturn]] void damaged(std::string_view what) {
  throw Error(ErrorCode::invalid_model, fmt::format("the plan is damaged: {}", what))
      .remedy("Build it again from the model");
}

template <class T>
T read_at(std::span<const std::byte> bytes, size_t offset) {
  if (bytes.size() < offset || bytes.size() - offset < sizeof(T)) damaged("it ends too early");
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

// The sections by kind, all inside the file.
struct Sections {
  std::span<const std::byte> metadata, graph, weights, kernels;
};

Sections read_sections(std::span<const std::byte> file) {
  const auto header = read_at<PlanHeader>(file, 0);
  if (header.magic != kPlanMagic) damaged("it does not begin like a plan");
  if (header.version != kPlanVersion)
    throw Error(ErrorCode::unsupported, fmt::format("the plan has format {}, this version of lathe reads format {}",
                                                    header.version, kPlanVersion))
        .remedy("Build it again from the model");
  if (header.num_sections < kLeastPlanSections || header.num_sections > kMostPlanSections)
    damaged("it has a wrong number of sections");
  if (header.file_bytes != file.size())
    damaged(fmt::format("it has {} bytes and should have {}", file.size(), header.file_bytes));
  const size_t table_bytes = header.num_sections * sizeof(PlanTableEntry);
  if (file.size() - sizeof(PlanHeader) < table_bytes) damaged("it ends too early");
  if (hash(file.subspan(sizeof(PlanHeader), table_bytes)) != header.table_checksum)
    damaged("its section table fails the checksum");
  Sections sections;
  uint32_t seen = 0;
  for (size_t i = 0; i < header.num_sections; ++i) {
    const auto entry = read_at<PlanTableEntry>(file, sizeof(PlanHeader) + i * sizeof(PlanTableEntry));
    if (entry.offset > file.size() || entry.bytes > file.size() - entry.offset)
      damaged("a section lies outside the file");
    const auto bytes = file.subspan(entry.offset, entry.bytes);
    const auto kind = static_cast<PlanSection>(entry.kind);
    if (kind != PlanSection::weights && hash(bytes) != entry.checksum) damaged("a section fails its checksum");
    if (entry.offset % kPlanPage != 0) damaged("a section is not aligned");
    if (entry.kind < 1 || entry.kind > kMostPlanSections) damaged("it has a section of unknown kind");
    if ((seen & 1u << entry.kind) != 0) damaged("it has two sections of one kind");
    seen |= 1u << entry.kind;
    (kind == PlanSection::metadata  ? sections.metadata
     : kind == PlanSection::graph   ? sections.graph
     : kind == PlanSection::weights ? sections.weights
                                    : sections.kernels) = bytes;
  }
  constexpr uint32_t kNeeded = 1u << static_cast<uint32_t>(PlanSection::metadata) |
                               1u << static_cast<uint32_t>(PlanSection::graph) |
                               1u << static_cast<uint32_t>(PlanSection::weights);
  if ((seen & kNeeded) != kNeeded) damaged("a section is missing");
  return sections;
}

// Constants of the graph stay where they are in the file: plain ones as views, packed ones deferred.
class MappedConstants : public ConstantSource {
 public:
  MappedConstants(const PlanInfo& info, std::span<const std::byte> section, std::shared_ptr<const void> owner)
      : info_(info), section_(section), owner_(std::move(owner)) {}

  Tensor load(uint64_t index, DType dtype, const std::vector<int64_t>& dims) override {
    bool stored = false;
    for (const PlanWeight& weight : info_.weights) {
      if (weight.constant != static_cast<int64_t>(index)) continue;
      stored = true;
      if (weight.layout.plain())
        return Tensor::view(dtype, dims, section_.subspan(weight.offset, weight.bytes), owner_);
    }
    if (!stored) damaged(fmt::format("weight {} is missing", index));
    return Tensor::deferred(dtype, dims, static_cast<int64_t>(index));
  }

 private:
  const PlanInfo& info_;
  std::span<const std::byte> section_;
  std::shared_ptr<const void> owner_;
};

}  // namespace

bool is_plan(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return false;
  const auto file = MappedFile::open(path);
  return file->bytes().size() >= kPlanMagic.size() &&
         std::memcmp(file->bytes().data(), kPlanMagic.data(), kPlanMagic.size()) == 0;
}

Plan Plan::open(const std::filesystem::path& path) {
  std::shared_ptr<const MappedFile> file = MappedFile::open(path);
  const std::span<const std::byte> bytes = file->bytes();
  return open(bytes, std::move(file));
}

Plan Plan::open(std::span<const std::byte> bytes, std::shared_ptr<const void> owner) {
  Plan plan;
  plan.owner_ = std::move(owner);
  plan.file_bytes_ = bytes.size();
  const Sections sections = read_sections(bytes);
  plan.weights_ = sections.weights;
  plan.kernels_ = sections.kernels;
  plan.info_ = plan_info_from_json({reinterpret_cast<const char*>(sections.metadata.data()), sections.metadata.size()});
  for (const PlanWeight& weight : plan.info_.weights) {
    const bool inside = weight.offset <= plan.weights_.size() && weight.bytes <= plan.weights_.size() - weight.offset;
    if (!inside || weight.offset % kPlanWeightAlignment != 0) damaged("a weight lies outside its section");
  }
  MappedConstants constants(plan.info_, plan.weights_, plan.owner_);
  plan.graph_ = deserialize(sections.graph, constants);
  return plan;
}

// A constant that was stored plain is a view into the section; its address says which one it is.
std::vector<StoredWeights::Entry> Plan::find(const Tensor& constant) const {
  int64_t id = constant.is_deferred() ? constant.deferred_id() : -1;
  for (size_t i = 0; id < 0 && i < info_.weights.size(); ++i) {
    const PlanWeight& weight = info_.weights[i];
    if (weight.layout.plain() && weight.bytes > 0 && constant.bytes().data() == weights_.data() + weight.offset)
      id = weight.constant;
  }
  std::vector<Entry> entries;
  if (id < 0) return entries;
  for (const PlanWeight& weight : info_.weights)
    if (weight.constant == id) entries.push_back({weight.layout, weights_.subspan(weight.offset, weight.bytes)});
  return entries;
}

void Plan::verify_weights() const {
  for (const PlanWeight& weight : info_.weights)
    if (hash(weights_.subspan(weight.offset, weight.bytes)) != weight.checksum)
      damaged(fmt::format("weight {} fails its checksum", weight.constant));
}

}  // namespace lathe
