// Algorithms over the fields of ops that know nothing of any particular op (see ops/field_types.h).
#pragma once

#include <algorithm>
#include <bit>

#include "graph/graph.h"

namespace lathe {

template <class T>
bool field_equal(const T& a, const T& b) {
  return a == b;
}
// By bits: -0 is another attribute than 0, and a NaN is equal to itself.
inline bool field_equal(const double& a, const double& b) {
  return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b);
}
inline bool field_equal(const std::vector<double>& a, const std::vector<double>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](double x, double y) { return field_equal(x, y); });
}
inline bool field_equal(const std::optional<double>& a, const std::optional<double>& b) {
  return a.has_value() == b.has_value() && (!a || field_equal(*a, *b));
}
inline bool field_equal(const Region& a, const Region& b) { return structurally_equal(a.graph(), b.graph()); }

// Calls visit(name, field of a, field of b) for every field of two ops of one kind.
template <class T, class V>
void for_each_field_pair(const T& a, const T& b, V&& visit) {
  std::vector<const void*> left;
  T::fields(a, [&](std::string_view, const auto& field) { left.push_back(&field); });
  size_t i = 0;
  T::fields(b, [&](std::string_view name, const auto& field) {
    visit(name, *static_cast<decltype(&field)>(left[i++]), field);
  });
}

// Calls visit(name, field) for every field that does not have its default value.
template <class T, class V>
void for_each_changed_field(const T& op, V&& visit) {
  for_each_field_pair(T{}, op, [&](std::string_view name, const auto& standard, const auto& field) {
    if (!field_equal(standard, field)) visit(name, field);
  });
}

}  // namespace lathe
