#include "checkpoint/pickle.h"

#include <bit>
#include <cstring>
#include <unordered_map>
#include <utility>

#include "base/error.h"

namespace lathe::checkpoint {
namespace {

// As named in Python's pickletools, with the letter or byte that stands for it.
enum class Opcode : uint8_t {
  mark = '(',
  stop = '.',
  binfloat = 'G',
  binint = 'J',
  binint1 = 'K',
  binint2 = 'M',
  none = 'N',
  binpersid = 'Q',
  reduce = 'R',
  binunicode = 'X',
  append = 'a',
  build = 'b',
  global = 'c',
  appends = 'e',
  binget = 'h',
  long_binget = 'j',
  binput = 'q',
  long_binput = 'r',
  setitem = 's',
  tuple = 't',
  setitems = 'u',
  empty_dict = '}',
  empty_list = ']',
  empty_tuple = ')',
  proto = 0x80,
  tuple1 = 0x85,
  tuple2 = 0x86,
  tuple3 = 0x87,
  newtrue = 0x88,
  newfalse = 0x89,
  long1 = 0x8a,
  short_binunicode = 0x8c,
  stack_global = 0x93,
  memoize = 0x94,
  frame = 0x95,
};

[[noreturn]] void damaged(std::string_view what) { fail(ErrorCode::invalid_model, "damaged pickle: {}", what); }

}  // namespace

class PickleMachine {
 public:
  explicit PickleMachine(std::span<const std::byte> bytes) : bytes_(bytes) {}

  Pickle run() {
    for (;;) {
      const auto opcode = static_cast<Opcode>(number<uint8_t>());
      if (opcode == Opcode::stop) break;
      if (!push_leaf(opcode) && !push_collection(opcode) && !change(opcode)) unknown(opcode);
    }
    pickle_.root_ = pop();
    return std::move(pickle_);
  }
  std::span<const std::byte> rest() const { return bytes_.subspan(at_); }

 private:
  using Kind = Pickle::Kind;
  using Node = Pickle::Node;
  using Index = Pickle::Index;

  [[noreturn]] void unknown(Opcode opcode) const {
    throw Error(ErrorCode::unsupported,
                fmt::format("the pickle has the opcode {:#04x} at byte {}, which torch.save does not write for tensors",
                            static_cast<int>(opcode), at_ - 1))
        .remedy("Save the weights as safetensors");
  }

  std::span<const std::byte> take(uint64_t count) {
    if (count > bytes_.size() - at_) damaged("it ends inside an instruction");
    const auto taken = bytes_.subspan(at_, static_cast<size_t>(count));
    at_ += taken.size();
    return taken;
  }
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }
  std::string_view characters(uint64_t count) {
    const auto taken = take(count);
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }
  std::string_view line() {
    const size_t begin = at_;
    while (number<char>() != '\n') {
    }
    return {reinterpret_cast<const char*>(bytes_.data()) + begin, at_ - 1 - begin};
  }

  void push(Node node) {
    stack_.push_back(static_cast<Index>(pickle_.nodes_.size()));
    pickle_.nodes_.push_back(std::move(node));
  }
  void push_integer(int64_t value, Kind kind = Kind::integer) { push({.kind = kind, .integer = value}); }
  Index pop() {
    if (stack_.size() <= floor()) damaged("it takes more from its stack than it has put there");
    const Index top = stack_.back();
    stack_.pop_back();
    return top;
  }
  // What was put on the stack since the last mark, which goes.
  std::vector<Index> pop_to_mark() {
    if (marks_.empty()) damaged("a mark is missing");
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<Index> items(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return items;
  }
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  Node& top(Kind kind) {
    if (stack_.size() <= floor() || pickle_.nodes_[stack_.back()].kind != kind)
      damaged("it adds to something that is no collection");
    return pickle_.nodes_[stack_.back()];
  }

  // Little-endian two's complement. No size or offset of a tensor needs more than eight bytes.
  int64_t long_integer() {
    const auto digits = take(number<uint8_t>());
    if (digits.size() > sizeof(int64_t)) damaged("an integer of more than 64 bits");
    uint64_t value = !digits.empty() && (digits.back() & std::byte{0x80}) != std::byte{0} ? ~uint64_t{0} : 0;
    std::memcpy(&value, digits.data(), digits.size());
    return std::bit_cast<int64_t>(value);
  }
  double big_endian_double() {
    const auto digits = take(sizeof(double));
    uint64_t bits = 0;
    for (const std::byte digit : digits) bits = bits << 8 | static_cast<uint64_t>(digit);
    return std::bit_cast<double>(bits);
  }

  bool push_leaf(Opcode opcode) {
    switch (opcode) {
      case Opcode::none: push({}); return true;
      case Opcode::newtrue: push_integer(1, Kind::boolean); return true;
      case Opcode::newfalse: push_integer(0, Kind::boolean); return true;
      case Opcode::binint: push_integer(number<int32_t>()); return true;
      case Opcode::binint1: push_integer(number<uint8_t>()); return true;
      case Opcode::binint2: push_integer(number<uint16_t>()); return true;
      case Opcode::long1: push_integer(long_integer()); return true;
      case Opcode::binfloat: push({.kind = Kind::real, .real = big_endian_double()}); return true;
      case Opcode::binunicode: push({.kind = Kind::text, .text = characters(number<uint32_t>())}); return true;
      case Opcode::short_binunicode: push({.kind = Kind::text, .text = characters(number<uint8_t>())}); return true;
      case Opcode::global: {
        const std::string_view module = line();
        push({.kind = Kind::global, .text = module, .name = line()});
        return true;
      }
      case Opcode::stack_global: {
        const Node &name = pickle_.nodes_[pop()], &module = pickle_.nodes_[pop()];
        if (name.kind != Kind::text || module.kind != Kind::text) damaged("a global has no name");
        push({.kind = Kind::global, .text = module.text, .name = name.text});
        return true;
      }
      default: return false;
    }
  }

  bool push_collection(Opcode opcode) {
    switch (opcode) {
      case Opcode::empty_dict: push({.kind = Kind::dict}); return true;
      case Opcode::empty_list: push({.kind = Kind::list}); return true;
      case Opcode::empty_tuple: push({.kind = Kind::tuple}); return true;
      case Opcode::tuple: push({.kind = Kind::tuple, .items = pop_to_mark()}); return true;
      case Opcode::tuple1:
      case Opcode::tuple2:
      case Opcode::tuple3: {
        std::vector<Index> items(static_cast<size_t>(opcode) - static_cast<size_t>(Opcode::tuple1) + 1);
        for (size_t i = items.size(); i-- > 0;) items[i] = pop();
        push({.kind = Kind::tuple, .items = std::move(items)});
        return true;
      }
      case Opcode::reduce: {
        const Index arguments = pop(), callee = pop();
        if (pickle_.nodes_[arguments].kind != Kind::tuple) damaged("a call without arguments");
        // Nothing is called; but an ordered dictionary that is about to be filled is a dictionary.
        const Node& callable = pickle_.nodes_[callee];
        if (callable.kind == Kind::global && callable.name == "OrderedDict" && callable.text == "collections")
          push({.kind = Kind::dict});
        else
          push({.kind = Kind::call, .items = {callee, arguments}});
        return true;
      }
      case Opcode::binpersid: push({.kind = Kind::persistent, .items = {pop()}}); return true;
      default: return false;
    }
  }

  // Opcodes that leave the number of objects as it is: they fill collections, remember and recall.
  bool change(Opcode opcode) {
    switch (opcode) {
      case Opcode::mark: marks_.push_back(stack_.size()); return true;
      case Opcode::append: append({pop()}, Kind::list); return true;
      case Opcode::appends: append(pop_to_mark(), Kind::list); return true;
      case Opcode::setitem: {
        const Index value = pop(), key = pop();
        append({key, value}, Kind::dict);
        return true;
      }
      case Opcode::setitems: append(pop_to_mark(), Kind::dict); return true;
      case Opcode::build: pop(); return true;  // attributes of an object (state_dict's _metadata): of no use here
      case Opcode::binput: remember(number<uint8_t>()); return true;
      case Opcode::long_binput: remember(number<uint32_t>()); return true;
      case Opcode::memoize: remember(static_cast<uint32_t>(memo_.size())); return true;
      case Opcode::binget: recall(number<uint8_t>()); return true;
      case Opcode::long_binget: recall(number<uint32_t>()); return true;
      case Opcode::proto: number<uint8_t>(); return true;
      case Opcode::frame: number<uint64_t>(); return true;
      default: return false;
    }
  }

  void append(const std::vector<Index>& items, Kind kind) {
    if (kind == Kind::dict && items.size() % 2 != 0) damaged("a key without a value");
    std::vector<Index>& target = top(kind).items;
    target.insert(target.end(), items.begin(), items.end());
  }
  void remember(uint32_t key) {
    if (stack_.size() <= floor()) damaged("it remembers what is not there");
    memo_[key] = stack_.back();
  }
  void recall(uint32_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end()) damaged("it recalls what it has not remembered");
    stack_.push_back(found->second);
  }

  std::span<const std::byte> bytes_;
  size_t at_ = 0;
  Pickle pickle_;
  std::vector<Index> stack_;
  std::vector<size_t> marks_;  // heights of the stack
  std::unordered_map<uint32_t, Index> memo_;
};

Pickle Pickle::read(std::span<const std::byte> bytes) { return read_front(bytes); }

Pickle Pickle::read_front(std::span<const std::byte>& bytes) {
  PickleMachine machine(bytes);
  Pickle pickle = machine.run();
  bytes = machine.rest();
  return pickle;
}

}  // namespace lathe::checkpoint
