#include "checkpoint/activation.h"

#include <utility>

#include "base/error.h"
#include "graph/build.h"

namespace lathe::checkpoint {
namespace {

constexpr std::pair<std::string_view, Activation> kNames[] = {
    {"linear", Activation::identity},
    {"relu", Activation::relu},
    {"relu6", Activation::relu6},
    {"relu2", Activation::relu_squared},
    {"leaky_relu", Activation::leaky_relu},
    {"silu", Activation::silu},
    {"swish", Activation::silu},
    {"gelu", Activation::gelu_erf},
    {"gelu_python", Activation::gelu_erf},
    {"gelu_new", Activation::gelu_tanh},
    {"gelu_fast", Activation::gelu_tanh},
    {"gelu_accurate", Activation::gelu_tanh},
    {"gelu_python_tanh", Activation::gelu_tanh},
    {"gelu_pytorch_tanh", Activation::gelu_tanh},
    {"quick_gelu", Activation::gelu_sigmoid},
    {"gelu_10", Activation::gelu_clipped},
    {"mish", Activation::mish},
    {"sigmoid", Activation::sigmoid},
    {"tanh", Activation::tanh},
    {"xielu", Activation::xielu},
};

}  // namespace

std::optional<Activation> activation_named(std::string_view name) {
  for (const auto& [spelling, activation] : kNames)
    if (name == spelling) return activation;
  return std::nullopt;
}

Value* activate(Graph& graph, Activation activation, Value* x) {
  const auto number = [&](double value) { return scalar(graph, value, x->dtype()); };
  switch (activation) {
    case Activation::identity: return x;
    case Activation::relu: return map1(graph, MapOp::relu, x);
    case Activation::relu6: return map2(graph, MapOp::min, map1(graph, MapOp::relu, x), number(6));
    case Activation::relu_squared: {
      Value* positive = map1(graph, MapOp::relu, x);
      return map2(graph, MapOp::mul, positive, positive);
    }
    case Activation::leaky_relu: return map2(graph, MapOp::max, x, map2(graph, MapOp::mul, x, number(0.01)));
    case Activation::silu: return map1(graph, MapOp::silu, x);
    case Activation::gelu_erf: return map1(graph, MapOp::gelu_erf, x);
    case Activation::gelu_tanh: return map1(graph, MapOp::gelu_tanh, x);
    case Activation::gelu_sigmoid: {
      Value* gate = map1(graph, MapOp::sigmoid, map2(graph, MapOp::mul, x, number(1.702)));
      return map2(graph, MapOp::mul, x, gate);
    }
    case Activation::gelu_clipped: {
      Value* y = map2(graph, MapOp::max, map1(graph, MapOp::gelu_erf, x), number(-10));
      return map2(graph, MapOp::min, y, number(10));
    }
    case Activation::mish: return map1(graph, MapOp::mish, x);
    case Activation::sigmoid: return map1(graph, MapOp::sigmoid, x);
    case Activation::tanh: return map1(graph, MapOp::tanh, x);
    case Activation::xielu: break;
  }
  fail(ErrorCode::unsupported, "this family's layers have no parameters for the activation 'xielu'");
}

}  // namespace lathe::checkpoint
