// Where the elements of constants are: in the graph itself, or in a plan, which stores each constant once, in a layout
// of the backend that it was made for. Every layout can be inverted, so any other can be made from it.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "backends/backend.h"

namespace lathe {

// Weights as a plan stores them.
class StoredWeights {
 public:
  virtual ~StoredWeights() = default;
  struct Entry {
    WeightLayout layout;
    std::span<const std::byte> bytes;
  };
  // The forms in which a constant of the plan's graph is stored; empty when the graph itself holds it.
  virtual std::vector<Entry> find(const Tensor& constant) const = 0;
};

// Of a constant in a layout; strings have none.
size_t bytes_in_layout(const Tensor& constant, const WeightLayout& layout, const WeightPacker& packer);

class WeightSource {
 public:
  WeightSource() = default;  // the graph holds all
  // `packer` is that of the backend that laid out what is stored.
  WeightSource(std::shared_ptr<const StoredWeights> stored, std::shared_ptr<const WeightPacker> packer)
      : stored_(std::move(stored)), packer_(std::move(packer)) {}

  // The bytes of a constant where they are in this layout already; valid while the source and the constant are. Throws
  // Error(invalid_model) when they are not as many as the layout needs.
  std::optional<std::span<const std::byte>> in_place(const Tensor& constant, const WeightLayout& layout) const;
  // The constant with its elements in order: as it is, a view of what is stored, or unpacked.
  Tensor plain(const Tensor& constant) const;
  // Writes the constant in a layout of `packer`, which takes as many bytes as `out` has.
  void lay_out(const Tensor& constant, const WeightLayout& layout, const WeightPacker& packer,
               std::span<std::byte> out) const;

 private:
  std::shared_ptr<const StoredWeights> stored_;
  std::shared_ptr<const WeightPacker> packer_;
};

}  // namespace lathe
