#include "backends/cuda/compiler/kernel_compiler.h"

#include <cstdlib>

namespace lathe::cuda {
namespace {

// The number that stands before `unit` in a line of the assembler's report, such as "Used 11 registers".
int number_before(std::string_view log, std::string_view unit) {
  const size_t at = log.find(unit);
  if (at == std::string_view::npos) return 0;
  size_t begin = at;
  while (begin > 0 && log[begin - 1] == ' ') --begin;
  while (begin > 0 && log[begin - 1] >= '0' && log[begin - 1] <= '9') --begin;
  return std::atoi(std::string(log.substr(begin, at - begin)).c_str());
}

// Destroys the program whatever happens to it.
class Program {
 public:
  Program(const NvrtcApi& api, const KernelSpec& spec) : api_(api) {
    std::vector<const char*> texts, names;
    std::vector<std::string> owned;  // the embedded texts are not terminated
    const auto& sources = kernel_sources();
    owned.reserve(sources.size() * 2);
    const KernelSource* main = nullptr;
    for (const KernelSource& source : sources) {
      if (source.name == spec.file) main = &source;
      if (source.name.ends_with(".cu")) continue;
      texts.push_back(owned.emplace_back(source.text).c_str());
      names.push_back(owned.emplace_back(source.name).c_str());
    }
    if (main == nullptr) fail(ErrorCode::internal, "there is no kernel source '{}'", spec.file);
    texts.push_back(spec.program.c_str());
    names.push_back("program.cuh");
    const std::string text(main->text);
    check(api_.create_program(&program_, text.c_str(), spec.file.c_str(), static_cast<int>(texts.size()), texts.data(),
                              names.data()));
  }
  ~Program() { api_.destroy_program(&program_); }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  bool compile(const std::vector<std::string>& options) {
    std::vector<const char*> texts;
    for (const std::string& option : options) texts.push_back(option.c_str());
    return api_.compile_program(program_, static_cast<int>(texts.size()), texts.data()) == 0;
  }
  std::string log() {
    size_t bytes = 0;
    check(api_.get_log_size(program_, &bytes));
    std::string log(bytes, '\0');
    check(api_.get_log(program_, log.data()));
    return log;
  }
  std::string ptx() {
    size_t bytes = 0;
    check(api_.get_ptx_size(program_, &bytes));
    std::string ptx(bytes, '\0');
    check(api_.get_ptx(program_, ptx.data()));
    return ptx;
  }
  std::vector<char> cubin() {
    size_t bytes = 0;
    check(api_.get_cubin_size(program_, &bytes));
    std::vector<char> cubin(bytes);
    check(api_.get_cubin(program_, cubin.data()));
    return cubin;
  }

 private:
  void check(int result) const {
    if (result != 0) fail(ErrorCode::internal, "NVRTC: {}", api_.get_error_string(result));
  }

  const NvrtcApi& api_;
  nvrtcProgram program_ = nullptr;
};

}  // namespace

std::string KernelSpec::key() const {
  std::string key = file + ":" + entry;
  for (const std::string& define : defines) key += " " + define;
  return program.empty() ? key : key + "\n" + program;
}

std::string KernelCompiler::version() const {
  int major = 0, minor = 0;
  api_->version(&major, &minor);
  return fmt::format("{}.{}", major, minor);
}

CompiledKernel KernelCompiler::compile(const KernelSpec& spec) const {
  Program program(*api_, spec);
  // Generic lambdas in kernels have no place for __device__ to stand.
  std::vector<std::string> options = {"--gpu-architecture=" + arch_, "--std=c++17",
                                      "--device-as-default-execution-space", "--ptxas-options=-v",
                                      "-DENTRY=" + spec.entry};
  for (const std::string& define : spec.defines) options.push_back("-D" + define);
  const bool compiled = program.compile(options);
  const std::string log = program.log();
  if (!compiled) fail(ErrorCode::internal, "kernel {} does not compile for {}:\n{}", spec.key(), arch_, log);
  CompiledKernel kernel;
  kernel.cubin = program.cubin();
  kernel.waits = program.ptx().find("griddepcontrol.wait") != std::string::npos;
  kernel.registers = number_before(log, "registers");
  kernel.shared_bytes = number_before(log, "bytes smem");
  kernel.spill_bytes = number_before(log, "bytes spill stores");
  return kernel;
}

}  // namespace lathe::cuda
