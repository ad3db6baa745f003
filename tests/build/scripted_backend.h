// A backend whose candidates a test writes down; their steps do nothing.
#pragma once

#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backends/backend.h"

namespace lathe {

class HostMemory : public DeviceContext {
 public:
  void* allocate(size_t bytes) override { return std::aligned_alloc(64, (bytes + 63) / 64 * 64); }
  void release(void* memory) noexcept override { std::free(memory); }
  void upload(void*, std::span<const std::byte>) override {}
  void download(std::span<std::byte>, const void*) override {}
  void copy(void*, const void*, size_t) override {}
  bool host_memory() const override { return true; }
};

class NoStep : public Step {
  void run(const StepIo&, const StepState*, void*, DeviceContext&) const override {}
};

// Answers each op with the candidates written down for it: "name", "name!why it declines", "alias", "name@layout"
// (which wants its second operand in that layout).
class ScriptedBackend : public Backend {
 public:
  ScriptedBackend(std::string name, std::map<std::string, std::vector<std::string>, std::less<>> script)
      : name_(std::move(name)), script_(std::move(script)) {}
  std::string_view name() const override { return name_; }
  std::string target() const override { return name_; }
  std::vector<Candidate> candidates(const Node& node) const override {
    std::vector<Candidate> result;
    const auto found = script_.find(op_name(node.op()));
    if (found == script_.end()) return result;
    for (const std::string& line : found->second) {
      const size_t mark = line.find_first_of("!@");
      Candidate candidate{line.substr(0, mark), {}, {}};
      if (mark != std::string::npos && line[mark] == '!') candidate.declined = line.substr(mark + 1);
      const std::string layout = mark != std::string::npos && line[mark] == '@' ? line.substr(mark + 1) : "";
      candidate.make = [alias = line == "alias", layout] {
        Lowered lowered;
        if (!alias) lowered.step = std::make_unique<NoStep>();
        if (!layout.empty()) lowered.operand_layouts = {{}, {layout, {}}};
        return lowered;
      };
      result.push_back(std::move(candidate));
    }
    return result;
  }
  std::unique_ptr<DeviceContext> make_context(const ContextOptions&) const override {
    return std::make_unique<HostMemory>();
  }
  size_t packed_bytes(const WeightLayout&, DType, std::span<const int64_t>) const override { return 0; }
  void pack(const WeightLayout&, const Tensor&, std::span<std::byte>) const override {}
  Tensor unpack(const WeightLayout&, DType, std::span<const int64_t>, std::span<const std::byte>) const override {
    return {};
  }

 private:
  std::string name_;
  std::map<std::string, std::vector<std::string>, std::less<>> script_;
};

}  // namespace lathe
