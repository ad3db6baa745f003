// The one exception type of Lathe. Every failure that a caller can cause (bad file, bad shape, missing driver) is a
// lathe::Error: a code, one sentence that says what is wrong, the place (file, node, op), and a remedy where one is
// known.
#pragma once

#include <exception>
#include <string>
#include <string_view>
#include <utility>

namespace lathe {

enum class ErrorCode {
  invalid_argument,  // the caller passed something unusable: name, rank, type, size
  invalid_model,     // a model or plan file is malformed
  unsupported,       // well-formed, but not something Lathe can do (yet)
  not_found,         // a file, input or symbol does not exist
  io,                // reading or writing failed
  out_of_memory,
  cancelled,
  internal,  // a bug in Lathe
};

std::string_view to_string(ErrorCode code);

class Error : public std::exception {
 public:
  Error(ErrorCode code, std::string message);

  // Builder-style context; each returns *this so that `throw Error(...).in_node("x", "Conv")` reads well.
  Error& in_file(std::string_view file) &;
  Error& in_node(std::string_view node, std::string_view op) &;
  Error& remedy(std::string_view text) &;
  Error&& in_file(std::string_view file) && { return std::move(in_file(file)); }
  Error&& in_node(std::string_view node, std::string_view op) && { return std::move(in_node(node, op)); }
  Error&& remedy(std::string_view text) && { return std::move(remedy(text)); }

  ErrorCode code() const { return code_; }
  const std::string& message() const { return message_; }
  const std::string& file() const { return file_; }
  const std::string& node() const { return node_; }
  const std::string& op() const { return op_; }
  const std::string& remedy_text() const { return remedy_; }

  // The whole story in one line: "model.onnx: node 'conv1' (Conv): message. Remedy."
  const char* what() const noexcept override { return full_.c_str(); }

 private:
  void rebuild();

  ErrorCode code_;
  std::string message_, file_, node_, op_, remedy_, full_;
};

}  // namespace lathe
