#include "build/weight_source.h"

#include <algorithm>

#include "base/error.h"

namespace lathe {
namespace {

// The bytes of an entry, which are as many as its layout of this constant needs.
std::span<const std::byte> checked(const StoredWeights::Entry& entry, const Tensor& constant,
                                   const WeightPacker& packer) {
  const size_t needed = bytes_in_layout(constant, entry.layout, packer);
  if (entry.bytes.size() != needed)
    fail(ErrorCode::invalid_model, "a weight {}{} in layout '{}' has {} bytes in the plan, {} are needed",
         to_string(constant.dtype()), to_string(constant.dims()), entry.layout.scheme, entry.bytes.size(), needed);
  return entry.bytes;
}

}  // namespace

size_t bytes_in_layout(const Tensor& constant, const WeightLayout& layout, const WeightPacker& packer) {
  if (constant.dtype() == DType::string) return 0;
  return layout.plain() ? storage_bytes(constant.dtype(), constant.elements())
                        : packer.packed_bytes(layout, constant.dtype(), constant.dims());
}

std::optional<std::span<const std::byte>> WeightSource::in_place(const Tensor& constant,
                                                                 const WeightLayout& layout) const {
  if (layout.plain() && !constant.is_deferred()) return constant.bytes();
  if (stored_ == nullptr) return std::nullopt;
  for (const StoredWeights::Entry& entry : stored_->find(constant))
    if (entry.layout == layout) return checked(entry, constant, *packer_);
  return std::nullopt;
}

Tensor WeightSource::plain(const Tensor& constant) const {
  if (!constant.is_deferred()) return constant;
  const std::vector<StoredWeights::Entry> entries =
      stored_ == nullptr ? std::vector<StoredWeights::Entry>{} : stored_->find(constant);
  if (entries.empty()) fail(ErrorCode::invalid_model, "weight {} is missing", constant.deferred_id());
  const std::span<const std::byte> bytes = checked(entries.front(), constant, *packer_);
  return packer_->unpack(entries.front().layout, constant.dtype(), constant.dims(), bytes);
}

void WeightSource::lay_out(const Tensor& constant, const WeightLayout& layout, const WeightPacker& packer,
                           std::span<std::byte> out) const {
  const Tensor source = plain(constant);
  if (layout.plain())
    std::copy_n(source.bytes().begin(), out.size(), out.begin());
  else
    packer.pack(layout, source, out);
}

}  // namespace lathe
