// A safetensors file of tensors at hand.
#pragma once

#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "graph/tensor.h"

namespace lathe::checkpoint {

using Tensors = std::map<std::string, Tensor>;

inline std::string safetensors(const Tensors& tensors) {
  const std::map<DType, const char*> names = {{DType::f32, "F32"}, {DType::f16, "F16"},        {DType::i32, "I32"},
                                              {DType::i64, "I64"}, {DType::f8e4m3, "F8_E4M3"}, {DType::i8, "I8"}};
  nlohmann::json header;
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    const size_t begin = data.size();
    data.append(reinterpret_cast<const char*>(tensor.bytes().data()), tensor.bytes().size());
    header[name] = {
        {"dtype", names.at(tensor.dtype())}, {"shape", tensor.dims()}, {"data_offsets", {begin, data.size()}}};
  }
  const std::string text = header.dump();
  std::string file(8, '\0');
  const uint64_t size = text.size();
  std::memcpy(file.data(), &size, sizeof(size));
  return file + text + data;
}

}  // namespace lathe::checkpoint
