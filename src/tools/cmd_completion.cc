// lathe completion: scripts that teach a shell the commands and options. They are written from the parser, so they know
// exactly what it knows.
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tools/command.h"
#include "tools/program.h"

namespace lathe::tools {
namespace {

struct CommandWords {
  std::string path;  // "inspect capability"; empty for the program
  std::string summary;
  std::vector<std::pair<std::string, std::string>> options;  // with descriptions
  std::vector<std::string> subcommands;
};

void collect(const CLI::App& app, const std::string& path, std::vector<CommandWords>& all) {
  CommandWords words{path, app.get_description(), {}, {}};
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames())
      words.options.emplace_back("--" + name, option->get_description());
  const auto subcommands = app.get_subcommands([](const CLI::App*) { return true; });
  for (const CLI::App* sub : subcommands) words.subcommands.push_back(sub->get_name());
  all.push_back(std::move(words));
  for (const CLI::App* sub : subcommands)
    collect(*sub, path.empty() ? sub->get_name() : path + " " + sub->get_name(), all);
}

std::string join_words(const CommandWords& words) {
  std::string text;
  for (const std::string& sub : words.subcommands) text += sub + " ";
  for (const auto& [option, description] : words.options) text += option + " ";
  text.pop_back();  // every command has --help at least
  return text;
}

std::string bash_script(const std::vector<CommandWords>& all) {
  std::string cases;
  for (const CommandWords& words : all)
    cases += fmt::format("    '{}') words='{}' ;;\n", words.path, join_words(words));
  return "_lathe() {\n"
         "  local current=${COMP_WORDS[COMP_CWORD]} path= words= i\n"
         "  for ((i = 1; i < COMP_CWORD && i < 3; i++)); do\n"
         "    case ${COMP_WORDS[i]} in -*) ;; *) path+=\"${path:+ }${COMP_WORDS[i]}\" ;; esac\n"
         "  done\n"
         "  case $path in 'inspect capability') ;; *) path=${path%% *} ;; esac\n"
         "  case $path in\n" +
         cases +
         "  esac\n"
         "  COMPREPLY=()\n"
         "  if [[ $current == -* || -z $path || $path == inspect || $path == completion ]]; then\n"
         "    COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
         "  fi\n"
         "  if [[ $current != -* && -n $path ]]; then\n"
         "    COMPREPLY+=($(compgen -f -- \"$current\"))\n"
         "  fi\n"
         "}\n"
         "complete -o filenames -F _lathe lathe\n";
}

// bash's function does for zsh, too: bashcompinit runs it.
std::string zsh_script(const std::vector<CommandWords>& all) {
  return "#compdef lathe\nautoload -Uz bashcompinit && bashcompinit\n" + bash_script(all);
}

std::string quoted(const std::string& text) {
  std::string result = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') result += '\\';
    result += c;
  }
  return result + "'";
}

std::string fish_script(const std::vector<CommandWords>& all) {
  std::string text;
  for (const CommandWords& words : all) {
    const std::string first = words.path.substr(0, words.path.find(' '));
    const std::string condition = words.path.empty() ? "__fish_use_subcommand" : "__fish_seen_subcommand_from " + first;
    if (!words.path.empty() && first == words.path)
      text +=
          fmt::format("complete -c lathe -n __fish_use_subcommand -f -a {} -d {}\n", words.path, quoted(words.summary));
    for (const auto& [option, description] : words.options)
      text += fmt::format("complete -c lathe -n {} -l {} -d {}\n", quoted(condition), option.substr(2),
                          quoted(description));
    if (!words.path.empty())
      for (const std::string& sub : words.subcommands)
        text += fmt::format("complete -c lathe -n {} -a {}\n", quoted(condition), sub);
  }
  return text;
}

class CompletionCommand : public Command {
 public:
  CommandInfo info() const override {
    return {"completion",
            "More",
            "Print a completion script for a shell",
            "",
            {{"completion bash > ~/.local/share/bash-completion/completions/lathe", "bash, for good"},
             {"completion zsh > ~/.zfunc/_lathe", "zsh, with ~/.zfunc in fpath"},
             {"completion fish > ~/.config/fish/completions/lathe.fish", "fish"}}};
  }

  void add_options(CLI::App& app) override { app.add_option("SHELL", shell_, "bash, zsh or fish")->required(); }

  int run(Console& console) override {
    const auto commands = make_commands();
    std::vector<CommandWords> words;
    collect(*make_parser(commands), "", words);
    std::string script;
    if (shell_ == "bash") script = bash_script(words);
    if (shell_ == "zsh") script = zsh_script(words);
    if (shell_ == "fish") script = fish_script(words);
    if (script.empty())
      throw Error(ErrorCode::invalid_argument, fmt::format("there is no completion for '{}'", shell_))
          .remedy("Known: bash, zsh, fish");
    console.print("{}", script);
    console.result({{"shell", shell_}, {"script", script}});
    return kExitOk;
  }

 private:
  std::string shell_;
};

}  // namespace

std::unique_ptr<Command> make_completion_command() { return std::make_unique<CompletionCommand>(); }

}  // namespace lathe::tools
