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

constexpr int64_t kSmallestCapacity = 64;

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

struct Values {
  std::vector<int64_t> dims, elements;
};

void append(std::vector<int64_t>& to, std::span<const int32_t> values) {
  to.insert(to.end(), values.begin(), values.end());
}

// The tokens of a prefix see each other, later ones what is before them.
Values hidden_keys(int64_t past, int64_t count, int64_t prefix) {
  Values values{{1, 1, count, past + count}, {}};
  for (int64_t query = past; query < past + count; ++query)
    for (int64_t key = 0; key < past + count; ++key) values.elements.push_back(key > query && key >= prefix ? 1 : 0);
  return values;
}

template <class T>
void append_row(std::vector<float>& to, const void* data, int64_t row, int64_t columns) {
  const T* from = static_cast<const T*>(data) + row * columns;
  for (int64_t i = 0; i < columns; ++i) to.push_back(static_cast<float>(from[i]));
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
  Piece one{past + index, prefix, ids.subspan(i, 1), positions.subspan(i, 1), block_positions.subspan(i, 1),
            {},           source};
  if (std::find(rows.begin(), rows.end(), index) != rows.end()) one.rows = {0};
  return one;
}

PastModel::PastModel(PastGraphs graphs, checkpoint::DecoderInfo info, const GraphModelOptions& options,
                     std::optional<checkpoint::SourceEncoder> encoder)
    : info_(std::move(info)) {
  if (encoder) {
    info_.source = encoder->info;
    reader_.emplace(std::move(*encoder), options.compile, options.session);
  }
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
  check_halves();
  info_.vocab = ports.vocabulary;
  info_.block_positions = info_.prefix_mask = ports.has(Role::block_positions);
  if (info_.block_positions && (info_.bos_id < 0 || (info_.mask_id < 0 && info_.gmask_id < 0)))
    throw Error(ErrorCode::invalid_model,
                "position_ids holds positions inside of blocks, and nothing says where they begin")
        .remedy("config.json beside the model must state bos_token_id, mask_token_id and gmask_token_id");
  choose_sizes(options);
}

PastModel::~PastModel() {
  for (Block& block : blocks_) release(block);
  for (SourceState& source : sources_) release(source);
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
void PastModel::check_halves() const {
  const bool begins = first_ && first_->ports.has(Role::source_states);
  if (reader_ && !begins)
    fail(ErrorCode::invalid_model, "there is an encoder, but no decoder begins sequences from encoder_hidden_states");
  if (!reader_ && (begins || (next_ && !next_->ports.kept.empty())))
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

void PastModel::choose_sizes(const GraphModelOptions& options) {
  facts_.family = info_.family;
  facts_.vocabulary = info_.vocab;
  facts_.eos = info_.eos_ids;
  facts_.context = info_.max_positions;
  size_t token_bytes = 0;
  for (const OnnxPorts::Pair& pair : pairs()) token_bytes += pair.token_bytes() * (pair.grows_at_end() ? 1 : 2);
  const size_t memory = cache_memory(device());
  const auto affordable = static_cast<int64_t>(memory / std::max<size_t>(token_bytes, 1));
  if (affordable < facts_.context) {
    if (!options.may_shorten || affordable == 0)
      refuse_context(facts_.context, token_bytes * static_cast<size_t>(facts_.context), memory);
    facts_.context = affordable;
  }
  facts_.block_size = facts_.context;
  facts_.blocks = std::max<int64_t>(1, std::min(options.sequences, affordable / facts_.context));
  blocks_.resize(static_cast<size_t>(facts_.blocks));
  choose_source_sizes(options);
  if (!next_) facts_.note = "the decoder takes no past: each token is computed with all before it";
}

void PastModel::choose_source_sizes(const GraphModelOptions& options) {
  if (!reader_) return;
  const checkpoint::SourceInfo& source = info_.source;
  facts_.mel_bins = source.mel_bins;
  facts_.frames = source.frames;
  facts_.source_context = source.max_length > 0 ? source.max_length : facts_.context;
  facts_.source_vocabulary = source.vocab > 0 ? source.vocab : facts_.vocabulary;
  facts_.source_blocks = options.sequences * ((facts_.source_context + facts_.block_size - 1) / facts_.block_size);
  sources_.resize(static_cast<size_t>(facts_.source_blocks));
}

void PastModel::release(SourceState& source) {
  for (void* memory : source.kept) device().release(memory);
  source.kept.clear();
}

// Reads it where it is new.
PastModel::SourceState* PastModel::source_of(const StepBatch& batch, int64_t sequence) {
  if (!reader_) return nullptr;
  const auto index = static_cast<size_t>(sequence);
  SourceState& source =
      sources_[static_cast<size_t>(batch.source_table[index * static_cast<size_t>(batch.source_width)])];
  if (batch.new_sources[index].empty()) return &source;
  release(source);
  source.states.clear();
  reader_->read(batch.new_sources[index], source.states);
  source.length = static_cast<int64_t>(source.states.size()) / info_.source.hidden;
  if (!next_) return &source;
  for (const OnnxPorts::Kept& kept : next_->ports.kept)
    source.kept.push_back(device().allocate(kept.state_bytes() * static_cast<size_t>(source.length)));
  return &source;
}

// Where the half that begins sequences writes keys and values of the source, and the other finds them.
void PastModel::bind_kept(Half& half, const SourceState& source, std::vector<Input>& inputs) {
  for (size_t i = 0; i < source.kept.size(); ++i) {
    const OnnxPorts::Kept& kept = next_->ports.kept[i];
    if (&half != &*next_) {
      half.session.bind_output(kept.present, source.kept[i], kept.state_bytes() * static_cast<size_t>(source.length),
                               Memory::device);
      continue;
    }
    std::vector<int64_t> dims = kept.dims;
    std::replace(dims.begin(), dims.end(), int64_t{0}, source.length);
    inputs.emplace_back(kept.past, kept.dtype, std::move(dims), source.kept[i], Memory::device);
  }
}

void PastModel::release(Block& block) {
  for (const Block::Buffers& buffers : block.buffers) {
    if (buffers.past != nullptr) device().release(buffers.past);
    if (buffers.present != nullptr && buffers.present != buffers.past) device().release(buffers.present);
  }
  block.buffers.clear();
  block.capacity = 0;
}

// Room for so many tokens in all, with those that are there.
void PastModel::reserve(Block& block, int64_t tokens) {
  if (tokens <= block.capacity) return;
  Block larger;
  larger.length = block.length;
  larger.capacity = std::min(facts_.context, std::max({tokens, 2 * block.capacity, kSmallestCapacity}));
  for (size_t i = 0; i < pairs().size(); ++i) {
    const OnnxPorts::Pair& pair = pairs()[i];
    const size_t bytes = pair.token_bytes() * static_cast<size_t>(larger.capacity);
    Block::Buffers& buffers = larger.buffers.emplace_back();
    buffers.past = device().allocate(bytes);
    buffers.present = pair.grows_at_end() ? buffers.past : device().allocate(bytes);
    if (block.length > 0)
      device().copy(buffers.past, block.buffers[i].past, pair.token_bytes() * static_cast<size_t>(block.length));
  }
  device().synchronize();
  release(block);
  block = std::move(larger);
}

void PastModel::copy_block(BlockId from, BlockId to) {
  const Block& source = blocks_[static_cast<size_t>(from)];
  Block& target = blocks_[static_cast<size_t>(to)];
  target.length = 0;
  reserve(target, source.length);
  for (size_t i = 0; i < pairs().size() && source.length > 0; ++i)
    device().copy(target.buffers[i].past, source.buffers[i].past,
                  pairs()[i].token_bytes() * static_cast<size_t>(source.length));
  target.length = source.length;
  target.ids = source.ids;
  target.positions = source.positions;
  target.block_positions = source.block_positions;
}

std::span<const float> PastModel::run(const StepBatch& batch) {
  logits_.clear();
  auto row = batch.logit_rows.begin();
  for (int64_t s = 0; s < batch.sequences; ++s) {
    const auto index = static_cast<size_t>(s);
    const int32_t begin = batch.sequence_starts[index], end = batch.sequence_starts[index + 1];
    const auto part = [&](std::span<const int32_t> of) {
      return of.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
    };
    Piece piece{batch.context_lengths[index] - (end - begin),
                batch.prefix_lengths[index],
                part(batch.token_ids),
                part(batch.positions),
                part(batch.block_positions),
                {},
                source_of(batch, s)};
    for (; row != batch.logit_rows.end() && *row < end; ++row) piece.rows.push_back(*row - begin);
    compute(blocks_[static_cast<size_t>(batch.block_table[index * static_cast<size_t>(batch.table_width)])], piece);
  }
  return logits_;
}

void PastModel::compute(Block& block, const Piece& piece) {
  block.length = piece.past;
  if (!next_) return compute_all(block, piece);
  reserve(block, piece.past + piece.count());
  if (first_ && piece.past == 0) return run_half(*first_, block, piece);
  if (!first_) return run_half(*next_, block, piece);
  // A half that continues sequences may know but one way to do so.
  for (int64_t i = 0; i < piece.count(); ++i) run_half(*next_, block, piece.token(i));
}

void PastModel::compute_all(Block& block, const Piece& piece) {
  const auto extend = [&](std::vector<int32_t>& kept, std::span<const int32_t> added) {
    kept.resize(static_cast<size_t>(piece.past));
    kept.insert(kept.end(), added.begin(), added.end());
  };
  extend(block.ids, piece.ids);
  extend(block.positions, piece.positions);
  extend(block.block_positions, piece.block_positions);
  Piece all{0, piece.prefix, block.ids, block.positions, block.block_positions, piece.rows, piece.source};
  for (int64_t& row : all.rows) row += piece.past;
  run_half(*first_, block, all);
}

void PastModel::run_half(Half& half, Block& block, const Piece& piece) {
  const int64_t count = piece.count(), total = piece.past + count;
  const auto values_of = [&](Role role) {
    Values values{{1, count}, {}};
    switch (role) {
      case Role::token_ids: append(values.elements, piece.ids); break;
      case Role::mask: values = {{1, total}, std::vector<int64_t>(static_cast<size_t>(total), 1)}; break;
      case Role::masked: return hidden_keys(piece.past, count, piece.prefix);
      case Role::positions: append(values.elements, piece.positions); break;
      case Role::block_positions:
        values.dims = {1, 2, count};
        append(values.elements, piece.positions);
        append(values.elements, piece.block_positions);
        break;
      case Role::token_types: values.elements.resize(static_cast<size_t>(count)); break;
      case Role::cache_positions:
        values.dims = {count};
        for (int64_t i = piece.past; i < total; ++i) values.elements.push_back(i);
        break;
      case Role::source_mask:
        values = {{1, piece.source->length}, std::vector<int64_t>(static_cast<size_t>(piece.source->length), 1)};
        break;
      case Role::source_states: break;  // numbers of another type
    }
    return values;
  };
  std::vector<std::vector<std::byte>> fed;
  std::vector<Input> inputs;
  for (const OnnxPorts::Feed& feed : half.ports.feeds) {
    if (feed.role == Role::source_states) {
      inputs.emplace_back(feed.name, piece.source->states,
                          std::vector<int64_t>{1, piece.source->length, info_.source.hidden});
      continue;
    }
    Values values = values_of(feed.role);
    fed.push_back(encode(values.elements, feed.dtype));
    inputs.emplace_back(feed.name, feed.dtype, std::move(values.dims), fed.back().data());
  }
  for (size_t i = 0; i < pairs().size(); ++i) {
    const OnnxPorts::Pair& pair = pairs()[i];
    half.session.bind_output(pair.present, block.buffers[i].present,
                             pair.token_bytes() * static_cast<size_t>(block.capacity), Memory::device);
    if (&half != &*next_) continue;
    std::vector<int64_t> dims = pair.dims;
    dims[pair.axis] = piece.past;
    inputs.emplace_back(pair.past, pair.dtype, std::move(dims), block.buffers[i].past, Memory::device);
  }
  if (piece.source != nullptr) bind_kept(half, *piece.source, inputs);
  const std::span<const Output> outputs = half.session.run(inputs);
  for (Block::Buffers& buffers : block.buffers) std::swap(buffers.past, buffers.present);
  block.length = total;
  take_logits(half, outputs[half.ports.logits], piece);
}

void PastModel::take_logits(const Half& half, const Output& output, const Piece& piece) {
  const int64_t columns = half.ports.vocabulary;
  for (const int64_t row : piece.rows) {
    if (half.ports.last_logits_only && row + 1 != piece.count())
      fail(ErrorCode::unsupported, "the decoder gives logits behind the last token only, not behind each of a prompt");
    const int64_t at = half.ports.last_logits_only ? 0 : row;
    switch (output.dtype) {
      case DType::f32: append_row<float>(logits_, output.data, at, columns); break;
      case DType::f16: append_row<lathe::Half>(logits_, output.data, at, columns); break;
      case DType::bf16: append_row<BFloat16>(logits_, output.data, at, columns); break;
      default: fail(ErrorCode::unsupported, "logits are {}", to_string(output.dtype));
    }
  }
}

}  // namespace lathe::llm
