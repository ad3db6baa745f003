#include "tools/interrupt.h"

#include <csignal>

#include "base/error.h"

namespace lathe::tools {
namespace {

volatile std::sig_atomic_t caught = 0;

extern "C" void on_interrupt(int) { caught = 1; }

}  // namespace

void catch_interrupts() {
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  // No SA_RESTART: a blocked read comes back. SA_RESETHAND: the second signal finds the default, which kills.
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() { return caught != 0; }

bool take_interrupt() {
  if (!interrupted()) return false;
  caught = 0;
  catch_interrupts();
  return true;
}

void check_interrupted() {
  if (interrupted()) fail(ErrorCode::cancelled, "interrupted");
}

}  // namespace lathe::tools
