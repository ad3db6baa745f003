#include "text/chat_template/marked_text.h"

#include <algorithm>

#include "base/error.h"

namespace lathe::text {
namespace {

// The first range that ends behind `position`.
std::vector<ByteRange>::const_iterator range_at(const std::vector<ByteRange>& ranges, size_t position) {
  return std::upper_bound(ranges.begin(), ranges.end(), position,
                          [](size_t value, const ByteRange& range) { return value < range.end; });
}

}  // namespace

MarkedText MarkedText::by_user(std::string bytes) {
  MarkedText text(std::move(bytes));
  text.mark(0, text.size());
  return text;
}

void MarkedText::append(const MarkedText& other, size_t begin, size_t end) {
  LATHE_CHECK(this != &other && begin <= end && end <= other.size());
  const size_t start = bytes_.size();
  bytes_.append(other.bytes_, begin, end - begin);
  for (auto range = range_at(other.user_, begin); range != other.user_.end() && range->begin < end; ++range)
    mark(start + std::max(range->begin, begin) - begin, start + std::min(range->end, end) - begin);
}

void MarkedText::append_as(std::string_view bytes, const MarkedText& other, size_t position) {
  const size_t start = bytes_.size();
  bytes_.append(bytes);
  const auto range = range_at(other.user_, position);
  if (range != other.user_.end() && range->begin <= position) mark(start, bytes_.size());
}

MarkedText MarkedText::slice(size_t begin, size_t end) const {
  MarkedText out;
  out.append(*this, begin, end);
  return out;
}

void MarkedText::mark(size_t begin, size_t end) {
  if (begin == end) return;
  if (!user_.empty() && user_.back().end == begin)
    user_.back().end = end;
  else
    user_.push_back({begin, end});
}

}  // namespace lathe::text
