#include "tools/command.h"

namespace lathe::tools {

std::vector<std::unique_ptr<Command>> make_commands() {
  std::vector<std::unique_ptr<Command>> commands;
  commands.push_back(make_build_command());
  commands.push_back(make_quantize_command());
  commands.push_back(make_run_command());
  commands.push_back(make_compare_command());
  commands.push_back(make_bench_command());
  commands.push_back(make_ppl_command());
  commands.push_back(make_trtexec_command());
  commands.push_back(make_inspect_command());
  commands.push_back(make_generate_command());
  commands.push_back(make_chat_command());
  commands.push_back(make_classify_command());
  commands.push_back(make_fill_mask_command());
  commands.push_back(make_devices_command());
  commands.push_back(make_completion_command());
  return commands;
}

}  // namespace lathe::tools
