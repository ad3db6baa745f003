// Opens plan files (build/plan_format.h): maps the file, verifies header, table, metadata and graph by checksum, checks
// that every weight lies inside the file, and hands out the graph and the weights in place. Nothing of the weights is
// read until a step does, unless verify_weights() is called.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "build/plan_format.h"
#include "build/weight_source.h"

namespace lathe {

// Whether a file begins like a plan. Throws Error(not_found or io) when it cannot be read.
bool is_plan(const std::filesystem::path& path);

class Plan : public StoredWeights {
 public:
  // Throws Error(invalid_model) for a damaged or hostile file and Error(unsupported) for one of another format version.
  static Plan open(const std::filesystem::path& path);
  // From memory at a multiple of 64 that `owner` keeps alive.
  static Plan open(std::span<const std::byte> bytes, std::shared_ptr<const void> owner);

  const PlanInfo& info() const { return info_; }
  std::unique_ptr<Graph> take_graph() { return std::move(graph_); }
  std::vector<Entry> find(const Tensor& constant) const override;
  // Reads all weights and compares their checksums; throws Error(invalid_model) naming the first that differs.
  void verify_weights() const;
  // Of the target that info() names; valid as long as the plan.
  std::span<const std::byte> compiled_code() const { return kernels_; }
  uint64_t file_bytes() const { return file_bytes_; }

 private:
  Plan() = default;

  std::shared_ptr<const void> owner_;             // of the bytes that the spans are of
  std::span<const std::byte> weights_, kernels_;  // the sections
  uint64_t file_bytes_ = 0;
  PlanInfo info_;
  std::unique_ptr<Graph> graph_;
};

}  // namespace lathe
