// The steps of optimisers, which graphs exported for training end in: each tensor is a few maps.

#include "onnx/importers/context.h"
#include "onnx/importers/table.h"

namespace lathe::onnx {
namespace {

constexpr std::string_view kTraining = "ai.onnx.preview.training";

// The operands are rate, step count, then for each of n tensors: all values, all gradients, all states of each kind.
class Optimiser {
 public:
  Optimiser(Context& ctx, size_t states) : ctx_(ctx), groups_(states + 2), count_((ctx.num_inputs() - 2) / groups_) {
    if (ctx.num_inputs() != 2 + count_ * groups_) ctx.invalid("the number of operands does not fit the operator");
  }

  size_t count() const { return count_; }
  Value* rate() { return scalar(0); }
  Value* steps() { return scalar(1); }
  Value* value(size_t tensor) { return ctx_.input(2 + tensor); }
  Value* state(size_t kind, size_t tensor) { return ctx_.input(2 + (2 + kind) * count_ + tensor); }
  // With the derivative of the quadratic penalty on the values.
  Value* gradient(size_t tensor) {
    Value *x = value(tensor), *g = ctx_.input(2 + count_ + tensor);
    const double penalty = ctx_.attr_float("norm_coefficient", 0);
    return ctx_.map({x, g}, [&](MapProgram& p, const auto& in) {
      return p.binary(MapOp::add, p.binary(MapOp::mul, p.constant(penalty, x->dtype()), in[0]), in[1]);
    });
  }
  void set(size_t tensor, Value* next, std::initializer_list<Value*> states) {
    ctx_.set_output(tensor, next);
    size_t kind = 1;
    for (Value* state : states) ctx_.set_output(count_ * kind++ + tensor, state);
  }
  // a * x + b * y, or a * x + b * y * y
  Value* blend(double a, Value* x, double b, Value* y, bool squared = false) {
    return ctx_.map({x, y}, [&](MapProgram& p, const auto& in) {
      const int term = squared ? p.binary(MapOp::mul, in[1], in[1]) : in[1];
      return p.binary(MapOp::add, p.binary(MapOp::mul, p.constant(a, x->dtype()), in[0]),
                      p.binary(MapOp::mul, p.constant(b, x->dtype()), term));
    });
  }
  // scale * (x - rate * direction / (sqrt(squares) + epsilon))
  Value* step(Value* x, Value* rate, Value* direction, Value* squares, double scale) {
    const double epsilon = ctx_.attr_float("epsilon", static_cast<double>(1e-6F));
    return ctx_.map({x, rate, direction, squares}, [&](MapProgram& p, const auto& in) {
      const auto number = [&](double v) { return p.constant(v, x->dtype()); };
      const int size = p.binary(MapOp::add, p.unary(MapOp::sqrt, in[3]), number(epsilon));
      const int move = p.binary(MapOp::div, p.binary(MapOp::mul, p.cast(in[1], x->dtype()), in[2]), size);
      return p.binary(MapOp::mul, p.binary(MapOp::sub, in[0], move), number(scale));
    });
  }

 private:
  Value* scalar(size_t i) { return ctx_.reshape(ctx_.input(i), {}); }

  Context& ctx_;
  size_t groups_, count_;
};

void import_adagrad(Context& ctx) {
  Optimiser o(ctx, 1);
  const double decay = ctx.attr_float("decay_factor", 0);
  Value* rate = ctx.map({o.rate(), o.steps()}, [&](MapProgram& p, const auto& in) {
    const DType type = o.rate()->dtype();
    const int slowed = p.binary(MapOp::mul, p.cast(in[1], type), p.constant(decay, type));
    return p.binary(MapOp::div, in[0], p.binary(MapOp::add, p.constant(1, type), slowed));
  });
  for (size_t i = 0; i < o.count(); ++i) {
    Value* gradient = o.gradient(i);
    Value* squares = o.blend(1, o.state(0, i), 1, gradient, true);
    o.set(i, o.step(o.value(i), rate, gradient, squares, 1), {squares});
  }
}

// The rate is corrected for averages that begin at zero.
Value* adam_rate(Context& ctx, Optimiser& o, double alpha, double beta) {
  const DType type = o.rate()->dtype();
  return ctx.map({o.rate(), o.steps()}, [&](MapProgram& p, const auto& in) {
    const int one = p.constant(1, type), steps = p.cast(in[1], type);
    const auto missing = [&](double base) {
      return p.binary(MapOp::sub, one, p.binary(MapOp::pow, p.constant(base, type), steps));
    };
    const int corrected =
        p.binary(MapOp::div, p.binary(MapOp::mul, in[0], p.unary(MapOp::sqrt, missing(beta))), missing(alpha));
    return p.select(p.binary(MapOp::gt, steps, p.constant(0, type)), corrected, in[0]);
  });
}

void import_adam(Context& ctx) {
  Optimiser o(ctx, 2);
  const double alpha = ctx.attr_float("alpha", static_cast<double>(0.9F));
  const double beta = ctx.attr_float("beta", static_cast<double>(0.999F));
  Value* rate = adam_rate(ctx, o, alpha, beta);
  for (size_t i = 0; i < o.count(); ++i) {
    Value* gradient = o.gradient(i);
    Value* mean = o.blend(alpha, o.state(0, i), 1 - alpha, gradient);
    Value* squares = o.blend(beta, o.state(1, i), 1 - beta, gradient, true);
    const double shrink = 1 - ctx.attr_float("norm_coefficient_post", 0);
    o.set(i, o.step(o.value(i), rate, mean, squares, shrink), {mean, squares});
  }
}

// The first step takes the gradient as it is.
void import_momentum(Context& ctx) {
  Optimiser o(ctx, 1);
  const double alpha = ctx.attr_float("alpha", 0), beta = ctx.attr_float("beta", 0);
  const bool nesterov = ctx.attr_string("mode", "standard") == "nesterov";
  for (size_t i = 0; i < o.count(); ++i) {
    Value* gradient = o.gradient(i);
    const DType type = gradient->dtype();
    const auto damped = [&](MapProgram& p, int v) { return p.binary(MapOp::mul, p.constant(alpha, type), v); };
    Value* velocity = ctx.map({o.state(0, i), gradient, o.steps()}, [&](MapProgram& p, const auto& in) {
      const int later = p.binary(MapOp::gt, in[2], p.constant_int(0, o.steps()->dtype()));
      const int weight = p.select(later, p.constant(beta, type), p.constant(1, type));
      return p.binary(MapOp::add, damped(p, in[0]), p.binary(MapOp::mul, weight, in[1]));
    });
    Value* next = ctx.map({o.value(i), o.rate(), velocity, gradient}, [&](MapProgram& p, const auto& in) {
      const int move = nesterov ? p.binary(MapOp::add, in[3], damped(p, in[2])) : in[2];
      return p.binary(MapOp::sub, in[0], p.binary(MapOp::mul, p.cast(in[1], type), move));
    });
    o.set(i, next, {velocity});
  }
}

constexpr OpRow kRows[] = {
    {kTraining, "Adagrad", 1, import_adagrad},
    {kTraining, "Adam", 1, import_adam},
    {kTraining, "Momentum", 1, import_momentum},
};

}  // namespace

std::span<const OpRow> training_ops() { return kRows; }

}  // namespace lathe::onnx
