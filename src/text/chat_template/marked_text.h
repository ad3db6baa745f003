// A string that remembers which of its bytes a user wrote. Every string operation of the template interpreter is built
// from appending and slicing MarkedTexts, so that marks survive whatever a template does with a message: strip, split,
// concatenation, JSON. Ranges are sorted, disjoint, never empty, and adjacent ones are one.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/byte_range.h"

namespace lathe::text {

class MarkedText {
 public:
  MarkedText() = default;
  explicit MarkedText(std::string bytes) : bytes_(std::move(bytes)) {}  // nothing of it is a user's
  static MarkedText by_user(std::string bytes);

  const std::string& bytes() const { return bytes_; }
  const std::vector<ByteRange>& user_ranges() const { return user_; }
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }

  void append(std::string_view template_bytes) { bytes_.append(template_bytes); }
  void append(const MarkedText& other) { append(other, 0, other.size()); }
  // Appends the bytes [begin, end) of `other` with their marks.
  void append(const MarkedText& other, size_t begin, size_t end);
  // Appends bytes that stand for the byte `position` of `other` (its upper case, say) and takes over that byte's mark.
  void append_as(std::string_view bytes, const MarkedText& other, size_t position);

  MarkedText slice(size_t begin, size_t end) const;

 private:
  void mark(size_t begin, size_t end);

  std::string bytes_;
  std::vector<ByteRange> user_;
};

}  // namespace lathe::text
