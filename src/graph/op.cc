// What can be said about every op through its fields alone: its name, equality, its regions.
#include "graph/op.h"

#include <bit>

#include "graph/graph.h"

namespace lathe {
namespace {

template <class T>
bool field_equal(const T& a, const T& b) {
  return a == b;
}
// By bits: -0 is another attribute than 0, and a NaN is equal to itself.
bool field_equal(const double& a, const double& b) { return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b); }
bool field_equal(const std::vector<double>& a, const std::vector<double>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](double x, double y) { return field_equal(x, y); });
}
bool field_equal(const std::optional<double>& a, const std::optional<double>& b) {
  return a.has_value() == b.has_value() && (!a || field_equal(*a, *b));
}
bool field_equal(const Region& a, const Region& b) { return structurally_equal(a.graph(), b.graph()); }

template <class T>
bool fields_equal(const T& a, const T& b) {
  std::vector<const void*> left;
  T::fields(a, [&](std::string_view, const auto& field) { left.push_back(&field); });
  bool equal = true;
  size_t i = 0;
  T::fields(b, [&](std::string_view, const auto& field) {
    equal = equal && field_equal(*static_cast<decltype(&field)>(left[i]), field);
    ++i;
  });
  return equal;
}

template <class AnyRegion, class AnyOp>
std::vector<AnyRegion*> find_regions(AnyOp& op) {
  std::vector<AnyRegion*> regions;
  std::visit(
      [&](auto& o) {
        std::decay_t<decltype(o)>::fields(o, [&](std::string_view, auto& field) {
          if constexpr (std::is_same_v<std::decay_t<decltype(field)>, Region>) regions.push_back(&field);
        });
      },
      op);
  return regions;
}

}  // namespace

std::string_view op_name(const Op& op) {
  return std::visit([](const auto& o) { return o.kName; }, op);
}

bool op_equal(const Op& a, const Op& b) {
  if (a.index() != b.index()) return false;
  return std::visit([&](const auto& left) { return fields_equal(left, std::get<std::decay_t<decltype(left)>>(b)); }, a);
}

std::vector<Region*> regions_of(Op& op) { return find_regions<Region>(op); }
std::vector<const Region*> regions_of(const Op& op) { return find_regions<const Region>(op); }

}  // namespace lathe
