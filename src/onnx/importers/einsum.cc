// Einsum in general: diagonals of repeated labels, sums over labels of one operand only, then pairs of operands joined
// from the left by a batched matrix product, and a last transposition. Batch axes stay separate axes, so that the
// products of attention written as Einsum look like any other.
#include <algorithm>
#include <map>

#include "onnx/importers/context.h"
#include "onnx/importers/table.h"

namespace lathe::onnx {
namespace {

// A label is a letter, or kEllipsis - d for the d-th axis from the end that an ellipsis stands for.
using Labels = std::vector<int>;
constexpr int kEllipsis = 0;

struct Operand {
  Value* value;
  Labels labels;
};

bool contains(const Labels& labels, int label) {
  return std::find(labels.begin(), labels.end(), label) != labels.end();
}
int64_t position(const Labels& labels, int label) {
  return std::find(labels.begin(), labels.end(), label) - labels.begin();
}

// The labels of one term; its ellipsis stands for `ellipsis_rank` axes.
Labels parse_term(Context& ctx, const std::string& term, int64_t ellipsis_rank) {
  Labels labels;
  for (size_t i = 0; i < term.size(); ++i) {
    if (term.compare(i, 3, "...") == 0) {
      for (int64_t d = ellipsis_rank; d-- > 0;) labels.push_back(kEllipsis - static_cast<int>(d));
      i += 2;
    } else if (std::isalpha(static_cast<unsigned char>(term[i])) != 0) {
      labels.push_back(term[i]);
    } else {
      ctx.invalid(fmt::format("the term '{}' of the equation is malformed", term));
    }
  }
  return labels;
}

int64_t letters(const std::string& term) {
  return std::count_if(term.begin(), term.end(),
                       [](char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; });
}

class Equation {
 public:
  explicit Equation(Context& ctx) : ctx_(ctx) {
    std::string text = ctx.attr_string("equation", "");
    text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
    const size_t arrow = text.find("->");
    std::vector<std::string> terms(1);
    for (const char c : text.substr(0, arrow)) {
      if (c == ',')
        terms.emplace_back();
      else
        terms.back() += c;
    }
    if (terms.size() != ctx.num_inputs())
      ctx.invalid("the equation has another number of terms than there are operands");
    int64_t widest = 0;
    for (size_t i = 0; i < terms.size(); ++i) {
      const bool has_ellipsis = terms[i].find("...") != std::string::npos;
      const int64_t rest = ctx.rank(i) - letters(terms[i]);
      if (rest < 0 || (!has_ellipsis && rest != 0))
        ctx.invalid(fmt::format("the term '{}' does not fit rank {}", terms[i], ctx.rank(i)));
      widest = std::max(widest, rest);
      operands_.push_back({ctx.input(i), parse_term(ctx, terms[i], rest)});
    }
    output_ = arrow == std::string::npos ? implicit_output(widest) : parse_term(ctx, text.substr(arrow + 2), widest);
    for (const int label : output_)
      if (std::count(output_.begin(), output_.end(), label) != 1) ctx.invalid("the output repeats a label");
  }

  Value* lower() {
    for (Operand& operand : operands_) take_diagonals(operand);
    for (size_t i = 0; i < operands_.size(); ++i) sum_out(operands_[i], i, 0);
    for (size_t next = 1; next < operands_.size(); ++next) {
      operands_[0] = join(operands_[0], operands_[next], next);
      sum_out(operands_[0], 0, next);
    }
    const Operand& result = operands_[0];
    std::vector<int64_t> perm;
    for (const int label : output_) {
      if (!contains(result.labels, label)) ctx_.invalid("the output names a label that no operand has");
      perm.push_back(position(result.labels, label));
    }
    return ctx_.transpose(result.value, std::move(perm));
  }

 private:
  // The ellipsis axes, then the labels that stand once, in alphabetical order.
  Labels implicit_output(int64_t ellipsis_rank) {
    std::map<int, int> counts;
    for (const Operand& operand : operands_)
      for (const int label : operand.labels)
        if (label > kEllipsis) ++counts[label];
    Labels output = parse_term(ctx_, "...", ellipsis_rank);
    for (const auto& [label, count] : counts)
      if (count == 1) output.push_back(label);
    return output;
  }

  // "ii": everything off the diagonal becomes zero, and the second axis is summed away.
  void take_diagonals(Operand& operand) {
    for (size_t i = 0; i < operand.labels.size(); ++i) {
      for (size_t k = operand.labels.size(); k-- > i + 1;) {
        if (operand.labels[k] != operand.labels[i]) continue;
        const int rank = static_cast<int>(operand.labels.size());
        Value* masked = ctx_.map({operand.value}, [&](MapProgram& p, const auto& in) {
          const int on = p.binary(MapOp::eq, p.iota(static_cast<int>(i) - rank), p.iota(static_cast<int>(k) - rank));
          return p.select(on, in[0], p.constant_int(0, operand.value->dtype()));
        });
        operand.value = ctx_.reduce(ReduceKind::sum, masked, {static_cast<int64_t>(k)}, false);
        operand.labels.erase(operand.labels.begin() + static_cast<std::ptrdiff_t>(k));
      }
    }
  }

  // Is the label needed by the output or by an operand after `joined`, other than `self`?
  bool needed(int label, size_t self, size_t joined) const {
    if (contains(output_, label)) return true;
    for (size_t i = joined + 1; i < operands_.size(); ++i)
      if (i != self && contains(operands_[i].labels, label)) return true;
    return joined == 0 && self != 0 && contains(operands_[0].labels, label);
  }

  void sum_out(Operand& operand, size_t self, size_t joined) {
    std::vector<int64_t> axes;
    Labels kept;
    for (size_t i = 0; i < operand.labels.size(); ++i) {
      if (needed(operand.labels[i], self, joined))
        kept.push_back(operand.labels[i]);
      else
        axes.push_back(static_cast<int64_t>(i));
    }
    if (axes.empty()) return;
    operand.value = ctx_.reduce(ReduceKind::sum, operand.value, axes, false);
    operand.labels = std::move(kept);
  }

  // The operand as [batch.., rows, columns], each group of labels flattened to one axis except the batch.
  Value* arrange(const Operand& operand, const Labels& batch, const Labels& rows, const Labels& columns,
                 const std::map<int, Dim>& sizes) {
    std::vector<int64_t> perm;
    Shape expanded, flat;
    for (const Labels* group : {&batch, &rows, &columns}) {
      Dim size(1);
      for (const int label : *group) {
        const int64_t axis = position(operand.labels, label);
        perm.push_back(axis);
        // A batch axis of size 1 broadcasts in the product by itself.
        const Dim& own = operand.value->shape()[static_cast<size_t>(axis)];
        expanded.push_back(group == &batch ? own : sizes.at(label));
        if (group == &batch)
          flat.push_back(own);
        else
          size = size * sizes.at(label);
      }
      if (group != &batch) flat.push_back(size);
    }
    return ctx_.reshape(ctx_.expand(ctx_.transpose(operand.value, std::move(perm)), expanded), flat);
  }

  Operand join(const Operand& a, const Operand& b, size_t joined) {
    Labels batch, summed, rows, columns;
    std::map<int, Dim> sizes;
    for (size_t i = 0; i < a.labels.size(); ++i) sizes.emplace(a.labels[i], a.value->shape()[i]);
    for (size_t i = 0; i < b.labels.size(); ++i) {
      const auto [it, added] = sizes.emplace(b.labels[i], b.value->shape()[i]);
      if (!added) it->second = broadcast(it->second, b.value->shape()[i]);
    }
    for (const int label : a.labels) {
      if (!contains(b.labels, label))
        rows.push_back(label);
      else if (needed(label, SIZE_MAX, joined))
        batch.push_back(label);
      else
        summed.push_back(label);
    }
    for (const int label : b.labels)
      if (!contains(a.labels, label)) columns.push_back(label);
    Value* product = ctx_.matmul(arrange(a, batch, rows, summed, sizes), arrange(b, batch, summed, columns, sizes));
    Operand result{product, batch};
    Shape shape;
    for (const Labels* group : {&rows, &columns})
      result.labels.insert(result.labels.end(), group->begin(), group->end());
    for (const int label : result.labels) shape.push_back(sizes.at(label));
    result.value = ctx_.reshape(product, std::move(shape));
    return result;
  }

  Context& ctx_;
  std::vector<Operand> operands_;
  Labels output_;
};

void import_einsum(Context& ctx) { ctx.set_output(0, Equation(ctx).lower()); }

constexpr OpRow kRows[] = {
    {"", "Einsum", 12, import_einsum},
};

}  // namespace

std::span<const OpRow> einsum_ops() { return kRows; }

}  // namespace lathe::onnx
