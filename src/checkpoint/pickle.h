// Reads Python pickles without executing them: a pickle is a program for a small stack machine, and this machine builds
// a tree that says what the program would have made. A global is its name, a call is a node with the callee and the
// arguments; what they mean is up to the reader of the tree. Only opcodes that torch.save emits are known.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace lathe::checkpoint {

class Pickle {
 public:
  enum class Kind : uint8_t {
    none,
    boolean,
    integer,
    real,
    text,
    global,      // text is the module, name the name
    list,        // items
    tuple,       // items
    dict,        // items: key, value, key, value, ..
    call,        // items: callee, arguments (a tuple)
    persistent,  // items: what identifies an object that is stored outside of the pickle
  };
  // Nodes refer to each other by index: shared parts, cycles and depth cost nothing.
  using Index = uint32_t;
  struct Node {
    Kind kind = Kind::none;
    int64_t integer = 0;  // of a boolean too
    double real = 0;
    std::string_view text{}, name{};
    std::vector<Index> items{};
  };

  // `bytes` must outlive the result. Throws Error(invalid_model) for bytes that are no whole pickle and
  // Error(unsupported), with the opcode, for those that torch.save does not write.
  static Pickle read(std::span<const std::byte> bytes);
  // The same of the pickle that `bytes` begin with; they become what follows it.
  static Pickle read_front(std::span<const std::byte>& bytes);

  const Node& root() const { return nodes_[root_]; }
  const Node& node(Index index) const { return nodes_[index]; }
  // All that the pickle ever made, used or not.
  std::span<const Node> nodes() const { return nodes_; }
  // The item of a list, tuple, call or persistent node; an internal error when there is none.
  const Node& item(const Node& parent, size_t i) const { return nodes_[parent.items[i]]; }

 private:
  friend class PickleMachine;
  std::vector<Node> nodes_;
  Index root_ = 0;
};

}  // namespace lathe::checkpoint
