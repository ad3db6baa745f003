#include "graph/dim.h"

#include <gmock/gmock.h>

#include <cmath>
#include <map>
#include <random>

#include "base/error.h"

namespace lathe {
namespace {

std::string canonical(std::string_view text) { return Dim::parse(text).to_string(); }

TEST(Dim, EqualExpressionsHaveOneForm) {
  EXPECT_EQ(canonical("b + a"), canonical("a + b"));
  EXPECT_EQ(canonical("a*b - b*a + 3 - 1"), "2");
  EXPECT_EQ(canonical("(a + 1)*(a - 1)"), "a*a - 1");
  EXPECT_EQ(canonical("2*seq + seq"), "3*seq");
  EXPECT_EQ(canonical("-(a - b)"), canonical("b - a"));
  EXPECT_EQ(canonical("min(b, a)"), canonical("min(a, b)"));
  EXPECT_EQ(canonical("max(a, a + 1)"), "a + 1");
  EXPECT_EQ(canonical("min(a, a + 1)"), "a");
  EXPECT_EQ(canonical("max(a, 0)"), "a");    // sizes are not negative
  EXPECT_NE(canonical("max($a, 0)"), "$a");  // values may be
  EXPECT_EQ(canonical("broadcast(a, 1)"), "a");
  EXPECT_EQ(canonical("broadcast(a, 7)"), "7");
  EXPECT_EQ(canonical("broadcast(c, broadcast(b, a))"), canonical("broadcast(broadcast(a, b), c)"));
  EXPECT_EQ(canonical("broadcast(broadcast(a, b), broadcast(b, c))"), canonical("broadcast(broadcast(a, b), c)"));
  EXPECT_EQ(canonical("broadcast(broadcast(a, b)*c, c*broadcast(b, a))"), canonical("broadcast(a, b)*c"));
  EXPECT_EQ(canonical("0*a"), "0");
}

TEST(Dim, DivisionWithoutRemainderIsCarriedOut) {
  EXPECT_EQ(canonical("floor_div(batch*seq*768, batch*12)"), "64*seq");
  EXPECT_EQ(canonical("floor_div(a*a - 1, a + 1)"), "a - 1");
  EXPECT_EQ(canonical("floor_div(4*h + 3, 4)"), "h");
  EXPECT_EQ(canonical("floor_div(4*h + w, 4)"), "floor_div(w, 4) + h");
  EXPECT_EQ(canonical("floor_div(-7, 2)"), "-4");
  EXPECT_EQ(canonical("floor_div(a, -1)"), "-a");
  EXPECT_EQ(mod(Dim::parse("6*n + 5"), 3), Dim(2));
  EXPECT_EQ(ceil_div(Dim::parse("2*n + 1"), 2), Dim::parse("n + 1"));
  EXPECT_THROW(Dim::parse("floor_div(a, 0)"), Error);
}

TEST(Dim, SubstituteAndEvaluate) {
  const Dim d = Dim::parse("floor_div(h + 1, 2)*w + max(h, w)");
  const auto lookup = [](std::string_view name) -> std::optional<int64_t> {
    if (name == "h") return 6;
    if (name == "w") return 5;
    return std::nullopt;
  };
  EXPECT_EQ(d.evaluate(lookup), 21);
  EXPECT_EQ((d + Dim::symbol("other")).evaluate(lookup), std::nullopt);
  EXPECT_EQ(Dim::parse("floor_div(h, w - 5)").evaluate(lookup), std::nullopt);
  EXPECT_EQ(Dim::parse("h*9223372036854775807").evaluate(lookup), std::nullopt);
  const Dim s = d.substitute([](std::string_view name) -> std::optional<Dim> {
    if (name == "h") return Dim::parse("2*k - 1");
    return std::nullopt;
  });
  EXPECT_EQ(s, Dim::parse("k*w + max(2*k - 1, w)"));
}

TEST(Dim, NonNegativity) {
  EXPECT_TRUE(Dim::parse("2*a*b + floor_div(a, 3) + 1").is_nonnegative());
  EXPECT_FALSE(Dim::parse("a - 1").is_nonnegative());
  EXPECT_FALSE(Dim::parse("$a").is_nonnegative());
  EXPECT_TRUE(Dim::parse("max($a, 0)").is_nonnegative());
}

TEST(Dim, MalformedTextAndOverflowAreErrors) {
  for (const std::string_view text : {"", "a +", "2 2", "f(a, b)", "min(a)", "(a", "99999999999999999999", "a b", "1x"})
    EXPECT_THROW(Dim::parse(text), Error) << text;
  EXPECT_THROW(Dim::parse("9223372036854775807 + 1"), Error);
  EXPECT_THROW(Dim::parse("3037000500*3037000500"), Error);
}

TEST(Dim, ExpressionsCannotGrowWithoutEnd) {
  Dim sum = Dim::parse("a + b + c + d"), nested = Dim::symbol("$a");
  EXPECT_THROW(for (int i = 0; i < 100; ++i) sum = sum * sum, Error);
  EXPECT_THROW(for (int i = 0; i < 100; ++i) nested = min(nested + Dim::symbol("$b"), nested * nested), Error);
}

TEST(Shape, BroadcastsLikeNumpy) {
  const Dim n = Dim::symbol("n");
  EXPECT_EQ(broadcast(Shape{n, 1, 3}, Shape{5, 1}), (Shape{n, 5, 3}));
  EXPECT_EQ(broadcast(Shape{}, Shape{2}), (Shape{2}));
  EXPECT_EQ(broadcast(Shape{0}, Shape{1}), (Shape{0}));
  EXPECT_THROW(broadcast(Shape{2}, Shape{3}), Error);
  EXPECT_EQ(product(Shape{n, 0}), Dim(0));
  EXPECT_EQ(product(Shape{}), Dim(1));
}

// An expression beside a function that computes it directly, so that every simplification is checked by numbers.
struct Sample {
  Dim dim;
  int64_t value;
};

class RandomDims {
 public:
  explicit RandomDims(unsigned seed) : random_(seed) {
    for (const char* name : {"a", "b", "c"}) values_[name] = 1 + static_cast<int64_t>(random_() % 9);
    values_["$v"] = static_cast<int64_t>(random_() % 19) - 9;
  }

  Sample make(int depth) {
    if (depth == 0) return leaf();
    const Sample x = make(depth - 1), y = make(depth - 1);
    switch (random_() % 6) {
      case 0: return {x.dim + y.dim, x.value + y.value};
      case 1: return {x.dim - y.dim, x.value - y.value};
      case 2: return {x.dim * y.dim, x.value * y.value};
      case 3: return {min(x.dim, y.dim), std::min(x.value, y.value)};
      case 4: return {max(x.dim, y.dim), std::max(x.value, y.value)};
      default: break;
    }
    if (y.value == 0) return x;  // nothing to divide by
    const auto quotient = static_cast<int64_t>(std::floor(static_cast<double>(x.value) / static_cast<double>(y.value)));
    return {floor_div(x.dim, y.dim), quotient};
  }

  std::optional<int64_t> evaluate(const Dim& dim) const {
    return dim.evaluate([this](std::string_view name) { return std::optional(values_.at(std::string(name))); });
  }

 private:
  Sample leaf() {
    if (random_() % 3 == 0) {
      const int64_t value = static_cast<int64_t>(random_() % 7) - 2;
      return {value, value};
    }
    auto it = values_.begin();
    std::advance(it, random_() % values_.size());
    return {Dim::symbol(it->first), it->second};
  }

  std::mt19937 random_;
  std::map<std::string, int64_t> values_;
};

TEST(Dim, RandomExpressionsKeepTheirValueAndText) {
  for (unsigned seed = 0; seed < 2000; ++seed) {
    RandomDims dims(seed);
    const Sample sample = dims.make(3);
    const auto value = dims.evaluate(sample.dim);
    // Cancelling may remove a division by zero, and never adds one.
    ASSERT_EQ(value, sample.value) << sample.dim.to_string() << " seed " << seed;
    const Dim again = Dim::parse(sample.dim.to_string());
    ASSERT_EQ(again.to_string(), sample.dim.to_string()) << seed;
    ASSERT_EQ(again, sample.dim) << seed;
  }
}

}  // namespace
}  // namespace lathe
