// What to compile: one entry of an embedded kernel source, specialised by definitions and by an expression program.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lathe::cuda {

struct KernelSpec {
  std::string file;                  // "map.cu", one of kernel_sources()
  std::string entry;                 // its extern "C" function
  std::vector<std::string> defines;  // "VECTOR=4"
  std::string program;               // the text of program.cuh (program_code.h); empty when the source includes none

  // Identifies what will be compiled: equal keys, equal code, for one version of Lathe, NVRTC and one architecture.
  std::string key() const;
  friend bool operator==(const KernelSpec&, const KernelSpec&) = default;
};

struct KernelSource {
  std::string_view name, text;
};
// The files of kernels/, embedded by cmake/LatheEmbed.cmake: *.cu are compiled, *.cuh and *.h are their headers.
const std::vector<KernelSource>& kernel_sources();

}  // namespace lathe::cuda
