// Libraries that are opened at run time: the program starts without them, and says what is missing when one is needed.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "base/error.h"

namespace lathe::cuda {

class SharedLibrary {
 public:
  // Opens the first of `names` that the loader finds. Throws Error(unsupported) that names them all, with `remedy`.
  static std::unique_ptr<SharedLibrary> open(std::span<const char* const> names, std::string_view remedy);
  ~SharedLibrary();
  SharedLibrary(const SharedLibrary&) = delete;
  SharedLibrary& operator=(const SharedLibrary&) = delete;

  const std::string& name() const { return name_; }

  // Fills in a pointer to a function. Throws Error(unsupported) when the library is too old to have it.
  template <class F>
  void bind(F*& function, const char* symbol) const {
    function = reinterpret_cast<F*>(find(symbol));
    if (function == nullptr)
      throw Error(ErrorCode::unsupported, fmt::format("{} has no function {}", name_, symbol))
          .remedy("Install a newer version of it");
  }

 private:
  SharedLibrary(void* handle, std::string name) : handle_(handle), name_(std::move(name)) {}
  void* find(const char* symbol) const;

  void* handle_;
  std::string name_;
};

}  // namespace lathe::cuda
