// The program's entry: streams, environment and signals; everything else is in program.h.
#include <cstdio>
#include <cstdlib>

#include "tools/interrupt.h"
#include "tools/program.h"

int main(int argc, char** argv) {
  const char* no_colour = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  const bool forbidden =
      (no_colour != nullptr && *no_colour != '\0') || (terminal != nullptr && std::string(terminal) == "dumb");
  lathe::tools::Console console(stdout, stderr, !forbidden);
  lathe::tools::catch_interrupts();
  return lathe::tools::run_program({argv + 1, argv + argc}, console);
}
