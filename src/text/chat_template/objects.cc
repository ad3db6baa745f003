#include "text/chat_template/objects.h"

#include <algorithm>

#include "base/error.h"

namespace lathe::text {

std::optional<Value> Namespace::attribute(std::string_view name) const {
  for (const auto& [key, value] : attributes_)
    if (key == name) return value;
  return std::nullopt;
}

bool Namespace::assign(std::string_view name, Value value) {
  const auto found =
      std::find_if(attributes_.begin(), attributes_.end(), [&](const auto& entry) { return entry.first == name; });
  if (found != attributes_.end())
    found->second = std::move(value);
  else
    attributes_.emplace_back(name, std::move(value));
  return true;
}

std::optional<Value> Loop::attribute(std::string_view name) const {
  const auto number = [](size_t value) { return Value(static_cast<int64_t>(value)); };
  if (name == "index") return number(index_ + 1);
  if (name == "index0") return number(index_);
  if (name == "revindex") return number(items_.size() - index_);
  if (name == "revindex0") return number(items_.size() - index_ - 1);
  if (name == "first") return Value(index_ == 0);
  if (name == "last") return Value(index_ + 1 == items_.size());
  if (name == "length") return number(items_.size());
  if (name == "depth") return number(depth_ + 1);
  if (name == "depth0") return number(depth_);
  if (name == "previtem") return index_ > 0 ? item(index_ - 1) : Value::undefined("there is no previous item");
  if (name == "nextitem") return item(index_ + 1);
  if (name == "cycle") return cycle;
  if (name == "changed") return changed;
  return std::nullopt;
}

Value Loop::item(size_t index) const {
  return index < items_.size() ? items_[index] : Value::undefined("there is no next item");
}

Value Loop::call(Arguments arguments) {
  if (recurse == nullptr) fail(ErrorCode::invalid_model, "the loop must be marked 'recursive' before it can be called");
  return recurse(std::move(arguments));
}

bool Loop::has_changed(Values now, Meter& meter) {
  const bool same = last_seen_ && last_seen_->size() == now.size() &&
                    std::equal(now.begin(), now.end(), last_seen_->begin(),
                               [&](const Value& left, const Value& right) { return equal(left, right, meter); });
  if (!same) last_seen_ = std::move(now);
  return !same;
}

Value Loop::cycle_through(const Arguments& arguments) const {
  if (arguments.positional.empty()) fail(ErrorCode::invalid_model, "there are no items to cycle through");
  return arguments.positional[index_ % arguments.positional.size()];
}

}  // namespace lathe::text
