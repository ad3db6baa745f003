#include "backends/cuda/api/shared_library.h"

#include <dlfcn.h>

namespace lathe::cuda {

std::unique_ptr<SharedLibrary> SharedLibrary::open(std::span<const char* const> names, std::string_view remedy) {
  std::string tried;
  for (const char* name : names) {
    if (void* handle = dlopen(name, RTLD_NOW | RTLD_LOCAL); handle != nullptr)
      return std::unique_ptr<SharedLibrary>(new SharedLibrary(handle, name));
    tried += (tried.empty() ? "" : ", ") + std::string(name);
  }
  throw Error(ErrorCode::unsupported, fmt::format("cannot open {}", tried)).remedy(std::string(remedy));
}

SharedLibrary::~SharedLibrary() { dlclose(handle_); }

void* SharedLibrary::find(const char* symbol) const { return dlsym(handle_, symbol); }

}  // namespace lathe::cuda
