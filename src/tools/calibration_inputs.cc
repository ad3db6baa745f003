#include "tools/calibration_inputs.h"

#include <algorithm>
#include <fstream>
#include <set>

#include "base/error.h"
#include "tools/tensor_files.h"
#include "tools/text_batch.h"

namespace lathe::tools {
namespace {

namespace fs = std::filesystem;

// Of the batches that are made up: a token among few others reaches values that it does not among many. In pairs, as
// ranges are found on one of them and judged on the other (precision/assign.cc).
constexpr Lengths kMadeUpLengths[] = {Lengths::full, Lengths::full, Lengths::half, Lengths::half,
                                      Lengths::full, Lengths::full, Lengths::few,  Lengths::few};
constexpr size_t kTextsPerBatch = 8;
constexpr int64_t kMostRequests = 4;  // of a made-up batch
constexpr size_t kMostTexts = 512;

// The free sizes that count requests: those of the first axis of inputs of two or more. None that others are computed
// from.
std::set<std::string> request_symbols(const Graph& graph) {
  std::set<std::string> symbols;
  std::vector<std::string> in_expressions;
  for (const Value* input : graph.inputs()) {
    const Shape& shape = input->shape();
    if (shape.size() > 1 && shape[0].is_symbol()) symbols.insert(shape[0].to_string());
    for (const Dim& dim : shape)
      if (!dim.is_symbol()) dim.collect_symbols(in_expressions);
  }
  for (const std::string& symbol : in_expressions) symbols.erase(symbol);
  return symbols;
}

precision::Batch batch_of(const Graph& graph, const Sizes& sizes, uint64_t seed, Lengths lengths) {
  precision::Batch batch;
  for (const Value* input : graph.inputs())
    batch.emplace(input->name(), random_input(*input, sizes.at(input->name()), sizes, seed, lengths));
  return batch;
}

// A few requests at a time: what more would show, more batches show as well, in less memory and time.
precision::Batches made_up_batches(const Graph& graph, const Sizes& given, bool in_pairs) {
  Sizes sizes = choose_sizes(graph, given, {}, {}).inputs;
  const std::set<std::string> requests = request_symbols(graph);
  for (const Value* input : graph.inputs())
    for (size_t axis = 0; axis < input->shape().size(); ++axis)
      if (const Dim& dim = input->shape()[axis]; dim.is_symbol() && requests.count(dim.to_string()) > 0) {
        int64_t& size = sizes.at(input->name())[axis];
        size = std::min(size, kMostRequests);
      }
  precision::Batches batches;
  for (uint64_t seed = 0; seed < std::size(kMadeUpLengths); seed += in_pairs ? 1 : 2)
    batches.push_back(batch_of(graph, sizes, seed, kMadeUpLengths[seed]));
  return batches;
}

precision::Batch recorded_batch(const Graph& graph, const fs::path& path) {
  const InputFile file{"", path};
  precision::Batch batch = load_inputs(graph, {&file, 1}, {});
  for (const Value* input : graph.inputs())
    if (batch.count(input->name()) == 0)
      throw Error(ErrorCode::invalid_argument, fmt::format("there is no array for the input '{}'", input->name()))
          .in_file(path.string());
  return batch;
}

precision::Batches recorded_batches(const Graph& graph, const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().extension() == ".npz") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  if (files.empty())
    throw Error(ErrorCode::not_found, "there is no .npz file to calibrate with").in_file(folder.string());
  precision::Batches batches;
  for (const fs::path& file : files) batches.push_back(recorded_batch(graph, file));
  return batches;
}

precision::Batches text_batches(const Graph& graph, const fs::path& path, const fs::path& tokenizer_folder) {
  const auto tokenizer = text::Tokenizer::load(tokenizer_folder, {});
  const TextBatcher batcher(graph, *tokenizer);
  std::vector<text::Encoding> encodings;
  std::ifstream file(path);
  for (std::string line; encodings.size() < kMostTexts && std::getline(file, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (!line.empty()) encodings.push_back(batcher.encode(line));
  }
  if (encodings.empty()) throw Error(ErrorCode::invalid_argument, "there is no text in it").in_file(path.string());
  const size_t step = batcher.fixed_batch() > 0 ? batcher.fixed_batch() : kTextsPerBatch;
  precision::Batches batches;
  for (size_t begin = 0; begin < encodings.size(); begin += step) {
    const size_t count = std::min(step, encodings.size() - begin);
    if (batcher.fixed_batch() > 0 && count < step) break;  // too few for another batch
    batches.push_back(batcher.batch(std::span(encodings).subspan(begin, count)));
  }
  if (batches.empty())
    throw Error(ErrorCode::invalid_argument, fmt::format("the model takes {} texts at once", step))
        .in_file(path.string());
  return batches;
}

}  // namespace

precision::Batch made_up_batch(const Graph& graph, const Sizes& sizes) {
  return batch_of(graph, choose_sizes(graph, sizes, {}, {}).inputs, 0, Lengths::full);
}

precision::Batches calibration_batches(const Graph& graph, const CalibrationArgs& args, const Sizes& sizes,
                                       const fs::path& model, bool finds_ranges) {
  if (args.source.empty()) return made_up_batches(graph, sizes, finds_ranges);
  const fs::path source = args.source;
  std::error_code error;
  if (fs::is_directory(source, error)) return recorded_batches(graph, source);
  if (!fs::is_regular_file(source, error))
    throw Error(ErrorCode::not_found, "there is no such calibration file or folder").in_file(args.source);
  if (source.extension() == ".npz") return {recorded_batch(graph, source)};
  return text_batches(graph, source,
                      args.tokenizer.empty() ? fs::absolute(model).parent_path() : fs::path(args.tokenizer));
}

}  // namespace lathe::tools
