#include "llm/quantize.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "base/error.h"
#include "checkpoint/decoder.h"
#include "llm/error_feedback.h"
#include "llm/graph_model.h"
#include "llm/model_text.h"
#include "runtime/session.h"

namespace lathe::llm {
namespace {

using checkpoint::Checkpoint;
using checkpoint::RoundedMatrix;
using checkpoint::WeightRows;

constexpr int64_t kWindow = 512;  // tokens that are read together
constexpr int64_t kFewestTokens = 64;
constexpr int64_t kSlice = int64_t{1} << 22;  // elements that are wide in memory at a time

RoundedWeight nearest(const RoundedMatrix& matrix, const WeightRows& rows, ThreadTeam& team) {
  WeightRounder rounder(matrix.n, matrix.k, matrix.rounding);
  const int64_t step = std::max<int64_t>(kSlice / std::max<int64_t>(matrix.k, 1), 1);
  for (int64_t row = 0; row < matrix.n; row += step) {
    const int64_t end = std::min(row + step, matrix.n);
    rounder.add_rows(rows.read(row, end), team);
    rows.release(end);
  }
  return std::move(rounder).finish();
}

// The windows of a text as steps of one sequence.
class Windows {
 public:
  Windows(std::vector<int32_t> ids, int64_t window, int64_t block_size) : ids_(std::move(ids)), window_(window) {
    for (int64_t i = 0; i < blocks(block_size); ++i) table_.push_back(static_cast<int32_t>(i));
  }
  int64_t blocks(int64_t block_size) const { return (window_ + block_size - 1) / block_size; }
  int64_t count() const { return (std::ssize(ids_) + window_ - 1) / window_; }

  std::span<const Output> run(GraphModel& model, int64_t index) {
    const int64_t begin = index * window_, size = std::min(window_, std::ssize(ids_) - begin);
    const auto ids = std::span<const int32_t>(ids_).subspan(static_cast<size_t>(begin), static_cast<size_t>(size));
    const auto layout = model.layout(ids);
    positions_.clear();
    block_positions_.clear();
    for (int64_t i = 0; i < size; ++i) {
      positions_.push_back(layout->position(i, size));
      block_positions_.push_back(layout->block_position(i));
    }
    starts_ = {0, static_cast<int32_t>(size)};
    prefix_ = {static_cast<int32_t>(layout->prefix_length())};
    StepBatch batch;
    batch.sequences = 1;
    batch.table_width = std::ssize(table_);
    batch.token_ids = ids;
    batch.positions = positions_;
    batch.block_positions = block_positions_;
    batch.sequence_starts = starts_;
    batch.context_lengths = std::span(starts_).last(1);
    batch.prefix_lengths = prefix_;
    batch.block_table = table_;
    batch.logit_rows = std::span(starts_).first(1);
    return model.run_all(batch);
  }

 private:
  std::vector<int32_t> ids_, table_, positions_, block_positions_, starts_, prefix_;
  int64_t window_;
};

// Rounds matrices one after the other. What they read is found for as many at a time as there is memory for.
class FeedbackQuantizer {
 public:
  FeedbackQuantizer(const Checkpoint& checkpoint, const std::vector<RoundedMatrix>& matrices,
                    const QuantizeOptions& options, ThreadTeam& team)
      : checkpoint_(checkpoint), matrices_(matrices), options_(options), team_(team) {
    const checkpoint::Decoder decoder = build();
    const auto text = ModelText::load(checkpoint.folder(), decoder.info);
    if (text == nullptr)
      throw Error(ErrorCode::not_found, "the folder has no tokenizer, which the calibration text needs")
          .in_file(checkpoint.folder().string());
    std::vector<int32_t> ids = text->encode(options.calibration);
    if (std::ssize(ids) < kFewestTokens)
      fail(ErrorCode::invalid_argument, "the calibration text has {} tokens, {} are the least", ids.size(),
           kFewestTokens);
    ids.resize(static_cast<size_t>(std::min(std::ssize(ids), options.tokens)));
    const int64_t window = std::min(kWindow, decoder.info.max_positions);
    windows_ = std::make_unique<Windows>(std::move(ids), window, decoder.info.block_size);
  }

  RoundedWeight round(const RoundedMatrix& matrix, const WeightRows& rows, double done) {
    if (rounder_of_.count(matrix.name) == 0) read_text(matrix, done);
    Tensor wide(DType::f32, {matrix.n, matrix.k});
    const Tensor stored = rows.read(0, matrix.n);
    for (int64_t i = 0; i < wide.elements(); ++i) wide.write_double(i, stored.read_double(i));
    rows.release(matrix.n);
    const auto found = rounder_of_.find(matrix.name);
    const std::shared_ptr<Rounder> rounder = found->second;
    rounder_of_.erase(found);  // what was its last goes away
    return rounder->get(team_).round(wide, matrix.rounding, team_);
  }

 private:
  // Factorised when the first of the matrices that read the same is rounded.
  struct Rounder {
    InputStatistics statistics;
    std::unique_ptr<FeedbackRounder> feedback;
    const FeedbackRounder& get(ThreadTeam& team) {
      if (feedback == nullptr) feedback = std::make_unique<FeedbackRounder>(std::move(statistics), team);
      return *feedback;
    }
  };

  checkpoint::Decoder build() const {
    checkpoint::DecoderOptions options;
    options.weights.threads = team_.size();
    return build_decoder(checkpoint_, options);
  }

  // Statistics for this matrix and those after it, which are next.
  void read_text(const RoundedMatrix& first, double done) {
    checkpoint::Decoder decoder = build();
    const std::vector<std::pair<Value*, std::shared_ptr<Rounder>>> inputs = choose_inputs(*decoder.graph, first);
    keep_only(*decoder.graph, inputs);
    GraphModelOptions model_options;
    model_options.blocks = windows_->blocks(decoder.info.block_size);
    model_options.session.threads = team_.size();
    GraphModel model(std::move(decoder), model_options);
    for (int64_t i = 0; i < windows_->count(); ++i) {
      if (options_.progress) options_.progress("reading the calibration text", done);
      const std::span<const Output> outputs = windows_->run(model, i);
      for (size_t o = 0; o < inputs.size(); ++o) inputs[o].second->statistics.add(outputs[o].as<float>(), team_);
    }
  }

  // What the next matrices read, each once, as far as there is memory.
  std::vector<std::pair<Value*, std::shared_ptr<Rounder>>> choose_inputs(const Graph& graph,
                                                                         const RoundedMatrix& first) {
    std::map<std::string, Value*> read;
    for (const checkpoint::MatrixUse& use : checkpoint::matrices_of(graph)) read[use.name] = use.x;
    std::vector<std::pair<Value*, std::shared_ptr<Rounder>>> inputs;
    size_t bytes = 0;
    for (const RoundedMatrix* m = &first; m != matrices_.data() + matrices_.size(); ++m) {
      Value* x = read.at(m->name);
      auto found = std::find_if(inputs.begin(), inputs.end(), [&](const auto& input) { return input.first == x; });
      if (found == inputs.end()) {
        bytes += InputStatistics::bytes(m->k);
        if (m != &first && bytes > static_cast<size_t>(options_.memory)) break;
        inputs.emplace_back(x, std::make_shared<Rounder>(Rounder{InputStatistics(m->k), nullptr}));
        found = inputs.end() - 1;
      }
      rounder_of_[m->name] = found->second;
    }
    return inputs;
  }

  // The graph computes these values and nothing that comes after them.
  static void keep_only(Graph& graph, const std::vector<std::pair<Value*, std::shared_ptr<Rounder>>>& inputs) {
    graph.erase_output(0);
    for (size_t i = 0; i < inputs.size(); ++i) graph.add_output(inputs[i].first, fmt::format("x{}", i));
    while (true) {
      Node* last = graph.nodes().back().get();
      if (std::any_of(last->outputs().begin(), last->outputs().end(), [](const Value* v) { return v->is_output(); }))
        return;
      graph.erase(last);
    }
  }

  const Checkpoint& checkpoint_;
  const std::vector<RoundedMatrix>& matrices_;
  const QuantizeOptions& options_;
  ThreadTeam& team_;
  std::unique_ptr<Windows> windows_;
  std::map<std::string, std::shared_ptr<Rounder>> rounder_of_;
};

}  // namespace

QuantizeReport quantize_folder(const std::filesystem::path& folder, const std::filesystem::path& target,
                               const QuantizeOptions& options) {
  const Checkpoint checkpoint = Checkpoint::open(folder);
  checkpoint::RoundingPlan plan = checkpoint::plan_rounding(checkpoint, options.weights);
  std::vector<RoundedMatrix>& matrices = plan.matrices;
  // As they will be asked for.
  std::sort(matrices.begin(), matrices.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  ThreadTeam team(options.threads > 0 ? options.threads : default_thread_count());
  std::unique_ptr<FeedbackQuantizer> feedback;
  if (!options.calibration.empty()) feedback = std::make_unique<FeedbackQuantizer>(checkpoint, matrices, options, team);
  const auto round = [&](const RoundedMatrix& matrix, const WeightRows& rows) {
    const double done = static_cast<double>(&matrix - matrices.data()) / static_cast<double>(matrices.size());
    if (options.progress) options.progress("rounding " + matrix.name, done);
    return feedback != nullptr ? feedback->round(matrix, rows, done) : nearest(matrix, rows, team);
  };
  return {write_quantised_folder(checkpoint, target, matrices, round), std::move(plan.stacks),
          std::move(plan.transposed)};
}

}  // namespace lathe::llm
