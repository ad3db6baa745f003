// PTX text to programs: declarations become offsets and rows, every instruction one handler with its operands.
#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <set>

#include "tests/backends/cuda/emulator/lexer.h"
#include "tests/backends/cuda/emulator/program.h"
#include "tests/backends/cuda/emulator/special_registers.h"

namespace lathe::emulator {
namespace {

struct Variable {
  uint64_t address = 0;  // within its space; of the host where it is global
};

// A family of registers with numbered members ("%r<10>"), or a single one.
struct Family {
  int width = 0;  // bytes in a row; 1 for predicates
  int32_t first = 0;
  int32_t count = 1;
  bool numbered = false;
};

using Scope = std::map<std::string, Family, std::less<>>;

int type_bytes(std::string_view type) {
  if (type == ".pred") return 1;
  int bits = 0;
  std::from_chars(type.data() + 2, type.data() + type.size(), bits);
  if (type.size() < 3 || bits == 0) throw PtxError("unknown type " + std::string(type));
  return bits / 8;
}

// Qualifiers without a meaning here: caches, scopes and order of memory (blocks and warps run one after the other, and
// every access is complete at once), roundings that are the usual ones, approximations (computed exactly).
std::string plain_mnemonic(std::string_view text) {
  static const std::set<std::string_view> kIgnored = {"uni",
                                                      "sync",
                                                      "aligned",
                                                      "volatile",
                                                      "relaxed",
                                                      "acquire",
                                                      "release",
                                                      "acq_rel",
                                                      "gpu",
                                                      "sys",
                                                      "cta",
                                                      "nc",
                                                      "ca",
                                                      "cg",
                                                      "cs",
                                                      "cv",
                                                      "wb",
                                                      "wt",
                                                      "lu",
                                                      "weak",
                                                      "rn",
                                                      "approx",
                                                      "ftz",
                                                      "full",
                                                      "L1::no_allocate",
                                                      "L2::128B",
                                                      "L1::evict_last",
                                                      "L1::evict_first",
                                                      "L2::256B",
                                                      "L2::64B"};
  std::string plain;
  while (!text.empty()) {
    const size_t end = std::min(text.find('.'), text.size());
    const std::string_view part = text.substr(0, end);
    if (!kIgnored.contains(part)) plain.append(plain.empty() ? "" : ".").append(part);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return plain;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : lexer_(text), module_(std::make_unique<Module>()) {}

  std::unique_ptr<Module> parse() {
    while (!lexer_.done()) {
      const std::string_view word = lexer_.take();
      if (word == ".version" || word == ".target" || word == ".address_size" || word == ".file") {
        lexer_.skip_line();
      } else if (word == ".entry") {
        parse_kernel();
      } else if (word == ".global" || word == ".const") {
        declare_global();
      } else if (word == ".shared") {
        module_shared_.push_back(lexer_.position());
        lexer_.skip_past(";");
      } else if (word != ".visible" && word != ".extern" && word != ".weak") {
        throw PtxError("unknown directive " + std::string(word));
      }
    }
    return std::move(module_);
  }

 private:
  struct Declaration {
    std::string name;
    size_t align = 1, bytes = 0;
    int element_bytes = 1;
  };

  // ".align 8 .b8 name[64]" up to what follows it.
  Declaration parse_declaration() {
    Declaration result;
    std::string_view word = lexer_.take();
    if (word == ".align") {
      result.align = static_cast<size_t>(lexer_.take_integer());
      word = lexer_.take();
    }
    result.element_bytes = type_bytes(word);
    result.align = std::max(result.align, static_cast<size_t>(result.element_bytes));
    result.name = lexer_.take();
    result.bytes = static_cast<size_t>(result.element_bytes);
    while (lexer_.accept("[")) {
      result.bytes *= lexer_.peek() == "]" ? 0 : static_cast<size_t>(lexer_.take_integer());
      lexer_.expect("]");
    }
    return result;
  }

  static size_t place(size_t& used, const Declaration& what) {
    used = (used + what.align - 1) / what.align * what.align;
    const size_t at = used;
    used += what.bytes;
    return at;
  }

  void declare_global() {
    const Declaration what = parse_declaration();
    auto& bytes = module_->storage.emplace_back(std::make_unique<std::byte[]>(what.bytes + what.align));
    std::byte* at = bytes.get() + (-reinterpret_cast<uintptr_t>(bytes.get()) & (what.align - 1));
    module_->variables[at] = what.bytes;
    globals_[what.name] = {reinterpret_cast<uintptr_t>(at)};
    if (lexer_.accept("=")) {
      const bool list = lexer_.accept("{");
      do {
        const int64_t value = parse_constant(what.element_bytes);
        std::memcpy(at, &value, static_cast<size_t>(what.element_bytes));
        at += what.element_bytes;
      } while (list && lexer_.accept(","));
      if (list) lexer_.expect("}");
    }
    lexer_.expect(";");
  }

  // An integer, or a float as its bits: 0fXXXXXXXX and 0dXXXXXXXXXXXXXXXX.
  int64_t parse_constant(int width) {
    const bool negative = lexer_.accept("-");
    const std::string_view word = lexer_.take();
    if (word.starts_with("0f") || word.starts_with("0F") || word.starts_with("0d") || word.starts_with("0D")) {
      uint64_t bits = 0;
      std::from_chars(word.data() + 2, word.data() + word.size(), bits, 16);
      return static_cast<int64_t>(negative ? bits ^ uint64_t{1} << (width * 8 - 1) : bits);
    }
    const int64_t value = to_integer(word);
    return negative ? -value : value;
  }

  // ---- kernels ----

  void parse_kernel() {
    const std::string name(lexer_.take());
    kernel_ = &module_->kernels[name];
    kernel_->name = name;
    symbols_ = globals_;
    scopes_.assign(1, {});
    labels_.clear();
    branches_.clear();
    constants_.clear();
    lexer_.expect("(");
    while (!lexer_.accept(")")) {
      lexer_.accept(".param");
      const Declaration what = parse_declaration();
      const size_t at = place(kernel_->param_bytes, what);
      kernel_->params.emplace_back(at, what.bytes);
      symbols_[what.name] = {at};
      lexer_.accept(",");
    }
    while (!lexer_.accept("{")) {
      const std::string_view word = lexer_.take();
      if (word == ".maxntid" || word == ".reqntid") kernel_->max_threads = take_product();
    }
    declare_module_shared();
    for (int depth = 1; depth > 0;) depth += parse_statement();
    kernel_->code.push_back({.run = opcodes().at("ret").run, .guard = kTrue});
    kernel_->texts.emplace_back("the end of the kernel");
    for (const auto& [instr, label] : branches_) kernel_->code[instr].offsets[0] = find_label(label);
    for (auto& [table, names] : table_labels_)
      for (const std::string& label : names) kernel_->tables[table].push_back(static_cast<uint32_t>(find_label(label)));
    table_labels_.clear();
  }

  unsigned take_product() {
    unsigned product = static_cast<unsigned>(lexer_.take_integer());
    while (lexer_.accept(",")) product *= static_cast<unsigned>(lexer_.take_integer());
    return product;
  }

  // What the module declares for blocks; the array without a size, which a launch sizes, comes last.
  void declare_module_shared() {
    const size_t here = lexer_.position();
    std::vector<std::string> open;
    for (const size_t at : module_shared_) {
      lexer_.seek(at);
      const Declaration what = parse_declaration();
      symbols_[what.name] = {place(kernel_->shared_bytes, what)};
      if (what.bytes == 0) open.push_back(what.name);
    }
    lexer_.seek(here);
    extern_shared_ = std::move(open);
  }

  // That array, behind what the kernel declares; declarations come before all instructions.
  void place_open_shared() {
    kernel_->shared_bytes = (kernel_->shared_bytes + 15) / 16 * 16;
    for (const std::string& name : extern_shared_) symbols_[name] = {kernel_->shared_bytes};
  }

  // How much deeper the text after the statement is.
  int parse_statement() {
    if (lexer_.accept("{")) return scopes_.emplace_back(), 1;
    if (lexer_.accept("}")) return scopes_.pop_back(), -1;
    const size_t begin = lexer_.position();
    const std::string_view word = lexer_.take();
    if (lexer_.accept(":")) {
      if (lexer_.accept(".branchtargets")) return parse_targets(std::string(word)), 0;
      labels_[std::string(word)] = kernel_->code.size();
    } else if (word == ".reg") {
      declare_registers();
    } else if (word == ".shared" || word == ".local") {
      const Declaration what = parse_declaration();
      if (!kernel_->code.empty()) throw PtxError("the variable " + what.name + " is declared behind instructions");
      symbols_[what.name] = {place(word == ".shared" ? kernel_->shared_bytes : kernel_->local_bytes, what)};
      lexer_.expect(";");
    } else if (word == ".pragma") {
      lexer_.skip_past(";");
    } else if (word == ".loc") {
      lexer_.skip_line();
    } else {
      lexer_.seek(begin);
      parse_instruction();
    }
    return 0;
  }

  void parse_targets(const std::string& name) {
    tables_[name] = kernel_->tables.size();
    std::vector<std::string> labels;
    do labels.emplace_back(lexer_.take());
    while (lexer_.accept(","));
    lexer_.expect(";");
    table_labels_.emplace_back(kernel_->tables.size(), std::move(labels));
    kernel_->tables.emplace_back();
  }

  void declare_registers() {
    Family family;
    const int bytes = type_bytes(lexer_.take());
    family.width = bytes == 1 || bytes == 8 ? bytes : 4;
    do {
      const std::string name(lexer_.take());
      family.numbered = lexer_.accept("<");
      family.count = family.numbered ? static_cast<int32_t>(lexer_.take_integer()) : 1;
      if (family.numbered) lexer_.expect(">");
      size_t& used = family.width == 1 ? kernel_->predicates : kernel_->rows;
      family.first = static_cast<int32_t>(used);
      used += static_cast<size_t>(family.count) * (family.width == 8 ? 2 : 1);
      scopes_.back()[name] = family;
    } while (lexer_.accept(","));
    lexer_.expect(";");
  }

  struct Register {
    int width;
    int32_t number;
  };

  std::optional<Register> find_register(std::string_view name) const {
    size_t digits = name.size();
    while (digits > 0 && name[digits - 1] >= '0' && name[digits - 1] <= '9') --digits;
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      if (const auto found = scope->find(name); found != scope->end() && !found->second.numbered)
        return Register{found->second.width, found->second.first};
      const auto found = digits == name.size() ? scope->end() : scope->find(name.substr(0, digits));
      if (found == scope->end() || !found->second.numbered) continue;
      int32_t number = 0;
      std::from_chars(name.data() + digits, name.data() + name.size(), number);
      if (number < found->second.count)
        return Register{found->second.width, found->second.first + number * (found->second.width == 8 ? 2 : 1)};
    }
    return std::nullopt;
  }

  int64_t find_label(const std::string& label) const {
    const auto found = labels_.find(label);
    if (found == labels_.end()) throw PtxError("no label " + label);
    return static_cast<int64_t>(found->second);
  }

  // ---- instructions ----

  void parse_instruction() {
    if (kernel_->code.empty()) place_open_shared();
    Instr instr;
    instr.guard = kTrue;
    text_ = lexer_.text_to(";");
    if (lexer_.accept("@")) {
      instr.negated = lexer_.accept("!");
      instr.guard = take_operand('1');
    }
    std::string mnemonic = plain_mnemonic(lexer_.take());
    if (mnemonic.starts_with("mov.")) mnemonic += move_kind();
    if (opcodes().contains(mnemonic + kWideRegisters) && moves_wide_registers(mnemonic)) mnemonic += kWideRegisters;
    const auto found = opcodes().find(mnemonic);
    if (found == opcodes().end()) fail("the instruction " + mnemonic + " is not known");
    note_access(mnemonic);
    const Opcode& opcode = found->second;
    instr.run = opcode.run;
    instr.variant = opcode.variant;
    std::vector<int32_t>& operands = kernel_->operands.emplace_back();
    int addresses = 0;
    for (const char kind : opcode.signature) {
      while (lexer_.accept(",") || lexer_.accept("{") || lexer_.accept("}") || lexer_.accept("|")) {
      }
      const bool missing = lexer_.peek() == ";";
      if (kind == '?' && missing) {
        operands.push_back(constant(-1, 4));
        break;
      }
      if (missing) fail("it has fewer operands than " + opcode.signature);
      if (kind != '?') take_part(kind, instr, operands, addresses);
    }
    lexer_.accept("}");
    if (!lexer_.accept(";")) fail("it has more operands than " + opcode.signature);
    instr.operands = operands.data();
    kernel_->code.push_back(instr);
    kernel_->texts.emplace_back(text_);
  }

  void take_part(char kind, Instr& instr, std::vector<int32_t>& operands, int& addresses) {
    if (kind == 'l') {
      branches_.emplace_back(kernel_->code.size(), std::string(lexer_.take()));
    } else if (kind == 't') {
      const std::string table(lexer_.take());
      if (!tables_.contains(table)) fail("there is no table " + table);
      instr.offsets[0] = static_cast<int64_t>(tables_.at(table));
    } else if (kind == 'a') {
      const auto which = static_cast<size_t>(addresses++);
      operands.push_back(take_address(instr.offsets[which], instr.wide[which]));
    } else {
      operands.push_back(take_operand(kind));
    }
  }

  [[noreturn]] void fail(const std::string& why) const {
    throw PtxError(kernel_->name + ": " + std::string(text_) + ": " + why);
  }

  // Moves have one mnemonic for several things: what the operands look like tells which.
  std::string move_kind() {
    const size_t here = lexer_.position();
    std::string kind;
    const auto vector_length = [&] {
      int length = 0;
      if (!lexer_.accept("{")) return lexer_.take(), 0;
      do ++length, lexer_.take();
      while (lexer_.accept(","));
      lexer_.expect("}");
      return length;
    };
    if (const int parts = vector_length(); parts > 0) kind = ".unpack" + std::to_string(parts);
    lexer_.expect(",");
    if (special_register(lexer_.peek()) != Special::none)
      kind = ".special";
    else if (const int parts = lexer_.peek() == "-" ? 0 : vector_length(); parts > 0)
      kind = ".pack" + std::to_string(parts);
    lexer_.seek(here);
    return kind;
  }

  // Of those that may be to shared memory: with this space, or with generic addresses.
  void note_access(std::string_view mnemonic) {
    if (!mnemonic.starts_with("ld.") && !mnemonic.starts_with("st.")) return;
    for (const char* space : {".global", ".const", ".param", ".local"})
      if (mnemonic.find(space) != std::string_view::npos) return;
    const std::string_view type = mnemonic.substr(mnemonic.rfind('.'));
    kernel_->shared_grain = std::min(kernel_->shared_grain, static_cast<size_t>(type_bytes(type)));
  }

  // Whether a load or store moves registers of 64 bits, or a conversion reads one: these may be wider than the type.
  bool moves_wide_registers(std::string_view mnemonic) {
    const size_t here = lexer_.position();
    if (mnemonic.starts_with("cvt.")) lexer_.take(), lexer_.expect(",");
    if (lexer_.peek() == "[") lexer_.skip_past("]"), lexer_.expect(",");
    lexer_.accept("{");
    const auto reg = find_register(lexer_.peek());
    lexer_.seek(here);
    return reg && reg->width == 8;
  }

  int32_t constant(int64_t value, int width) {
    const auto [found, is_new] = constants_.try_emplace({value, width}, 0);
    if (!is_new) return found->second;
    std::vector<uint32_t>& rows = kernel_->constants;
    found->second = ~static_cast<int32_t>(rows.size() / kLanes);
    for (int lane = 0; lane < kLanes; ++lane) {
      rows.push_back(static_cast<uint32_t>(value));
      if (width == 8) rows.push_back(static_cast<uint32_t>(static_cast<uint64_t>(value) >> 32));
    }
    return found->second;
  }

  int32_t take_operand(char kind) {
    const std::string_view word = lexer_.peek();
    if (kind == 's') return static_cast<int32_t>(special_register(lexer_.take()));
    const int width = kind - '0';
    if (lexer_.accept("_")) return width == 1 ? kSink : 0;  // nothing reads it
    if (word == "WARP_SZ") return lexer_.take(), constant(kLanes, width);
    if (const auto reg = find_register(word)) {
      lexer_.take();
      if (reg->width != width) fail("the register " + std::string(word) + " is of another size than the operand");
      return reg->number;
    }
    if (const auto symbol = symbols_.find(word); symbol != symbols_.end()) {
      lexer_.take();
      return constant(static_cast<int64_t>(symbol->second.address) + take_offset(), width);
    }
    const int64_t value = parse_constant(width);
    return width == 1 ? (value != 0 ? kTrue : kFalse) : constant(value, width);
  }

  int64_t take_offset() {
    if (!lexer_.accept("+")) return 0;
    const bool negative = lexer_.accept("-");
    const int64_t offset = lexer_.take_integer();
    return negative ? -offset : offset;
  }

  int32_t take_address(int64_t& offset, bool& wide) {
    lexer_.expect("[");
    int32_t base = 0;
    wide = true;
    if (const auto reg = find_register(lexer_.peek())) {
      lexer_.take();
      if (reg->width == 1) fail("an address cannot be a predicate");
      wide = reg->width == 8;
      base = reg->number;
      offset = take_offset();
    } else {
      base = take_operand('8');
    }
    lexer_.expect("]");
    return base;
  }

  Lexer lexer_;
  std::unique_ptr<Module> module_;
  std::vector<size_t> module_shared_;  // where they are declared
  std::map<std::string, Variable, std::less<>> globals_;

  // Of the kernel at hand.
  Kernel* kernel_ = nullptr;
  std::string_view text_;
  std::vector<Scope> scopes_;
  std::map<std::string, Variable, std::less<>> symbols_;
  std::vector<std::string> extern_shared_;
  std::map<std::string, size_t> labels_, tables_;
  std::vector<std::pair<size_t, std::string>> branches_;
  std::vector<std::pair<size_t, std::vector<std::string>>> table_labels_;
  std::map<std::pair<int64_t, int>, int32_t> constants_;
};

}  // namespace

std::unique_ptr<Module> parse_module(std::string_view ptx) { return Parser(ptx).parse(); }

}  // namespace lathe::emulator
