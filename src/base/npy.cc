#include "base/npy.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <string_view>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/utf8.h"

namespace lathe {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kPreambleBytes = 8;       // magic and version
constexpr size_t kMaxHeaderBytes = 65536;  // NumPy itself refuses headers over 10000 bytes
constexpr size_t kMaxRank = 64;            // as NumPy 2
constexpr size_t kHeaderAlignment = 64;

struct ElementType {
  std::string_view descr;  // without the byte order
  DType dtype;
};

// V2 is a "void of two bytes" to NumPy; in files that hold network weights it is bf16.
constexpr std::array kElementTypes = {
    ElementType{"f8", DType::f64},     ElementType{"f4", DType::f32}, ElementType{"f2", DType::f16},
    ElementType{"V2", DType::bf16},    ElementType{"i8", DType::i64}, ElementType{"i4", DType::i32},
    ElementType{"i2", DType::i16},     ElementType{"i1", DType::i8},  ElementType{"u8", DType::u64},
    ElementType{"u4", DType::u32},     ElementType{"u2", DType::u16}, ElementType{"u1", DType::u8},
    ElementType{"b1", DType::boolean}, ElementType{"c8", DType::c64}, ElementType{"c16", DType::c128}};

[[noreturn]] void damaged(std::string_view what) { fail(ErrorCode::invalid_model, "damaged .npy data: {}", what); }

struct Header {
  DType dtype = DType::f32;
  bool fortran_order = false;
  std::vector<int64_t> dims;
  size_t item_bytes = 0;  // in the file
  uint64_t count = 0;
  uint64_t content_bytes = 0;
};

// The header is a Python dict literal: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }.
class HeaderParser {
 public:
  explicit HeaderParser(std::string_view text) : text_(text) {}

  Header parse() {
    Header header;
    bool has_descr = false, has_order = false, has_shape = false;
    expect('{');
    while (!accept('}')) {
      const std::string_view key = quoted();
      expect(':');
      if (key == "descr" && !has_descr) {
        has_descr = true;
        set_element_type(header);
      } else if (key == "fortran_order" && !has_order) {
        has_order = true;
        header.fortran_order = boolean();
      } else if (key == "shape" && !has_shape) {
        has_shape = true;
        header.dims = tuple();
      } else {
        damaged(fmt::format("unexpected key '{}' in its header", key));
      }
      if (!accept(',') && peek() != '}') damaged("its header is not a dict");
    }
    if (!has_descr || !has_order || !has_shape) damaged("its header lacks descr, fortran_order or shape");
    if (peek() != '\0') damaged("something follows its header's dict");
    return header;
  }

 private:
  char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool accept(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) damaged(fmt::format("'{}' expected at position {} of its header", c, at_));
  }

  std::string_view quoted() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') damaged("a string is missing in its header");
    const size_t start = ++at_;
    const size_t end = text_.find(quote, start);
    if (end == std::string_view::npos) damaged("a string in its header does not end");
    at_ = end + 1;
    return text_.substr(start, end - start);
  }

  bool boolean() {
    peek();
    for (const bool value : {false, true}) {
      const std::string_view word = value ? "True" : "False";
      if (text_.substr(at_, word.size()) != word) continue;
      at_ += word.size();
      return value;
    }
    damaged("fortran_order is neither True nor False");
  }

  std::vector<int64_t> tuple() {
    std::vector<int64_t> dims;
    expect('(');
    while (!accept(')')) {
      peek();
      int64_t dim = -1;
      const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), dim);
      if (error != std::errc() || dim < 0) damaged("its shape holds something else than sizes");
      at_ = static_cast<size_t>(end - text_.data());
      accept('L');  // Python 2 wrote long integers so
      dims.push_back(dim);
      if (dims.size() > kMaxRank) damaged(fmt::format("it has more than {} dimensions", kMaxRank));
      if (!accept(',') && peek() != ')') damaged("its shape is not a tuple");
    }
    return dims;
  }

  void set_element_type(Header& header) {
    if (peek() == '[') fail(ErrorCode::unsupported, "structured .npy arrays (several fields) are not supported");
    const std::string_view full = quoted();
    std::string_view descr = full;
    const bool has_order = !descr.empty() && std::string_view("<>|=").find(descr[0]) != std::string_view::npos;
    const bool big_endian = has_order && descr[0] == '>';
    if (has_order) descr.remove_prefix(1);
    if (descr == "O") fail(ErrorCode::unsupported, ".npy arrays of pickled Python objects are not supported");
    if (big_endian && descr.substr(descr.empty() ? 0 : 1) != "1")
      throw Error(ErrorCode::unsupported, fmt::format("big-endian .npy data ('{}') is not supported", full))
          .remedy("Save it with array.astype(array.dtype.newbyteorder('<'))");
    if (descr.starts_with('U')) {
      uint32_t characters = 0;
      const auto [end, error] = std::from_chars(descr.data() + 1, descr.data() + descr.size(), characters);
      if (error != std::errc() || end != descr.data() + descr.size() || characters == 0)
        damaged(fmt::format("'{}' is no string type", full));
      header.dtype = DType::string;
      header.item_bytes = sizeof(char32_t) * size_t{characters};
      return;
    }
    for (const ElementType& type : kElementTypes)
      if (type.descr == descr) {
        header.dtype = type.dtype;
        header.item_bytes = storage_bytes(type.dtype, 1);
        return;
      }
    fail(ErrorCode::unsupported, ".npy element type '{}' is not supported", full);
  }

  std::string_view text_;
  size_t at_ = 0;
};

void set_content_size(Header& header) {
  header.count = 1;
  bool overflow = false;
  for (const int64_t dim : header.dims)
    overflow |= __builtin_mul_overflow(header.count, static_cast<uint64_t>(dim), &header.count);
  // A zero anywhere makes the array empty, however large the sizes before it.
  if (std::find(header.dims.begin(), header.dims.end(), 0) != header.dims.end()) {
    header.count = 0;
    overflow = false;
  }
  if (overflow || __builtin_mul_overflow(header.count, uint64_t{header.item_bytes}, &header.content_bytes))
    damaged("its shape has more elements than can be counted");
}

Header read_header(const ByteSource& source, uint64_t size) {
  uint64_t left = size;
  const auto take = [&](std::span<std::byte> out) {
    if (out.size() > left) damaged("it ends inside its header");
    source(out);
    left -= out.size();
  };
  std::array<std::byte, kPreambleBytes> preamble{};
  if (size < preamble.size()) fail(ErrorCode::invalid_model, "not a .npy file");
  take(preamble);
  if (std::memcmp(preamble.data(), kMagic.data(), kMagic.size()) != 0)
    fail(ErrorCode::invalid_model, "not a .npy file");
  const auto version = std::to_integer<int>(preamble[kMagic.size()]);
  if (version < 1 || version > 3) fail(ErrorCode::unsupported, ".npy format version {} is not supported", version);

  uint32_t length = 0;  // little-endian, two bytes in version 1, four since
  take(std::as_writable_bytes(std::span(&length, 1)).first(version == 1 ? 2 : 4));
  if (length > kMaxHeaderBytes) damaged(fmt::format("its header claims {} bytes", length));
  std::string text(std::min<uint64_t>(length, left), '\0');
  if (text.size() < length) damaged("it ends inside its header");
  take(std::as_writable_bytes(std::span(text)));

  Header header = HeaderParser(text).parse();
  set_content_size(header);
  if (header.content_bytes != left)
    damaged(fmt::format("its shape and type need {} bytes, it holds {}", header.content_bytes, left));
  return header;
}

std::vector<std::byte> to_row_major(const std::vector<std::byte>& content, const Header& header) {
  const size_t rank = header.dims.size(), item = header.item_bytes;
  std::vector<size_t> strides(rank), index(rank, 0);  // strides in the file, in bytes
  size_t stride = item;
  for (size_t axis = 0; axis < rank; ++axis) {
    strides[axis] = stride;
    stride *= static_cast<size_t>(header.dims[axis]);
  }
  std::vector<std::byte> out(content.size());
  size_t from = 0;
  for (size_t to = 0; to < out.size(); to += item) {
    std::memcpy(out.data() + to, content.data() + from, item);
    for (size_t axis = rank; axis-- > 0;) {
      from += strides[axis];
      if (++index[axis] < static_cast<size_t>(header.dims[axis])) break;
      from -= strides[axis] * index[axis];
      index[axis] = 0;
    }
  }
  return out;
}

std::vector<std::string> to_strings(std::span<const std::byte> content, const Header& header) {
  std::vector<std::string> strings(header.count);
  std::u32string characters(header.item_bytes / sizeof(char32_t), U'\0');
  for (size_t i = 0; i < strings.size(); ++i) {
    std::memcpy(characters.data(), content.data() + i * header.item_bytes, header.item_bytes);
    const size_t end = characters.find_last_not_of(U'\0');  // shorter strings are padded with zeros
    for (size_t c = 0; end != std::u32string::npos && c <= end; ++c) append_utf8(strings[i], characters[c]);
  }
  return strings;
}

std::string shape_text(std::span<const int64_t> dims) {
  std::string text = "(";
  for (size_t axis = 0; axis < dims.size(); ++axis) text += fmt::format("{}{}", axis == 0 ? "" : ", ", dims[axis]);
  return text + (dims.size() == 1 ? ",)" : ")");
}

std::string make_header(std::string_view descr, std::span<const int64_t> dims) {
  std::string dict = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}", descr, shape_text(dims));
  const size_t fixed = kPreambleBytes + sizeof(uint16_t);
  const size_t total = (fixed + dict.size() + 1 + kHeaderAlignment - 1) / kHeaderAlignment * kHeaderAlignment;
  dict.append(total - fixed - dict.size() - 1, ' ');
  dict += '\n';
  std::string header(kMagic);
  header += {'\x01', '\x00', static_cast<char>(dict.size() & 0xff), static_cast<char>(dict.size() >> 8)};
  return header + dict;
}

uint64_t element_count(std::span<const int64_t> dims) {
  if (dims.size() > kMaxRank) fail(ErrorCode::invalid_argument, ".npy arrays have at most {} dimensions", kMaxRank);
  int64_t count = 1;
  for (const int64_t dim : dims)
    if (dim < 0 || __builtin_mul_overflow(count, dim, &count))
      fail(ErrorCode::invalid_argument, "{} is no shape of a .npy array", shape_text(dims));
  return static_cast<uint64_t>(count);
}

// Fixed width: as wide as the longest string, and NumPy has no type of width zero.
std::u32string to_fixed_width(std::span<const std::string> strings, size_t& width) {
  width = 1;
  for (const std::string& text : strings) width = std::max(width, count_code_points(text));
  std::u32string characters(strings.size() * width, U'\0');
  for (size_t i = 0; i < strings.size(); ++i) {
    size_t out = i * width;
    for (size_t at = 0; at < strings[i].size();) characters[out++] = next_code_point(strings[i], at);
  }
  return characters;
}

}  // namespace

NpyArray read_npy(const ByteSource& source, uint64_t size) {
  const Header header = read_header(source, size);
  NpyArray array{header.dtype, header.dims, std::vector<std::byte>(header.content_bytes), {}};
  source(array.bytes);
  if (header.fortran_order && header.dims.size() > 1) array.bytes = to_row_major(array.bytes, header);
  if (header.dtype == DType::string) {
    array.strings = to_strings(array.bytes, header);
    array.bytes = {};
  } else if (header.dtype == DType::boolean) {
    // Any non-zero byte is true to NumPy; code that loads a C++ bool must only ever meet 0 and 1.
    for (std::byte& value : array.bytes) value = std::byte{value != std::byte{0}};
  }
  return array;
}

NpyArray read_npy(std::span<const std::byte> file) {
  const auto source = [left = file](std::span<std::byte> out) mutable {
    if (out.size() > left.size()) damaged("it ends too early");
    std::copy_n(left.begin(), out.size(), out.begin());
    left = left.subspan(out.size());
  };
  return read_npy(source, file.size());
}

NpyArray read_npy(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  try {
    return read_npy(file->bytes());
  } catch (Error& error) {
    error.in_file(path.string());
    throw;
  }
}

NpyEncoding::NpyEncoding(const NpyView& array) {
  const uint64_t count = element_count(array.dims);
  uint64_t given = array.strings.size();
  if (array.dtype == DType::string) {
    size_t width = 0;
    characters_ = to_fixed_width(array.strings, width);
    content_ = std::as_bytes(std::span(characters_));
    header_ = make_header(fmt::format("<U{}", width), array.dims);
  } else {
    const auto* type = std::find_if(kElementTypes.begin(), kElementTypes.end(),
                                    [&](const ElementType& candidate) { return candidate.dtype == array.dtype; });
    if (type == kElementTypes.end())
      fail(ErrorCode::unsupported, ".npy files cannot hold elements of type {}", to_string(array.dtype));
    content_ = array.bytes;
    const size_t item_bytes = storage_bytes(array.dtype, 1);
    given = content_.size() % item_bytes == 0 ? content_.size() / item_bytes : count + 1;
    header_ = make_header((item_bytes == 1 ? "|" : "<") + std::string(type->descr), array.dims);
  }
  if (given != count)
    fail(ErrorCode::invalid_argument, "an array of shape {} needs {} elements of type {}; its content has another size",
         shape_text(array.dims), count, to_string(array.dtype));
}

}  // namespace lathe
