// Damaged and hostile plan files: every one gives an Error, whatever byte is wrong; damage to the weights, which
// opening does not read, is found when asked for.
#include <random>

#include "build/plan_writer.h"
#include "graph/hash.h"
#include "runtime/plan_reader.h"
#include "tests/base/temporary_folder.h"
#include "tests/runtime/engine_of.h"

namespace lathe {
namespace {

using test::error_of;

constexpr const char* kModel = R"(graph model(%x: f32[n, 16]) {
  %w = constant {value = f32[16, 40] random(2)}
  %t = constant {value = f32[30, 16] random(3)}
  %h = matmul(%x, %w)
  %k = softmax(%h) {axis = 1}
  return %k as "k", %t as "t"
})";

std::vector<std::byte> plan_bytes() {
  const TemporaryFolder folder;
  write_plan(folder / "a.plan", compile(parse_graph(kModel), test::on_isa(Isa::generic)), {"model.onnx", {}, 0, {}});
  const std::string text = folder.read("a.plan");
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

// Opens and runs, as a caller with that file would.
void use(const std::vector<std::byte>& bytes) {
  const TemporaryFolder folder;
  folder.write("a.plan", {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  Session session(open_engine(folder / "a.plan", test::on_isa(Isa::generic)), {1});
  test::run(session, {test::floats({2, 16})});
}

void expect_refused(const std::vector<std::byte>& bytes, const std::string& what) {
  try {
    use(bytes);
    ADD_FAILURE() << what << " went unnoticed";
  } catch (const Error& error) {
    EXPECT_NE(error.code(), ErrorCode::internal) << what << ": " << error.what();
  }
}

template <class T>
T read(const std::vector<std::byte>& bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}
template <class T>
void put(std::vector<std::byte>& bytes, size_t offset, const T& value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(T));
}

size_t entry_offset(size_t i) { return sizeof(PlanHeader) + i * sizeof(PlanTableEntry); }

size_t entry_of(const std::vector<std::byte>& bytes, PlanSection kind) {
  size_t i = 0;
  while (read<PlanTableEntry>(bytes, entry_offset(i)).kind != static_cast<uint32_t>(kind)) ++i;
  return i;
}

uint64_t checksum(std::span<const std::byte> bytes) {
  Hasher hasher;
  hasher.add(bytes);
  return hasher.finish();
}

void reseal_table(std::vector<std::byte>& bytes) {
  auto header = read<PlanHeader>(bytes, 0);
  header.file_bytes = bytes.size();
  header.table_checksum =
      checksum(std::span(bytes).subspan(sizeof(PlanHeader), kLeastPlanSections * sizeof(PlanTableEntry)));
  put(bytes, 0, header);
}

// The plan with other metadata and right checksums: what a hostile writer would make.
std::vector<std::byte> with_metadata(std::vector<std::byte> bytes, const std::string& metadata) {
  bytes.resize((bytes.size() + kPlanPage - 1) / kPlanPage * kPlanPage);
  const size_t at = entry_of(bytes, PlanSection::metadata);
  auto entry = read<PlanTableEntry>(bytes, entry_offset(at));
  const auto text = std::as_bytes(std::span(metadata));
  entry.offset = bytes.size();
  entry.bytes = text.size();
  entry.checksum = checksum(text);
  put(bytes, entry_offset(at), entry);
  bytes.insert(bytes.end(), text.begin(), text.end());
  reseal_table(bytes);
  return bytes;
}

std::string metadata_of(const std::vector<std::byte>& bytes) {
  const auto entry = read<PlanTableEntry>(bytes, entry_offset(entry_of(bytes, PlanSection::metadata)));
  return {reinterpret_cast<const char*>(bytes.data()) + entry.offset, entry.bytes};
}

std::string replaced(std::string text, const std::string& key, const std::string& value) {
  const size_t at = text.find("\"" + key + "\":") + key.size() + 3;
  return text.replace(at, text.find_first_of(",}]", at) - at, value);
}

TEST(PlanDamage, TheUntouchedPlanRuns) { EXPECT_NO_THROW(use(plan_bytes())); }

TEST(PlanDamage, CutAnywhere) {
  const std::vector<std::byte> whole = plan_bytes();
  std::vector<size_t> lengths = {0, 1, 7, 8, 9, sizeof(PlanHeader), whole.size() - 1};
  for (size_t i = 0; i < kLeastPlanSections; ++i) {
    const auto entry = read<PlanTableEntry>(whole, entry_offset(i));
    for (const uint64_t end : {entry.offset, entry.offset + 1, entry.offset + entry.bytes - 1}) lengths.push_back(end);
    lengths.push_back(entry_offset(i) + 5);
  }
  for (const size_t length : lengths)
    expect_refused({whole.begin(), whole.begin() + static_cast<ptrdiff_t>(length)}, fmt::format("{} bytes", length));
  std::vector<std::byte> longer = whole;
  longer.push_back(std::byte{0});
  expect_refused(longer, "a byte too many");
}

TEST(PlanDamage, AnyFlippedBitOfHeaderTableMetadataAndGraph) {
  const std::vector<std::byte> whole = plan_bytes();
  std::vector<size_t> places;
  for (size_t i = 0; i < entry_offset(kLeastPlanSections); ++i) places.push_back(i);
  for (const PlanSection kind : {PlanSection::metadata, PlanSection::graph}) {
    const auto entry = read<PlanTableEntry>(whole, entry_offset(entry_of(whole, kind)));
    for (size_t i = 0; i < entry.bytes; ++i) places.push_back(entry.offset + i);
  }
  std::mt19937 random(3);
  std::vector<std::byte> damaged = whole;
  for (int round = 0; round < 2000; ++round) {
    const size_t at = places[random() % places.size()];
    const auto bit = std::byte{1} << (random() % 8);
    // The checksum of the weights is looked at by verify_weights() only, and through each weight.
    const size_t weights = entry_offset(entry_of(whole, PlanSection::weights)) + offsetof(PlanTableEntry, checksum);
    if (at >= weights && at < weights + sizeof(uint64_t)) continue;
    damaged[at] ^= bit;
    try {
      Plan::open(damaged, nullptr);
      ADD_FAILURE() << "a flipped bit at " << at << " went unnoticed";
    } catch (const Error& error) {
      EXPECT_NE(error.code(), ErrorCode::internal) << at << ": " << error.what();
    }
    damaged[at] ^= bit;
  }
}

TEST(PlanDamage, FlippedBitsOfWeightsAreFoundWhenAskedFor) {
  std::vector<std::byte> bytes = plan_bytes();
  const auto section = read<PlanTableEntry>(bytes, entry_offset(entry_of(bytes, PlanSection::weights)));
  const Plan intact = Plan::open(bytes, nullptr);
  ASSERT_GE(intact.info().weights.size(), 2u);
  for (const PlanWeight& weight : intact.info().weights) {
    for (const uint64_t at : {weight.offset, weight.offset + weight.bytes / 2, weight.offset + weight.bytes - 1}) {
      bytes[section.offset + at] ^= std::byte{4};
      const Plan plan = Plan::open(bytes, nullptr);
      EXPECT_EQ(error_of([&] { plan.verify_weights(); }).code(), ErrorCode::invalid_model);
      bytes[section.offset + at] ^= std::byte{4};
    }
  }
  EXPECT_NO_THROW(Plan::open(bytes, nullptr).verify_weights());
}

TEST(PlanDamage, AnotherFormatVersionSaysSo) {
  std::vector<std::byte> bytes = plan_bytes();
  auto header = read<PlanHeader>(bytes, 0);
  header.version = kPlanVersion + 1;
  put(bytes, 0, header);
  const Error error = error_of([&] { use(bytes); });
  EXPECT_EQ(error.code(), ErrorCode::unsupported);
  EXPECT_FALSE(error.remedy_text().empty());
}

// The checksums are right: only the content is wrong.
TEST(PlanDamage, HostileTables) {
  const std::vector<std::byte> whole = plan_bytes();
  for (size_t i = 0; i < kLeastPlanSections; ++i) {
    const auto entry = read<PlanTableEntry>(whole, entry_offset(i));
    std::vector<PlanTableEntry> bad(5, entry);
    bad[0].offset = UINT64_MAX - 4095;
    bad[1].bytes = UINT64_MAX;
    bad[2].kind = 9;
    bad[3].offset += 64;
    bad[4].kind = 4000000000u;
    for (size_t k = 0; k < bad.size(); ++k) {
      std::vector<std::byte> bytes = whole;
      if (k == 2 || k == 3) bad[k].checksum = checksum(std::span(bytes).subspan(bad[k].offset, bad[k].bytes));
      put(bytes, entry_offset(i), bad[k]);
      reseal_table(bytes);
      expect_refused(bytes, fmt::format("section {}, damage {}", i, k));
    }
  }
}

TEST(PlanDamage, HostileMetadata) {
  const std::vector<std::byte> whole = plan_bytes();
  const std::string metadata = metadata_of(whole);
  ASSERT_NO_THROW(use(with_metadata(whole, metadata)));
  for (const char* text : {"", "{", "null", "[]", "{}", "\"x\"", "\xff\xfe"})
    expect_refused(with_metadata(whole, text), text);
  expect_refused(with_metadata(whole, std::string(1'000'000, '[')), "a million brackets");
  for (const char* key : {"offset", "bytes", "checksum", "constant", "threads"}) {
    for (const char* value : {"1e300", "-1", "99999999999999999999999", "0.5", "null", "\"7\"", "[]", "true"}) {
      if (std::string(key) == "threads" && std::string(value) == "-1") continue;   // informative only
      if (std::string(key) == "constant" && std::string(value) == "-1") continue;  // see the next test
      expect_refused(with_metadata(whole, replaced(metadata, key, value)), fmt::format("{} = {}", key, value));
    }
  }
  for (const char* value : {"18446744073709551552", "9223372036854775808", "4096000000"})
    for (const char* key : {"offset", "bytes"})
      expect_refused(with_metadata(whole, replaced(metadata, key, value)), fmt::format("{} = {}", key, value));
  for (const char* scheme : {"\"other\"", "\"conv_panels\"", "\"gemm_panels\""})
    if (replaced(metadata, "scheme", scheme) != metadata)
      expect_refused(with_metadata(whole, replaced(metadata, "scheme", scheme)), scheme);
  for (const char* params : {"[]", "[0, 0]", "[-1, 0]", "[9223372036854775807, 1]", "[1e99, 0]", "[8, 0, 1]"}) {
    std::string text = metadata;
    const size_t at = text.find("\"params\":[") + 9;
    text.replace(at, text.find(']', at) + 1 - at, params);
    expect_refused(with_metadata(whole, text), params);
  }
  for (const char* node : {"x", "-1", "1e5", "99999999999999999999999", ""})
    expect_refused(
        with_metadata(whole, replaced(metadata, "choices", fmt::format("{{\"{}\":\"gemm\"}},\"old\":{{\"0\":0", node))),
        node);
}

TEST(PlanDamage, AWeightThatIsMissing) {
  const std::vector<std::byte> whole = plan_bytes();
  expect_refused(with_metadata(whole, replaced(metadata_of(whole), "constant", "-1")), "no weight 0");
  expect_refused(with_metadata(whole, replaced(metadata_of(whole), "constant", "77")), "no weight 0");
}

}  // namespace
}  // namespace lathe
