// The values with identity: namespaces, callables, and the `loop` variable.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/chat_template/value.h"

namespace lathe::text {

class Namespace : public Object {
 public:
  std::string_view type_name() const override { return "namespace"; }
  std::optional<Value> attribute(std::string_view name) const override;
  bool assign(std::string_view name, Value value) override;

 private:
  std::vector<std::pair<std::string, Value>> attributes_;
};

class Function : public Object {
 public:
  explicit Function(std::function<Value(Arguments)> body) : body_(std::move(body)) {}

  std::string_view type_name() const override { return "function"; }
  bool callable() const override { return true; }
  Value call(Arguments arguments) override { return body_(std::move(arguments)); }

 private:
  std::function<Value(Arguments)> body_;
};

class Loop : public Object {
 public:
  Loop(Values items, size_t depth) : items_(std::move(items)), depth_(depth) {}

  const Values& items() const { return items_; }
  size_t depth() const { return depth_; }
  void set_index(size_t index) { index_ = index; }

  // The callables of a loop, which need an owner; set by whoever makes the loop.
  Value cycle, changed;
  std::function<Value(Arguments)> recurse;  // empty when the loop is not recursive

  bool has_changed(Values now, Meter& meter);
  Value cycle_through(const Arguments& arguments) const;

  std::string_view type_name() const override { return "loop"; }
  std::optional<Value> attribute(std::string_view name) const override;
  bool callable() const override { return recurse != nullptr; }
  Value call(Arguments arguments) override;

 private:
  Value item(size_t index) const;

  Values items_;
  size_t depth_, index_ = 0;
  std::optional<Values> last_seen_;
};

}  // namespace lathe::text
