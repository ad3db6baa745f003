// PTX as the interpreter runs it. Registers are rows: what the 32 lanes of a warp have in one register lies side by
// side, in 4 bytes each (registers of 8 to 32 bits) or 8. An operand is the number of a row; constants are rows, too,
// which all warps share. Predicates are masks of lanes. One handler runs an instruction for all lanes of a warp.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace lathe::emulator {

inline constexpr int kLanes = 32;
inline constexpr uint32_t kAllLanes = ~0U;
inline constexpr size_t kRowBytes = 4 * kLanes;  // registers of 64 bits take two rows

// What stands in the upper byte of generic addresses; those of global memory are addresses of the host.
inline constexpr uint64_t kSharedWindow = uint64_t{1} << 56, kLocalWindow = uint64_t{2} << 56,
                          kParamWindow = uint64_t{3} << 56, kWindows = uint64_t{0xff} << 56;

class Warp;
struct Instr;
using Handler = void (*)(Warp&, const Instr&);

struct Instr {
  Handler run = nullptr;
  const int32_t* operands = nullptr;    // rows, ~row of constants, predicates: in the order of the text
  std::array<int64_t, 2> offsets = {};  // of its addresses; the first is also the target of a branch, or its table
  std::array<bool, 2> wide = {};        // whether the registers of its addresses have 64 bits
  bool negated = false;                 // the guard
  uint8_t variant = 0;                  // the opcode's
  int32_t guard = 0;                    // a predicate
};

// How a mnemonic is run. The signature has a letter for each operand, vectors taken apart: 1 a predicate, 4 and 8 a
// register or constant of so many bytes, a an address, l a label, t a table of labels, s a special register; what
// follows a question mark may be missing, and is -1 then.
struct Opcode {
  Handler run = nullptr;
  std::string signature;
  uint8_t variant = 0;  // what handlers that serve several mnemonics tell these apart by: the space of memory
};
// By mnemonic, without the qualifiers that mean nothing here (see plain_mnemonic()).
using OpcodeTable = std::unordered_map<std::string, Opcode>;
const OpcodeTable& opcodes();
inline constexpr const char* kWideRegisters =
    "/64";  // ends the mnemonics of loads and stores of them, where they move less

inline constexpr int32_t kFalse = 0, kTrue = 1, kSink = 2, kFirstPredicate = 3;

struct Kernel {
  std::string name;
  std::vector<Instr> code;
  std::vector<std::string> texts;                 // of the instructions, for messages
  std::vector<std::vector<uint32_t>> tables;      // of indirect branches
  std::deque<std::vector<int32_t>> operands;      // what Instr::operands point to
  std::vector<uint32_t> constants;                // rows of them
  size_t rows = 2, predicates = kFirstPredicate;  // the first two rows take what nothing reads
  size_t shared_bytes = 0, local_bytes = 0;       // of a block, without what a launch adds; of a lane
  size_t shared_grain = 4;                        // bytes of its smallest access to shared memory, at most 4
  std::vector<std::pair<size_t, size_t>> params;  // offset and bytes
  size_t param_bytes = 0;
  unsigned max_threads = 1024;
};

struct Module {
  std::map<std::string, Kernel, std::less<>> kernels;
  std::map<std::byte*, size_t> variables;  // of the spaces global and const, with their bytes
  std::vector<std::unique_ptr<std::byte[]>> storage;
};

// Text that cannot be run: names the instruction and what is not known about it.
class PtxError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

std::unique_ptr<Module> parse_module(std::string_view ptx);

}  // namespace lathe::emulator
