#include "tests/backends/cuda/emulator/warp.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

namespace lathe::emulator {
namespace {

constexpr int kSlice = 100000;                    // instructions until other warps go on
constexpr uint64_t kLongest = uint64_t{4} << 30;  // instructions of a block
constexpr std::byte kFresh{0xff};                 // shared memory that nothing has written

std::string to_text(const Dim3& index) {
  return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " + std::to_string(index.z) + ")";
}

}  // namespace

// ---- Warp ----

Warp::Warp(Block& block, int index) : block_(block), index_(index) {
  const Kernel& kernel = *block.launch().kernel;
  constexpr size_t kAlignment = 64;
  storage_.resize(kernel.rows * kRowBytes + kAlignment);
  rows_ = storage_.data() + (-reinterpret_cast<uintptr_t>(storage_.data()) & (kAlignment - 1));
  constants_ = reinterpret_cast<const std::byte*>(kernel.constants.data());
  predicate_storage_.resize(kernel.predicates);
  predicates_ = predicate_storage_.data();
  local_.resize(kernel.local_bytes * kLanes, kFresh);
}

void Warp::start() {
  const unsigned threads = block_.launch().block.volume() - static_cast<unsigned>(index_) * kLanes;
  live_ = active_ = threads >= kLanes ? kAllLanes : (1U << threads) - 1;
  predicates_[kFalse] = 0;
  predicates_[kTrue] = kAllLanes;
  pc_ = 0;
  others_.clear();
  others_pc_ = ~0U;
  copies_.clear();
  group_ends_.clear();
  state_ = State::ready;
}

void Warp::run() {
  try {
    const Instr* const code = block_.launch().kernel->code.data();
    int left = kSlice;
    for (; left > 0 && state_ == State::ready; --left) {
      const Instr& instr = code[pc_++];
      const uint32_t guard = predicates_[instr.guard];
      exec_ = active_ & (instr.negated ? ~guard : guard);
      if (exec_ != 0) instr.run(*this, instr);
      if (pc_ >= others_pc_ || active_ == 0) regroup();
    }
    block_.instructions += static_cast<uint64_t>(kSlice - left);
  } catch (const Fault& fault) {
    throw Fault{fault.code, fault.what + where(fault.lane), fault.lane};
  }
}

std::string Warp::where(int lane) const {
  const Launch& launch = block_.launch();
  const unsigned thread = static_cast<unsigned>(index_ * kLanes + std::max(lane, 0));
  const Dim3 at{thread % launch.block.x, thread / launch.block.x % launch.block.y,
                thread / launch.block.x / launch.block.y};
  const size_t instr = pc_ == 0 ? 0 : pc_ - 1;  // branches do not fail
  return "\n  in kernel " + launch.kernel->name + ", block " + to_text(block_.index()) + ", thread " + to_text(at) +
         ", instruction " + std::to_string(instr) + ": " + launch.kernel->texts[instr];
}

void Warp::branch(uint32_t taken, uint32_t target) {
  const uint32_t rest = active_ & ~taken;
  if (rest != 0) {
    others_.push_back({pc_, rest});
    active_ = taken;
    pc_ = target;
    regroup();
  } else {
    pc_ = target;
  }
}

void Warp::branch_each(const std::array<uint32_t, kLanes>& targets) {
  uint32_t rest = exec_;
  if ((active_ & ~exec_) != 0) others_.push_back({pc_, active_ & ~exec_});
  for (int lane = 0; lane < kLanes; ++lane)
    if (rest >> lane & 1) others_.push_back({targets[static_cast<size_t>(lane)], 1U << lane});
  active_ = 0;
  regroup();
}

void Warp::leave(uint32_t lanes) {
  live_ &= ~lanes;
  active_ &= ~lanes;
  for (Group& group : others_) group.waits = false;
  if (live_ != 0) return;
  state_ = State::done;
  wait_for_copies();
  block_.on_return();
}

bool Warp::gather(uint32_t lanes) {
  const uint32_t wanted = lanes & live_;
  if ((active_ & wanted) == wanted) return true;
  others_.push_back({pc_ - 1, active_, true});
  active_ = 0;
  return false;
}

// Chooses the group that goes on, after joining those that have met.
void Warp::regroup() {
  if (state_ == State::done) return;
  if (active_ != 0) others_.push_back({pc_, active_});
  for (size_t i = 0; i < others_.size(); ++i)
    for (size_t j = others_.size(); --j > i;)
      if (others_[i].pc == others_[j].pc) {
        others_[i].lanes |= others_[j].lanes;
        others_[i].waits = false;
        others_.erase(others_.begin() + static_cast<ptrdiff_t>(j));
      }
  size_t next = others_.size();
  for (size_t i = 0; i < others_.size(); ++i)
    if (!others_[i].waits && (next == others_.size() || others_[i].pc < others_[next].pc)) next = i;
  if (next == others_.size()) {
    pc_ = others_.front().pc + 1;
    throw Fault{kLaunchFailed, "lanes of a warp wait for others that do not come",
                std::countr_zero(others_.front().lanes)};
  }
  pc_ = others_[next].pc;
  active_ = others_[next].lanes;
  others_.erase(others_.begin() + static_cast<ptrdiff_t>(next));
  others_pc_ = ~0U;
  for (const Group& group : others_) others_pc_ = std::min(others_pc_, group.pc);
}

void Warp::wait_for_groups(size_t left) {
  if (group_ends_.size() <= left) return;
  const size_t arriving = group_ends_.size() - left, count = group_ends_[arriving - 1];
  for (size_t i = 0; i < count; ++i) {
    std::memset(copies_[i].to, 0, copies_[i].bytes);
    std::memcpy(copies_[i].to, copies_[i].from, copies_[i].read);
  }
  copies_.erase(copies_.begin(), copies_.begin() + static_cast<ptrdiff_t>(count));
  group_ends_.erase(group_ends_.begin(), group_ends_.begin() + static_cast<ptrdiff_t>(arriving));
  for (size_t& end : group_ends_) end -= count;
}

void Warp::wait_for_copies() {
  end_group();
  wait_for_groups(0);
}

// ---- Block ----

Block::Block(const Launch& launch)
    : launch_(launch), shared_(launch.shared_bytes), races_(launch.shared_bytes, launch.kernel->shared_grain) {
  const int warps = static_cast<int>((launch.block.volume() + kLanes - 1) / kLanes);
  warps_.reserve(static_cast<size_t>(warps));
  for (int i = 0; i < warps; ++i) warps_.emplace_back(*this, i);
}

void Block::run(uint64_t index) {
  index_ = {static_cast<unsigned>(index % launch_.grid.x),
            static_cast<unsigned>(index / launch_.grid.x % launch_.grid.y),
            static_cast<unsigned>(index / launch_.grid.x / launch_.grid.y)};
  std::ranges::fill(shared_, kFresh);
  races_.barrier();
  barriers_ = {};
  for (Warp& warp : warps_) warp.start();
  const uint64_t before = instructions;
  while (live_warps() > 0) {
    bool moved = false;
    for (Warp& warp : warps_) {
      if (warp.state() != Warp::State::ready) continue;
      warp.run();
      moved = true;
    }
    if (!moved)
      throw Fault{kLaunchTimeout, "warps wait at barriers for others that do not come, in kernel " +
                                      launch_.kernel->name + ", block " + to_text(index_)};
    if (instructions - before > kLongest)
      throw Fault{kLaunchTimeout, "kernel " + launch_.kernel->name + " does not end, block " + to_text(index_)};
  }
}

int Block::live_warps() const {
  return static_cast<int>(
      std::ranges::count_if(warps_, [](const Warp& warp) { return warp.state() != Warp::State::done; }));
}

void Block::arrive(Warp& warp, int barrier, int threads, bool waits) {
  if (barrier < 0 || barrier >= static_cast<int>(barriers_.size()))
    throw Fault{kIllegalInstruction, "there is no barrier " + std::to_string(barrier)};
  Barrier& at = barriers_[static_cast<size_t>(barrier)];
  at.expected = threads < 0 ? -1 : threads / kLanes;
  ++at.arrived;
  if (waits) {
    at.waiting.push_back(&warp);
    warp.stop_at_barrier();
  }
  open_if_complete(at);
}

void Block::open_if_complete(Barrier& barrier) {
  const bool all = barrier.expected < 0 || barrier.expected >= live_warps();
  if (barrier.arrived == 0 || barrier.arrived < (barrier.expected < 0 ? live_warps() : barrier.expected)) return;
  if (all)
    races_.barrier();
  else
    races_.switch_off();
  for (Warp* warp : barrier.waiting) warp->release();
  barrier = {};
}

void Block::on_return() {
  for (Barrier& barrier : barriers_)
    if (barrier.expected < 0) open_if_complete(barrier);
}

bool Block::is_global(uint64_t begin, uint64_t end) {
  if (known_.holds(begin, end)) return true;
  if (const auto found = device_memory().find(begin)) known_ = *found;
  return known_.holds(begin, end);
}

// ---- launches ----

std::optional<Fault> run_launch(const Launch& launch, uint64_t& instructions) {
  const uint64_t blocks = uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z;
  std::atomic<uint64_t> next = 0;
  std::mutex mutex;
  std::optional<Fault> first;
  const auto work = [&] {
    Block block(launch);
    try {
      for (uint64_t i = next++; i < blocks; i = next++) block.run(i);
    } catch (const Fault& fault) {
      next = blocks;
      const std::lock_guard lock(mutex);
      if (!first) first = fault;
    }
    const std::lock_guard lock(mutex);
    instructions += block.instructions;
  };
  const uint64_t helpers = std::min<uint64_t>(blocks, std::max(1U, std::thread::hardware_concurrency())) - 1;
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < helpers; ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  return first;
}

}  // namespace lathe::emulator
