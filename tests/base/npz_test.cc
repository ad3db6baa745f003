// The golden files in tests/data/npz were written by NumPy 2.4 (and ml_dtypes 0.6 for bf16); zip64.npz is one
// whose end record was moved into a zip64 record, as in files over 4 GiB.
#include "base/npz.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/half.h"
#include "tests/base/temporary_folder.h"
#include "tests/data_path.h"

namespace lathe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::filesystem::path kData = std::filesystem::path(LATHE_TEST_DATA) / "npz";

template <class T>
std::vector<T> values(const NpyArray& array) {
  std::vector<T> out(array.bytes.size() / sizeof(T));
  if (!out.empty()) std::memcpy(out.data(), array.bytes.data(), array.bytes.size());
  return out;
}

template <class T>
NpyArray make_array(DType dtype, std::vector<int64_t> dims, const std::vector<T>& content) {
  NpyArray array{dtype, std::move(dims), std::vector<std::byte>(content.size() * sizeof(T)), {}};
  if (!content.empty()) std::memcpy(array.bytes.data(), content.data(), array.bytes.size());
  return array;
}

// The message of the error that `action` must throw.
template <class Action>
std::string error_of(ErrorCode code, const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

std::vector<std::byte> npy_file(std::string header, size_t content_bytes, char version = 1) {
  std::string file = "\x93NUMPY";
  file += {version, '\0', static_cast<char>(header.size() & 0xff), static_cast<char>(header.size() >> 8)};
  if (version > 1) file += std::string(2, '\0');
  file += header + std::string(content_bytes, '\0');
  const auto bytes = std::as_bytes(std::span(file));
  return {bytes.begin(), bytes.end()};
}

std::string describe(std::string_view descr, std::string_view shape) {
  return fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}\n", descr, shape);
}

template <class T>
void expect_limits(const NpzReader& file, std::string_view name, DType dtype) {
  const NpyArray array = file.read(name);
  EXPECT_EQ(array.dtype, dtype) << name;
  const T low = std::numeric_limits<T>::min(), high = std::numeric_limits<T>::max();
  if (std::numeric_limits<T>::is_signed)
    EXPECT_THAT(values<T>(array), ElementsAre(low, static_cast<T>(-1), T{0}, high)) << name;
  else
    EXPECT_THAT(values<T>(array), ElementsAre(T{0}, T{1}, high)) << name;
}

TEST(Npz, ReadsEveryIntegerTypeOfNumpy) {
  const NpzReader file(kData / "all_types.npz");
  expect_limits<int8_t>(file, "i1", DType::i8);
  expect_limits<int16_t>(file, "i2", DType::i16);
  expect_limits<int32_t>(file, "i4", DType::i32);
  expect_limits<int64_t>(file, "i8", DType::i64);
  expect_limits<uint8_t>(file, "u1", DType::u8);
  expect_limits<uint16_t>(file, "u2", DType::u16);
  expect_limits<uint32_t>(file, "u4", DType::u32);
  expect_limits<uint64_t>(file, "u8", DType::u64);
}

TEST(Npz, ReadsEveryFloatTypeOfNumpy) {
  const NpzReader file(kData / "all_types.npz");
  const NpyArray f64 = file.read("f64");
  EXPECT_THAT(f64.dims, ElementsAre(2, 3));
  const auto doubles = values<double>(f64);
  EXPECT_EQ(doubles[1], -1.25);
  EXPECT_EQ(doubles[2], INFINITY);
  EXPECT_TRUE(std::isnan(doubles[3]));
  EXPECT_EQ(doubles[4], std::numeric_limits<double>::denorm_min());
  EXPECT_TRUE(std::signbit(doubles[5]));
  const NpyArray f32 = file.read("f32");
  EXPECT_THAT(f32.dims, ElementsAre(2, 3, 4));
  EXPECT_EQ(values<float>(f32).back(), 19.5f);
  const NpyArray f16 = file.read("f16");
  EXPECT_EQ(f16.dtype, DType::f16);
  EXPECT_EQ(values<uint16_t>(f16)[1], Half(65504.0f).bits);
  const NpyArray bf16 = file.read("bf16");
  EXPECT_EQ(bf16.dtype, DType::bf16);
  EXPECT_THAT(values<uint16_t>(bf16),
              ElementsAre(BFloat16(1.0f).bits, BFloat16(-2.0f).bits, BFloat16(3.140625f).bits, BFloat16(1e38f).bits));
  EXPECT_EQ(values<float>(file.read("c64")), (std::vector<float>{1.0f, 2.0f}));
}

TEST(Npz, ReadsBoolsStringsScalarsAndEmptyArrays) {
  const NpzReader file(kData / "all_types.npz");
  EXPECT_EQ(file.read("bool"), make_array<uint8_t>(DType::boolean, {2, 2}, {1, 0, 0, 1}));
  EXPECT_EQ(file.read("scalar"), make_array<int64_t>(DType::i64, {}, {7}));
  EXPECT_EQ(file.read("empty"), make_array<float>(DType::f32, {3, 0, 2}, {}));
  EXPECT_THAT(file.read("strings").strings, ElementsAre("", "a", "naïve", "你好", "😀!"));
}

TEST(Npz, TurnsFortranOrderIntoRowMajor) {
  const NpzReader file(kData / "all_types.npz");
  std::vector<int32_t> expected(24);
  for (int i = 0; i < 24; ++i) expected[static_cast<size_t>(i)] = i;
  EXPECT_EQ(file.read("fortran"), make_array<int32_t>(DType::i32, {2, 3, 4}, expected));
  EXPECT_THAT(file.read("fortran_strings").strings, ElementsAre("a", "bb", "ccc", "d", "e", "ff"));
}

TEST(Npz, ReadsCompressedFiles) {
  const NpzReader file(kData / "compressed.npz");
  EXPECT_THAT(file.names(), ElementsAre("zeros", "ramp"));
  EXPECT_EQ(file.read("zeros"), make_array<float>(DType::f32, {100, 50}, std::vector<float>(5000)));
  const auto ramp = values<int64_t>(file.read("ramp"));
  ASSERT_EQ(ramp.size(), 1000u);
  for (size_t i = 0; i < ramp.size(); ++i) ASSERT_EQ(ramp[i], static_cast<int64_t>(i));
}

TEST(Npz, ReadsZip64EndRecords) {
  const NpzReader file(kData / "zip64.npz");
  EXPECT_EQ(file.read("x"), make_array<int64_t>(DType::i64, {3}, {0, 1, 2}));
  EXPECT_EQ(file.read("y"), make_array<float>(DType::f32, {}, {1.0f}));
}

TEST(Npz, NamesWhatIsMissing) {
  const NpzReader file(kData / "compressed.npz");
  EXPECT_TRUE(file.contains("ramp"));
  EXPECT_FALSE(file.contains("ramp.npy"));
  const auto message = error_of(ErrorCode::not_found, [&] { file.read("nothing"); });
  EXPECT_THAT(message, HasSubstr("nothing"));
  EXPECT_THAT(message, HasSubstr("compressed.npz"));
}

class NpzRoundTrip : public testing::TestWithParam<ZipMethod> {};
INSTANTIATE_TEST_SUITE_P(Methods, NpzRoundTrip, testing::Values(ZipMethod::stored, ZipMethod::deflated));

TEST_P(NpzRoundTrip, EverythingReadFromNumpyComesBack) {
  const TemporaryFolder folder;
  const NpzReader original(kData / "all_types.npz");
  NpzWriter writer(folder / "copy.npz", GetParam());
  for (const auto& name : original.names()) writer.add(name, original.read(name));
  writer.commit();
  const NpzReader copy(folder / "copy.npz");
  ASSERT_EQ(copy.names(), original.names());
  for (const auto& name : original.names()) EXPECT_EQ(copy.read(name), original.read(name)) << name;
}

TEST_P(NpzRoundTrip, ContentLargerThanTheBuffers) {
  const TemporaryFolder folder;
  std::vector<uint32_t> noise(700001);
  uint32_t state = 1;
  for (uint32_t& value : noise) value = state = state * 1664525u + 1013904223u;
  const NpyArray array = make_array(DType::u32, {700001}, noise);
  const NpyArray zeros = make_array(DType::u32, {700001}, std::vector<uint32_t>(noise.size()));
  NpzWriter writer(folder / "large.npz", GetParam());
  writer.add("noise", array);
  writer.add("zeros", zeros);
  writer.commit();
  const NpzReader reader(folder / "large.npz");
  EXPECT_TRUE(reader.read("zeros") == zeros);
  EXPECT_TRUE(reader.read("noise") == array);
}

TEST(Npz, EmptyFileAndRepeatedNames) {
  const TemporaryFolder folder;
  const NpyArray array = make_array<float>(DType::f32, {1}, {1.0f});
  {
    NpzWriter writer(folder / "empty.npz");
    writer.commit();
  }
  EXPECT_TRUE(NpzReader(folder / "empty.npz").names().empty());
  NpzWriter writer(folder / "twice.npz");
  writer.add("x", array);
  EXPECT_THROW(writer.add("x", array), Error);
}

TEST(Npy, WritesTheBytesThatNumpyWrites) {
  const TemporaryFolder folder;
  const NpyArray array = make_array<float>(DType::f32, {2, 3}, {0, 1, 2, 3, 4, 5});
  write_npy(folder / "matrix.npy", array);
  std::ifstream golden(kData / "matrix.npy", std::ios::binary);
  const std::string expected{std::istreambuf_iterator<char>(golden), {}};
  EXPECT_EQ(folder.read("matrix.npy"), expected);
  EXPECT_EQ(read_npy(kData / "matrix.npy"), array);
}

TEST(Npy, ReadsFormatVersion3) {
  EXPECT_EQ(read_npy(kData / "version_3.npy"), make_array<int16_t>(DType::i16, {3}, {0, 1, 2}));
}

TEST(Npy, RefusesKindsItCannotHold) {
  EXPECT_THAT(error_of(ErrorCode::unsupported, [] { read_npy(kData / "big_endian.npy"); }),
              testing::AllOf(HasSubstr("big-endian"), HasSubstr("big_endian.npy")));
  EXPECT_THAT(error_of(ErrorCode::unsupported, [] { read_npy(kData / "object.npy"); }), HasSubstr("pickled"));
  EXPECT_THAT(error_of(ErrorCode::unsupported, [] { read_npy(kData / "structured.npy"); }), HasSubstr("structured"));
  const auto strange = npy_file(describe("<M8", "(1,)"), 8);
  EXPECT_THAT(error_of(ErrorCode::unsupported, [&] { read_npy(strange); }), HasSubstr("<M8"));
}

TEST(Npy, RefusesToWriteWhatNumpyLacksOrShapesThatLie) {
  const std::array<int64_t, 1> two = {2}, negative = {-1};
  const std::array<std::byte, 5> bytes{};
  error_of(ErrorCode::unsupported, [&] { NpyEncoding encoding({DType::i4, two, std::span(bytes).first(1)}); });
  error_of(ErrorCode::invalid_argument, [&] { NpyEncoding encoding({DType::f32, two, bytes}); });
  error_of(ErrorCode::invalid_argument, [&] { NpyEncoding encoding({DType::u8, two, bytes}); });
  error_of(ErrorCode::invalid_argument, [&] { NpyEncoding encoding({DType::u8, negative, bytes}); });
}

TEST(Npy, EveryTruncationIsAnError) {
  const NpyArray array = make_array<float>(DType::f32, {2, 3}, {0, 1, 2, 3, 4, 5});
  const NpyEncoding encoding(array);
  std::vector<std::byte> file(encoding.header().begin(), encoding.header().end());
  file.insert(file.end(), encoding.content().begin(), encoding.content().end());
  ASSERT_EQ(read_npy(file), array);
  for (size_t size = 0; size < file.size(); ++size)
    error_of(ErrorCode::invalid_model, [&] { read_npy(std::span(file).first(size)); });
  file.push_back(std::byte{0});
  error_of(ErrorCode::invalid_model, [&] { read_npy(file); });
}

TEST(Npy, HostileShapesFailBeforeMemoryIsAllocated) {
  for (const char* shape :
       {"(1099511627776,)", "(9223372036854775807, 9223372036854775807)", "(99999999999999999999,)", "(-1,)", "(1.5,)",
        "(4294967296, 4294967296)", "('a',)", "(1", "1", "(2305843009213693952,)", "(1 2)"})
    error_of(ErrorCode::invalid_model, [&] { read_npy(npy_file(describe("<f8", shape), 8)); });
  std::string many = "(";
  for (int i = 0; i < 65; ++i) many += "1,";
  error_of(ErrorCode::invalid_model, [&] { read_npy(npy_file(describe("<f8", many + ")"), 8)); });
  EXPECT_THAT(read_npy(npy_file(describe("<f8", "(9223372036854775807, 9223372036854775807, 0)"), 0)).bytes,
              testing::IsEmpty());
}

TEST(Npy, HostileHeadersAreErrors) {
  for (const char* header :
       {"", "{", "{}", "{'descr': '<f8'}", "{'descr': '<f8', 'descr': '<f8', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f8', 'fortran_order': 0, 'shape': (1,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1,)} x", "{'descr: 1", "{'x': 1}",
        "{'descr': '<U0', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<U99999999999', 'fortran_order': False, 'shape': (1,)}"})
    error_of(ErrorCode::invalid_model, [&] { read_npy(npy_file(header, 8)); });
}

TEST(Npy, BytesOtherThanZeroAreTrue) {
  auto file = npy_file(describe("|b1", "(2,)"), 2);
  file.back() = std::byte{7};
  EXPECT_EQ(read_npy(file), make_array<uint8_t>(DType::boolean, {2}, {0, 1}));
}

std::vector<std::byte> small_zip(const TemporaryFolder& folder, ZipMethod method) {
  NpzWriter writer(folder / "small.npz", method);
  writer.add("x", make_array<float>(DType::f32, {2}, {1.0f, 2.0f}));
  writer.add("y", make_array<uint8_t>(DType::u8, {300}, std::vector<uint8_t>(300, 7)));
  writer.commit();
  const std::string text = folder.read("small.npz");
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

void read_all(std::span<const std::byte> bytes) {
  const NpzReader reader(bytes);
  for (const auto& name : reader.names()) reader.read(name);
}

TEST_P(NpzRoundTrip, EveryTruncationIsAnError) {
  const TemporaryFolder folder;
  const auto file = small_zip(folder, GetParam());
  read_all(file);
  for (size_t size = 0; size < file.size(); ++size)
    error_of(ErrorCode::invalid_model, [&] { read_all(std::span(file).first(size)); });
}

// A flipped bit may change a name, a time or an unused field; everything else must be noticed, and nothing may crash.
TEST_P(NpzRoundTrip, FlippedBitsNeverPassAsOtherContent) {
  const TemporaryFolder folder;
  const auto file = small_zip(folder, GetParam());
  const NpyArray x = NpzReader(file).read("x");
  size_t errors = 0;
  for (size_t bit = 0; bit < file.size() * 8; ++bit) {
    auto damaged = file;
    damaged[bit / 8] ^= std::byte{1} << (bit % 8);
    try {
      const NpzReader reader(damaged);
      if (reader.contains("x")) {
        EXPECT_EQ(reader.read("x"), x) << "bit " << bit;
      }
    } catch (const Error&) {
      ++errors;
    }
  }
  EXPECT_GT(errors, file.size() * 2);
}

TEST(Npz, AnImpossibleRatioIsRefusedBeforeUnpacking) {
  const TemporaryFolder folder;
  auto file = small_zip(folder, ZipMethod::deflated);
  const std::string signature = "PK\x01\x02";
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  const size_t entry = text.find(signature);
  ASSERT_NE(entry, std::string_view::npos);
  const uint32_t huge = 0xfffffff0;
  std::memcpy(file.data() + entry + 24, &huge, sizeof(huge));
  EXPECT_THAT(error_of(ErrorCode::invalid_model, [&] { NpzReader reader(file); }), HasSubstr("deflate"));
}

}  // namespace
}  // namespace lathe
