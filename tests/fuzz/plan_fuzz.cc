// Any bytes, read as a plan, give an engine's parts (graph, steps, weights in place), or an Error. Checksums are made
// right first, as a hostile writer would; else no mutation would get past them.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "base/error.h"
#include "graph/hash.h"
#include "runtime/engine.h"
#include "runtime/plan_reader.h"
#include "runtime/weight_memory.h"

namespace {

using lathe::PlanHeader;
using lathe::PlanTableEntry;

uint64_t checksum(std::span<const std::byte> bytes) {
  lathe::Hasher hasher;
  hasher.add(bytes);
  return hasher.finish();
}

// Alignment as a mapped file has it.
struct alignas(64) Line {
  std::byte bytes[64];
};

void seal(std::span<std::byte> file) {
  constexpr size_t kTableBytes = lathe::kLeastPlanSections * sizeof(PlanTableEntry);
  PlanHeader header;
  if (file.size() < sizeof(header) + kTableBytes) return;
  for (size_t i = 0; i < lathe::kLeastPlanSections; ++i) {
    std::byte* at = file.data() + sizeof(header) + i * sizeof(PlanTableEntry);
    PlanTableEntry entry;
    std::memcpy(&entry, at, sizeof(entry));
    if (entry.offset > file.size() || entry.bytes > file.size() - entry.offset) continue;
    entry.checksum = checksum(file.subspan(entry.offset, entry.bytes));
    std::memcpy(at, &entry, sizeof(entry));
  }
  header.file_bytes = file.size();
  header.table_checksum = checksum(file.subspan(sizeof(header), kTableBytes));
  std::memcpy(file.data(), &header, sizeof(header));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<Line> memory(size / sizeof(Line) + 1);
  const std::span<std::byte> file(memory.front().bytes, size);
  if (size > 0) std::memcpy(file.data(), data, size);
  seal(file);
  try {
    const auto plan = std::make_shared<lathe::Plan>(lathe::Plan::open(file, nullptr));
    lathe::CompileOptions options;
    options.isa = lathe::Isa::generic;
    const lathe::CompiledModel model = lathe::lower_plan(plan, options);
    const lathe::WeightMemory weights(model.program, *model.backend, model.weights, {});
  } catch (const lathe::Error& error) {
    if (error.code() == lathe::ErrorCode::internal) throw;
  }
  return 0;
}
