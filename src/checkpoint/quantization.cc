#include "checkpoint/quantization.h"

#include <algorithm>

#include "base/ascii.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "checkpoint/fields.h"

namespace lathe::checkpoint {
namespace {

using nlohmann::json;

constexpr std::string_view kRemedy = "Use the checkpoint in 16 bits that it was made from, with --int4 or --int8";

[[noreturn]] void refuse(const std::string& what) { throw Error(ErrorCode::unsupported, what).remedy(kRemedy); }

void check_bits(const std::string& method, const Quantization::Scheme& scheme, int least) {
  if (scheme.bits != 8 && (scheme.bits < least || scheme.bits > 4))
    refuse(fmt::format("weights that {} rounded to {} bits; Lathe reads {}4 and 8", method, scheme.bits,
                       least == 2 ? "2, 3, " : ""));
}

constexpr int64_t kLargest = int64_t{1} << 40;  // no row is as long

// -1, and no word, stand for whole rows.
int64_t group_of(const Fields& fields, std::string_view keys) {
  return std::clamp<int64_t>(fields.optional_integer(keys).value_or(-1), 0, kLargest);
}

// Rows and columns of fp8 weights that share a scale, where it is said.
void read_block(const Fields& fields, std::string_view key, Quantization& result) {
  const std::vector<int64_t> block = fields.integers(key);
  if (block.empty()) return;
  const auto is_size = [](int64_t size) { return size >= 1 && size <= kLargest; };
  if (block.size() != 2 || !std::all_of(block.begin(), block.end(), is_size))
    fail(ErrorCode::invalid_model, "'{}' is not a number of rows and one of columns", key);
  result.block_rows = block[0];
  result.block_columns = block[1];
}

Quantization read_gptq(const Fields& fields) {
  Quantization result{QuantMethod::gptq, {}, 1};
  result.schemes = {{static_cast<int>(fields.count("bits")), group_of(fields, "group_size")}};
  check_bits("GPTQ", result.schemes[0], 2);
  const std::string format = ascii_lower(fields.optional_text("checkpoint_format|format").value_or("gptq"));
  if (format == "gptq_v2")
    result.zero_offset = 0;
  else if (format != "gptq")
    refuse(fmt::format("weights in GPTQ's format '{}'; Lathe reads gptq and gptq_v2", format));
  if (const json* rules = fields.any("dynamic"); rules != nullptr && !rules->empty())
    refuse("GPTQ weights with rules of their own for some layers ('dynamic')");
  return result;
}

Quantization read_awq(const Fields& fields) {
  Quantization result{QuantMethod::awq, {}};
  result.schemes = {{static_cast<int>(fields.count("bits|w_bit")), group_of(fields, "group_size|q_group_size")}};
  if (result.schemes[0].bits != 4) refuse(fmt::format("AWQ weights of {} bits", result.schemes[0].bits));
  const std::string version = ascii_lower(fields.optional_text("version").value_or("gemm"));
  if (version != "gemm" && version != "gemv")
    refuse(fmt::format("AWQ weights in the layout '{}'; Lathe reads gemm and gemv", version));
  result.along_columns = version == "gemv";
  return result;
}

// One of the groups of layers that share a scheme.
void read_group(const json& object, Quantization& result) {
  const Fields group(object, "quantization_config");
  const json* weights = group.any("weights");
  if (weights == nullptr) return;
  if (!weights->is_object()) fail(ErrorCode::invalid_model, "'weights' of quantization_config is no object");
  const Fields fields(*weights, "quantization_config");
  const std::string type = fields.optional_text("type").value_or("int");
  if (type == "float") {
    if (fields.size("num_bits") != 8) refuse("weights that are floats of other than 8 bits");
    read_block(fields, "block_structure", result);
    return;
  }
  result.schemes.push_back({static_cast<int>(fields.count("num_bits")), group_of(fields, "group_size")});
  check_bits("compressed-tensors", result.schemes.back(), 4);
}

Quantization read_compressed(const Fields& fields) {
  Quantization result{QuantMethod::compressed_tensors, {}};
  const std::string common = fields.optional_text("format").value_or("");
  constexpr std::string_view kFormats[] = {"pack-quantized",  "int-quantized",   "float-quantized",
                                           "naive-quantized", "mixed-precision", "dense"};
  const json* groups = fields.any("config_groups");
  if (groups == nullptr || !groups->is_object())
    fail(ErrorCode::invalid_model, "quantization_config has no 'config_groups'");
  for (const auto& [name, group] : groups->items()) {
    if (!group.is_object()) fail(ErrorCode::invalid_model, "'{}' of quantization_config is no object", name);
    const std::string format = Fields(group, name).optional_text("format").value_or(common);
    if (std::find(std::begin(kFormats), std::end(kFormats), format) == std::end(kFormats))
      refuse(fmt::format("weights in compressed-tensors' format '{}'", format));
    read_group(group, result);
  }
  if (const json* sparsity = fields.any("sparsity_config"); sparsity != nullptr && sparsity->is_object()) {
    const std::string format = Fields(*sparsity, "sparsity_config").optional_text("format").value_or("dense");
    if (format != "dense") refuse(fmt::format("sparse weights in the format '{}'", format));
  }
  return result;
}

Quantization read_fp8(const Fields& fields) {
  Quantization result{QuantMethod::fp8, {}};
  read_block(fields, "weight_block_size", result);
  return result;
}

Quantization read_method(const Fields& fields, std::string_view otherwise) {
  const std::string method = ascii_lower(fields.optional_text("quant_method").value_or(std::string(otherwise)));
  if (method == "gptq") return read_gptq(fields);
  if (method == "awq") return read_awq(fields);
  if (method == "compressed-tensors" || method == "compressed_tensors") return read_compressed(fields);
  if (method == "fp8" || method == "fbgemm_fp8") return read_fp8(fields);
  if (method == "mxfp4") return {QuantMethod::mxfp4, {}};
  if (method == "bitsandbytes" || fields.has("load_in_4bit|load_in_8bit"))
    refuse("the weights are stored by bitsandbytes, in formats of its own kernels");
  refuse(fmt::format("weights quantised by '{}', which Lathe does not know", method));
}

}  // namespace

Quantization read_quantization(const Checkpoint& checkpoint) {
  std::filesystem::path file = checkpoint.folder() / "config.json";
  try {
    const json config = Fields::parse(checkpoint.config(), (checkpoint.folder() / "config.json").string());
    const Fields fields(config, "config.json");
    if (const json* object = fields.any("quantization_config|compression_config"); object != nullptr) {
      if (!object->is_object()) fail(ErrorCode::invalid_model, "'quantization_config' is no object");
      return read_method(Fields(*object, "quantization_config"), "");
    }
    for (const auto& [name, method] : {std::pair("quantize_config.json", "gptq"), {"quant_config.json", "awq"}}) {
      file = checkpoint.folder() / name;
      if (!std::filesystem::is_regular_file(file)) continue;
      const auto mapped = MappedFile::open(file);
      const json object = Fields::parse(mapped->text(), name);
      return read_method(Fields(object, name), method);
    }
    return {};
  } catch (Error& error) {
    if (error.file().empty()) error.in_file(file.string());
    throw;
  }
}

}  // namespace lathe::checkpoint
