// Turns the tensors of a file into lathe::Tensors: raw and external data become views of the mapped file, typed data
// fields are decoded, sparse tensors become dense.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/mapped_file.h"
#include "graph/tensor.h"
#include "onnx/proto.h"

namespace lathe::onnx {

// Where a model's bytes live. External data is found by paths relative to the model's folder and below it; files are
// mapped once.
class ModelSource {
 public:
  // `owner` keeps the bytes alive; every view made here holds it. Without a folder external data is an error.
  ModelSource(std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
              std::optional<std::filesystem::path> folder)
      : bytes_(bytes), owner_(std::move(owner)), folder_(std::move(folder)) {}

  std::string_view bytes() const { return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()}; }

  // Throws Error(invalid_model) when the data does not fit the tensor's type and shape, or is out of the file.
  Tensor tensor(const TensorProto& proto);
  Tensor tensor(const SparseTensorProto& proto);

 private:
  Tensor external_tensor(const TensorProto& proto, DType dtype);
  std::shared_ptr<const MappedFile> map(std::string_view location);

  std::span<const std::byte> bytes_;
  std::shared_ptr<const void> owner_;
  std::optional<std::filesystem::path> folder_;
  std::map<std::string, std::shared_ptr<const MappedFile>, std::less<>> files_;
};

}  // namespace lathe::onnx
