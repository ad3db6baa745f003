// What there is of NVIDIA's software on this machine, what it is for, and what to install where it is missing. Opens
// and closes the libraries; starts nothing on a GPU.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lathe::cuda {

struct LibraryReport {
  std::string_view name;        // "NVRTC"
  std::string_view purpose;     // "compiles kernels"
  bool required = false;        // without it no GPU can be used
  std::string version;          // "13.0"; empty when it cannot be used
  std::string problem, remedy;  // the latter also where it may not go together with the driver

  bool usable() const { return !version.empty(); }
};

// The driver first. Never throws for what is missing.
std::vector<LibraryReport> survey_libraries();

// Why a model cannot run on the GPU of this number, with what to do; empty when it can.
std::string why_unusable(int ordinal);

}  // namespace lathe::cuda
