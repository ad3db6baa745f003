#include "llm/past_model.h"

#include <algorithm>

#include "base/error.h"
#include "graph/tensor.h"
#include "onnx/importer.h"
#include "passes/passes.h"
#include "runtime/engine.h"
#include "runtime/session.h"

namespace lathe::llm {
namespace {

using Role = OnnxPorts::Role;

void drop_unused_inputs(Graph& graph) {
  for (size_t i = graph.inputs().size(); i-- > 0;)
    if (graph.inputs()[i]->is_unused()) graph.erase_input(i);
}

std::vector<std::byte> encode(std::span<const int64_t> values, DType type) {
  std::vector<std::byte> bytes(storage_bytes(type, static_cast<int64_t>(values.size())));
  visit_native(type, [&]<class T>() {
    auto* out = reinterpret_cast<T*>(bytes.data());
    for (const int64_t value : values) {
      if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>)
        *out++ = T(static_cast<float>(value));
      else
        *out++ = static_cast<T>(value);
    }
  });
  return bytes;
}

void append(std::vector<int64_t>& to, std::span<const int32_t> values) {
  to.insert(to.end(), values.begin(), values.end());
}

// The tokens of a prefix see each other, later ones what is before them: [count, past + count].
std::vector<int64_t> hidden_keys(int64_t past, int64_t count, int64_t prefix) {
  std::vector<int64_t> hidden;
  for (int64_t query = past; query < past + count; ++query)
    for (int64_t key = 0; key < past + count; ++key) hidden.push_back(key > query && key >= prefix ? 1 : 0);
  return hidden;
}

template <class T>
void read_row(const void* data, int64_t row, int64_t columns, float* to) {
  const T* from = static_cast<const T*>(data) + row * columns;
  std::transform(from, from + columns, to, [](T value) { return static_cast<float>(value); });
}

}  // namespace

PastGraphs import_onnx_decoder(const OnnxFiles& files) {
  std::unique_ptr<Graph> graph = onnx::import_model(files.first);
  if (const Value* flag = cache_branch_input(*graph)) {
    const auto branch = [&](bool cached) {
      return onnx::import_model(files.first, {.fixed_dims = {}, .fixed_flags = {{flag->name(), cached}}});
    };
    return {branch(false), branch(true)};
  }
  if (takes_past(*graph)) return {nullptr, std::move(graph)};
  return {std::move(graph), files.second.empty() ? nullptr : onnx::import_model(files.second)};
}

checkpoint::SourceEncoder import_onnx_encoder(const OnnxFiles& files, const checkpoint::SourceInfo& known) {
  checkpoint::SourceEncoder encoder{onnx::import_model(files.encoder), known};
  const auto refuse = [&](const std::string& what) {
    throw Error(ErrorCode::unsupported, "the encoder " + what).in_file(files.encoder.string());
  };
  const auto size = [&](const Value& value, size_t axis) {
    const Shape& shape = value.type().shape;
    if (shape.size() != 3 || !shape[axis].is_constant())
      refuse(fmt::format("has '{}' of {}, whose size {} is open", value.name(), to_string(value.type()), axis));
    return shape[axis].value();
  };
  for (const Value* input : encoder.graph->inputs()) {
    if (input->name() == "input_features") {
      encoder.info.mel_bins = size(*input, 1);
      encoder.info.frames = size(*input, 2);
    } else if (input->name() != "input_ids" && input->name() != "attention_mask") {
      refuse(
          fmt::format("has an input '{}'; known are input_ids with attention_mask, and input_features", input->name()));
    }
  }
  const Value& states = *encoder.graph->outputs().front();
  if (states.dtype() != DType::f32)
    refuse("gives states that are " + std::string(to_string(states.dtype())) + ", not f32");
  encoder.info.hidden = size(states, 2);
  return encoder;
}

PastModel::Piece PastModel::Piece::token(int64_t index) const {
  const auto i = static_cast<size_t>(index);
  Piece one = *this;
  one.past += index;
  one.ids = ids.subspan(i, 1);
  one.positions = positions.subspan(i, 1);
  one.block_positions = block_positions.subspan(i, 1);
  const auto found = std::find(rows.begin(), rows.end(), index);
  one.rows.assign(found == rows.end() ? 0 : 1, 0);
  one.first_row += static_cast<size_t>(found - rows.begin());
  return one;
}

PastModel::PastModel(PastGraphs graphs, checkpoint::DecoderInfo info, const GraphModelOptions& options,
                     std::optional<checkpoint::SourceEncoder> encoder)
    : info_(std::move(info)) {
  if (encoder) info_.source = encoder->info;
  std::unique_ptr<Graph> constants;
  if (graphs.first != nullptr) {
    GraphModelOptions kept = options;
    kept.compile.after_passes = [&](Graph& graph) { constants = graph.clone(); };
    first_ = make_half(std::move(graphs.first), nullptr, kept);
  }
  if (graphs.next != nullptr) {
    GraphModelOptions shared = options;
    if (constants != nullptr)
      shared.compile.after_passes = [&](Graph& graph) { passes::share_constants(graph, *constants); };
    next_ = make_half(std::move(graphs.next), first_ ? &*first_ : nullptr, shared);
  }
  const OnnxPorts& ports = (next_ ? *next_ : *first_).ports;
  check_halves(encoder.has_value());
  info_.vocab = ports.vocabulary;
  info_.block_positions = info_.prefix_mask = ports.has(Role::block_positions);
  if (info_.block_positions && (info_.bos_id < 0 || (info_.mask_id < 0 && info_.gmask_id < 0)))
    throw Error(ErrorCode::invalid_model,
                "position_ids holds positions inside of blocks, and nothing says where they begin")
        .remedy("config.json beside the model must state bos_token_id, mask_token_id and gmask_token_id");
  choose_batching(options);
  choose_sizes(options);
  if (next_)
    cache_.emplace(device(), ports.pairs, facts_.blocks);
  else
    histories_.resize(static_cast<size_t>(facts_.blocks));
  if (encoder)
    sources_.emplace(SourceReader(std::move(*encoder), options.compile, options.session), device(),
                     next_ ? std::span<const OnnxPorts::Kept>(next_->ports.kept) : std::span<const OnnxPorts::Kept>(),
                     facts_.source_blocks);
}

std::optional<PastModel::Half> PastModel::make_half(std::unique_ptr<Graph> graph, const Half* twin,
                                                    const GraphModelOptions& options) const {
  CompileOptions compile_options = options.compile;
  compile_options.after_passes = [&](Graph& optimised) {
    drop_unused_inputs(optimised);
    if (options.compile.after_passes) options.compile.after_passes(optimised);
  };
  CompiledModel model = compile(std::move(graph), compile_options);
  OnnxPorts ports = find_ports(*model.graph);
  auto engine = twin == nullptr ? make_engine(std::move(model))
                                : make_engine(std::move(model), {.twin = twin->session.impl().engine});
  return Half{std::move(ports), Session(std::move(engine), options.session)};
}

// The half that begins sequences must give all that the other continues.
void PastModel::check_halves(bool has_encoder) const {
  const bool begins = first_ && first_->ports.has(Role::source_states);
  if (has_encoder && !begins)
    fail(ErrorCode::invalid_model, "there is an encoder, but no decoder begins sequences from encoder_hidden_states");
  if (!has_encoder && (begins || (next_ && !next_->ports.kept.empty())))
    throw Error(ErrorCode::invalid_model, "the decoder looks at what an encoder gives, and there is none")
        .remedy("Put encoder_model.onnx beside it");
  if (!first_ || !next_) return;
  if (first_->ports.vocabulary != next_->ports.vocabulary)
    fail(ErrorCode::invalid_model, "the two halves of the decoder have {} and {} tokens", first_->ports.vocabulary,
         next_->ports.vocabulary);
  const auto& given = first_->session.engine().outputs();
  for (const OnnxPorts::Pair& pair : next_->ports.pairs) {
    const auto found =
        std::find_if(given.begin(), given.end(), [&](const auto& info) { return info.name == pair.present; });
    if (found == given.end() || found->dtype != pair.dtype || found->dims.size() != pair.dims.size())
      fail(ErrorCode::invalid_model, "the decoder that begins sequences does not give '{}', which '{}' continues",
           pair.present, pair.past);
  }
  for (const OnnxPorts::Kept& kept : next_->ports.kept)
    if (std::none_of(given.begin(), given.end(), [&](const auto& info) {
          return info.name == kept.present && info.dtype == kept.dtype && info.dims.size() == kept.dims.size();
        }))
      fail(ErrorCode::invalid_model, "the decoder that begins sequences does not give '{}', which '{}' is",
           kept.present, kept.past);
}

std::span<const OnnxPorts::Pair> PastModel::pairs() const {
  if (!next_) return {};
  return next_->ports.pairs;
}

size_t PastModel::weight_bytes() const {
  size_t bytes = 0;
  for (const auto* half : {&first_, &next_})
    if (*half) bytes += (*half)->session.engine().impl().weights.owned_bytes();
  return bytes;
}

DeviceContext& PastModel::device() { return *(next_ ? *next_ : *first_).session.impl().device; }

void PastModel::choose_batching(const GraphModelOptions& options) {
  batches_ = !options.compile.uniform_rows;
  pads_sources_ = true;
  for (const auto* half : {&first_, &next_}) {
    if (!*half) continue;
    const OnnxPorts& ports = (*half)->ports;
    batches_ = batches_ && ports.batches;
    if (ports.has(Role::source_states) || !ports.kept.empty())
      pads_sources_ = pads_sources_ && ports.has(Role::source_mask);
  }
}

void PastModel::choose_sizes(const GraphModelOptions& options) {
  facts_.family = info_.family;
  facts_.vocabulary = info_.vocab;
  facts_.eos = info_.eos_ids;
  facts_.context = info_.max_positions;
  size_t token_bytes = 0;
  for (const OnnxPorts::Pair& pair : pairs())
    token_bytes += pair.token_bytes() * (pair.grows_at_end() && !batches_ ? 1 : 2);
  const size_t memory = cache_memory(device());
  const auto affordable = static_cast<int64_t>(memory / std::max<size_t>(token_bytes, 1));
  if (affordable < facts_.context) {
    if (!options.may_shorten || affordable == 0)
      refuse_context(facts_.context, token_bytes * static_cast<size_t>(facts_.context), memory);
    facts_.context = affordable;
  }
  facts_.block_size = facts_.context;
  facts_.blocks = std::max<int64_t>(1, std::min(options.sequences, affordable / facts_.context));
  choose_source_sizes(options);
  if (!next_) facts_.note = "the decoder takes no past: each token is computed with all before it";
}

void PastModel::choose_source_sizes(const GraphModelOptions& options) {
  const checkpoint::SourceInfo& source = info_.source;
  if (source.hidden == 0) return;
  facts_.mel_bins = source.mel_bins;
  facts_.frames = source.frames;
  facts_.source_context = source.max_length > 0 ? source.max_length : facts_.context;
  facts_.source_vocabulary = source.vocab > 0 ? source.vocab : facts_.vocabulary;
  facts_.source_blocks = options.sequences * ((facts_.source_context + facts_.block_size - 1) / facts_.block_size);
}

void PastModel::copy_block(BlockId from, BlockId to) {
  if (cache_)
    cache_->copy(from, to);
  else
    histories_[static_cast<size_t>(to)] = histories_[static_cast<size_t>(from)];
}

std::span<const float> PastModel::run(const StepBatch& batch) {
  logits_.resize(batch.logit_rows.size() * static_cast<size_t>(facts_.vocabulary));
  for (Pieces& pieces : pieces_of(batch)) compute(std::move(pieces));
  if (sources_) sources_->end_step();
  return logits_;
}

// Those that run side by side together.
std::vector<PastModel::Pieces> PastModel::pieces_of(const StepBatch& batch) {
  std::vector<Pieces> groups;
  size_t row = 0;
  for (size_t s = 0; s < static_cast<size_t>(batch.sequences); ++s) {
    const int32_t begin = batch.sequence_starts[s], end = batch.sequence_starts[s + 1];
    const auto part = [&](std::span<const int32_t> of) {
      return of.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
    };
    Piece piece;
    piece.block = batch.block_table[s * static_cast<size_t>(batch.table_width)];
    piece.past = batch.context_lengths[s] - (end - begin);
    piece.prefix = batch.prefix_lengths[s];
    piece.ids = part(batch.token_ids);
    piece.positions = part(batch.positions);
    piece.block_positions = part(batch.block_positions);
    piece.first_row = row;
    for (; row < batch.logit_rows.size() && batch.logit_rows[row] < end; ++row)
      piece.rows.push_back(batch.logit_rows[row] - begin);
    if (sources_)
      piece.source =
          &sources_->at(batch.source_table[s * static_cast<size_t>(batch.source_width)], batch.new_sources[s]);
    const auto group = std::find_if(groups.begin(), groups.end(),
                                    [&](const Pieces& pieces) { return run_together(pieces.front(), piece); });
    (group != groups.end() ? *group : groups.emplace_back()).push_back(std::move(piece));
  }
  return groups;
}

bool PastModel::run_together(const Piece& a, const Piece& b) const {
  const bool sources_fit = !sources_ || pads_sources_ || a.source->length == b.source->length;
  return batches_ && sources_fit && a.past == b.past && a.count() == b.count();
}

void PastModel::compute(Pieces pieces) {
  if (!next_) return compute_all(std::move(pieces));
  if (!first_) return run_half(*next_, pieces);
  if (pieces.front().past == 0) return run_half(*first_, pieces);
  // A half that continues sequences may know but one way to do so.
  for (int64_t i = 0; i < pieces.front().count(); ++i) {
    Pieces tokens;
    for (const Piece& piece : pieces) tokens.push_back(piece.token(i));
    run_half(*next_, tokens);
  }
}

void PastModel::compute_all(Pieces pieces) {
  for (Piece& piece : pieces) {
    History& history = histories_[static_cast<size_t>(piece.block)];
    const auto extend = [&](std::vector<int32_t>& kept, std::span<const int32_t>& added) {
      kept.resize(static_cast<size_t>(piece.past));
      kept.insert(kept.end(), added.begin(), added.end());
      added = kept;
    };
    extend(history.ids, piece.ids);
    extend(history.positions, piece.positions);
    extend(history.block_positions, piece.block_positions);
    for (int64_t& row : piece.rows) row += piece.past;
    piece.past = 0;
  }
  run_half(*first_, pieces);
}

void PastModel::run_half(Half& half, const Pieces& pieces) {
  const int64_t count = pieces.front().count();
  std::vector<Input> inputs;
  PastCache::Batch* past = nullptr;
  if (cache_) {
    std::vector<BlockId> blocks;
    for (const Piece& piece : pieces) blocks.push_back(piece.block);
    past = &cache_->together(blocks, pieces.front().past, count);
    inputs = bind_past(half, *past);
  }
  const PastSources::Batch* sources = nullptr;
  if (sources_) {
    std::vector<PastSources::Source*> members;
    for (const Piece& piece : pieces) members.push_back(piece.source);
    sources = &sources_->together(members);
    bind_kept(half, *sources, inputs);
  }
  std::vector<std::vector<std::byte>> fed;
  for (const OnnxPorts::Feed& feed : half.ports.feeds) {
    if (feed.role == Role::source_states) {
      inputs.emplace_back(
          feed.name, sources->states(),
          std::vector<int64_t>{static_cast<int64_t>(pieces.size()), sources->length(), sources_->hidden()});
      continue;
    }
    Values values = values_of(feed.role, pieces, sources);
    fed.push_back(encode(values.elements, feed.dtype));
    inputs.emplace_back(feed.name, feed.dtype, std::move(values.dims), fed.back().data());
  }
  const std::span<const Output> outputs = half.session.run(inputs);
  if (past != nullptr) past->extend(count);
  if (sources != nullptr && &half == &*first_) sources_->store(*sources);
  take_logits(half, outputs[half.ports.logits], pieces);
}

PastModel::Values PastModel::values_of(Role role, const Pieces& pieces, const PastSources::Batch* sources) {
  const Piece& first = pieces.front();
  const int64_t batch = static_cast<int64_t>(pieces.size()), count = first.count(), total = first.past + count;
  Values values{{batch, count}, {}};
  const auto fill = [&](std::vector<int64_t> dims, int64_t value) {
    values.dims = std::move(dims);
    values.elements.assign(static_cast<size_t>(values.dims[0] * values.dims[1]), value);
  };
  switch (role) {
    case Role::token_ids:
      for (const Piece& piece : pieces) append(values.elements, piece.ids);
      break;
    case Role::positions:
      for (const Piece& piece : pieces) append(values.elements, piece.positions);
      break;
    case Role::mask: fill({batch, total}, 1); break;
    case Role::token_types: fill({batch, count}, 0); break;
    case Role::masked: return {{1, 1, count, total}, hidden_keys(first.past, count, first.prefix)};
    case Role::block_positions:  // as those just above, of files that take no batches
      values.dims = {1, 2, count};
      append(values.elements, first.positions);
      append(values.elements, first.block_positions);
      break;
    case Role::cache_positions:
      values.dims = {count};
      for (int64_t i = first.past; i < total; ++i) values.elements.push_back(i);
      break;
    case Role::source_mask:
      values.dims = {batch, sources->length()};
      for (const PastSources::Source* source : sources->members())
        for (int64_t i = 0; i < sources->length(); ++i) values.elements.push_back(i < source->length ? 1 : 0);
      break;
    case Role::source_states: break;  // numbers of another type
  }
  return values;
}

// Where the half finds what there is of the sequences, and where it writes what there is then.
std::vector<Input> PastModel::bind_past(Half& half, const PastCache::Batch& past) {
  std::vector<Input> inputs;
  for (size_t i = 0; i < pairs().size(); ++i) {
    const OnnxPorts::Pair& pair = pairs()[i];
    const PastCache::Batch::Tensor& tensor = past.tensors[i];
    half.session.bind_output(pair.present, tensor.present(), tensor.past.capacity(), Memory::device);
    if (&half != &*next_) continue;
    std::vector<int64_t> dims = pair.dims;
    if (past.members.size() > 1) dims[0] = static_cast<int64_t>(past.members.size());
    dims[pair.axis] = past.length;
    inputs.emplace_back(pair.past, pair.dtype, std::move(dims), tensor.past.data(), Memory::device);
  }
  return inputs;
}

// Where the half that begins sequences writes keys and values of the source, and the other finds them.
void PastModel::bind_kept(Half& half, const PastSources::Batch& sources, std::vector<Input>& inputs) {
  if (!next_) return;
  const auto batch = static_cast<int64_t>(sources.members().size());
  for (size_t i = 0; i < next_->ports.kept.size(); ++i) {
    const OnnxPorts::Kept& kept = next_->ports.kept[i];
    if (&half != &*next_) {
      half.session.bind_output(kept.present, sources.kept(i),
                               kept.state_bytes() * static_cast<size_t>(sources.length() * batch), Memory::device);
      continue;
    }
    std::vector<int64_t> dims = kept.dims;
    std::replace(dims.begin(), dims.end(), int64_t{0}, sources.length());
    if (batch > 1) dims[0] = batch;
    inputs.emplace_back(kept.past, kept.dtype, std::move(dims), sources.kept(i), Memory::device);
  }
}

void PastModel::take_logits(const Half& half, const Output& output, const Pieces& pieces) {
  const int64_t columns = half.ports.vocabulary;
  for (size_t p = 0; p < pieces.size(); ++p) {
    const Piece& piece = pieces[p];
    for (size_t i = 0; i < piece.rows.size(); ++i) {
      const bool last_only = half.ports.last_logits_only;
      if (last_only && piece.rows[i] + 1 != piece.count())
        fail(ErrorCode::unsupported,
             "the decoder gives logits behind the last token only, not behind each of a prompt");
      const auto sequence = static_cast<int64_t>(p);
      const int64_t row = last_only ? sequence : sequence * piece.count() + piece.rows[i];
      float* const to = logits_.data() + static_cast<int64_t>(piece.first_row + i) * columns;
      switch (output.dtype) {
        case DType::f32: read_row<float>(output.data, row, columns, to); break;
        case DType::f16: read_row<lathe::Half>(output.data, row, columns, to); break;
        case DType::bf16: read_row<BFloat16>(output.data, row, columns, to); break;
        default: fail(ErrorCode::unsupported, "logits are {}", to_string(output.dtype));
      }
    }
  }
}

}  // namespace lathe::llm
