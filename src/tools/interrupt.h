// Ctrl-C. The first one asks the command to stop at its next check, so that files under construction are taken back;
// the second one kills the program where it stands.
#pragma once

namespace lathe::tools {

// Installs the handlers of SIGINT and SIGTERM for the rest of the program.
void catch_interrupts();

bool interrupted();
// For programs that go on: true once after a Ctrl-C, and the next one is again the first.
bool take_interrupt();

// Throws Error(cancelled) after a Ctrl-C. Long loops call it once per turn.
void check_interrupted();

}  // namespace lathe::tools
