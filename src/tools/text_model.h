// A folder with a model for text, as trainers leave it: the model or plan, the tokenizer's files, and perhaps labels.
// Finds out which input takes what, runs one text at a time, and hands out the scores.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"
#include "tools/model_options.h"
#include "tools/text_batch.h"

namespace lathe::tools {

// The model of a folder: model.plan, else model.onnx, else the only .plan, else the only .onnx, there or in its folder
// onnx/; else the folder itself, when it is a checkpoint. A file stands for itself. Throws Error(not_found) or, where
// the choice is not clear, Error(invalid_argument).
std::filesystem::path find_model(const std::filesystem::path& path);

// Names of classes: id2label of config.json, or the lines of labels.txt; empty when there is neither.
std::vector<std::string> read_labels(const std::filesystem::path& folder);

// Probabilities of scores: their softmax, unless they are probabilities already (between 0 and 1, and their sum is 1).
std::vector<double> probabilities(std::span<const double> scores);

// Indices of the `count` largest, largest first; of equal ones the first.
std::vector<size_t> largest(std::span<const double> values, size_t count);

struct TextModelOptions {
  std::string path;  // the folder, or the model in it
  ModelOptions model;
  std::optional<bool> lowercase;  // for a bare vocab.txt
};

// DIR, --lowercase, and the options of a model.
void add_text_model_options(CLI::App& app, TextModelOptions& options);

class TextModel {
 public:
  TextModel(const TextModelOptions& options, Console& console)
      : TextModel(options, find_model(options.path), console) {}

  const text::Tokenizer& tokenizer() const { return *tokenizer_; }
  const std::vector<std::string>& labels() const { return labels_; }

  struct Scores {
    std::vector<text::TokenId> ids;
    Tensor tensor;  // as float; leading batch axis of 1
  };
  // Scores of one text, from the first float output of rank `rank`. Texts longer than the model takes are cut.
  Scores run(std::string_view text, int64_t rank);

 private:
  TextModel(const TextModelOptions& options, const std::filesystem::path& model, Console& console);

  std::unique_ptr<text::Tokenizer> tokenizer_;
  std::vector<std::string> labels_;
  Session session_;
  std::unique_ptr<TextBatcher> batcher_;
};

}  // namespace lathe::tools
