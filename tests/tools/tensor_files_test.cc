#include "tools/tensor_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "graph/text.h"
#include "tests/base/temporary_folder.h"

namespace lathe::tools {
namespace {

std::unique_ptr<Graph> model() { return parse_graph("graph g(%x: f32[n, 2], %fixed: i32[2]) { return %x as \"y\" }"); }

Tensors load(std::vector<std::string> files, std::vector<std::string> shapes = {}) {
  std::vector<InputFile> input_files;
  std::vector<ShapeArg> shape_args;
  for (const auto& text : files) input_files.push_back(parse_input_arg(text));
  for (const auto& text : shapes) shape_args.push_back(parse_shape_arg(text));
  const auto graph = model();
  return load_inputs(*graph, input_files, shape_args);
}

TEST(TensorFiles, InputArguments) {
  EXPECT_EQ(parse_input_arg("x=a/b.npy").name, "x");
  EXPECT_EQ(parse_input_arg("x=a=b.npy").path, "a=b.npy");
  EXPECT_EQ(parse_input_arg("all.npz").name, "");
  for (const char* text : {"", "x", "x=", "=a.npy", "all.npy"}) EXPECT_THROW(parse_input_arg(text), Error) << text;
}

TEST(TensorFiles, ARecordingGoesRoundTrip) {
  const TemporaryFolder folder;
  const Tensors inputs = {{"x", Tensor::of<float>({1, 2}, {1, 2})}}, outputs = {{"y", Tensor::of<int64_t>({}, {7})}};
  write_recording(folder / "r.npz", inputs, outputs);
  const Recording recording = read_recording(folder / "r.npz");
  EXPECT_EQ(recording.inputs, inputs);
  EXPECT_EQ(recording.outputs, outputs);
  EXPECT_EQ(load({(folder / "r.npz").string()}), inputs);  // finds in:x
  EXPECT_EQ(load({"x=" + (folder / "r.npz").string()}), inputs);
  EXPECT_THROW(load({"fixed=" + (folder / "r.npz").string()}), Error);  // two arrays, neither is called so
}

TEST(TensorFiles, AnNpzWithoutOutputsIsNoRecording) {
  const TemporaryFolder folder;
  write_recording(folder / "r.npz", {{"x", Tensor::of<float>({1}, {1})}}, {});
  EXPECT_THROW(read_recording(folder / "r.npz"), Error);
}

TEST(TensorFiles, RawBytesNeedSizes) {
  const TemporaryFolder folder;
  folder.write("x.bin", std::string(16, '\0'));
  folder.write("fixed.bin", std::string("\1\0\0\0\2\0\0\0", 8));
  EXPECT_EQ(load({"fixed=" + (folder / "fixed.bin").string()}).at("fixed"), Tensor::of<int32_t>({2}, {1, 2}));
  const std::string x = "x=" + (folder / "x.bin").string();
  EXPECT_EQ(load({x}, {"x:2x2"}).at("x"), Tensor(DType::f32, {2, 2}));
  EXPECT_THROW(load({x}), Error);             // n is unknown
  EXPECT_THROW(load({x}, {"x:3x2"}), Error);  // too few bytes
  EXPECT_THROW(load({"z=" + (folder / "x.bin").string()}), Error);
}

}  // namespace
}  // namespace lathe::tools
