// Filters of sequences and dicts. Where Python's give a generator, so do these: a thing that is true even when empty.
#include <array>

#include "base/error.h"
#include "text/chat_template/arguments.h"
#include "text/chat_template/builtin_table.h"
#include "text/chat_template/operators.h"
#include "text/chat_template/python_string.h"
#include "text/chat_template/value_text.h"

namespace lathe::text {
namespace {

Value generator(Values values) { return make_list(std::move(values), ListKind::generator); }

// "function.name" or "0" or a number: the attribute of an attribute. Where one is missing, `otherwise` takes its place.
Value find_attribute(Value value, const Value& path, Meter& meter, const Value* otherwise = nullptr) {
  if (path.text() == nullptr) return subscript(value, path, meter);
  for (const MarkedText& part : split(*path.text(), ".", -1, false)) {
    const bool number = !part.empty() && part.bytes().find_first_not_of("0123456789") == std::string::npos;
    const Value step = number && part.size() < 10 ? Value(int64_t{std::stoll(part.bytes())}) : Value(part);
    value = subscript(value, step, meter);
    if (value.is_undefined() && otherwise != nullptr) value = *otherwise;
  }
  return value;
}

// What to sort and compare by: an attribute if one is named, without regard to case unless wanted.
struct Key {
  const Value* attribute = nullptr;
  bool case_sensitive = false;
  bool several = false;  // "a,b" names two

  Value operator()(const Value& element, Meter& meter) const {
    if (several && attribute != nullptr && attribute->text() != nullptr) {
      Values keys;
      for (const MarkedText& name : split(*attribute->text(), ",", -1, false)) {
        const Value one(name);
        keys.push_back(Key{&one, case_sensitive}(element, meter));
      }
      return make_list(std::move(keys));
    }
    const bool whole = attribute == nullptr || attribute->is_none();
    Value key = whole ? element : find_attribute(element, *attribute, meter);
    if (!case_sensitive && key.text() != nullptr) return lower(*key.text());
    return key;
  }
};

// Stable, and free of exceptions inside the sort only where keys have an order.
Values sorted_by(Values values, const Key& key, bool reverse, Meter& meter) {
  std::vector<std::pair<Value, Value>> keyed;
  for (Value& value : values) keyed.emplace_back(key(value, meter), std::move(value));
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& left, const auto& right) {
    return reverse ? compare(right.first, left.first, meter) < 0 : compare(left.first, right.first, meter) < 0;
  });
  for (size_t i = 0; i < keyed.size(); ++i) values[i] = std::move(keyed[i].second);
  return values;
}

Value sort(Meter& meter, const Value& input, Arguments& arguments) {
  const bool reverse = truth_or(arguments.next("reverse"), false);
  Key key;
  key.case_sensitive = truth_or(arguments.next("case_sensitive"), false);
  key.attribute = arguments.next("attribute");
  key.several = true;
  arguments.done("sort");
  return make_list(sorted_by(elements(input, meter), key, reverse, meter));
}

Value dictsort(Meter& meter, const Value& input, Arguments& arguments) {
  const bool case_sensitive = truth_or(arguments.next("case_sensitive"), false);
  const auto by = optional_bytes(arguments.next("by")).value_or("key");
  const bool reverse = truth_or(arguments.next("reverse"), false);
  arguments.done("dictsort");
  if (input.dict() == nullptr) type_error("dictsort needs a dict, not", input);
  if (by != "key" && by != "value") fail(ErrorCode::invalid_model, "dictsort sorts by 'key' or 'value'");
  Values items;
  for (const auto& [key, value] : input.dict()->entries) items.push_back(make_list({key, value}, ListKind::tuple));
  const Value position(int64_t{by == "value"});
  return make_list(sorted_by(std::move(items), Key{&position, case_sensitive}, reverse, meter));
}

Value unique(Meter& meter, const Value& input, Arguments& arguments) {
  Key key;
  key.case_sensitive = truth_or(arguments.next("case_sensitive"), false);
  key.attribute = arguments.next("attribute");
  arguments.done("unique");
  Values out, seen;
  for (const Value& value : elements(input, meter)) {
    Value now = key(value, meter);
    check_hashable(now);
    if (std::any_of(seen.begin(), seen.end(), [&](const Value& before) { return equal(before, now, meter); })) continue;
    seen.push_back(std::move(now));
    out.push_back(value);
  }
  return generator(std::move(out));
}

template <bool largest>
Value extreme(Meter& meter, const Value& input, Arguments& arguments) {
  Key key;
  key.case_sensitive = truth_or(arguments.next("case_sensitive"), false);
  key.attribute = arguments.next("attribute");
  arguments.done(largest ? "max" : "min");
  const Values values = elements(input, meter);
  if (values.empty()) return Value::undefined("no element, the sequence was empty");
  const Value* best = &values[0];
  for (size_t i = 1; i < values.size(); ++i) {
    const int order = compare(key(values[i], meter), key(*best, meter), meter);
    if (largest ? order > 0 : order < 0) best = &values[i];
  }
  return *best;
}

Value groupby(Meter& meter, const Value& input, Arguments& arguments) {
  Key key{&required(arguments.next("attribute"), "groupby", "attribute")};
  const Value* otherwise = arguments.next("default");
  key.case_sensitive = truth_or(arguments.next("case_sensitive"), false);
  arguments.done("groupby");
  if (otherwise != nullptr) fail(ErrorCode::unsupported, "groupby with a default is not supported");
  Values groups, members;
  const Values values = sorted_by(elements(input, meter), key, false, meter);
  for (size_t i = 0; i < values.size(); ++i) {
    members.push_back(values[i]);
    if (i + 1 < values.size() && equal(key(values[i], meter), key(values[i + 1], meter), meter)) continue;
    Value name = find_attribute(members[0], *key.attribute, meter);
    groups.push_back(make_list({std::move(name), make_list(std::exchange(members, {}))}, ListKind::group));
  }
  return make_list(std::move(groups));
}

Value sum(Meter& meter, const Value& input, Arguments& arguments) {
  const Value* attribute = arguments.next("attribute");
  const Value* start = arguments.next("start");
  arguments.done("sum");
  Value total = start != nullptr ? *start : Value(int64_t{0});
  const Key key{attribute, true};
  for (const Value& value : elements(input, meter))
    total = apply_binary(ast::BinaryOp::add, total, key(value, meter), meter);
  return total;
}

// map(attribute="x", default=...) or map("filter", arguments of it ...).
Value map(Meter& meter, const Value& input, Arguments& arguments) {
  if (!truth(input)) return generator({});
  Values out = elements(input, meter);
  if (arguments.positional.empty()) {
    const Value path = required(arguments.next("attribute"), "map", "attribute");
    const Value* otherwise = arguments.next("default");
    arguments.done("map");
    for (Value& value : out) value = find_attribute(value, path, meter, otherwise);
  } else {
    const FilterFunction filter = require_filter(required_text(arguments.next("name"), "map", "name").bytes());
    for (Value& value : out) {
      Arguments handed_on = arguments.rest();
      value = filter(meter, value, handed_on);
    }
  }
  return generator(std::move(out));
}

template <bool keeps, bool by_attribute>
Value choose(Meter& meter, const Value& input, Arguments& arguments) {
  if (!truth(input)) return generator({});
  Value path;
  if (by_attribute) path = required(arguments.next("attribute"), "selectattr, rejectattr", "attribute");
  const Value* name = arguments.next("test");
  const TestFunction test = name != nullptr ? require_test(required_text(name, "select", "test").bytes()) : nullptr;
  Values out;
  for (const Value& value : elements(input, meter)) {
    const Value examined = by_attribute ? find_attribute(value, path, meter) : value;
    Arguments handed_on = arguments.rest();
    if ((test != nullptr ? test(meter, examined, handed_on) : truth(examined)) == keeps) out.push_back(value);
  }
  return generator(std::move(out));
}

Value join(Meter& meter, const Value& input, Arguments& arguments) {
  const Value* given = arguments.next("d");
  const MarkedText separator = given != nullptr ? to_text(*given, meter) : MarkedText();
  const Key key{arguments.next("attribute"), true};
  arguments.done("join");
  MarkedText out;
  bool first = true;
  for (const Value& value : elements(input, meter)) {
    if (!std::exchange(first, false)) out.append(separator);
    meter.spend_bytes(separator.size());
    out.append(to_text(key(value, meter), meter));
  }
  return out;
}

template <bool from_end>
Value end_of(Meter& meter, const Value& input, Arguments& arguments) {
  arguments.done(from_end ? "last" : "first");
  if (from_end && input.list() != nullptr && input.list()->kind == ListKind::generator)
    type_error("last needs a sequence, not", input);
  const Values values = elements(input, meter);
  if (values.empty()) return Value::undefined("no element, the sequence was empty");
  return from_end ? values.back() : values.front();
}

Value reverse(Meter& meter, const Value& input, Arguments& arguments) {
  arguments.done("reverse");
  if (const MarkedText* text = input.text())
    return slice_characters(*text, slice_bounds({}, {}, -1, static_cast<int64_t>(*length(input))));
  Values values = elements(input, meter);
  std::reverse(values.begin(), values.end());
  return generator(std::move(values));
}

Value list_filter(Meter& meter, const Value& input, Arguments& arguments) {
  arguments.done("list");
  return make_list(elements(input, meter));
}

Value length_filter(Meter&, const Value& input, Arguments& arguments) {
  arguments.done("length");
  const auto count = length(input);
  if (!count) type_error("there is no length of", input);
  return static_cast<int64_t>(*count);
}

Value items(Meter& meter, const Value& input, Arguments& arguments) {
  arguments.done("items");
  if (input.is_undefined()) return generator({});
  if (input.dict() == nullptr) type_error("items needs a dict, not", input);
  Arguments none;
  return generator(elements(find_method(input, "items")(meter, input, none), meter));
}

Value batch(Meter& meter, const Value& input, Arguments& arguments) {
  const int64_t size = integer_or(&required(arguments.next("linecount"), "batch", "linecount"), 1);
  const Value* fill = arguments.next("fill_with");
  arguments.done("batch");
  if (size < 1) fail(ErrorCode::invalid_model, "batch: the size must be positive");
  Values out, row;
  for (const Value& value : elements(input, meter)) {
    row.push_back(value);
    if (static_cast<int64_t>(row.size()) == size) out.push_back(make_list(std::exchange(row, {})));
  }
  if (!row.empty()) {
    if (fill != nullptr && !fill->is_none()) {
      meter.spend_elements(static_cast<size_t>(size) - row.size());
      row.resize(static_cast<size_t>(size), *fill);
    }
    out.push_back(make_list(std::move(row)));
  }
  return generator(std::move(out));
}

constexpr std::array<Builtin<FilterFunction>, 21> kFilters = {{
    {"batch", batch},
    {"count", length_filter},
    {"dictsort", dictsort},
    {"first", end_of<false>},
    {"groupby", groupby},
    {"items", items},
    {"join", join},
    {"last", end_of<true>},
    {"length", length_filter},
    {"list", list_filter},
    {"map", map},
    {"max", extreme<true>},
    {"min", extreme<false>},
    {"reject", choose<false, false>},
    {"rejectattr", choose<false, true>},
    {"reverse", reverse},
    {"select", choose<true, false>},
    {"selectattr", choose<true, true>},
    {"sort", sort},
    {"sum", sum},
    {"unique", unique},
}};

}  // namespace

FilterFunction find_sequence_filter(std::string_view name) {
  static_assert(is_sorted(kFilters));
  return find_builtin(kFilters, name);
}

}  // namespace lathe::text
