#include "checkpoint/torch_file.h"

#include <algorithm>
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

using Bytes = std::span<const std::byte>;

// What a file holds, however it is laid out.
struct Contents {
  Pickle description;
  std::unordered_map<std::string, Bytes> storages;  // by key
};

Bytes stored_bytes(const ZipReader& zip, const ZipMember& member) {
  if (member.method != ZipMethod::stored)
    fail(ErrorCode::unsupported, "the member '{}' is compressed, which torch.save never does", member.name);
  return zip.packed_bytes(member);
}

Contents read_zip(Bytes file) {
  constexpr std::string_view kPickle = "data.pkl", kOrder = "byteorder", kData = "data/";
  const ZipReader zip(file);
  const auto is_description = [&](const ZipMember& member) { return member.name.ends_with(kPickle); };
  const auto description = std::find_if(zip.members().begin(), zip.members().end(), is_description);
  if (description == zip.members().end())
    fail(ErrorCode::invalid_model, "a zip file without 'data.pkl': not what torch.save writes");
  const std::string folder = description->name.substr(0, description->name.size() - kPickle.size());
  Contents contents;
  for (const ZipMember& member : zip.members()) {
    if (!member.name.starts_with(folder)) continue;
    const std::string name = member.name.substr(folder.size());
    if (name.starts_with(kData)) contents.storages.emplace(name.substr(kData.size()), stored_bytes(zip, member));
    if (name != kOrder) continue;  // there since PyTorch 2.1
    const Bytes bytes = stored_bytes(zip, member);
    const std::string_view order(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (order != "little") fail(ErrorCode::unsupported, "the numbers of the file are {}-endian", order);
  }
  contents.description = Pickle::read(stored_bytes(zip, *description));
  return contents;
}

// ('storage', class, key, device, elements[, part of another storage])
struct StorageId {
  DType dtype = DType::f32;
  std::string key;
};

[[noreturn]] void malformed(std::string_view tensor) {
  fail(ErrorCode::invalid_model, "tensor '{}' has a description that makes no sense", tensor);
}

StorageId storage_id(const Pickle& pickle, const Node& node, std::string_view tensor) {
  const Node& id = pickle.item(node, 0);
  if (id.kind != Kind::tuple || id.items.size() < 3) malformed(tensor);
  const Node &type = pickle.item(id, 1), &key = pickle.item(id, 2);
  if (type.kind != Kind::global || type.text != "torch" || key.kind != Kind::text) malformed(tensor);
  if (id.items.size() > 5 && pickle.item(id, 5).kind != Kind::none) malformed(tensor);  // of PyTorch 0.1
  for (const auto& [spelling, dtype] : kStorages)
    if (type.name == spelling) return {dtype, std::string(key.text)};
  fail(ErrorCode::unsupported, "tensor '{}' lies in a torch.{}, which Lathe does not know", tensor, type.name);
}

// Four pickles (the magic number, a version, facts on the machine, the description), a fifth with the keys of the
// storages, and these, each behind the number of its elements.
Contents read_legacy(Bytes file) {
  Contents contents;
  Pickle::read_front(file);  // the version, which never changed
  const Pickle machine = Pickle::read_front(file);
  for (size_t i = 0; i + 1 < machine.root().items.size(); i += 2)
    if (machine.item(machine.root(), i).text == "little_endian" && machine.item(machine.root(), i + 1).integer == 0)
      fail(ErrorCode::unsupported, "the numbers of the file are big-endian");
  contents.description = Pickle::read_front(file);
  std::unordered_map<std::string, size_t> widths;
  for (const Node& node : contents.description.nodes()) {
    if (node.kind != Kind::persistent) continue;
    const StorageId id = storage_id(contents.description, node, "");
    widths[id.key] = storage_bytes(id.dtype, 1);
  }
  const Pickle keys = Pickle::read_front(file);
  for (size_t i = 0; i < keys.root().items.size(); ++i) {
    const std::string key(keys.item(keys.root(), i).text);
    uint64_t count = 0;
    const auto width = widths.find(key);
    if (width == widths.end()) fail(ErrorCode::invalid_model, "the storage '{}' belongs to no tensor", key);
    if (file.size() >= sizeof count) std::memcpy(&count, file.data(), sizeof count);
    if (file.size() < sizeof count || count > (file.size() - sizeof count) / width->second)
      throw Error(ErrorCode::invalid_model, fmt::format("the file ends inside the storage '{}'", key))
          .remedy("Download or copy it again");
    contents.storages.emplace(key, file.subspan(sizeof count, count * width->second));
    file = file.subspan(sizeof count + count * width->second);
  }
  return contents;
}

class TorchFile {
 public:
  explicit TorchFile(Contents contents)
      : pickle_(std::move(contents.description)), storages_(std::move(contents.storages)) {}

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
    const Bytes storage = find_storage(result, argument(result.name, *call, 0));
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

  Bytes find_storage(StoredTensor& tensor, const Node& node) const {
    if (node.kind != Kind::persistent) malformed(tensor.name);
    const StorageId id = storage_id(pickle_, node, tensor.name);
    tensor.dtype = id.dtype;
    const auto storage = storages_.find(id.key);
    if (storage == storages_.end())
      fail(ErrorCode::invalid_model, "tensor '{}' lies in the storage '{}', which the file lacks", tensor.name, id.key);
    return storage->second;
  }

  // Cuts the bytes that the tensor reaches out of its storage.
  static void place(StoredTensor& tensor, Bytes storage, int64_t offset) {
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

  Pickle pickle_;
  std::unordered_map<std::string, Bytes> storages_;
};

}  // namespace

std::vector<StoredTensor> parse_torch_file(Bytes file) {
  // Protocol 2, a number of ten bytes, the end.
  constexpr std::string_view kMagic("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15);
  const bool legacy = file.size() >= kMagic.size() && std::memcmp(file.data(), kMagic.data(), kMagic.size()) == 0;
  return TorchFile(legacy ? read_legacy(file.subspan(kMagic.size())) : read_zip(file)).tensors();
}

}  // namespace lathe::checkpoint
