#include "checkpoint/torch_file.h"

#include <array>
#include <cstring>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/zip.h"
#include "checkpoint/pickle.h"
#include "graph/tensor.h"

namespace lathe::checkpoint {
namespace {

using Kind = Pickle::Kind;
using Node = Pickle::Node;

constexpr std::array<std::pair<std::string_view, DType>, 14> kStorages{{
    {"DoubleStorage", DType::f64},
    {"FloatStorage", DType::f32},
    {"HalfStorage", DType::f16},
    {"BFloat16Storage", DType::bf16},
    {"Float8_e4m3fnStorage", DType::f8e4m3},
    {"Float8_e5m2Storage", DType::f8e5m2},
    {"LongStorage", DType::i64},
    {"IntStorage", DType::i32},
    {"ShortStorage", DType::i16},
    {"CharStorage", DType::i8},
    {"ByteStorage", DType::u8},
    {"BoolStorage", DType::boolean},
    {"ComplexFloatStorage", DType::c64},
    {"ComplexDoubleStorage", DType::c128},
}};

[[noreturn]] void refuse_legacy() {
  throw Error(ErrorCode::unsupported, "a weights file in PyTorch's format from before version 1.6")
      .remedy(
          "Write it anew: python -c \"import torch; w = torch.load('pytorch_model.bin', map_location='cpu'); "
          "torch.save(w, 'pytorch_model.bin')\", or convert it to safetensors");
}

class TorchFile {
 public:
  explicit TorchFile(std::span<const std::byte> file) : zip_(file) {
    constexpr std::string_view kPickle = "data.pkl";
    const ZipMember* description = nullptr;
    for (const ZipMember& member : zip_.members()) {
      members_.emplace(member.name, &member);
      const bool at_end = member.name.size() >= kPickle.size() &&
                          member.name.compare(member.name.size() - kPickle.size(), kPickle.size(), kPickle) == 0;
      if (at_end && description == nullptr) description = &member;
    }
    if (description == nullptr)
      fail(ErrorCode::invalid_model, "a zip file without 'data.pkl': not what torch.save writes");
    folder_ = description->name.substr(0, description->name.size() - kPickle.size());
    check_byte_order();
    pickle_ = Pickle::read(stored_bytes(*description));
  }

  std::vector<StoredTensor> tensors() const {
    const Node& root = pickle_.root();
    if (root.kind != Kind::dict)
      throw Error(ErrorCode::unsupported, "the file does not hold a dictionary of tensors")
          .remedy("Save model.state_dict() rather than the model");
    std::vector<StoredTensor> result;
    for (size_t i = 0; i < root.items.size(); i += 2) {
      const Node& key = pickle_.item(root, i);
      if (key.kind != Kind::text) fail(ErrorCode::invalid_model, "a tensor without a name");
      result.push_back(tensor(std::string(key.text), pickle_.item(root, i + 1)));
    }
    return result;
  }

 private:
  std::span<const std::byte> stored_bytes(const ZipMember& member) const {
    if (member.method != ZipMethod::stored)
      fail(ErrorCode::unsupported, "the member '{}' is compressed, which torch.save never does", member.name);
    return zip_.packed_bytes(member);
  }

  void check_byte_order() const {
    const auto found = members_.find(folder_ + "byteorder");
    if (found == members_.end()) return;  // before PyTorch 2.1
    const auto bytes = stored_bytes(*found->second);
    const std::string_view order(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (order != "little") fail(ErrorCode::unsupported, "the numbers of the file are {}-endian", order);
  }

  // (storage, offset, sizes, strides, requires_grad, hooks), possibly wrapped as a parameter.
  StoredTensor tensor(std::string name, const Node& value) const {
    const Node* call = &value;
    if (is_call(*call, "_rebuild_parameter")) call = &argument(name, *call, 0);
    if (!is_call(*call, "_rebuild_tensor_v2")) {
      const bool named = call->kind == Kind::call && pickle_.item(*call, 0).kind == Kind::global;
      const Node& callee = named ? pickle_.item(*call, 0) : *call;
      throw Error(ErrorCode::unsupported,
                  fmt::format("'{}' is not a plain tensor{}", name,
                              named ? fmt::format(" but made by {}.{}", callee.text, callee.name) : ""))
          .remedy("Save plain tensors, best as safetensors");
    }
    StoredTensor result;
    result.name = std::move(name);
    const std::span<const std::byte> storage = find_storage(result, argument(result.name, *call, 0));
    const int64_t offset = integer(result.name, argument(result.name, *call, 1));
    result.dims = integers(result.name, argument(result.name, *call, 2));
    result.strides = integers(result.name, argument(result.name, *call, 3));
    place(result, storage, offset);
    return result;
  }

  bool is_call(const Node& node, std::string_view function) const {
    if (node.kind != Kind::call) return false;
    const Node& callee = pickle_.item(node, 0);
    return callee.kind == Kind::global && callee.text == "torch._utils" && callee.name == function;
  }
  const Node& argument(std::string_view tensor, const Node& call, size_t i) const {
    const Node& arguments = pickle_.item(call, 1);
    if (i >= arguments.items.size()) malformed(tensor);
    return pickle_.item(arguments, i);
  }

  // ('storage', class, key, device, elements)
  std::span<const std::byte> find_storage(StoredTensor& tensor, const Node& node) const {
    if (node.kind != Kind::persistent) malformed(tensor.name);
    const Node& id = pickle_.item(node, 0);
    if (id.kind != Kind::tuple || id.items.size() < 3) malformed(tensor.name);
    const Node &type = pickle_.item(id, 1), &key = pickle_.item(id, 2);
    if (type.kind != Kind::global || type.text != "torch" || key.kind != Kind::text) malformed(tensor.name);
    bool known = false;
    for (const auto& [spelling, dtype] : kStorages) {
      if (type.name != spelling) continue;
      tensor.dtype = dtype;
      known = true;
    }
    if (!known)
      fail(ErrorCode::unsupported, "tensor '{}' lies in a torch.{}, which Lathe does not know", tensor.name, type.name);
    const auto member = members_.find(fmt::format("{}data/{}", folder_, key.text));
    if (member == members_.end())
      fail(ErrorCode::invalid_model, "tensor '{}' lies in the storage '{}', which the file lacks", tensor.name,
           key.text);
    return stored_bytes(*member->second);
  }

  // Cuts the bytes that the tensor reaches out of its storage.
  static void place(StoredTensor& tensor, std::span<const std::byte> storage, int64_t offset) {
    if (tensor.strides.size() != tensor.dims.size()) malformed(tensor.name);
    const int64_t count = element_count(tensor.dims);
    const size_t width = storage_bytes(tensor.dtype, 1);
    const auto capacity = static_cast<int64_t>(storage.size() / width);
    int64_t last = 0, expected = 1;
    bool row_major = true;
    for (size_t axis = tensor.dims.size(); axis-- > 0;) {
      const int64_t size = tensor.dims[axis], stride = tensor.strides[axis];
      row_major = row_major && (size == 1 || stride == expected);
      expected *= size;
      if (size > 1 && stride > (capacity - last) / (size - 1))
        last = capacity;  // out of the storage
      else if (size > 1)
        last += stride * (size - 1);
    }
    if (offset > capacity || (count > 0 && last >= capacity - offset))
      throw Error(ErrorCode::invalid_model,
                  fmt::format("tensor '{}', a {}{}, reaches beyond its storage of {} bytes", tensor.name,
                              to_string(tensor.dtype), to_string(tensor.dims), storage.size()))
          .remedy("The file is damaged: download or copy it again");
    if (count == 0 || row_major) tensor.strides.clear();
    const auto reached = static_cast<size_t>(count == 0 ? 0 : last + 1);
    tensor.bytes = storage.subspan(static_cast<size_t>(offset) * width, reached * width);
  }

  static int64_t integer(std::string_view tensor, const Node& node) {
    if (node.kind != Kind::integer || node.integer < 0) malformed(tensor);
    return node.integer;
  }
  std::vector<int64_t> integers(std::string_view tensor, const Node& node) const {
    if (node.kind != Kind::tuple) malformed(tensor);
    std::vector<int64_t> result;
    for (size_t i = 0; i < node.items.size(); ++i) result.push_back(integer(tensor, pickle_.item(node, i)));
    return result;
  }
  [[noreturn]] static void malformed(std::string_view tensor) {
    fail(ErrorCode::invalid_model, "tensor '{}' has a description that makes no sense", tensor);
  }

  ZipReader zip_;
  std::unordered_map<std::string, const ZipMember*> members_;
  std::string folder_;  // all members are below it
  Pickle pickle_;
};

}  // namespace

std::vector<StoredTensor> parse_torch_file(std::span<const std::byte> file) {
  constexpr std::byte kPickleStart{0x80};
  if (!file.empty() && file.front() == kPickleStart) refuse_legacy();
  return TorchFile(file).tensors();
}

}  // namespace lathe::checkpoint
