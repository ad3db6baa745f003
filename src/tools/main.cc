// The program's entry: streams, environment and signals; everything else is in program.h. Under the name trtexec (a
// link, say) the program is `lathe trtexec`.
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "tools/interrupt.h"
#include "tools/program.h"

int main(int argc, char** argv) {
  const char* no_colour = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  const bool forbidden =
      (no_colour != nullptr && *no_colour != '\0') || (terminal != nullptr && std::string(terminal) == "dumb");
  lathe::tools::Console console(stdout, stderr, !forbidden);
  lathe::tools::catch_interrupts();
  std::vector<std::string> arguments(argv + 1, argv + argc);
  if (argc > 0 && std::filesystem::path(argv[0]).filename() == "trtexec")
    arguments.insert(arguments.begin(), "trtexec");
  return lathe::tools::run_program(arguments, console);
}
