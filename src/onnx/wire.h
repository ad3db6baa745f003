// Reads protobuf fields with their wire types checked: a field of an unexpected wire type is Error(invalid_model), not
// an assertion. The only header that knows protozero; the rest of the room sees string_views and numbers.
#pragma once

#include <cstring>
#include <protozero/pbf_reader.hpp>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace lathe::onnx {

class Fields {
 public:
  explicit Fields(std::string_view message) : reader_(message.data(), message.size()) {}

  // Calls visit(tag) for each field; visit consumes the field through the members below, or skips it.
  template <class Visit>
  void each(Visit&& visit) {
    try {
      while (reader_.next()) visit(reader_.tag());
    } catch (const protozero::exception& e) {
      fail(ErrorCode::invalid_model, "the file is damaged: {}", e.what());
    }
  }

  int64_t integer() {
    expect(protozero::pbf_wire_type::varint);
    return reader_.get_int64();
  }
  int32_t int32() { return static_cast<int32_t>(integer()); }
  std::string_view bytes() {
    expect(protozero::pbf_wire_type::length_delimited);
    const protozero::data_view view = reader_.get_view();
    return {view.data(), view.size()};
  }
  float float32() {
    expect(protozero::pbf_wire_type::fixed32);
    return reader_.get_float();
  }
  double float64() {
    expect(protozero::pbf_wire_type::fixed64);
    return reader_.get_double();
  }
  void skip() { reader_.skip(); }

  // One field of a repeated number, packed or not, appended.
  template <class T>
  void append_integers(std::vector<T>& out) {
    if (reader_.wire_type() != protozero::pbf_wire_type::length_delimited)
      return out.push_back(static_cast<T>(integer()));
    const std::string_view packed = bytes();
    const char* p = packed.data();
    const char* const end = p + packed.size();
    while (p != end) out.push_back(static_cast<T>(protozero::decode_varint(&p, end)));
  }
  template <class T>
  void append_fixed(std::vector<T>& out) {
    if (reader_.wire_type() != protozero::pbf_wire_type::length_delimited) {
      if constexpr (sizeof(T) == 4)
        out.push_back(float32());
      else
        out.push_back(float64());
      return;
    }
    const std::string_view packed = bytes();
    if (packed.size() % sizeof(T) != 0) fail(ErrorCode::invalid_model, "the file is damaged: a packed array is cut");
    const size_t old = out.size();
    out.resize(old + packed.size() / sizeof(T));
    if (!packed.empty()) std::memcpy(out.data() + old, packed.data(), packed.size());
  }

 private:
  void expect(protozero::pbf_wire_type type) const {
    if (reader_.wire_type() != type)
      fail(ErrorCode::invalid_model, "the file is damaged: field {} has wire type {}", reader_.tag(),
           static_cast<int>(reader_.wire_type()));
  }

  protozero::pbf_reader reader_;
};

}  // namespace lathe::onnx
