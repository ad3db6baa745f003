// Symbolic values: small tensors whose elements are known as dimension expressions before anything runs. They are what
// shape arithmetic (Shape, Gather, Concat, Div, Cast to float, Floor, ..) is evaluated on at import (symbolic_ops.h).
//
// Every operation is exact or declines: a result that may differ from what the model computes at run time, through the
// sign of a symbol or the rounding of a float, is nullopt, and the model's own arithmetic is imported instead.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "graph/dim.h"
#include "graph/tensor.h"

namespace lathe::onnx {

// One element: an integer or bool (0, 1) as a Dim; a float as Dim / denominator, or, when it is a constant of no such
// form, as a double.
class Element {
 public:
  Element(Dim value) : numerator_(std::move(value)) {}  // NOLINT(google-explicit-constructor): an integer is an element
  static Element size(Dim value);                       // of a tensor, which is not negative whatever its expression
  static Element real(double value);                    // an exact ratio where `value` is one of small denominator
  static std::optional<Element> ratio(Dim numerator, int64_t denominator);

  const Dim* dim() const { return real_ || denominator_ != 1 ? nullptr : &numerator_; }
  std::optional<int64_t> integer() const;  // when it is a constant integer
  std::optional<double> number() const;    // when it is a constant
  const Dim& numerator() const { return numerator_; }
  int64_t denominator() const { return denominator_; }
  bool is_real() const { return real_.has_value(); }
  bool is_nonnegative() const;
  Element nonnegative(bool known) const;  // the same, known not to be negative

 private:
  Dim numerator_;
  int64_t denominator_ = 1;  // positive; in lowest terms only as far as constants go
  std::optional<double> real_;
  bool nonnegative_ = false;  // beyond what the numerator says
};

struct SymbolicTensor {
  static constexpr int64_t kMaxElements = 4096;
  static constexpr int64_t kMaxFloats = 64;  // float constants are weights more often than sizes

  DType dtype = DType::i64;
  std::vector<int64_t> dims;  // of rank 0 for a scalar
  std::vector<Element> elements;

  static SymbolicTensor vector(const Shape& sizes);  // of a tensor
  static SymbolicTensor scalar(Dim value) { return {DType::i64, {}, {Element(std::move(value))}}; }

  // Nullopt for tensors that are too large or of another type than integers, bool, f32 and f64.
  static std::optional<SymbolicTensor> from(const Tensor& tensor);
  // Nullopt unless all elements are constants.
  std::optional<Tensor> to_tensor() const;
  // Nullopt unless all elements are integers.
  std::optional<Shape> to_shape() const;
  std::optional<std::vector<int64_t>> to_integers() const;
  int64_t size() const { return static_cast<int64_t>(elements.size()); }
};

// Arithmetic on elements of one dtype.
std::optional<Element> add(const Element& a, const Element& b, DType type);
std::optional<Element> subtract(const Element& a, const Element& b, DType type);
std::optional<Element> multiply(const Element& a, const Element& b, DType type);
std::optional<Element> divide(const Element& a, const Element& b, DType type);  // integers truncate toward zero
std::optional<Element> modulo(const Element& a, const Element& b, DType type);  // sign of the divisor
std::optional<Element> minimum(const Element& a, const Element& b, DType type);
std::optional<Element> maximum(const Element& a, const Element& b, DType type);
std::optional<Element> floor(const Element& a);
std::optional<Element> ceil(const Element& a);
std::optional<Element> square_root(const Element& a, DType type);
std::optional<Element> cast(const Element& a, DType from, DType to);

// Comparisons that hold, or fail, whatever the symbols are; nullopt where that depends.
std::optional<bool> equal(const Element& a, const Element& b);
std::optional<bool> less(const Element& a, const Element& b);

}  // namespace lathe::onnx
