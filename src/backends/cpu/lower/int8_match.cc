// Reads an epilogue program from its result back to the sum.
#include "backends/cpu/lower/epilogue.h"
#include "backends/cpu/lower/int8_epilogue.h"

namespace lathe::cpu {
namespace {

Extent join(Extent a, Extent b) {
  if (a == Extent::unknown || b == Extent::unknown) return Extent::unknown;
  return static_cast<Extent>(static_cast<int>(a) | static_cast<int>(b));
}

bool is_byte(DType type) { return type == DType::u8 || type == DType::i8; }

class Matcher {
 public:
  Matcher(const MapProgram& program, const std::function<Extent(int)>& extent_of) {
    form_.program = program;
    for (const MapInstr& in : program.code()) {
      Extent extent = Extent::scalar;
      bool has_sum = false;
      if (in.op == MapOp::input) {
        has_sum = in.args[0] == 0;
        extent = has_sum ? Extent::tensor : extent_of(in.args[0]);
      } else if (in.op == MapOp::iota) {
        extent = Extent::unknown;
      }
      for (int a = 0; a < arity(in.op); ++a) {
        const auto arg = static_cast<size_t>(in.args[static_cast<size_t>(a)]);
        extent = join(extent, extents_[arg]);
        has_sum = has_sum || has_sum_[arg];
      }
      extents_.push_back(extent);
      has_sum_.push_back(has_sum);
    }
  }

  std::optional<Int8Form> run() {
    int at = static_cast<int>(extents_.size()) - 1;
    const DType type = instr(at).type;
    if (type == DType::i32) return integer(at) ? std::optional(form_) : std::nullopt;
    form_.result = is_byte(type) ? Int8Result::bytes : Int8Result::f32;
    if (is_byte(type) && !take_bytes(at, form_.last)) return std::nullopt;
    if (instr(at).type != DType::f32 || !real(at)) return std::nullopt;
    return form_;
  }

 private:
  const MapInstr& instr(int i) const { return form_.program.code()[static_cast<size_t>(i)]; }
  bool is(int i, MapOp op) const { return instr(i).op == op; }
  int arg(int i, int which) const { return instr(i).args[static_cast<size_t>(which)]; }
  Extent extent(int i) const { return extents_[static_cast<size_t>(i)]; }
  bool has_sum(int i) const { return has_sum_[static_cast<size_t>(i)]; }
  // Extends over no more than columns: one number, or one per column.
  bool along_columns(int i) const { return extent(i) == Extent::scalar || extent(i) == Extent::column; }

  // A new instruction; it is not part of the chain, so its extent is asked of nobody.
  int joined(MapOp op, int a, int b) {
    const int result = form_.program.binary(op, a, b);
    note(result, join(extent(a), extent(b)));
    return result;
  }
  int joined_if(MapOp op, int a, int b) { return a < 0 ? b : joined(op, a, b); }
  int converted(int a, DType type) {
    const int result = form_.program.cast(a, type);
    note(result, extent(a));
    return result;
  }
  int negated(int a) {
    const int result = form_.program.unary(MapOp::neg, a);
    note(result, extent(a));
    return result;
  }
  void note(int i, Extent extent) {
    if (static_cast<size_t>(i) < extents_.size()) return;
    extents_.push_back(extent);
    has_sum_.push_back(false);
  }

  // Of a binary instruction: the operand that leads to the sum and the one that does not; for subtraction and division
  // the first must be that.
  bool split(int i, int& chain, int& other) const {
    const bool left = has_sum(arg(i, 0)), right = has_sum(arg(i, 1));
    if (left == right || (right && !is_commutative(instr(i).op))) return false;
    chain = arg(i, left ? 0 : 1);
    other = arg(i, left ? 1 : 0);
    return true;
  }

  // cast(clamp(round(x / scale) + zero)): `at` moves to x.
  bool take_bytes(int& at, Int8Form::Bytes& bytes) {
    if (!is(at, MapOp::cast) && !is(at, MapOp::cast_sat)) return false;
    bytes.low = instr(at).type == DType::u8 ? 0 : -128;
    bytes.high = bytes.low + 255;
    at = arg(at, 0);
    take_clamps(at, bytes);
    int chain = 0, other = 0;
    if (is(at, MapOp::add)) {
      if (!split(at, chain, other) || extent(other) != Extent::scalar) return false;
      bytes.zero = other;
      at = chain;
    }
    if (!is(at, MapOp::round)) return false;
    at = arg(at, 0);
    if (is(at, MapOp::div)) {
      if (!split(at, chain, other) || extent(other) != Extent::scalar) return false;
      bytes.scale = other;
      at = chain;
    }
    return true;
  }

  void take_clamps(int& at, Int8Form::Bytes& bytes) const {
    while (true) {
      int chain = 0, other = 0;
      if (is(at, MapOp::relu)) {
        bytes.low = std::max(bytes.low, 0.0);
        at = arg(at, 0);
      } else if ((is(at, MapOp::min) || is(at, MapOp::max)) && split(at, chain, other) && is(other, MapOp::constant)) {
        if (is(at, MapOp::max))
          bytes.low = std::max(bytes.low, instr(other).real);
        else
          bytes.high = std::min(bytes.high, instr(other).real);
        at = chain;
      } else {
        return;
      }
    }
  }

  // (q - zero) * scale as f32: what q, zero and scale are. zero is -1 where there is none.
  struct Dequantised {
    int q, zero, scale;
  };
  std::optional<Dequantised> dequantised(int i) const {
    if (!is(i, MapOp::mul)) return std::nullopt;
    for (const int side : {0, 1}) {
      const int scale = arg(i, 1 - side), real = arg(i, side);
      if (extent(scale) != Extent::scalar || has_sum(scale) || !is(real, MapOp::cast)) continue;
      int q = arg(real, 0), zero = -1;
      if (is(q, MapOp::sub)) {
        zero = arg(q, 1);
        q = arg(q, 0);
      }
      while (is(q, MapOp::cast) && !is_byte(instr(q).type)) q = arg(q, 0);
      if (!is_byte(instr(q).type) || (zero >= 0 && (extent(zero) != Extent::scalar || has_sum(zero)))) continue;
      return Dequantised{q, zero, scale};
    }
    return std::nullopt;
  }

  // Takes the residual off a sum.
  bool take_residual(int& at) {
    int chain = 0, other = 0;
    if (form_.residual >= 0 || !is(at, MapOp::add) || !split(at, chain, other) || extent(other) != Extent::tensor)
      return false;
    if (is(other, MapOp::input) && instr(other).type == DType::f32) {
      form_.residual_type = Int8Residual::f32;
    } else {
      const auto q = dequantised(other);
      if (!q || !is(q->q, MapOp::input)) return false;
      form_.residual_type = instr(q->q).type == DType::u8 ? Int8Residual::u8 : Int8Residual::s8;
      form_.residual_scale = q->scale;
      form_.residual_zero = q->zero < 0 ? -1 : converted(q->zero, DType::f32);
      other = q->q;
    }
    form_.residual = arg(other, 0);
    at = chain;
    return true;
  }

  // From the activation on.
  bool real(int at) {
    int inside = 0;
    Activation outer;
    if (const auto activation = match_activation(form_.program, at, inside); activation && has_sum(inside)) {
      outer = *activation;
      at = inside;
    }
    if (take_residual(at) && (take_round_trip(at) || takes_activation(at))) {
      const bool simple = outer.kind == ActivationKind::none || outer.kind == ActivationKind::relu ||
                          outer.kind == ActivationKind::clip;
      form_.residual_last = true;
      form_.last_activation = outer;
      if (const auto activation = match_activation(form_.program, at, inside)) {
        form_.activation = *activation;
        at = inside;
      }
      return simple && linear(at);
    }
    form_.activation = outer;
    return linear(at);
  }

  bool takes_activation(int at) const {
    int inside = 0;
    return match_activation(form_.program, at, inside).has_value();
  }

  bool take_round_trip(int& at) {
    const auto q = dequantised(at);
    if (!q || !has_sum(q->q)) return false;
    Int8Form::Bytes bytes;
    int inside = q->q;
    if (!take_bytes(inside, bytes)) return false;
    if (q->zero < 0 ? bytes.zero >= 0 : !same_number(bytes.zero, q->zero)) return false;
    form_.middle_scale = q->scale;
    form_.middle = bytes;
    at = inside;
    return true;
  }

  // Equal up to casts.
  bool same_number(int a, int b) const {
    const auto plain = [&](int i) {
      while (i >= 0 && is(i, MapOp::cast)) i = arg(i, 0);
      return i;
    };
    a = plain(a);
    b = plain(b);
    if (a < 0 || b < 0) return false;
    if (a == b) return true;
    const auto number = [&](int i) { return is_float(instr(i).type) ? instr(i).real : double(instr(i).integer); };
    return is(a, MapOp::constant) && is(b, MapOp::constant) && number(a) == number(b);
  }

  // float(t) * scale + bias + residual.
  bool linear(int at) {
    while (is(at, MapOp::add)) {
      if (!form_.residual_last && take_residual(at)) continue;
      int chain = 0, other = 0;
      if (!split(at, chain, other) || !along_columns(other)) return false;
      form_.bias = joined_if(MapOp::add, form_.bias, other);
      at = chain;
    }
    while (is(at, MapOp::mul)) {
      int chain = 0, other = 0;
      if (!split(at, chain, other) || !scale_by(other)) return false;
      at = chain;
    }
    if (!is(at, MapOp::cast) || instr(arg(at, 0)).type != DType::i32 || instr(at).type != DType::f32) return false;
    return integer(arg(at, 0));
  }

  // A factor of the scale: of rows, of columns, or a product of such.
  bool scale_by(int i) {
    if (extent(i) == Extent::row)
      form_.row_scale = joined_if(MapOp::mul, form_.row_scale, i);
    else if (along_columns(i))
      form_.col_scale = joined_if(MapOp::mul, form_.col_scale, i);
    else
      return is(i, MapOp::mul) && scale_by(arg(i, 0)) && scale_by(arg(i, 1));
    return true;
  }

  bool integer(int at) {
    while (is(at, MapOp::add) || is(at, MapOp::sub)) {
      int chain = 0, other = 0;
      if (!split(at, chain, other) || !correct(other, is(at, MapOp::sub))) return false;
      at = chain;
    }
    return is(at, MapOp::input) && arg(at, 0) == 0 && instr(at).type == DType::i32;
  }

  // Adds a correction (or takes it off) that does not depend on the sum.
  bool correct(int i, bool minus) {
    if (instr(i).type != DType::i32) return false;
    if (along_columns(i)) {
      form_.col_add =
          form_.col_add < 0 ? (minus ? negated(i) : i) : joined(minus ? MapOp::sub : MapOp::add, form_.col_add, i);
      return true;
    }
    if (is(i, MapOp::add) || is(i, MapOp::sub))
      return correct(arg(i, 0), minus) && correct(arg(i, 1), minus != is(i, MapOp::sub));
    int row = i, column = -1;
    if (extent(i) == Extent::tensor) {
      if (!is(i, MapOp::mul)) return false;
      row = arg(i, 0);
      column = arg(i, 1);
      if (extent(row) != Extent::row) std::swap(row, column);
      if (!along_columns(column)) return false;
    }
    if (extent(row) != Extent::row) return false;
    if (column < 0) {
      column = form_.program.constant_int(1, DType::i32);
      note(column, Extent::scalar);
    }
    for (size_t k = 0; k < 2; ++k) {
      if (form_.row_factors[k] >= 0) continue;
      form_.row_factors[k] = row;
      form_.col_factors[k] = minus ? negated(column) : column;
      return true;
    }
    return false;
  }

  Int8Form form_;
  std::vector<Extent> extents_;  // by instruction
  std::vector<bool> has_sum_;
};

}  // namespace

std::optional<Int8Form> match_int8_epilogue(const MapProgram& program, const std::function<Extent(int)>& extent_of) {
  if (program.empty()) return Int8Form{};
  return Matcher(program, extent_of).run();
}

}  // namespace lathe::cpu
