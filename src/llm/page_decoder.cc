#include "llm/page_decoder.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "graph/build.h"
#include "graph/verifier.h"
#include "llm/causal_score.h"
#include "llm/onnx_ports.h"
#include "llm/token_axes.h"
#include "onnx/importer.h"
#include "passes/passes.h"
#include "passes/pipeline.h"

namespace lathe::llm {
namespace {

using Role = OnnxPorts::Role;

Value* input_named(const Graph& graph, std::string_view name) {
  const auto found = std::find_if(graph.inputs().begin(), graph.inputs().end(),
                                  [&](const Value* input) { return input->name() == name; });
  return found == graph.inputs().end() ? nullptr : *found;
}

// The file with one sequence at a time, and with the branch of a merged decoder that takes a past. Null where there is
// none.
std::unique_ptr<Graph> import_single(const OnnxFiles& files) {
  const auto& path = files.second.empty() ? files.first : files.second;
  const auto graph = onnx::import_model(path);
  const Value* ids = input_named(*graph, "input_ids");
  if (ids == nullptr || ids->type().rank() != 2 || !takes_past(*graph)) return nullptr;
  onnx::ImportOptions options;
  if (ids->shape()[0].is_symbol()) options.fixed_dims = {{ids->shape()[0].to_string(), 1}};
  if (const Value* flag = cache_branch_input(*graph)) options.fixed_flags = {{flag->name(), true}};
  return onnx::import_model(path, options);
}

// Whether all symbols of a shape are sizes of other inputs.
bool is_bound_elsewhere(const Graph& graph, const Value& input) {
  std::vector<std::string> symbols;
  for (const Dim& size : input.shape()) size.collect_symbols(symbols);
  return std::all_of(symbols.begin(), symbols.end(), [&](const std::string& name) {
    return std::any_of(graph.inputs().begin(), graph.inputs().end(), [&](const Value* other) {
      const Shape& shape = other->shape();
      return other != &input && std::find(shape.begin(), shape.end(), Dim::symbol(name)) != shape.end();
    });
  });
}

// No key is padding. False where the mask alone says how many keys there are, as with GroupQueryAttention.
bool see_all_keys(Graph& graph) {
  Value* mask = input_named(graph, "attention_mask");
  if (mask == nullptr) return true;
  if (mask->type().rank() != 2 || !is_integer(mask->dtype()) || !is_bound_elsewhere(graph, *mask)) return false;
  Map ones;
  ones.program.finish(ones.program.constant_int(1, mask->dtype()));
  ones.shape = mask->shape();
  Node* first = graph.nodes().front().get();
  graph.replace_uses(mask, graph.insert_before(first, ones, {})->output());
  graph.erase_input(mask->index());
  return true;
}

class Pager {
 public:
  Pager(Graph& graph, const OnnxPorts& ports, const PagingOptions& options)
      : graph_(graph), ports_(ports), options_(options) {}

  bool rewrite() {
    const Value* ids = input_named(graph_, "input_ids");
    if (!(ids->shape()[0] == Dim(1)) || !ids->shape()[1].is_symbol() || ports_.last_logits_only) return false;
    tokens_ = ids->shape()[1];
    if (!add_inputs()) return false;
    std::vector<Node*> attentions;
    for (const auto& node : graph_.nodes())
      if (node->is<Attention>()) attentions.push_back(node.get());
    if (2 * attentions.size() != ports_.pairs.size()) return false;
    for (Node* node : attentions)
      if (!page(*node)) return false;
    choose_rows();
    while (graph_.outputs().size() > 1) graph_.erase_output(graph_.output_names()[0] == "logits" ? 1 : 0);
    passes::dead_code(graph_);
    for (size_t i = graph_.inputs().size(); i-- > 0;)
      if (graph_.inputs()[i]->is_unused() && pair_of_past(*graph_.inputs()[i])) graph_.erase_input(i);
    return keeps_tokens_apart(graph_, tokens_, *rows_);
  }

 private:
  bool add_inputs() {
    const Dim sequences = Dim::symbol("sequences");
    Node* first = graph_.nodes().front().get();
    const auto add = [&](std::string_view name, Shape shape) {
      return graph_.add_input(name, Type::tensor(DType::i32, std::move(shape)));
    };
    for (const OnnxPorts::Feed& feed : ports_.feeds) {
      if (feed.role != Role::token_ids && feed.role != Role::positions) return false;
      Value* old = input_named(graph_, feed.name);
      Value* row = add(feed.role == Role::token_ids ? "token_ids" : "positions", {tokens_});
      Value* given = cast({graph_, first}, reshape({graph_, first}, row, {1, tokens_}), feed.dtype);
      graph_.replace_uses(old, given);
      graph_.erase_input(old->index());
    }
    starts_ = add("sequence_starts", {sequences + 1});
    contexts_ = add("context_lengths", {sequences});
    table_ = add("block_table", {sequences, Dim::symbol("table_blocks")});
    rows_ = add("logit_rows", {Dim::symbol("rows")});
    return true;
  }

  bool pair_of_past(const Value& input) const {
    return std::any_of(ports_.pairs.begin(), ports_.pairs.end(),
                       [&](const OnnxPorts::Pair& pair) { return pair.past == input.name(); });
  }

  // A past [1, heads, tokens, dim] with new ones behind it; null when the operand is something else.
  const Node* growing(const Value* whole) const {
    const Node* node = whole->producer();
    if (node == nullptr || !node->is<Concat>() || node->inputs().size() != 2 || node->as<Concat>()->axis != 2)
      return nullptr;
    const Value* past = node->input(0);
    const bool is_past = past->producer() == nullptr && pair_of_past(*past);
    return is_past && node->input(1)->shape()[2] == tokens_ ? node : nullptr;
  }

  // Whether every query sees the keys up to its own, by scores that are sums of products and biases.
  static bool is_causal(const Attention& attention, const Dim& past) {
    if (attention.causal && !(attention.causal_offset == past)) return false;
    return attention.score.empty() ? attention.causal : is_causal_sum(attention.score, past, !attention.causal);
  }

  bool page(Node& node) {
    const Attention& attention = *node.as<Attention>();
    const bool plain = attention.q_order == HeadOrder::token_major && attention.k_order == HeadOrder::head_major &&
                       attention.v_order == HeadOrder::head_major && attention.output_order == HeadOrder::token_major;
    const Node* const keys = plain ? growing(node.input(1)) : nullptr;
    const Node* const values = plain ? growing(node.input(2)) : nullptr;
    if (keys == nullptr || values == nullptr || keys == values || node.inputs().size() > 4) return false;
    const Dim& past = keys->input(0)->shape()[2];
    if (!(values->input(0)->shape()[2] == past) || !is_causal(attention, past)) return false;
    std::optional<Tensor> slopes;
    if (node.inputs().size() == 4) {
      slopes = alibi_slopes(*node.input(3), attention.heads);
      if (!slopes) return false;
    }
    PagedAttention op;
    op.heads = attention.heads;
    op.kv_heads = attention.kv_heads;
    op.head_dim = attention.head_dim;
    op.value_dim = attention.value_dim;
    op.block_size = options_.block_size;
    op.scale = attention.scale;
    op.q_offset = attention.q_offset;
    op.q_stride = attention.q_stride;
    op.k_stride = op.head_dim;
    op.v_stride = op.value_dim;
    const Place at(graph_, &node);
    const auto in_rows = [&](Value* heads, int64_t dim) {
      return reshape(at, transpose(at, heads, {0, 2, 1, 3}), {tokens_, op.kv_heads * dim});
    };
    Value* const q = reshape(at, node.input(0), {tokens_, node.input(0)->shape().back()});
    Value* const y = emit(at, op,
                          {q, in_rows(keys->input(1), op.head_dim), in_rows(values->input(1), op.value_dim),
                           add_cache("key_cache.", op.head_dim, op), add_cache("value_cache.", op.value_dim, op),
                           starts_, contexts_, table_, nullptr, slopes ? constant(at, *slopes) : nullptr});
    ++layers_;
    graph_.replace_uses(node.output(), reshape(at, y, node.output()->shape()));
    return true;
  }

  Value* add_cache(std::string_view kind, int64_t dim, const PagedAttention& op) {
    return graph_.add_input(fmt::format("{}{}", kind, layers_),
                            Type::tensor(options_.cache.value_or(ports_.pairs.front().dtype),
                                         {Dim::symbol("blocks"), op.kv_heads, op.block_size, dim}));
  }

  // Only the rows that are asked for go through the output matrix.
  void choose_rows() {
    Value* logits = graph_.outputs()[ports_.logits];
    Node* product = logits->producer();
    const bool direct = product != nullptr && logits->users().empty() && product->inputs().size() >= 2 &&
                        (product->is<MatMul>() ? product->inputs().size() == 2 : product->is<MatMulNBits>()) &&
                        product->input(0)->type().rank() == 3;
    if (direct) {
      graph_.set_input(product, 0, emit({graph_, product}, Gather{1}, {product->input(0), rows_}));
      graph_.infer_types(product);
    } else {
      logits = graph_.emit(Gather{1}, {logits, rows_});
    }
    logits = reshape(graph_, cast(graph_, logits, DType::f32), {rows_->shape()[0], ports_.vocabulary});
    graph_.set_output(ports_.logits, logits);
  }

  Graph& graph_;
  const OnnxPorts& ports_;
  const PagingOptions& options_;
  Dim tokens_;
  Value *starts_ = nullptr, *contexts_ = nullptr, *table_ = nullptr, *rows_ = nullptr;
  int64_t layers_ = 0;
};

}  // namespace

std::optional<checkpoint::Decoder> page_decoder(const OnnxFiles& files, const checkpoint::DecoderInfo& info,
                                                const PagingOptions& options) {
  std::unique_ptr<Graph> graph = import_single(files);
  if (graph == nullptr || graph->nodes().empty() || !see_all_keys(*graph)) return std::nullopt;
  passes::run_pipeline(*graph, {});
  const OnnxPorts ports = find_ports(*graph);
  const bool fits = files.second.empty() || find_ports(*onnx::import_model(files.first)).vocabulary == ports.vocabulary;
  const bool has_encoder = !ports.kept.empty() || ports.has(OnnxPorts::Role::source_states);
  if (!fits || has_encoder || ports.pairs.empty() || !Pager(*graph, ports, options).rewrite()) return std::nullopt;
  try {
    verify(*graph);
  } catch (const Error&) {
    return std::nullopt;  // some size still depends on how long a past is
  }
  checkpoint::Decoder decoder{std::move(graph), info};
  decoder.info.vocab = ports.vocabulary;
  decoder.info.block_size = options.block_size;
  return decoder;
}

}  // namespace lathe::llm
