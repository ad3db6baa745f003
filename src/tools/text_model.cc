#include "tools/text_model.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/error.h"
#include "tools/tensor_files.h"

namespace lathe::tools {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> files_with(const fs::path& folder, std::string_view extension) {
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.path().extension() == extension && entry.is_regular_file(error)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<std::string> labels_from_config(const fs::path& path) {
  std::ifstream file(path);
  const auto config = nlohmann::json::parse(file, nullptr, false);
  std::vector<std::string> labels;
  if (!config.is_object() || !config.contains("id2label") || !config["id2label"].is_object()) return labels;
  // Keys are numbers written as text; missing ones keep their number as name.
  const auto& table = config["id2label"];
  for (size_t i = 0; i < table.size(); ++i) {
    const auto found = table.find(std::to_string(i));
    labels.push_back(found != table.end() && found->is_string() ? found->get<std::string>() : std::to_string(i));
  }
  return labels;
}

}  // namespace

fs::path find_model(const fs::path& path) {
  std::error_code error;
  if (fs::is_regular_file(path, error)) return path;
  if (!fs::is_directory(path, error))
    throw Error(ErrorCode::not_found, "there is no such folder").in_file(path.string());
  for (const fs::path& folder : {path, path / "onnx"})
    for (const char* name : {"model.plan", "model.onnx"})
      if (fs::is_regular_file(folder / name, error)) return folder / name;
  for (const fs::path& folder : {path, path / "onnx"}) {
    for (const std::string_view extension : {".plan", ".onnx"}) {
      const std::vector<fs::path> files = files_with(folder, extension);
      if (files.size() == 1) return files.front();
      if (files.size() > 1)
        throw Error(ErrorCode::invalid_argument, fmt::format("there are {} {} files", files.size(), extension))
            .in_file(folder.string())
            .remedy(fmt::format("Name the one to use, as in {}", files.front().string()));
    }
  }
  if (fs::is_regular_file(path / "config.json", error)) return path;  // a checkpoint
  throw Error(ErrorCode::not_found, "there is no .plan, no .onnx file and no checkpoint").in_file(path.string());
}

std::vector<std::string> read_labels(const fs::path& folder) {
  std::vector<std::string> labels = labels_from_config(folder / "config.json");
  if (!labels.empty()) return labels;
  std::ifstream file(folder / "labels.txt");
  for (std::string line; std::getline(file, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (!line.empty()) labels.push_back(line);
  }
  return labels;
}

std::vector<double> probabilities(std::span<const double> scores) {
  const auto in_range = [](double score) { return score >= 0 && score <= 1; };
  const double sum = std::accumulate(scores.begin(), scores.end(), 0.0);
  if (std::all_of(scores.begin(), scores.end(), in_range) && std::fabs(sum - 1) < 1e-3)
    return {scores.begin(), scores.end()};
  std::vector<double> result(scores.begin(), scores.end());
  const double top = scores.empty() ? 0 : *std::max_element(scores.begin(), scores.end());
  double total = 0;
  for (double& score : result) total += score = std::exp(score - top);
  for (double& score : result) score /= total;
  return result;
}

std::vector<size_t> largest(std::span<const double> values, size_t count) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  count = std::min(count, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(),
                    [&](size_t a, size_t b) { return values[a] != values[b] ? values[a] > values[b] : a < b; });
  order.resize(count);
  return order;
}

void add_text_model_options(CLI::App& app, TextModelOptions& options) {
  app.add_option("DIR", options.path, "The folder, or the model in it")->required();
  app.add_flag_function(
      "--lowercase,!--no-lowercase", [&](int64_t count) { options.lowercase = count > 0; },
      "With a bare vocab.txt: lower-case texts, or not");
  add_model_options(app, options.model);
}

TextModel::TextModel(const TextModelOptions& options, const fs::path& model, Console& console)
    : session_(open_model(model, options.model, console), SessionOptions{options.model.threads}) {
  const fs::path folder = fs::is_directory(options.path) ? fs::path(options.path) : model.parent_path();
  text::LoadOptions load;
  load.lowercase = options.lowercase;
  tokenizer_ = text::Tokenizer::load(folder, load);
  labels_ = read_labels(folder);
  batcher_ = std::make_unique<TextBatcher>(*session_.engine().impl().model.graph, *tokenizer_);
}

TextModel::Scores TextModel::run(std::string_view text, int64_t rank) {
  const text::Encoding encoding = batcher_->encode(text);
  const Tensors inputs = batcher_->batch({&encoding, 1});
  const std::vector<TensorInfo>& outputs = session_.engine().outputs();
  const auto wanted = std::find_if(outputs.begin(), outputs.end(), [&](const TensorInfo& info) {
    return is_float(info.dtype) && static_cast<int64_t>(info.dims.size()) == rank;
  });
  if (wanted == outputs.end()) fail(ErrorCode::unsupported, "the model has no output of scores with {} axes", rank);
  Tensors results = run_once(session_, inputs);
  return {encoding.ids, std::move(results.at(wanted->name))};
}

}  // namespace lathe::tools
