#include "graph/type.h"

namespace lathe {

std::string to_string(const Type& type) {
  std::string tensor = std::string(to_string(type.dtype)) + (type.ranked ? to_string(type.shape) : "[*]");
  switch (type.kind) {
    case Type::Kind::tensor: return tensor;
    case Type::Kind::sequence: return "seq<" + tensor + ">";
    case Type::Kind::optional: return "optional<" + tensor + ">";
    case Type::Kind::optional_sequence: return "optional<seq<" + tensor + ">>";
  }
  return tensor;
}

}  // namespace lathe
