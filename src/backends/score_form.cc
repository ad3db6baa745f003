#include "backends/score_form.h"

#include <limits>

namespace lathe {
namespace {

class ScoreReader {
 public:
  explicit ScoreReader(const MapProgram& program) : program_(program), code_(program.code()), depends_(code_.size()) {
    for (size_t i = 0; i < code_.size(); ++i) {
      depends_[i] = code_[i].op == MapOp::input && code_[i].args[0] == 0;
      for (int a = 0; a < arity(code_[i].op); ++a)
        depends_[i] = depends_[i] || depends_[static_cast<size_t>(code_[i].args[static_cast<size_t>(a)])];
    }
  }

  std::optional<ScoreForm> read() {
    int at = static_cast<int>(code_.size()) - 1;
    ScoreForm form;
    while (take_mask(at) || take_cast(at)) {
    }
    take_softcap(at, form.softcap);
    while (take_scale(at, form.scale) || take_cast(at)) {
    }
    if (instr(at).op != MapOp::input || instr(at).args[0] != 0 || !is_float(instr(at).type)) return std::nullopt;
    form.mask = mask_program();
    return form;
  }

 private:
  const MapInstr& instr(int i) const { return code_[static_cast<size_t>(i)]; }
  int arg(int i, int a) const { return instr(i).args[static_cast<size_t>(a)]; }
  bool depends(int i) const { return depends_[static_cast<size_t>(i)]; }
  std::optional<double> constant(int i) const {
    return instr(i).op == MapOp::constant && is_float(instr(i).type) ? std::optional(instr(i).real) : std::nullopt;
  }
  bool is_minus_infinity(int i) const { return constant(i) == -std::numeric_limits<double>::infinity(); }

  // One term of the mask: an instruction of the program, for a select its condition.
  struct Term {
    int at;
    enum { added, subtracted, visible_if, hidden_if } kind;
  };

  bool take_mask(int& at) {
    const MapInstr& i = instr(at);
    if (i.op == MapOp::add) {
      const int side = depends(arg(at, 0)) ? 0 : 1;
      if (depends(arg(at, 1 - side))) return false;
      terms_.push_back({arg(at, 1 - side), Term::added});
      at = arg(at, side);
      return true;
    }
    if (i.op == MapOp::sub && !depends(arg(at, 1))) {
      terms_.push_back({arg(at, 1), Term::subtracted});
      at = arg(at, 0);
      return true;
    }
    if (i.op != MapOp::select || depends(arg(at, 0))) return false;
    const bool yes = is_minus_infinity(arg(at, 2));
    if (!yes && !is_minus_infinity(arg(at, 1))) return false;
    terms_.push_back({arg(at, 0), yes ? Term::visible_if : Term::hidden_if});
    at = arg(at, yes ? 1 : 2);
    return true;
  }

  bool take_cast(int& at) const {
    if (instr(at).op != MapOp::cast || !is_float(instr(at).type) || !is_float(instr(arg(at, 0)).type)) return false;
    at = arg(at, 0);
    return true;
  }

  // c * tanh(x / c).
  void take_softcap(int& at, float& softcap) const {
    if (instr(at).op != MapOp::mul) return;
    for (const int side : {0, 1}) {
      const auto cap = constant(arg(at, side));
      const int tanh = arg(at, 1 - side);
      if (!cap || !(*cap > 0) || instr(tanh).op != MapOp::tanh) continue;
      const int inside = arg(tanh, 0);
      if (instr(inside).op == MapOp::div && constant(arg(inside, 1)) == cap) {
        softcap = static_cast<float>(*cap);
        at = arg(inside, 0);
        return;
      }
    }
  }

  bool take_scale(int& at, double& scale) const {
    const MapInstr& i = instr(at);
    if (i.op != MapOp::mul && i.op != MapOp::div) return false;
    const auto right = constant(arg(at, 1)), left = constant(arg(at, 0));
    if (right && i.op == MapOp::div ? *right != 0 : right.has_value())
      scale = i.op == MapOp::mul ? scale * *right : scale / *right;
    else if (left && i.op == MapOp::mul)
      scale *= *left;
    else
      return false;
    at = arg(at, right ? 0 : 1);
    return true;
  }

  MapProgram mask_program() const {
    MapProgram mask;
    if (terms_.empty()) return mask;
    std::vector<int> index = copy_independent(mask);
    const int zero = mask.constant(0, DType::f32),
              hidden = mask.constant(-std::numeric_limits<double>::infinity(), DType::f32);
    int sum = -1;
    // From the innermost term on, in the order in which the program adds them.
    for (auto term = terms_.rbegin(); term != terms_.rend(); ++term) {
      const int value = index[static_cast<size_t>(term->at)];
      const bool select = term->kind == Term::visible_if || term->kind == Term::hidden_if;
      const int addend = !select                          ? mask.cast(value, DType::f32)
                         : term->kind == Term::visible_if ? mask.select(value, zero, hidden)
                                                          : mask.select(value, hidden, zero);
      if (sum < 0)
        sum = term->kind == Term::subtracted ? mask.unary(MapOp::neg, addend) : addend;
      else
        sum = mask.binary(term->kind == Term::subtracted ? MapOp::sub : MapOp::add, sum, addend);
    }
    mask.finish(sum);
    return mask;
  }

  std::vector<int> copy_independent(MapProgram& mask) const {
    std::vector<int> index(code_.size(), -1);
    mask.set_num_inputs(program_.num_inputs());
    for (size_t i = 0; i < code_.size(); ++i) {
      if (depends_[i]) continue;
      MapInstr copy = code_[i];
      for (int a = 0; a < arity(copy.op); ++a) {
        auto& operand = copy.args[static_cast<size_t>(a)];
        operand = index[static_cast<size_t>(operand)];
      }
      index[i] = copy.op == MapOp::dim ? mask.dim(program_.dims()[static_cast<size_t>(copy.args[0])]) : mask.push(copy);
    }
    return index;
  }

  const MapProgram& program_;
  const std::vector<MapInstr>& code_;
  std::vector<bool> depends_;  // on the product
  std::vector<Term> terms_;    // outermost first
};

}  // namespace

std::optional<ScoreForm> match_score(const MapProgram& program) {
  if (program.empty()) return ScoreForm{};
  return ScoreReader(program).read();
}

}  // namespace lathe
