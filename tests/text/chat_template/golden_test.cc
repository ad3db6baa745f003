// Every stored conversation renders to the bytes that Jinja gives, or is refused with its words. goldens.json comes
// from models' own templates; families.json and expressions.json are written by make_cases.py.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "lathe/error.h"
#include "tests/data_path.h"
#include "text/chat_template/chat_template.h"

namespace lathe::text {
namespace {

using nlohmann::ordered_json;

ordered_json read(const std::string& name) {
  std::ifstream file(std::string(LATHE_TEST_DATA) + "/chat_templates/" + name);
  return ordered_json::parse(file);
}

std::string user_text(const RenderedPrompt& prompt) {
  std::string out;
  for (const ByteRange& range : prompt.user) out += prompt.text.substr(range.begin, range.end - range.begin) + "|";
  return out;
}

void check(const ChatTemplate& chat_template, const ordered_json& variables, const ordered_json& wanted) {
  RenderOptions options;
  options.now = std::tm{};  // 26 July 2024, a Friday
  options.now->tm_year = 124;
  options.now->tm_mon = 6;
  options.now->tm_mday = 26;
  options.now->tm_wday = 5;
  try {
    const RenderedPrompt prompt = chat_template.render(variables, options);
    EXPECT_EQ(prompt.text, wanted.value("expected", "(an error)")) << variables.dump();
    size_t before = 0;
    for (const ByteRange& range : prompt.user) {
      EXPECT_TRUE(range.begin >= before && range.begin < range.end && range.end <= prompt.text.size())
          << user_text(prompt);
      before = range.end;
    }
  } catch (const Error& error) {
    ASSERT_TRUE(wanted.contains("error")) << error.what() << "\n" << variables.dump();
    const auto message = wanted["error"].get<std::string>();
    // Jinja's own words for its errors are not ours; those of raise_exception are.
    const bool in_its_words = error.code() != ErrorCode::invalid_argument || error.message().ends_with(message);
    EXPECT_TRUE(in_its_words) << error.what();
  }
}

TEST(ChatTemplateGoldens, ModelsTemplates) {
  const ordered_json goldens = read("goldens.json");
  for (const ordered_json& entry : goldens.at("templates")) {
    SCOPED_TRACE(entry.at("name").get<std::string>());
    const ChatTemplate chat_template = ChatTemplate::parse(entry.at("template").get<std::string>());
    for (const ordered_json& conversation : entry.at("conversations")) {
      ordered_json variables = conversation;
      variables.erase("expected");
      variables.erase("error");
      for (const char* token : {"bos_token", "eos_token"})
        if (entry.contains(token)) variables[token] = entry[token];
      check(chat_template, variables, conversation);
    }
  }
}

TEST(ChatTemplateGoldens, Families) {
  const ordered_json goldens = read("families.json");
  for (const ordered_json& entry : goldens.at("templates")) {
    SCOPED_TRACE(entry.at("name").get<std::string>());
    const ChatTemplate chat_template = ChatTemplate::parse(entry.at("template").get<std::string>());
    for (size_t i = 0; i < goldens.at("conversations").size(); ++i) {
      ordered_json variables = goldens.at("tokens");
      variables.update(goldens.at("conversations").at(i));
      check(chat_template, variables, entry.at("results").at(i));
    }
  }
}

TEST(ChatTemplateGoldens, Expressions) {
  const ordered_json goldens = read("expressions.json");
  for (const ordered_json& entry : goldens.at("templates")) {
    const auto source = entry.at("template").get<std::string>();
    SCOPED_TRACE(source);
    try {
      check(ChatTemplate::parse(source), goldens.at("variables"), entry);
    } catch (const Error& error) {
      EXPECT_TRUE(entry.contains("error")) << error.what();
    }
  }
}

}  // namespace
}  // namespace lathe::text
