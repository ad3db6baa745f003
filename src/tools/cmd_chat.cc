// lathe chat: a conversation with a language model, line by line.
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file_writer.h"
#include "tools/command.h"
#include "tools/interrupt.h"
#include "tools/llm_options.h"

namespace lathe::tools {
namespace {

using nlohmann::json;

constexpr std::string_view kHelp =
    "/reset        forget the conversation\n"
    "/system TEXT  what the model is told before it; without a text, nothing\n"
    "/save FILE    write it as JSON\n"
    "/exit         leave, as does the end of input\n"
    "Ctrl-C stops an answer.\n";

json to_json(const std::vector<llm::ChatMessage>& messages) {
  json list = json::array();
  for (const llm::ChatMessage& message : messages)
    list.push_back({{"role", message.role}, {"content", message.content}});
  return list;
}

class ChatCommand : public Command {
 public:
  CommandInfo info() const override {
    return {
        "chat",
        "Text",
        "Talk to a language model",
        "The folder is a checkpoint as trainers leave it. Each line of standard input is a message; the model's own "
        "chat template makes prompts of them, and where it has none, the prompt that its family documents. Lines "
        "that begin with / are commands: /help lists them.",
        {{"chat ./tigerbot-7b", "until the end of input"},
         {"chat ./chatglm-6b --system \"Answer in one sentence.\" --temperature 0.7", "with a system message"}}};
  }

  void add_options(CLI::App& app) override {
    add_llm_options(app, llm_);
    app.add_option("--system", system_, "What the model is told before the conversation")->type_name("TEXT");
    add_sampling_options(app, generation_);
    add_beam_options(app, generation_);
    app.add_flag("--stats", stats_, "Say how fast prompts and answers were");
  }

  int run(Console& console) override {
    llm_.engine.max_sequences = generation_.beams.value_or(1);
    const auto engine = open_llm(llm_, console);
    // Beams and several answers are recommended for texts that nobody waits for.
    llm::Recommendation recommended = engine->recommended();
    recommended.beam = {};
    recommended.n = 1;
    llm::Request request = generation_.make_request(recommended);
    request.stop.insert(request.stop.end(), engine->chat_stops().begin(), engine->chat_stops().end());
    reset();
    if (isatty(STDIN_FILENO) == 1) console.print("{}\n", console.paint(Colour::dim, "/help lists the commands"));
    for (std::string line; read_line(line, console);) {
      if (line.empty()) continue;
      if (line.front() != '/')
        answer(*engine, request, line, console);
      else if (!command(line, console))
        break;
    }
    console.result(to_json(messages_));
    return failed_ && isatty(STDIN_FILENO) != 1 ? kExitBadInput : kExitOk;  // scripts want to know
  }

 private:
  bool read_line(std::string& line, Console& console) const {
    if (isatty(STDIN_FILENO) == 1) console.print("{}", console.paint(Colour::bold, "> "));
    console.flush();
    const bool read = static_cast<bool>(std::getline(std::cin, line));
    if (line.ends_with('\r')) line.pop_back();
    return read && !interrupted();
  }

  void reset() {
    messages_.clear();
    if (!system_.empty()) messages_.push_back({"system", system_});
  }

  // False when it says to leave.
  bool command(const std::string& line, Console& console) {
    const size_t space = line.find(' ');
    const std::string name = line.substr(0, space);
    const std::string argument = space == std::string::npos ? "" : line.substr(space + 1);
    if (name == "/exit" || name == "/quit") return false;
    if (name == "/help") {
      console.print("{}", kHelp);
    } else if (name == "/reset") {
      reset();
    } else if (name == "/system") {
      system_ = argument;
      reset();
    } else if (name == "/save" && !argument.empty()) {
      save(argument, console);
    } else {
      console.note("lathe: '{}' is no command; /help lists them", line);
    }
    return true;
  }

  void save(const std::string& path, Console& console) const try {
    const std::string text = to_json(messages_).dump(2, ' ', false, json::error_handler_t::replace) + "\n";
    FileWriter file(path);
    file.write(std::as_bytes(std::span(text)));
    file.commit();
  } catch (const Error& error) {  // a wrong path is no reason to lose the conversation
    console.note("lathe: {}", error.what());
  }

  void answer(llm::Engine& engine, const llm::Request& common, const std::string& text, Console& console) {
    messages_.push_back({"user", text});
    try {
      llm::Request request = common;
      request.prompt = engine.encode_chat(messages_);
      const size_t prompt = request.prompt.size();
      llm::Generation generation = engine.submit(std::move(request));
      stream(generation, console);
      const llm::Result& result = generation.wait();
      messages_.push_back({"assistant", result.choices.front().text});
      if (stats_) note_speed(console, prompt, result);
    } catch (const Error& error) {
      // Such as a conversation that has outgrown the context.
      failed_ = true;
      messages_.pop_back();
      console.note("lathe: {}", error.what());
    }
  }

  static void stream(llm::Generation& generation, Console& console) {
    while (true) {
      while (!generation.ready(std::chrono::milliseconds(50)))
        if (take_interrupt()) generation.cancel();
      if (take_interrupt()) generation.cancel();
      const auto token = generation.next();
      if (!token) break;
      console.print("{}", token->text);
      console.flush();
    }
    console.print("\n");
  }

  LlmOptions llm_;
  GenerationOptions generation_;
  std::string system_;
  std::vector<llm::ChatMessage> messages_;
  bool stats_ = false;
  bool failed_ = false;  // at an answer
};

}  // namespace

std::unique_ptr<Command> make_chat_command() { return std::make_unique<ChatCommand>(); }

}  // namespace lathe::tools
