#include "graph/as_f32.h"

namespace lathe {

Tensor as_f32(const Tensor& source) {
  if (source.dtype() == DType::f32) return source;
  Tensor wide(DType::f32, source.dims());
  const auto out = wide.mutable_as<float>();
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(source.read_double(static_cast<int64_t>(i)));
  return wide;
}

}  // namespace lathe
