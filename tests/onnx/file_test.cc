// Where weights come from: the file itself, typed fields, other files; never copied where that can be avoided.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <protozero/pbf_writer.hpp>

#include "base/half.h"
#include "onnx/tensor_data.h"
#include "tests/onnx/model_builder.h"

namespace lathe::onnx {
namespace {

using testing::HasSubstr;

class FolderTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) / testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path write(const std::string& name, const std::string& bytes) const {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return folder_ / name;
  }

  std::filesystem::path folder_;
};

template <class Write>
std::string tensor_message(const std::vector<int64_t>& dims, int type, Write&& write) {
  std::string bytes;
  protozero::pbf_writer w(bytes);
  for (const int64_t d : dims) w.add_int64(1, d);
  w.add_int32(2, type);
  w.add_string(8, "w");
  write(w);
  return bytes;
}

std::string external(const std::vector<std::pair<std::string, std::string>>& entries) {
  return tensor_message({2}, 1, [&](auto& w) {
    for (const auto& [key, value] : entries) {
      std::string entry;
      protozero::pbf_writer e(entry);
      e.add_string(1, key);
      e.add_string(2, value);
      w.add_message(13, entry);
    }
    w.add_int32(14, 1);
  });
}

std::string weight_model(const std::string& tensor) {
  return model(GraphBuilder().initializer(tensor).add(node("Identity", {"w"}, {"y"})).output("y"));
}

const Tensor& weight(const Graph& graph) { return graph.nodes().front()->as<Constant>()->value; }

TEST(TensorDataTest, RawDataIsAViewOfTheFile) {
  const auto owner =
      std::make_shared<const std::string>(weight_model(raw_tensor("w", Tensor::of<float>({2}, {1.5F, -2}))));
  const auto graph = import_model(std::as_bytes(std::span(*owner)), owner);
  const auto* data = reinterpret_cast<const char*>(weight(*graph).bytes().data());
  EXPECT_GE(data, owner->data());
  EXPECT_LT(data, owner->data() + owner->size());
  EXPECT_EQ(weight(*graph).read_double(1), -2);
}

Tensor decoded(const std::string& tensor) { return weight(*import_bytes(weight_model(tensor))); }

TEST(TensorDataTest, TypedFieldsAreDecoded) {
  const std::vector<float> floats = {1, 2.5F};
  EXPECT_EQ(decoded(tensor_message({2}, 1, [&](auto& w) { w.add_packed_float(4, floats.begin(), floats.end()); })),
            Tensor::of<float>({2}, {1, 2.5F}));
  EXPECT_EQ(decoded(tensor_message({2}, 1,
                                   [&](auto& w) {
                                     w.add_float(4, 1);
                                     w.add_float(4, 2.5F);
                                   })),
            Tensor::of<float>({2}, {1, 2.5F}));
  EXPECT_EQ(decoded(tensor_message({}, 7, [](auto& w) { w.add_int64(7, -5); })), Tensor::scalar<int64_t>(-5));
  EXPECT_EQ(decoded(tensor_message({1}, 11, [](auto& w) { w.add_double(10, 1e300); })),
            Tensor::of<double>({1}, {1e300}));
  EXPECT_EQ(decoded(tensor_message({1}, 12, [](auto& w) { w.add_uint64(11, 4000000000U); })),
            Tensor::of<uint32_t>({1}, {4000000000U}));
  EXPECT_EQ(decoded(tensor_message({2}, 3,
                                   [](auto& w) {
                                     w.add_int32(5, -128);
                                     w.add_int32(5, 127);
                                   })),
            Tensor::of<int8_t>({2}, {-128, 127}));
  EXPECT_EQ(decoded(tensor_message({1}, 10, [](auto& w) { w.add_int32(5, Half::from_float(1.5F)); })),
            Tensor::of<Half>({1}, {Half(1.5F)}));
}

TEST(TensorDataTest, BoolsOtherThanZeroAndOneAreNormalised) {
  const std::string bytes =
      model(GraphBuilder()
                .initializer(tensor_message({2}, 9, [](auto& w) { w.add_bytes(9, "\x00\x07", 2); }))
                .add(node("Identity", {"w"}, {"y"}))
                .output("y"));
  EXPECT_EQ(weight(*import_bytes(bytes)), Tensor::of<bool>({2}, {false, true}));
}

TEST(TensorDataTest, SizesThatDoNotFitTheDataAreRefused) {
  EXPECT_THROW(decoded(tensor_message({3}, 1, [](auto& w) { w.add_bytes(9, "\0\0\0\0", 4); })), Error);
  EXPECT_THROW(decoded(tensor_message({1LL << 40}, 1, [](auto& w) { w.add_float(4, 1); })), Error);
  EXPECT_THROW(decoded(tensor_message({1LL << 62, 1LL << 62}, 1, [](auto& w) { w.add_float(4, 1); })), Error);
  EXPECT_THROW(decoded(tensor_message({-1}, 1, [](auto& w) { w.add_float(4, 1); })), Error);
  EXPECT_THROW(decoded(tensor_message({1}, 99, [](auto& w) { w.add_float(4, 1); })), Error);
}

TEST_F(FolderTest, ExternalDataIsMappedAtItsOffset) {
  const float values[] = {0, 3, 4};
  write("data.bin", std::string(reinterpret_cast<const char*>(values), sizeof(values)));
  const auto path =
      write("m.onnx", weight_model(external({{"location", "data.bin"}, {"offset", "4"}, {"length", "8"}})));
  const auto graph = import_model(path);
  EXPECT_EQ(weight(*graph), Tensor::of<float>({2}, {3, 4}));
}

TEST_F(FolderTest, ExternalDataStaysInsideTheFolder) {
  write("data.bin", std::string(8, '\0'));
  for (const std::string location : {"../data.bin", "/etc/passwd", "a/../../data.bin", ""}) {
    const auto path = write("m.onnx", weight_model(external({{"location", location}})));
    try {
      import_model(path);
      FAIL() << location;
    } catch (const Error& e) {
      EXPECT_THAT(e.what(), HasSubstr("not inside the model's folder"));
      EXPECT_THAT(e.what(), HasSubstr("m.onnx"));
    }
  }
}

TEST_F(FolderTest, ExternalDataBeyondTheFileIsRefused) {
  write("data.bin", std::string(8, '\0'));
  for (const auto& [offset, length] :
       {std::pair("4", "8"), std::pair("0", "4"), std::pair("18446744073709551615", "8"), std::pair("x", "8")}) {
    const auto path =
        write("m.onnx", weight_model(external({{"location", "data.bin"}, {"offset", offset}, {"length", length}})));
    EXPECT_THROW(import_model(path), Error) << offset;
  }
}

TEST_F(FolderTest, CheckReportsInsteadOfThrowing) {
  const auto path =
      write("m.onnx", model(GraphBuilder().input("x", 1, {"n"}).add(node("Mystery", {"x"}, {"y"})).output("y")));
  const CapabilityReport report = check(path);
  ASSERT_EQ(report.unsupported.size(), 1u);
  EXPECT_EQ(report.unsupported[0].op, "Mystery");
  EXPECT_EQ(report.nodes, 1);
  EXPECT_THROW(check(folder_ / "missing.onnx"), Error);
}

TEST(ExternalDataTest, BytesWithoutAFolderSayHowToHelp) {
  try {
    import_bytes(weight_model(external({{"location", "data.bin"}})));
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("Give the model as a path"));
  }
}

}  // namespace
}  // namespace lathe::onnx
