// A step that stands for several: each serves the sizes up to a number of elements of the first output.
#pragma once

#include <memory>
#include <vector>

#include "backends/backend.h"

namespace lathe {

class SizedStep : public Step {
 public:
  struct Variant {
    std::unique_ptr<Step> step;
    int64_t most = 0;  // elements of output 0
  };
  // At least one; ascending, and the last one takes any size.
  explicit SizedStep(std::vector<Variant> variants) : variants_(std::move(variants)) {}

  size_t workspace_bytes(const StepIo& io) const override { return serving(io).workspace_bytes(io); }
  std::unique_ptr<StepState> prepare(const StepIo& io) const override;
  void run(const StepIo& io, const StepState* state, void* workspace, DeviceContext& device) const override;
  bool recordable() const override;

 private:
  const Step& serving(const StepIo& io) const;

  std::vector<Variant> variants_;
};

}  // namespace lathe
