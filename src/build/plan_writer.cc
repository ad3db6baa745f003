#include "build/plan_writer.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "base/error.h"
#include "base/file_writer.h"
#include "graph/hash.h"
#include "graph/serialize.h"
#include "lathe/version.h"

namespace lathe {
namespace {

// Numbers the constants that the graph's binary form leaves out, in the order in which it meets them.
class ConstantList : public ConstantSink {
 public:
  uint64_t store(const Tensor& tensor) override {
    tensors_.push_back(&tensor);
    return tensors_.size() - 1;
  }
  const std::vector<const Tensor*>& tensors() const { return tensors_; }

 private:
  std::vector<const Tensor*> tensors_;
};

uint64_t checksum(std::span<const std::byte> bytes) {
  Hasher hasher;
  hasher.add(bytes);
  return hasher.finish();
}

class PlanWriter {
 public:
  PlanWriter(const std::filesystem::path& path, const CompiledModel& model, const PlanWriteOptions& options)
      : model_(model), options_(options), file_(path) {
    for (const Weight& weight : model.program.weights)
      layouts_[&weight.node->as<Constant>()->value].push_back(weight.layout);
  }

  PlanSize write() && {
    const std::vector<std::byte> front(sizeof(PlanHeader) + kPlanSections * sizeof(PlanTableEntry));
    file_.write(front);
    ConstantList constants;
    const std::vector<std::byte> graph = serialize(*model_.graph, constants);
    write_weights(constants.tensors());
    add_section(PlanSection::graph, graph);
    const std::string metadata = to_json(describe());
    add_section(PlanSection::metadata, std::as_bytes(std::span(metadata)));
    file_.align(kPlanPage);
    write_front();
    file_.commit();
    return {file_.position(), table_.front().bytes};
  }

 private:
  // A constant that no step reads (one inside a region) is stored plain.
  std::vector<WeightLayout> layouts_of(const Tensor& constant) const {
    const auto found = layouts_.find(&constant);
    return found == layouts_.end() ? std::vector<WeightLayout>{WeightLayout{}} : found->second;
  }

  uint64_t stored_bytes(const Tensor& constant, const WeightLayout& layout) const {
    return layout.plain() ? constant.bytes().size()
                          : model_.backend->packed_bytes(layout, constant.dtype(), constant.dims());
  }

  void write_weights(const std::vector<const Tensor*>& constants) {
    file_.align(kPlanPage);
    PlanTableEntry section{static_cast<uint32_t>(PlanSection::weights), 0, file_.position(), 0, 0};
    uint64_t total = 0, done = 0;
    for (const Tensor* constant : constants)
      for (const WeightLayout& layout : layouts_of(*constant)) total += stored_bytes(*constant, layout);
    for (size_t i = 0; i < constants.size(); ++i) {
      for (const WeightLayout& layout : layouts_of(*constants[i])) {
        write_weight(static_cast<int64_t>(i), *constants[i], layout, section.offset);
        done += weights_.back().bytes;
        if (options_.progress) options_.progress(done, total);
      }
    }
    section.bytes = file_.position() - section.offset;
    table_.push_back(section);
  }

  void write_weight(int64_t index, const Tensor& constant, const WeightLayout& layout, uint64_t section) {
    file_.align(kPlanWeightAlignment);
    PlanWeight weight{index, layout, file_.position() - section, stored_bytes(constant, layout), 0};
    std::span<const std::byte> bytes;
    if (layout.plain()) {
      bytes = constant.bytes();
    } else {
      packed_.resize(weight.bytes);
      model_.backend->pack(layout, constant, packed_);
      bytes = packed_;
    }
    weight.checksum = checksum(bytes);
    file_.write(bytes);
    weights_.push_back(std::move(weight));
  }

  void add_section(PlanSection kind, std::span<const std::byte> bytes) {
    file_.align(kPlanPage);
    table_.push_back({static_cast<uint32_t>(kind), 0, file_.position(), bytes.size(), checksum(bytes)});
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
    std::unordered_map<const Node*, size_t> index;
    for (const auto& node : model_.graph->nodes()) index.emplace(node.get(), index.size());
    for (const ProgramStep& step : model_.program.steps)
      if (!step.fallback && step.step != nullptr) info.choices[index.at(step.node)] = step.kernel;
    info.weights = weights_;
    return info;
  }

  void write_front() {
    const auto table = std::as_bytes(std::span(table_));
    PlanHeader header;
    header.file_bytes = file_.position();
    header.table_checksum = checksum(table);
    file_.write_at(0, std::as_bytes(std::span(&header, 1)));
    file_.write_at(sizeof(header), table);
  }

  const CompiledModel& model_;
  const PlanWriteOptions& options_;
  FileWriter file_;
  std::unordered_map<const Tensor*, std::vector<WeightLayout>> layouts_;
  std::vector<PlanTableEntry> table_;
  std::vector<PlanWeight> weights_;
  std::vector<std::byte> packed_;
};

}  // namespace

PlanSize write_plan(const std::filesystem::path& path, const CompiledModel& model, const PlanWriteOptions& options) {
  return PlanWriter(path, model, options).write();
}

}  // namespace lathe
