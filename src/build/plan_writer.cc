#include "build/plan_writer.h"

#include <future>
#include <map>

#include "base/error.h"
#include "base/file_writer.h"
#include "base/page_out.h"
#include "build/constant_id.h"
#include "graph/hash.h"
#include "graph/serialize.h"
#include "lathe/version.h"

namespace lathe {
namespace {

// Numbers the constants that the graph's binary form leaves out, in the order in which it meets them; those that share
// their bytes have one number.
class ConstantList : public ConstantSink {
 public:
  uint64_t store(const Tensor& tensor) override {
    const auto [known, is_new] = numbers_.try_emplace(constant_id(tensor), tensors_.size());
    if (is_new) tensors_.push_back(&tensor);
    return known->second;
  }
  const std::vector<const Tensor*>& tensors() const { return tensors_; }

 private:
  std::vector<const Tensor*> tensors_;
  std::map<ConstantId, uint64_t> numbers_;
};

class PlanWriter {
 public:
  PlanWriter(const std::filesystem::path& path, const CompiledModel& model, const PlanWriteOptions& options)
      : model_(model), options_(options), file_(path) {
    for (const Weight& weight : model.program.weights) {
      const auto [entry, is_new] = layouts_.try_emplace(constant_id(weight.constant()), weight.layout);
      if (!is_new && weight.layout.plain()) entry->second = weight.layout;
    }
  }

  PlanSize write() && {
    const std::vector<std::byte> kernels = model_.backend->compiled_code();
    const size_t num_sections = kernels.empty() ? kLeastPlanSections : kMostPlanSections;
    const std::vector<std::byte> front(sizeof(PlanHeader) + num_sections * sizeof(PlanTableEntry));
    file_.write(front);
    ConstantList constants;
    const std::vector<std::byte> graph = serialize(*model_.graph, constants);
    write_weights(constants.tensors());
    add_section(PlanSection::graph, graph);
    if (!kernels.empty()) add_section(PlanSection::kernels, kernels);
    const std::string metadata = to_json(describe());
    add_section(PlanSection::metadata, std::as_bytes(std::span(metadata)));
    file_.align(kPlanPage);
    write_front();
    file_.commit();
    return {file_.position(), table_.front().bytes};
  }

 private:
  // Each constant is stored once. One that steps want in several layouts is stored plain if a step wants it so: a
  // look-up then touches few pages of it, and any machine makes the other layout when it opens the plan. So is one
  // that no step reads, and one of halves that packing widens: a plan is not to be larger than its model.
  const WeightLayout& layout_of(const Tensor& constant) const {
    const auto found = layouts_.find(constant_id(constant));
    if (found == layouts_.end()) return plain_;
    const bool grows = is_half(constant.dtype()) && bytes_of(constant, found->second) >= 2 * bytes_of(constant, plain_);
    return grows ? plain_ : found->second;
  }

  size_t bytes_of(const Tensor& constant, const WeightLayout& layout) const {
    return bytes_in_layout(constant, layout, *model_.backend);
  }

  void write_weights(const std::vector<const Tensor*>& constants) {
    file_.align(kPlanPage);
    PlanTableEntry section{static_cast<uint32_t>(PlanSection::weights), 0, file_.position(), 0, 0};
    uint64_t total = 0, done = 0;
    // All that stays is made before the large buffers that come and go, which would leave holes between it.
    for (const Tensor* constant : constants) {
      const WeightLayout& layout = layout_of(*constant);
      weights_.push_back({static_cast<int64_t>(weights_.size()), layout, 0, bytes_of(*constant, layout), 0});
      total += weights_.back().bytes;
    }
    for (PlanWeight& weight : weights_) {
      write_weight(*constants[static_cast<size_t>(weight.constant)], section.offset, weight);
      done += weight.bytes;
      if (options_.progress) options_.progress(done, total);
    }
    section.bytes = file_.position() - section.offset;
    table_.push_back(section);
  }

  void write_weight(const Tensor& constant, uint64_t section, PlanWeight& weight) {
    file_.align(kPlanWeightAlignment);
    weight.offset = file_.position() - section;
    const auto in_place = model_.weights.in_place(constant, weight.layout);
    const std::span<const std::byte> bytes = in_place ? *in_place : lay_out(constant, weight.layout, weight.bytes);
    // Takes as long as writing, so that a thread pays where there is much of it.
    constexpr size_t kMuch = size_t{1} << 20;
    auto checksum =
        std::async(bytes.size() < kMuch ? std::launch::deferred : std::launch::async, [bytes] { return hash(bytes); });
    file_.write(bytes);
    weight.checksum = checksum.get();
    if (!constant.is_deferred()) page_out(constant.bytes());
  }

  // Valid until the next call.
  std::span<const std::byte> lay_out(const Tensor& constant, const WeightLayout& layout, uint64_t size) {
    laid_out_.resize(size);
    model_.weights.lay_out(constant, layout, *model_.backend, laid_out_);
    return laid_out_;
  }

  void add_section(PlanSection kind, std::span<const std::byte> bytes) {
    file_.align(kPlanPage);
    table_.push_back({static_cast<uint32_t>(kind), 0, file_.position(), bytes.size(), hash(bytes)});
    file_.write(bytes);
  }

  PlanInfo describe() const {
    PlanInfo info;
    info.lathe_version = build_info().version;
    info.model = options_.model;
    info.device = model_.backend->name();
    info.target = model_.backend->target();
    info.threads = options_.threads;
    info.profiles = options_.profiles;
    const auto numbers = number_nodes(*model_.graph);
    visit_steps(model_.program, [&](const ProgramStep& step) {
      if (step.step != nullptr && !step.choice.ranges.empty()) info.choices[numbers.at(step.node)] = step.choice;
    });
    info.weights = weights_;
    return info;
  }

  void write_front() {
    const auto table = std::as_bytes(std::span(table_));
    PlanHeader header;
    header.num_sections = static_cast<uint32_t>(table_.size());
    header.file_bytes = file_.position();
    header.table_checksum = hash(table);
    file_.write_at(0, std::as_bytes(std::span(&header, 1)));
    file_.write_at(sizeof(header), table);
  }

  const CompiledModel& model_;
  const PlanWriteOptions& options_;
  FileWriter file_;
  std::map<ConstantId, WeightLayout> layouts_;
  const WeightLayout plain_;
  std::vector<PlanTableEntry> table_;
  std::vector<PlanWeight> weights_;
  std::vector<std::byte> laid_out_;
};

}  // namespace

PlanSize write_plan(const std::filesystem::path& path, const CompiledModel& model, const PlanWriteOptions& options) {
  return PlanWriter(path, model, options).write();
}

}  // namespace lathe
