// Weights files, whole and damaged: what is read, and what the errors say.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "base/zip.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/pickle.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/torch_file.h"
#include "tests/base/temporary_folder.h"

namespace lathe::checkpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

template <class F>
std::string message_of(F&& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_NE(error.code(), ErrorCode::internal);
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

std::string safetensors(const std::string& header, const std::string& data) {
  std::string file(8, '\0');
  const uint64_t size = header.size();
  std::memcpy(file.data(), &size, sizeof(size));
  return file + header + data;
}

const std::string kTwoTensors =
    R"({"__metadata__": {"format": "pt"}, "b": {"dtype": "F32", "shape": [], "data_offsets": [4, 8]},)"
    R"( "a": {"dtype": "BF16", "shape": [1, 2], "data_offsets": [0, 4]}})";

TEST(Safetensors, TensorsAreViewsOfTheFile) {
  const std::string file = safetensors(kTwoTensors, "01234567");
  const std::vector<StoredTensor> tensors = parse_safetensors(bytes_of(file));
  ASSERT_EQ(tensors.size(), 2u);
  EXPECT_EQ(tensors[0].name, "a");
  EXPECT_EQ(tensors[0].dtype, DType::bf16);
  EXPECT_THAT(tensors[0].dims, ElementsAre(1, 2));
  EXPECT_EQ(static_cast<const void*>(tensors[0].bytes.data()), file.data() + file.size() - 8);
  EXPECT_EQ(tensors[1].bytes.size(), 4u);
  EXPECT_TRUE(tensors[1].dims.empty());
}

TEST(Safetensors, EmptyTensorsAndFilesWithoutAny) {
  EXPECT_TRUE(parse_safetensors(bytes_of(safetensors("{}", ""))).empty());
  const std::string file = safetensors(R"({"a":{"dtype":"F16","shape":[0,3],"data_offsets":[0,0]}})", "");
  EXPECT_TRUE(parse_safetensors(bytes_of(file)).at(0).bytes.empty());
}

TEST(Safetensors, DamageIsNamed) {
  const auto message = [](const std::string& file) { return message_of([&] { parse_safetensors(bytes_of(file)); }); };
  const auto one = [&](const std::string& entry) { return message(safetensors("{\"w\":" + entry + "}", "01234567")); };
  EXPECT_THAT(message("1234"), HasSubstr("only 4 bytes"));
  EXPECT_THAT(message(safetensors(kTwoTensors, "").substr(0, 30)), HasSubstr("cut off"));
  EXPECT_THAT(message(safetensors(kTwoTensors, "0123")), HasSubstr("'b' ends at byte 8"));
  EXPECT_THAT(message(safetensors("[]", "")), HasSubstr("not a JSON object"));
  EXPECT_THAT(message(safetensors("{\"w\":", "")), HasSubstr("not a JSON object"));
  EXPECT_THAT(one("3"), HasSubstr("'w' has no description"));
  EXPECT_THAT(one(R"({"dtype":"Q4","shape":[2],"data_offsets":[0,8]})"), HasSubstr("'w' has the element type 'Q4'"));
  EXPECT_THAT(one(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})"), HasSubstr("takes 12 bytes, but 8"));
  EXPECT_THAT(one(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})"), HasSubstr("'shape' is not a list of sizes"));
  EXPECT_THAT(one(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})"), HasSubstr("not a begin and an end"));
  EXPECT_THAT(one(R"({"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]})"), HasSubstr("large"));
}

// A pickle of {"w": a 2 x 3 tensor of floats with these strides, in a storage of its own}.
std::string tensor_pickle(const std::string& storage, char offset, char stride0, char stride1,
                          const std::string& function = "_rebuild_tensor_v2") {
  const auto text = [](const std::string& s) {
    return "X" + std::string(1, static_cast<char>(s.size())) + std::string(3, '\0') + s;
  };
  const auto small = [](char n) { return std::string("K") + n; };
  return "\x80\x02}q" + std::string(1, '\0') + text("w") + "ctorch._utils\n" + function + "\n((" + text("storage") +
         "ctorch\n" + storage + "\n" + text("0") + text("cpu") + small(6) + "tQ" + small(offset) + small(2) + small(3) +
         "\x86" + small(stride0) + small(stride1) + "\x86\x89}tRs.";
}

std::string torch_file(const std::string& pickle, const std::string& storage) {
  const TemporaryFolder folder;
  ZipWriter zip(folder / "f");
  const std::pair<const char*, const std::string*> members[] = {{"archive/data.pkl", &pickle},
                                                                {"archive/data/0", &storage}};
  for (const auto& [name, content] : members) {
    const std::span<const std::byte> parts[] = {bytes_of(*content)};
    zip.add(name, parts, ZipMethod::stored);
  }
  zip.commit();
  return folder.read("f");
}

TEST(WeightFiles, PointersOfGitAreToldApart) {
  for (const char* name : {"model.safetensors", "pytorch_model.bin"}) {
    const TemporaryFolder folder;
    folder.write("config.json", "{}");
    folder.write(name, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n");
    EXPECT_THAT(message_of([&] { Checkpoint::open(folder.path()); }), HasSubstr("Git LFS")) << name;
  }
}

TEST(TorchFile, TensorsLieInTheirStorages) {
  const std::string file = torch_file(tensor_pickle("FloatStorage", 1, 3, 1), std::string(28, 'x'));
  const StoredTensor tensor = parse_torch_file(bytes_of(file)).at(0);
  EXPECT_EQ(tensor.name, "w");
  EXPECT_EQ(tensor.dtype, DType::f32);
  EXPECT_THAT(tensor.dims, ElementsAre(2, 3));
  EXPECT_TRUE(tensor.strides.empty());
  EXPECT_EQ(tensor.bytes.size(), 24u);
}

TEST(TorchFile, TensorsOutOfOrderAreGathered) {
  std::string storage;
  for (const float x : {0.f, 1.f, 2.f, 3.f, 4.f, 5.f}) storage.append(reinterpret_cast<const char*>(&x), sizeof(x));
  const TemporaryFolder folder;
  folder.write("config.json", "{}");
  folder.write("pytorch_model.bin", torch_file(tensor_pickle("FloatStorage", 0, 1, 2), storage));
  EXPECT_THAT(Checkpoint::open(folder.path()).tensor("w").as<float>(), ElementsAre(0, 2, 4, 1, 3, 5));
}

TEST(TorchFile, WhatIsNoTensorIsRefusedByName) {
  const auto message = [](const std::string& pickle, size_t bytes = 24) {
    return message_of([&] { parse_torch_file(bytes_of(torch_file(pickle, std::string(bytes, 'x')))); });
  };
  EXPECT_THAT(message(tensor_pickle("FloatStorage", 1, 3, 1)), HasSubstr("'w', a f32[2, 3], reaches beyond"));
  EXPECT_THAT(message(tensor_pickle("FloatStorage", 0, 127, 1)), HasSubstr("reaches beyond"));
  EXPECT_THAT(message(tensor_pickle("QInt8Storage", 0, 3, 1)), HasSubstr("torch.QInt8Storage"));
  EXPECT_THAT(message(tensor_pickle("FloatStorage", 0, 3, 1, "_rebuild_sparse_tensor")),
              HasSubstr("made by torch._utils._rebuild_sparse_tensor"));
  // What would run a command in Python is a call of an unknown function here.
  EXPECT_THAT(
      message("\x80\x02}X\x01" + std::string(3, '\0') + "wcos\nsystem\nX\x02" + std::string(3, '\0') + "ls\x85Rs."),
      HasSubstr("'w' is not a plain tensor but made by os.system"));
  EXPECT_THAT(message("\x80\x02]."), HasSubstr("does not hold a dictionary"));
}

TEST(TorchFile, FilesFromBeforeVersion16) {
  std::string numbers;
  for (const float x : {0.f, 1.f, 2.f, 3.f, 4.f, 5.f}) numbers.append(reinterpret_cast<const char*>(&x), sizeof(x));
  const std::string magic("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15);
  const auto machine = [](bool little) {
    return "\x80\x02}(X\x0d" + std::string(3, '\0') + "little_endian" + (little ? "\x88" : "\x89") + "u.";
  };
  const std::string version("\x80\x02M\xe9\x03.");
  const std::string keys("\x80\x02](X\x01\0\0\0\x30\x65.", 12);  // ["0"]
  const std::string count("\x06\0\0\0\0\0\0\0", 8);
  const std::string front = magic + version + machine(true) + tensor_pickle("FloatStorage", 0, 1, 2) + keys;
  const std::string file = front + count + numbers;
  const TemporaryFolder folder;
  folder.write("config.json", "{}");
  folder.write("pytorch_model.bin", file);
  EXPECT_THAT(Checkpoint::open(folder.path()).tensor("w").as<float>(), ElementsAre(0, 2, 4, 1, 3, 5));

  for (size_t size = magic.size(); size < file.size(); ++size)
    EXPECT_THROW(parse_torch_file(bytes_of(file).first(size)), Error) << size;
  EXPECT_THAT(message_of([&] { parse_torch_file(bytes_of(file).first(file.size() - 1)); }),
              HasSubstr("ends inside the storage '0'"));
  const std::string big = magic + version + machine(false) + tensor_pickle("FloatStorage", 0, 1, 2) + keys;
  EXPECT_THAT(message_of([&] { parse_torch_file(bytes_of(big)); }), HasSubstr("big-endian"));
}

TEST(Pickle, DamageIsAnError) {
  const auto message = [](const std::string& pickle) { return message_of([&] { Pickle::read(bytes_of(pickle)); }); };
  EXPECT_THAT(message(""), HasSubstr("ends inside an instruction"));
  EXPECT_THAT(message("X\xff\xff\xff\xffshort"), HasSubstr("ends inside an instruction"));
  EXPECT_THAT(message("."), HasSubstr("takes more from its stack"));
  EXPECT_THAT(message("NR."), HasSubstr("takes more from its stack"));
  EXPECT_THAT(message("t."), HasSubstr("a mark is missing"));
  EXPECT_THAT(message("Na."), HasSubstr("no collection"));
  EXPECT_THAT(message("NNa."), HasSubstr("no collection"));
  EXPECT_THAT(message("}(Nu."), HasSubstr("a key without a value"));
  EXPECT_THAT(message("h\x07."), HasSubstr("recalls what it has not remembered"));
  EXPECT_THAT(message("cos\nsystem\nNR."), HasSubstr("a call without arguments"));
  EXPECT_THAT(message("I1\n."), HasSubstr("opcode 0x49"));
}

TEST(Pickle, SharedAndCyclicObjectsAreIndices) {
  const std::string text = std::string("]q") + '\0' + "h" + '\0' + "a.";  // a list that holds itself
  const Pickle pickle = Pickle::read(bytes_of(text));
  ASSERT_EQ(pickle.root().items.size(), 1u);
  EXPECT_EQ(&pickle.item(pickle.root(), 0), &pickle.root());
}

TEST(Folder, ShardsAreFoundThroughTheIndex) {
  const TemporaryFolder folder;
  folder.write("config.json", "{}");
  folder.write("one.safetensors", safetensors(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "0123"));
  folder.write("model.safetensors.index.json", R"({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}})");
  const auto open = [&] { return Checkpoint::open(folder.path()); };
  EXPECT_THAT(message_of(open), HasSubstr("the shard 'two.safetensors'"));
  folder.write("two.safetensors", safetensors("{}", ""));
  EXPECT_THAT(message_of(open), HasSubstr("says that it holds 'b'"));
  folder.write("two.safetensors", safetensors(R"({"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "01"));
  EXPECT_THAT(message_of(open), ::testing::AllOf(HasSubstr("two.safetensors"), HasSubstr("cut off")));
  folder.write("two.safetensors", safetensors(R"({"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "0123"));
  EXPECT_THAT(open().names(), ElementsAre("a", "b"));
  EXPECT_THAT(message_of([&] { open().tensor("c"); }), HasSubstr("no tensor 'c'"));
  folder.write("model.safetensors.index.json", R"({"weight_map": {"a": "../one.safetensors"}})");
  EXPECT_THAT(message_of(open), HasSubstr("not in the folder itself"));
}

TEST(Folder, WhatIsMissingIsNamed) {
  const TemporaryFolder folder;
  const auto open = [&] { Checkpoint::open(folder.path()); };
  EXPECT_THAT(message_of(open), HasSubstr("no config.json"));
  folder.write("config.json", "{}");
  EXPECT_THAT(message_of(open), HasSubstr("no weights"));
}

}  // namespace
}  // namespace lathe::checkpoint
