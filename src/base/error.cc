#include "base/error.h"

namespace lathe {

std::string_view to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument: return "invalid argument";
    case ErrorCode::invalid_model: return "invalid model";
    case ErrorCode::unsupported: return "unsupported";
    case ErrorCode::not_found: return "not found";
    case ErrorCode::io: return "input/output";
    case ErrorCode::out_of_memory: return "out of memory";
    case ErrorCode::cancelled: return "cancelled";
    case ErrorCode::internal: return "internal";
  }
  return "unknown";
}

Error::Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) { rebuild(); }

// The innermost context wins: a frame further out must not overwrite the place that was nearest to the fault.
Error& Error::in_file(std::string_view file) & {
  if (file_.empty()) file_ = file;
  rebuild();
  return *this;
}

Error& Error::in_node(std::string_view node, std::string_view op) & {
  if (node_.empty() && op_.empty()) {
    node_ = node;
    op_ = op;
  }
  rebuild();
  return *this;
}

Error& Error::remedy(std::string_view text) & {
  if (remedy_.empty()) remedy_ = text;
  rebuild();
  return *this;
}

void Error::rebuild() {
  full_.clear();
  if (!file_.empty()) full_ += file_ + ": ";
  if (!node_.empty() || !op_.empty()) full_ += fmt::format("node '{}' ({}): ", node_, op_);
  full_ += message_;
  if (!remedy_.empty()) full_ += ". " + remedy_;
}

void check_failed(const char* condition, const char* file, int line) {
  throw Error(ErrorCode::internal, fmt::format("internal error, please report it: {} at {}:{}", condition, file, line));
}

}  // namespace lathe
