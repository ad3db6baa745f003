// NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss, for models that were exported with their loss.
#include "onnx/importers/context.h"
#include "onnx/importers/table.h"

namespace lathe::onnx {
namespace {

// Class scores [N, C, ..] (log-probabilities), targets [N, ..], and the weight of each class, if any.
struct Loss {
  Value *scores, *targets, *weights;
};

// The loss of each position, -weight[target] * scores[target], and the weights; both are 0 where the target is ignored.
struct Terms {
  Value *losses, *weights;
};

Terms loss_terms(Context& ctx, const Loss& loss) {
  const DType dtype = loss.scores->dtype();
  const bool ignoring = ctx.has_attr("ignore_index");
  const int64_t ignored = ctx.attr_int("ignore_index", 0);
  Value* targets = ctx.cast(loss.targets, DType::i64);
  // An ignored target may be no class at all: look up class 0 for it.
  Value* classes = ctx.map({targets}, [&](MapProgram& p, const auto& in) {
    if (!ignoring) return in[0];
    return p.select(p.binary(MapOp::eq, in[0], p.constant_int(ignored, DType::i64)), p.constant_int(0, DType::i64),
                    in[0]);
  });
  Value* picked = ctx.squeeze(ctx.emit(GatherElements{1}, {loss.scores, ctx.unsqueeze(classes, {1})}), {1});
  Value* one = ctx.scalar(1, dtype);
  Value* class_weights = loss.weights == nullptr ? one : ctx.gather(loss.weights, classes, 0);
  Value* weights = ctx.map(
      {targets, class_weights},
      [&](MapProgram& p, const auto& in) {
        if (!ignoring) return in[1];
        return p.select(p.binary(MapOp::eq, in[0], p.constant_int(ignored, DType::i64)), p.constant(0, dtype), in[1]);
      },
      targets->shape());
  Value* losses = ctx.map({picked, weights}, [](MapProgram& p, const auto& in) {
    return p.binary(MapOp::mul, p.unary(MapOp::neg, in[0]), in[1]);
  });
  return {losses, weights};
}

void set_reduced(Context& ctx, const Terms& terms) {
  const std::string reduction = ctx.attr_string("reduction", "mean");
  if (reduction == "none") return ctx.set_output(0, terms.losses);
  if (reduction != "mean" && reduction != "sum") ctx.invalid(fmt::format("there is no reduction '{}'", reduction));
  const auto total = [&](Value* v) {
    return ctx.reduce(ReduceKind::sum, ctx.reshape(v, {product(v->shape())}), {0}, false);
  };
  Value* sum = total(terms.losses);
  ctx.set_output(0, reduction == "sum" ? sum : ctx.binary(MapOp::div, sum, total(terms.weights)));
}

void import_negative_log_likelihood(Context& ctx) {
  set_reduced(ctx, loss_terms(ctx, {ctx.input(0), ctx.input(1), ctx.optional_input(2)}));
}

void import_softmax_cross_entropy(Context& ctx) {
  if (ctx.rank(0) < 2) ctx.invalid("the scores need a class axis");
  Value* log_probabilities = ctx.emit(Softmax{1, true, false}, {ctx.input(0)});
  set_reduced(ctx, loss_terms(ctx, {log_probabilities, ctx.input(1), ctx.optional_input(2)}));
  ctx.set_output(1, log_probabilities);
}

constexpr OpRow kRows[] = {
    {"", "NegativeLogLikelihoodLoss", 12, import_negative_log_likelihood},
    {"", "SoftmaxCrossEntropyLoss", 12, import_softmax_cross_entropy},
};

}  // namespace

std::span<const OpRow> loss_ops() { return kRows; }

}  // namespace lathe::onnx
